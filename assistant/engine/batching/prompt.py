"""Prompts: messages and photos as the model reads them. Knows processors and templates, no weights and no queue.

Made in the caller's thread, so that turning photos into pixels never holds up those who are being answered.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from assistant.engine.loader import LoadedModel


@dataclass(frozen=True)
class PhotoInput:
    """What the vision tower takes: ``pixels`` are the keywords of the model's ``get_image_features``; ``key`` is the
    digest of these tensors, so that the same photo is encoded once. ``tokens``: how many it takes in the prompt."""

    key: str
    pixels: Mapping[str, Any]
    tokens: int


@dataclass(frozen=True)
class Prompt:
    """A prompt of n tokens, photos' placeholders included.

    ``identity`` (n,) int64: the tokens, but a photo's placeholders carry the photo's own number: two prompts are
    alike as far as their identities are. ``positions`` (d, n): rotary positions, d = 3 for multimodal ones, else 1.
    ``blocks`` (n,): the number of the photo that a token belongs to where photos' tokens see each other in both
    directions, else -1; None for models in which they do not.
    """

    tokens: np.ndarray
    identity: np.ndarray
    positions: np.ndarray
    next_position: int
    photos: tuple[PhotoInput, ...] = ()
    blocks: np.ndarray | None = None
    image_token: int = -1

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def photo_rows(self) -> np.ndarray:
        """(n + 1,): how many placeholders stand before each token."""
        return np.concatenate([[0], np.cumsum(self.tokens == self.image_token)])

    def photo_tokens(self, start: int, end: int) -> tuple[int, int]:
        """Which of the photos' placeholders, counted from the prompt's beginning, stand in ``tokens[start:end]``."""
        rows = self.photo_rows
        return int(rows[min(start, len(self))]), int(rows[min(end, len(self))])

    def whole_blocks(self, end: int, *, start: int) -> int:
        """``end``, or the nearest place where no photo that must be read at once is cut: before it, or else after."""
        if self.blocks is None or not 0 < end < len(self) or self.blocks[end] < 0:
            return end
        if self.blocks[end] != self.blocks[end - 1]:
            return end
        inside = np.flatnonzero(self.blocks == self.blocks[end])
        return int(inside[0]) if inside[0] > start else int(inside[-1]) + 1

    def with_tail(self, tokens: Sequence[int]) -> Prompt:
        """The prompt with text tokens appended: its own answer so far, or another question."""
        more = np.asarray(tokens, dtype=np.int64)
        places = np.arange(self.next_position, self.next_position + len(more))
        return Prompt(
            tokens=np.concatenate([self.tokens, more]),
            identity=np.concatenate([self.identity, more]),
            positions=np.concatenate([self.positions, np.tile(places, (len(self.positions), 1))], axis=1),
            next_position=self.next_position + len(more),
            photos=self.photos,
            blocks=None if self.blocks is None else np.concatenate([self.blocks, np.full(len(more), -1)]),
            image_token=self.image_token,
        )

    def head(self, length: int) -> Prompt:
        """The first ``length`` tokens, which hold all photos."""
        return Prompt(
            tokens=self.tokens[:length],
            identity=self.identity[:length],
            positions=self.positions[:, :length],
            next_position=int(self.positions[:, :length].max(initial=-1)) + 1,
            photos=self.photos,
            blocks=None if self.blocks is None else self.blocks[:length],
            image_token=self.image_token,
        )


def make_prompt(loaded: LoadedModel, messages: list[dict[str, Any]], images: Sequence[Any]) -> Prompt:
    """The prompt for chat messages whose image blocks refer to ``images`` in order."""
    return prompt_of(loaded, rendered(loaded, messages), images)


def prompt_of(loaded: LoadedModel, text: str, images: Sequence[Any]) -> Prompt:
    """The prompt for a text in the model's own template."""
    with loaded.processing:  # tokenizers are not made for several threads
        batch = processed(loaded, text, images)
        photos = _photos(loaded, batch, images)
    tokens = batch["input_ids"][0].numpy().astype(np.int64)
    image_token = image_token_of(loaded)
    positions = _positions(loaded, batch, len(tokens))
    return Prompt(
        tokens=tokens,
        identity=_identity(tokens, image_token, photos),
        positions=positions,
        next_position=int(positions.max(initial=-1)) + 1,
        photos=photos,
        blocks=_blocks(loaded, batch),
        image_token=image_token,
    )


def image_token_of(loaded: LoadedModel) -> int:
    """The token that stands for a piece of a photo; -1 if the model has none."""
    config = loaded.model.config
    token = getattr(config, "image_token_id", None)
    return int(token if token is not None else getattr(config, "image_token_index", None) or -1)


