"""What the layers inside must know to choose the right letter, taught directly.

Taught by the letter alone, the small model guesses for hours: to choose it has to judge each option against the photo,
keep the letter with the option, and look from the question's end at the option that is right. So after the layer before
the last, two heads ask at each option's end whether it is right and which letter it has, and one attention head of the
last layer is asked to look there ("deep supervision", Lee et al. 2015). So it is with the claim that a yes or no
judges, which has no letter.

And before an option can be judged, what the photo shows has to be where options find it. The tower's features hold the
colour of a small light, but spread over the photo's tokens, where each option would have to look for it anew. So after
the second layer, heads ask at the token that closes the photo for what the photo is of, its damage, the colour of each
light and the signs of the code. The heads are not part of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

import torch
from torch import nn

from assistant.lab.training.patches import CLASSES, IGNORE, MOST_LIGHTS, MOST_SIGNS, WHOLE
from assistant.lab.training.sequences import Packed

# What the three weigh beside the answers' loss; and a claim, or the right option, beside a wrong one.
_JUDGED, _NAMED, _LOOKED = 0.5, 0.3, 0.4
_RIGHT = 3.0
# After so many layers the photo's end must know what it shows; what each part of that weighs beside the answers' loss.
_KNOWN_AFTER = 2
_KNOWN = {"of": 0.3, "damage": 0.3, "row": 1.0, "code": 1.0}
_PLACES = {"of": 1, "damage": 1, "row": MOST_LIGHTS, "code": MOST_SIGNS}


class Judges(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.right, self.letter = nn.Linear(width, 1), nn.Linear(width, len(ascii_uppercase))
        sizes = {name: _PLACES[name] * (1 + len(CLASSES[name])) for name in WHOLE}
        self.known = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})

    def forward(
        self, states: Sequence[torch.Tensor], packed: Packed, text_model: Any, wanted: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss, and the shares that are right. ``states`` (n, length, width): what each layer gets, and in the end
        gives; ``wanted``: `patches.stack` of the photos."""
        known, shares = self._known(states[_KNOWN_AFTER][:, packed.photo_end], wanted)
        chosen, more = self._chosen(states[-2], packed, text_model)
        return known + chosen, shares | more

    def _known(self, ends: torch.Tensor, wanted: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        """``ends`` (n, width): the states where the photos end."""
        ends = nn.functional.rms_norm(ends.float(), ends.shape[-1:])
        loss, figures = torch.zeros((), device=ends.device), {}
        for name, head in self.known.items():
            logits, classes = head(ends).view(len(ends) * _PLACES[name], -1), wanted[name].flatten()
            loss = loss + _KNOWN[name] * nn.functional.cross_entropy(logits, classes)
            right = (logits.argmax(-1) == classes).view(len(ends), -1).all(-1)
            figures[f"{name} known"] = float(right.float().mean())
        return loss, figures

    def _chosen(self, hidden: torch.Tensor, packed: Packed, text_model: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """``hidden``: what the last layer gets. Nothing is asked of a batch without options."""
        if not packed.options:
            return torch.zeros((), device=hidden.device), {}
        table = torch.tensor(packed.options, device=hidden.device)
        row, place, asked, letter, right = table.unbind(-1)
        # As the layer sees them: without their length, which grows from layer to layer.
        states = nn.functional.rms_norm(hidden[row, place].float(), hidden.shape[-1:])
        judged, named = self.right(states)[:, 0], self.letter(states)
        # Where the answer is found: in the right option, or in the claim, right or not.
        first = (right > 0) | (letter == IGNORE)
        weights = torch.where(first, _RIGHT, 1.0)
        each = nn.functional.binary_cross_entropy_with_logits(judged, right.float(), reduction="none")
        seen = _seen(hidden, packed, text_model, row[first], asked[first])
        loss = _JUDGED * (each * weights).sum() / weights.sum()
        if (letter != IGNORE).any():
            loss = loss + _NAMED * nn.functional.cross_entropy(named, letter, ignore_index=IGNORE)
        loss = loss + _LOOKED * nn.functional.cross_entropy(seen, place[first])
        figures = {
            "options judged": float((((judged > 0) == (right > 0)) * weights).sum() / weights.sum()),
            "option looked at": float((seen.argmax(-1) == place[first]).float().mean()),
        }
        return loss, figures


def _seen(
    hidden: torch.Tensor, packed: Packed, text_model: Any, row: torch.Tensor, asked: torch.Tensor
) -> torch.Tensor:
    """(questions, length): how the last layer's first head looks from the places ``asked``, before the softmax."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    layer, width = text_model.layers[-1], text_model.config.head_dim
    states = layer.input_layernorm(hidden)
    queries, keys = (
        part(states).view(*states.shape[:2], -1, width).transpose(1, 2)[:, :1]
        for part in (layer.self_attn.q_proj, layer.self_attn.k_proj)
    )
    turns = text_model.rotary_emb(states, packed.positions.to(hidden.device))
    queries, keys = apply_rotary_pos_emb(queries, keys, *turns)
    scores = torch.einsum("rd,rld->rl", queries[row, 0, asked].float(), keys[row, 0].float()) * width**-0.5
    hides = ~packed.sees(hidden.device)[row, 0, asked]
    seen: torch.Tensor = scores.masked_fill(hides, -1e9)
    return seen
