"""The model runner: forward passes over several sequences, each at its own position. Knows tensors, but no queue.

Runs transformers' models as they are, through a cache whose rows differ in length (`cache`), a four-dimensional mask
and explicit positions. Photos are encoded separately and passed to the language model chunk by chunk. Whether an
architecture can be run like this is not listed anywhere but tried when it is loaded (`Runner.check`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch

from assistant.engine.batching.cache import Features, SlotCache
from assistant.engine.batching.compiled import CompiledStep
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

# Two ways of running a model may differ by rounding and nothing more: this share of the logits' spread.
_TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 8e-2, torch.float16: 3e-2}


@dataclass(frozen=True)
class Chunk:
    """``count`` tokens of a prompt from ``start`` on, for one slot. ``features``: of all the prompt's photos."""

    prompt: Prompt
    start: int
    count: int
    features: tuple[Features, ...] = ()


class Runner:
    """One model with a `SlotCache`, used by one thread only. ``threads``: of torch, for forward passes on a CPU."""

    def __init__(self, loaded: LoadedModel) -> None:
        config = loaded.model.config.get_text_config()
        self.loaded = loaded
        self.cache = SlotCache(layers=config.num_hidden_layers)
        self.threads = torch.get_num_threads()
        self._device = loaded.model.device
        self._sliding_window = getattr(config, "sliding_window", None)
        default = ["sliding_attention" if self._sliding_window else "full_attention"]
        self._layer_types = set(getattr(config, "layer_types", None) or default)
        self._eager = loaded.model.config._attn_implementation == "eager"
        self._dimensions = 1  # of a position; set by `check`
        self._padding = 1 if image_token_of(loaded) == 0 else 0  # a token that does not stand for a photo
        self._compiled: CompiledStep | None = None  # the decode step, once `compile` has checked it

    @torch.inference_mode()
    def encode(self, photo: PhotoInput) -> Features:
        """Run the vision tower: one row for each of the photo's placeholder tokens."""
        with self.loaded.packed:
            output = self.loaded.model.get_image_features(**to_model(self.loaded, photo.pixels), return_dict=True)
        pooled = output.pooler_output
        deep = tuple(_rows(part) for part in getattr(output, "deepstack_features", None) or ())
        features = Features(_rows(pooled), deep, listed=not isinstance(pooled, torch.Tensor))
        if len(features.rows) != photo.tokens:
            raise ValueError(f"a photo with {photo.tokens} placeholders was encoded as {len(features.rows)} rows")
        return features

    @torch.inference_mode()
    def prefill(self, first: int, chunks: Sequence[Chunk]) -> torch.Tensor:
        """Process a chunk in each of the slots from ``first`` on. Returns the logits (rows, vocabulary) after each."""
        longest = max(chunk.count for chunk in chunks)
        starts, counts = [chunk.start for chunk in chunks], [chunk.count for chunk in chunks]
        self.cache.context.set(first, starts, counts, self._device)
        tokens = np.stack([_pad(_slice(chunk, chunk.prompt.tokens), longest, fill=self._padding) for chunk in chunks])
        positions = np.stack([_pad(_slice(chunk, chunk.prompt.positions), longest) for chunk in chunks], axis=1)
        mask = self._prefill_mask(chunks, longest)
        last = self._tensor([[chunk.count - 1] for chunk in chunks])
        with self.loaded.packed:
            return self._forward(
                self._tensor(tokens), self._tensor(positions), mask, self.cache, logits_at=last, images=_images(chunks)
            )

    def decode(self, first: int, tokens: Sequence[int], positions: np.ndarray, lengths: Sequence[int]) -> torch.Tensor:
        """Process one token in each of the slots from ``first`` on, which hold ``lengths`` tokens.

        ``positions``: (d, rows). Returns the logits (rows, vocabulary)."""
        inputs = self._decode_inputs(first, tokens, positions, lengths)
        logits = self._compiled(*inputs) if self._compiled is not None and first == 0 else None
        return self._decode_eagerly(*inputs) if logits is None else logits

    def _decode_inputs(
        self, first: int, tokens: Sequence[int], positions: np.ndarray, lengths: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The arguments of `_decode_step`; sets the cache's context, which it reads too."""
        self.cache.context.set(first, lengths, [1] * len(tokens), self._device)
        return self._tensor(tokens)[:, None], self._tensor(positions)[:, :, None]

    def _decode_step(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """`decode` on tensors only: tokens (rows, 1), positions (d, rows, 1), lengths from the cache's context."""
        context = self.cache.context
        queries, keys = context.offsets[:, None], torch.arange(context.length, device=self._device)[None]
        mask = self._mask((keys <= queries)[:, None, :], keys[None], queries[:, :, None])
        return self._forward(tokens, positions, mask, self.cache, logits_at=1)

    @torch.inference_mode()
    def _decode_eagerly(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        with self.loaded.packed:
            return self._decode_step(tokens, positions)

    @torch.inference_mode()
    def prefill_suffixes(self, slot: int, prefix: Prompt, suffixes: Sequence[np.ndarray]) -> torch.Tensor:
        """Process several continuations of ``prefix``, which the slot holds, as one batch; none is stored.

        ``suffixes``: token ids. Returns the logits (rows, vocabulary) after each."""
        longest, start = max(map(len, suffixes)), len(prefix)
        tokens = np.stack([_pad(suffix, longest, fill=self._padding) for suffix in suffixes])
        positions = np.arange(prefix.next_position, prefix.next_position + longest)
        positions = np.tile(positions, (len(prefix.positions), len(suffixes), 1))
        queries = torch.arange(start, start + longest, device=self._device)[None, :, None]
        keys = torch.arange(start + longest, device=self._device)[None, None, :]
        mask = self._mask((keys <= queries).expand(len(suffixes), -1, -1), keys, queries)
        last = self._tensor([[len(suffix) - 1] for suffix in suffixes])
        with self.loaded.packed:
            fork = self.cache.fork(slot, start)
            return self._forward(self._tensor(tokens), self._tensor(positions), mask, fork, logits_at=last)

    def check(self) -> None:
        """Process a small photo and a text in chunks and in one plain forward pass, and compare. Raises whatever goes
        wrong, `ValueError` if the logits differ.

        Leaves one small slot in the cache, which shows how much memory a token takes."""
        prompt, reference = _reference(self.loaded)
        self._dimensions = len(prompt.positions)
        self.cache.resize(slots=1, capacity=len(prompt))
        features = tuple(self.encode(photo) for photo in prompt.photos)
        middle = prompt.chunk_end(len(prompt) * 2 // 3, start=0)
        for start, end in ((0, middle), (middle, len(prompt))):
            logits = self.prefill(0, [Chunk(prompt, start, end - start, features)])[0]
        self._compare(logits, reference)

    def decode_seconds(self) -> float:
        """How long a decode step with every slot occupied takes; a dummy run, while no slot is in use."""
        started = perf_counter()
        float(self.decode(*self._dummy_rows(self.cache.slots))[0, 0])  # waits for a GPU, which runs asynchronously
        return perf_counter() - started

    def compile(self, is_closing: Callable[[], bool]) -> None:
        """Compile the decode step and use it from now on; to be called while no slot is in use.

        Takes a quarter of a minute or more. Raises whatever goes wrong, `ValueError` if the logits differ; compiles
        nothing more once ``is_closing``."""
        compiled, slots = CompiledStep(self._decode_step), self.cache.slots
        self.cache.fill_with_noise()  # so that a wrong mask shows
        try:
            # Compiled for all slots first, it would be specialised to that number; for fewer it takes any but one.
            for rows in dict.fromkeys((max(1, slots - 1), slots, min(2, slots), 1)):
                dummy = self._dummy_rows(rows)
                expected = self.decode(*dummy)
                self._compare(compiled.compile(*self._decode_inputs(*dummy), is_closing=is_closing), expected)
        finally:
            for slot in range(slots):
                self.cache.clear(slot)
        self._compiled = compiled

    def discard_compiled(self) -> None:
        """Decode eagerly again."""
        self._compiled = None

    @property
    def is_compiled(self) -> bool:
        return self._compiled is not None and not self._compiled.failed

    def _dummy_rows(self, rows: int) -> tuple[int, list[int], np.ndarray, list[int]]:
        """Arguments of `decode` for so many rows of different lengths."""
        longest = self.cache.capacity // 8
        lengths = [max(1, longest - row) for row in range(rows)]
        return 0, [self._padding] * rows, np.tile(lengths, (self._dimensions, 1)), lengths

    def _compare(self, logits: torch.Tensor, expected: torch.Tensor) -> None:
        """Raises `ValueError` if they differ by more than rounding."""
        spread = float((expected.float().max() - expected.float().min()).clamp(min=1e-6))
        difference = float((logits.float() - expected.float()).abs().max()) / spread
        if not difference <= _TOLERANCE.get(self.loaded.model.dtype, 8e-2):
            raise ValueError(f"logits differ by {difference:.3g} of their spread")

    def _forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        mask: Any,
        cache: Any,
        *,
        logits_at: Any,
        images: dict[str, Any] | None = None,
    ) -> torch.Tensor:
        """tokens (rows, q), positions (d, rows, q). Returns the logits (rows, vocabulary) at ``logits_at``."""
        optional = {"mm_encoder_outputs": images} if images is not None else {}
        logits: torch.Tensor = self.loaded.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions[0] if len(positions) == 1 else positions,
            cache=cache,
            use_cache=True,
            logits_to_keep=logits_at,
            **optional,
        ).logits
        return logits[:, -1]

    def _tensor(self, values: Any) -> torch.Tensor:
        return torch.as_tensor(values, device=self._device)

    def _prefill_mask(self, chunks: Sequence[Chunk], longest: int) -> Any:
        starts = torch.as_tensor([chunk.start for chunk in chunks], device=self._device)[:, None, None]
        queries = starts + torch.arange(longest, device=self._device)[None, :, None]
        keys = torch.arange(self.cache.context.length, device=self._device)[None, None, :]
        allowed = keys <= queries
        if any(chunk.prompt.blocks is not None for chunk in chunks):
            allowed = allowed | self._same_photo(chunks, longest)
        return self._mask(allowed, keys, queries)

    def _same_photo(self, chunks: Sequence[Chunk], longest: int) -> torch.Tensor:
        """(rows, q, kv): whether two tokens belong to the same photo."""
        length = self.cache.context.length
        query_blocks, key_blocks = [], []
        for chunk in chunks:
            blocks = chunk.prompt.blocks
            keys = np.full(length, -1) if blocks is None else blocks[: chunk.start + chunk.count]
            query_blocks.append(_pad(keys[chunk.start :], longest, fill=-1))
            key_blocks.append(_pad(keys, length, fill=-1))
        q, kv = (self._tensor(np.stack(blocks)) for blocks in (query_blocks, key_blocks))
        return (q[:, :, None] == kv[:, None, :]) & (q[:, :, None] >= 0)

    def _mask(self, allowed: torch.Tensor, keys: torch.Tensor, queries: torch.Tensor) -> Any:
        """The attention mask from ``allowed`` (rows, q, kv); a dictionary by layer type where there are several."""
        if self._layer_types == {"full_attention"}:
            return self._as_mask(allowed)
        near = allowed & (keys > queries - self._sliding_window) if self._sliding_window else allowed
        masks = {"full_attention": self._as_mask(allowed), "sliding_attention": self._as_mask(near)}
        return masks if len(self._layer_types) > 1 else masks[next(iter(self._layer_types))]

    def _as_mask(self, allowed: torch.Tensor) -> torch.Tensor:
        """(rows, 1, q, kv): bool for fused attention, else added to the scores."""
        if not self._eager:
            return allowed[:, None]
        dtype = self.loaded.model.dtype
        return torch.where(allowed, 0.0, torch.finfo(dtype).min).to(dtype)[:, None]


def _reference(loaded: LoadedModel) -> tuple[Prompt, torch.Tensor]:
    """A prompt with a photo, and the logits (vocabulary,) after it from a plain forward pass."""
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
    """(n, d): the features of all photos, one row for each placeholder token."""
    parts = [features] if isinstance(features, torch.Tensor) else list(features)
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


def _slice(chunk: Chunk, values: np.ndarray) -> np.ndarray:
    return values[..., chunk.start : chunk.start + chunk.count]


def _pad(values: np.ndarray, length: int, *, fill: int = 0) -> np.ndarray:
    missing = length - values.shape[-1]
    widths = [(0, 0)] * (values.ndim - 1) + [(0, missing)]
    return np.pad(values, widths, constant_values=fill) if missing else values


def _images(chunks: Sequence[Chunk]) -> dict[str, Any] | None:
    """What `get_image_features` would return for the placeholder tokens in these chunks, row after row."""
    parts: list[Features] = []
    for chunk in chunks:
        first, last = chunk.prompt.photo_tokens(chunk.start, chunk.start + chunk.count)
        if last > first:
            parts.append(_slice_features(chunk.features, first, last))
    if not parts:
        return None
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    rows = torch.cat([part.rows for part in parts])
    output = BaseModelOutputWithPooling(pooler_output=[rows] if parts[0].listed else rows)
    if parts[0].deep:
        layers = zip(*(part.deep for part in parts), strict=True)
        output.deepstack_features = [[torch.cat(layer)] for layer in layers]
    return {"image": output}


def _slice_features(features: Sequence[Features], first: int, last: int) -> Features:
    """Rows ``first`` to ``last`` of several photos' features, end to end."""
    rows = torch.cat([one.rows for one in features])[first:last]
    deep = tuple(torch.cat(layer)[first:last] for layer in zip(*(one.deep for one in features), strict=True))
    return Features(rows, deep, listed=features[0].listed)