def processed(loaded: LoadedModel, text: str, images: Sequence[Any]) -> dict[str, Any]:
    """Everything the processor makes of a text and photos: not the token ids alone, or the photos would vanish."""
    arguments: dict[str, Any] = {"text": [text], "return_tensors": "pt"}
    start = loaded.tokenizer.bos_token
    if start and text.startswith(start):  # the template wrote it: the tokenizer must not write it again
        arguments["add_special_tokens"] = False
    if images:
        arguments["images"] = [list(images)]
    return dict(loaded.processor(**arguments))


def rendered(loaded: LoadedModel, messages: list[dict[str, Any]]) -> str:
    """The messages in the model's own template; instructions go into the first turn where it knows no system role.

    Control tokens are taken out of the texts first: they cannot end their turn or pretend to be a photo.
    """
    from jinja2 import TemplateError

    messages = _alternating([_safe(loaded, message) for message in messages])
    # Reasoning before the answer would be streamed to the reader.
    options = {"enable_thinking": False} if "enable_thinking" in str(loaded.processor.chat_template) else {}

    def render(turns: list[dict[str, Any]]) -> str:
        return str(loaded.processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False, **options))

    try:
        return render(messages)
    except TemplateError:
        if messages[0]["role"] != "system":
            raise
        return render(_alternating([{**messages[0], "role": "user"}, *messages[1:]]))


def to_model(loaded: LoadedModel, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors on the model's device, pixels in its precision."""
    device, dtype = loaded.model.device, loaded.model.dtype
    return {
        name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
        for name, value in batch.items()
        if hasattr(value, "is_floating_point")
    }


def _photos(loaded: LoadedModel, batch: Mapping[str, Any], images: Sequence[Any]) -> tuple[PhotoInput, ...]:
    """One input a photo, where the model takes photos by themselves; else all of them as one."""
    if not images:
        return ()
    image_token = image_token_of(loaded)
    together = _photo(loaded, batch, image_token)
    if len(images) == 1:
        return (together,)
    marker = rendered(loaded, [{"role": "user", "content": [{"type": "image"}]}])
    alone = [_photo(loaded, processed(loaded, marker, [image]), image_token) for image in images]
    return tuple(alone) if sum(photo.tokens for photo in alone) == together.tokens else (together,)


def _photo(loaded: LoadedModel, batch: Mapping[str, Any], image_token: int) -> PhotoInput:
    pixels = {name: value for name, value in batch.items() if name in loaded.pixel_names}
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(pixels):
        digest.update(f"{name}{tuple(pixels[name].shape)}".encode())
        digest.update(pixels[name].contiguous().numpy().tobytes())
    return PhotoInput(digest.hexdigest(), pixels, int((batch["input_ids"] == image_token).sum()))


def _identity(tokens: np.ndarray, image_token: int, photos: Sequence[PhotoInput]) -> np.ndarray:
    identity = tokens.copy()
    # Negative: no token has such a number.
    numbers = [np.full(photo.tokens, -1 - (int(photo.key[:15], 16) >> 1)) for photo in photos]
    places = np.flatnonzero(tokens == image_token)
    if photos and sum(map(len, numbers)) == len(places):
        identity[places] = np.concatenate(numbers)
    return identity


def _positions(loaded: LoadedModel, batch: Mapping[str, Any], length: int) -> np.ndarray:
    """(3, n) for models whose photos have height and width in their positions, else (1, n)."""
    find = getattr(loaded.model.model, "get_rope_index", None)
    if find is None:
        return np.arange(length)[None]
    known = inspect.signature(find).parameters
    found, _ = find(**{name: value for name, value in batch.items() if name in known and name != "attention_mask"})
    positions: np.ndarray = found[:, 0].numpy()
    return positions


def _blocks(loaded: LoadedModel, batch: Mapping[str, Any]) -> np.ndarray | None:
    if "token_type_ids" not in batch or "token_type_ids" not in loaded.forward_names:
        return None
    of_photo = batch["token_type_ids"][0].numpy() == 1
    starts = of_photo & ~np.concatenate([[False], of_photo[:-1]])
    return np.where(of_photo, np.cumsum(starts) - 1, -1)


def _safe(loaded: LoadedModel, message: dict[str, Any]) -> dict[str, Any]:
    content = [
        {**block, "text": loaded.without_control_tokens(block["text"])} if block["type"] == "text" else block
        for block in message["content"]
    ]
    return {**message, "content": content}


def _alternating(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours of the same role as one message: several templates refuse two in a row."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"]:
            between = [{"type": "text", "text": "\n\n"}]
            merged[-1] = {**message, "content": [*merged[-1]["content"], *between, *message["content"]]}
        else:
            merged.append(message)
    return merged
