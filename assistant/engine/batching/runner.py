"""Running the model on several requests at once, each at its own place in its own text. Knows tensors, knows no queue.

Works on a model of transformers as it is: a cache whose rows have lengths of their own (`cache`), a mask of four
dimensions, and explicit positions. Photos are encoded by themselves and given to the language model piece by piece.
Whether an architecture can be run like this is not believed but tried, when it is loaded (`Runner.check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch

from assistant.engine.batching.cache import Features, SlotCache
from assistant.engine.batching.compiled import Compiled
from assistant.engine.batching.prompt import (
    PhotoInput,
    Prompt,
    image_token_of,
    processed,
    prompt_of,
    rendered,
    to_model,
)
from assistant.engine.loader import LoadedModel

# Both ways of running a model may differ by rounding, and by nothing more: this share of the logits' spread.
_TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 8e-2, torch.float16: 3e-2}


@dataclass(frozen=True)
class Chunk:
    """``count`` tokens of a prompt from ``start`` on, for one slot. ``features``: all photos of the prompt."""

    prompt: Prompt
    start: int
    count: int
    features: tuple[Features, ...] = ()


class Runner:
    """One model with a `SlotCache`. Only ever used by one thread. ``threads``: of torch, for its passes on a CPU."""

    def __init__(self, loaded: LoadedModel) -> None:
        config = loaded.model.config.get_text_config()
        self.loaded = loaded
        self.cache = SlotCache(layers=config.num_hidden_layers)
        self.threads = torch.get_num_threads()
        self._device = loaded.model.device
        self._window = getattr(config, "sliding_window", None)
        unsaid = ["sliding_attention" if self._window else "full_attention"]
        self._kinds = set(getattr(config, "layer_types", None) or unsaid)
        self._eager = loaded.model.config._attn_implementation == "eager"
        self._dimensions = 1  # of a position; known after `check`
        self._filler = 1 if image_token_of(loaded) == 0 else 0  # behind shorter rows; must not look like a photo
        self._compiled: Compiled | None = None  # the step that writes, once `compile` has found that it is faster

    @torch.inference_mode()
    def encode(self, photo: PhotoInput) -> Features:
        """The photo as the language model sees it: one row for each of its placeholders."""
        with self.loaded.packed:
            found = self.loaded.model.get_image_features(**to_model(self.loaded, photo.pixels), return_dict=True)
        pooled = found.pooler_output
        deep = tuple(_rows(part) for part in getattr(found, "deepstack_features", None) or ())
        features = Features(_rows(pooled), deep, listed=not isinstance(pooled, torch.Tensor))
        if len(features.rows) != photo.tokens:
            raise ValueError(f"a photo of {photo.tokens} tokens was encoded as {len(features.rows)}")
        return features

    @torch.inference_mode()
    def prefill(self, first: int, chunks: Sequence[Chunk]) -> torch.Tensor:
        """Read one chunk into each of the slots from ``first`` on. Returns the logits (rows, vocabulary) after each."""
        longest = max(chunk.count for chunk in chunks)
        starts, counts = [chunk.start for chunk in chunks], [chunk.count for chunk in chunks]
        self.cache.window.set(first, starts, counts, self._device)
        tokens = np.stack([_padded(_part(chunk, chunk.prompt.tokens), longest, fill=self._filler) for chunk in chunks])
        positions = np.stack([_padded(_part(chunk, chunk.prompt.positions), longest) for chunk in chunks], axis=1)
        mask = self._prefill_masks(chunks, longest)
        last = self._tensor([[chunk.count - 1] for chunk in chunks])
        with self.loaded.packed:
            return self._forward(
                self._tensor(tokens), self._tensor(positions), mask, self.cache, keep=last, images=_images(chunks)
            )

    def decode(self, first: int, tokens: Sequence[int], positions: np.ndarray, lengths: Sequence[int]) -> torch.Tensor:
        """One more token in each of the slots from ``first`` on, which have ``lengths`` tokens already.

        ``positions``: (d, rows). Returns logits (rows, vocabulary)."""
        inputs = self._inputs(first, tokens, positions, lengths)
        logits = self._compiled(*inputs) if self._compiled is not None and first == 0 else None
        return self._plain_step(*inputs) if logits is None else logits

    def _inputs(
        self, first: int, tokens: Sequence[int], positions: np.ndarray, lengths: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `decode` gives to `_step`; the rest is set in the cache's window."""
        self.cache.window.set(first, lengths, [1] * len(tokens), self._device)
        return self._tensor(tokens)[:, None], self._tensor(positions)[:, :, None]

    def _step(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """`decode` in tensors alone: tokens (rows, 1), positions (d, rows, 1), lengths as the cache's window says."""
        window = self.cache.window
        known, places = window.places[:, None], torch.arange(window.length, device=self._device)[None]
        mask = self._masks((places <= known)[:, None, :], places[None], known[:, :, None])
        return self._forward(tokens, positions, mask, self.cache, keep=1)

    @torch.inference_mode()
    def _plain_step(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        with self.loaded.packed:
            return self._step(tokens, positions)

    @torch.inference_mode()
    def branch(self, slot: int, trunk: Prompt, tails: Sequence[np.ndarray]) -> torch.Tensor:
        """Several continuations of what a slot has read, as one batch; none is kept.

        ``trunk``: what the slot has read; ``tails``: the tokens of each. Returns the logits (rows, vocabulary)
        after each."""
        longest, start = max(map(len, tails)), len(trunk)
        tokens = np.stack([_padded(tail, longest, fill=self._filler) for tail in tails])
        places = np.arange(trunk.next_position, trunk.next_position + longest)
        positions = np.tile(places, (len(trunk.positions), len(tails), 1))
        queries = torch.arange(start, start + longest, device=self._device)[None, :, None]
        keys = torch.arange(start + longest, device=self._device)[None, None, :]
        mask = self._masks((keys <= queries).expand(len(tails), -1, -1), keys, queries)
        last = self._tensor([[len(tail) - 1] for tail in tails])
        with self.loaded.packed:
            branch = self.cache.branch(slot, start)
            return self._forward(self._tensor(tokens), self._tensor(positions), mask, branch, keep=last)

    def check(self) -> None:
        """Read a small photo and a text both ways and compare. Raises what goes wrong, `ValueError` if they differ.

        Leaves the cache with one small slot, from which is known how much memory a token takes."""
        prompt, reference = _probe(self.loaded)
        self._dimensions = len(prompt.positions)
        self.cache.resize(slots=1, capacity=len(prompt))
        features = tuple(self.encode(photo) for photo in prompt.photos)
        middle = prompt.whole_blocks(len(prompt) * 2 // 3, start=0)
        for start, end in ((0, middle), (middle, len(prompt))):
            logits = self.prefill(0, [Chunk(prompt, start, end - start, features)])[0]
        self._compare(logits, reference)

    def step_seconds(self) -> float:
        """How long writing a token in every slot takes; for a trial, before anybody has one."""
        started = perf_counter()
        float(self.decode(*self._trial(self.cache.slots))[0, 0])  # on a GPU nothing is done until it is asked for
        return perf_counter() - started

    def compile(self) -> None:
        """Compile the step that writes, to be used from now on; before anybody has a slot.

        Takes a quarter of a minute, or more. Raises what goes wrong, `ValueError` if the result is not the same."""
        compiled, slots = Compiled(self._step), self.cache.slots
        self.cache.fill_with_noise()  # so that what is masked would show
        try:
            # What is compiled for all the slots would be for exactly so many; for fewer it is for any number but one.
            for rows in dict.fromkeys((max(1, slots - 1), slots, min(2, slots), 1)):
                trial = self._trial(rows)
                right = self.decode(*trial)
                self._compare(compiled.first(*self._inputs(*trial)), right)
        finally:
            for slot in range(slots):
                self.cache.clear(slot)
        self._compiled = compiled

    def use_plain_step(self) -> None:
        """Let go of what `compile` made."""
        self._compiled = None

    @property
    def is_compiled(self) -> bool:
        return self._compiled is not None and not self._compiled.failed

    def _trial(self, rows: int) -> tuple[int, list[int], np.ndarray, list[int]]:
        """Arguments of `decode` for so many rows, each with a length of its own."""
        longest = self.cache.capacity // 8
        lengths = [max(1, longest - row) for row in range(rows)]
        return 0, [self._filler] * rows, np.tile(lengths, (self._dimensions, 1)), lengths

    def _compare(self, found: torch.Tensor, right: torch.Tensor) -> None:
        """Raises `ValueError` if logits differ by more than rounding."""
        spread = float((right.float().max() - right.float().min()).clamp(min=1e-6))
        difference = float((found.float() - right.float()).abs().max()) / spread
        if not difference <= _TOLERANCE.get(self.loaded.model.dtype, 8e-2):
            raise ValueError(f"logits differ by {difference:.3g} of their spread")

    def _forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        mask: Any,
        cache: Any,
        *,
        keep: Any,
        images: dict[str, Any] | None = None,
    ) -> torch.Tensor:
        """tokens (rows, q), positions (d, rows, q). Returns the logits (rows, vocabulary) at ``keep``."""
        more = {"mm_encoder_outputs": images} if images is not None else {}
        logits: torch.Tensor = self.loaded.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions[0] if len(positions) == 1 else positions,
            cache=cache,
            use_cache=True,
            logits_to_keep=keep,
            **more,
        ).logits
        return logits[:, -1]

    def _tensor(self, values: Any) -> torch.Tensor:
        return torch.as_tensor(values, device=self._device)

    def _prefill_masks(self, chunks: Sequence[Chunk], longest: int) -> Any:
        starts = torch.as_tensor([chunk.start for chunk in chunks], device=self._device)[:, None, None]
        queries = starts + torch.arange(longest, device=self._device)[None, :, None]
        keys = torch.arange(self.cache.window.length, device=self._device)[None, None, :]
        allowed = keys <= queries
        if any(chunk.prompt.blocks is not None for chunk in chunks):
            allowed = allowed | self._same_photo(chunks, longest)
        return self._masks(allowed, keys, queries)

    def _same_photo(self, chunks: Sequence[Chunk], longest: int) -> torch.Tensor:
        """(rows, q, kv): whether two tokens are of one photo."""
        length = self.cache.window.length
        asking, asked = [], []
        for chunk in chunks:
            blocks = chunk.prompt.blocks
            read = np.full(length, -1) if blocks is None else blocks[: chunk.start + chunk.count]
            asking.append(_padded(read[chunk.start :], longest, fill=-1))
            asked.append(_padded(read, length, fill=-1))
        q, kv = (torch.as_tensor(np.stack(part), device=self._device) for part in (asking, asked))
        return (q[:, :, None] == kv[:, None, :]) & (q[:, :, None] >= 0)

    def _masks(self, allowed: torch.Tensor, keys: torch.Tensor, queries: torch.Tensor) -> Any:
        """Masks for attention from ``allowed`` (rows, q, kv); by kind of layer where there are several."""
        if self._kinds == {"full_attention"}:
            return self._as_mask(allowed)
        near = allowed & (keys > queries - self._window) if self._window else allowed
        masks = {"full_attention": self._as_mask(allowed), "sliding_attention": self._as_mask(near)}
        return masks if len(self._kinds) > 1 else masks[next(iter(self._kinds))]

    def _as_mask(self, allowed: torch.Tensor) -> torch.Tensor:
        """(rows, 1, q, kv): bool for fused attention, else what is added to the scores."""
        if not self._eager:
            return allowed[:, None]
        dtype = self.loaded.model.dtype
        return torch.where(allowed, 0.0, torch.finfo(dtype).min).to(dtype)[:, None]


def _probe(loaded: LoadedModel) -> tuple[Prompt, torch.Tensor]:
    """A prompt with a photo, and the logits (vocabulary,) after it as the model itself gives them."""
    from PIL import Image

    gradient = np.linspace(0, 255, 96 * 96 * 3).reshape(96, 96, 3).astype(np.uint8)
    photo = Image.fromarray(gradient)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What does this show? " * 4}]}]
    text = rendered(loaded, messages)
    with torch.inference_mode():
        inputs = to_model(loaded, processed(loaded, text, [photo]))
        logits = loaded.model(**inputs, logits_to_keep=1).logits[0, -1]
    return prompt_of(loaded, text, [photo]), logits.float()


def _rows(features: Any) -> torch.Tensor:
    """(n, d): the features of all photos, one row a placeholder."""
    parts = [features] if isinstance(features, torch.Tensor) else list(features)
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


def _part(chunk: Chunk, values: np.ndarray) -> np.ndarray:
    return values[..., chunk.start : chunk.start + chunk.count]


def _padded(values: np.ndarray, length: int, *, fill: int = 0) -> np.ndarray:
    missing = length - values.shape[-1]
    widths = [(0, 0)] * (values.ndim - 1) + [(0, missing)]
    return np.pad(values, widths, constant_values=fill) if missing else values


def _images(chunks: Sequence[Chunk]) -> dict[str, Any] | None:
    """What `get_image_features` would have given for the placeholders in these chunks, row after row."""
    parts: list[Features] = []
    for chunk in chunks:
        first, last = chunk.prompt.photo_tokens(chunk.start, chunk.start + chunk.count)
        if last > first:
            parts.append(_cut(chunk.features, first, last))
    if not parts:
        return None
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    rows = torch.cat([part.rows for part in parts])
    found = BaseModelOutputWithPooling(pooler_output=[rows] if parts[0].listed else rows)
    if parts[0].deep:
        layers = zip(*(part.deep for part in parts), strict=True)
        found.deepstack_features = [[torch.cat(layer)] for layer in layers]
    return {"image": found}


def _cut(features: Sequence[Features], first: int, last: int) -> Features:
    """Rows ``first`` to ``last`` of several photos' features."""
    rows = torch.cat([one.rows for one in features])[first:last]
    deep = tuple(torch.cat(layer)[first:last] for layer in zip(*(one.deep for one in features), strict=True))
    return Features(rows, deep, listed=features[0].listed)
