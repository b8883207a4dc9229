"""Auxiliary losses on inner layers that teach the steps of choosing a letter ("deep supervision", Lee et al. 2015).

Trained on the letter alone, the small model guesses for hours. To choose, it has to judge each option against the
photo, keep the option's letter, and attend from the end of the question to the right option. So after the last but one
layer, two heads predict at each option's end whether it is right and which letter it has, and one attention head of the
last layer is trained to look at the right one. The claim of a yes-or-no question is treated the same, without a letter.

Before an option can be judged, what the photo shows has to be where options can find it. The tower's features hold the
colour of a small light, but spread over the photo's tokens, where every option would have to search for it. So after
the second layer, heads at the token that closes the photo predict what it shows, its damage, the colour of each light
and the characters of the code. None of these heads is part of the exported model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

import torch
from torch import nn

from assistant.lab.training.patches import CLASSES, IGNORE, MOST_LIGHTS, MOST_SIGNS, WHOLE
from assistant.lab.training.sequences import Packed

# Weights of the three losses relative to the answers' loss, and of claims and right options relative to wrong ones.
_JUDGED, _NAMED, _LOOKED = 0.5, 0.3, 0.4
_RIGHT = 3.0
# The layer after which the photo's last token must know what it shows, and the weight of each of these losses.
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
        """(loss, accuracies). ``states`` (n, length, width): the input of every layer, then the last one's output;
        ``wanted``: `patches.stack` of the photos."""
        photo_loss, shares = self._photo_loss(states[_KNOWN_AFTER][:, packed.photo_end], wanted)
        option_loss, more = self._option_loss(states[-2], packed, text_model)
        return photo_loss + option_loss, shares | more

    def _photo_loss(
        self, ends: torch.Tensor, wanted: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """``ends`` (n, width): the states of the photos' last tokens."""
        ends = nn.functional.rms_norm(ends.float(), ends.shape[-1:])
        loss, figures = torch.zeros((), device=ends.device), {}
        for name, head in self.known.items():
            logits, classes = head(ends).view(len(ends) * _PLACES[name], -1), wanted[name].flatten()
            loss = loss + _KNOWN[name] * nn.functional.cross_entropy(logits, classes)
            right = (logits.argmax(-1) == classes).view(len(ends), -1).all(-1)
            figures[f"{name} known"] = float(right.float().mean())
        return loss, figures

    def _option_loss(
        self, hidden: torch.Tensor, packed: Packed, text_model: Any
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """``hidden``: the last layer's input. 0 for a batch without options."""
        if not packed.options:
            return torch.zeros((), device=hidden.device), {}
        table = torch.tensor(packed.options, device=hidden.device)
        row, place, asked, letter, right = table.unbind(-1)
        # Normalised, as the layer sees them: the norm grows from layer to layer.
        states = nn.functional.rms_norm(hidden[row, place].float(), hidden.shape[-1:])
        judged, named = self.right(states)[:, 0], self.letter(states)
        # Where the answer is found: in the right option, or in the claim, true or false.
        first = (right > 0) | (letter == IGNORE)
        weights = torch.where(first, _RIGHT, 1.0)
        each = nn.functional.binary_cross_entropy_with_logits(judged, right.float(), reduction="none")
        attention = _attention(hidden, packed, text_model, row[first], asked[first])
        loss = _JUDGED * (each * weights).sum() / weights.sum()
        if (letter != IGNORE).any():
            loss = loss + _NAMED * nn.functional.cross_entropy(named, letter, ignore_index=IGNORE)
        loss = loss + _LOOKED * nn.functional.cross_entropy(attention, place[first])
        figures = {
            "options judged": float((((judged > 0) == (right > 0)) * weights).sum() / weights.sum()),
            "option looked at": float((attention.argmax(-1) == place[first]).float().mean()),
        }
        return loss, figures


def _attention(
    hidden: torch.Tensor, packed: Packed, text_model: Any, row: torch.Tensor, asked: torch.Tensor
) -> torch.Tensor:
    """(questions, length): attention logits of the last layer's first head from the positions ``asked``."""
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
    hidden_keys = ~packed.sees(hidden.device)[row, 0, asked]
    logits: torch.Tensor = scores.masked_fill(hidden_keys, -1e9)
    return logits
