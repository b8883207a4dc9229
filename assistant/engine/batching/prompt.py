"""Prompts: messages and photos as the model's input. Knows processors and templates, but no weights and no queue.

Built in the caller's thread, so that preparing photos never holds up running requests.
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
    """Input of the vision tower: ``pixels`` are the keyword arguments of the model's ``get_image_features``; ``key`` is
    the digest of these tensors, by which a photo is encoded only once. ``tokens``: its placeholders in the prompt."""

    key: str
    pixels: Mapping[str, Any]
    tokens: int


@dataclass(frozen=True)
class Prompt:
    """A prompt of n tokens, photos' placeholders included.

    ``identity`` (n,) int64: the tokens, but with a photo's own number for its placeholders; prompts share a prefix as
    far as their identities are equal. ``positions`` (d, n): rotary positions, d = 3 for multimodal ones, else 1.
    ``blocks`` (n,): the number of the photo that a token belongs to, else -1, for models in which a photo's tokens
    attend to each other in both directions; else None.
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
        """(n + 1,): how many placeholders precede each token."""
        return np.concatenate([[0], np.cumsum(self.tokens == self.image_token)])

    def photo_tokens(self, start: int, end: int) -> tuple[int, int]:
        """The range of placeholders, counted from the start of the prompt, that ``tokens[start:end]`` contains."""
        rows = self.photo_rows
        return int(rows[min(start, len(self))]), int(rows[min(end, len(self))])

    def chunk_end(self, end: int, *, start: int) -> int:
        """``end``, moved so that no photo of `blocks` is cut: before the photo or, if it is the first, behind it."""
        if self.blocks is None or not 0 < end < len(self) or self.blocks[end] < 0:
            return end
        if self.blocks[end] != self.blocks[end - 1]:
            return end
        inside = np.flatnonzero(self.blocks == self.blocks[end])
        return int(inside[0]) if inside[0] > start else int(inside[-1]) + 1

    def with_tail(self, tokens: Sequence[int]) -> Prompt:
        """The prompt with text tokens appended."""
        more = np.asarray(tokens, dtype=np.int64)
        positions = np.arange(self.next_position, self.next_position + len(more))
        return Prompt(
            tokens=np.concatenate([self.tokens, more]),
            identity=np.concatenate([self.identity, more]),
            positions=np.concatenate([self.positions, np.tile(positions, (len(self.positions), 1))], axis=1),
            next_position=self.next_position + len(more),
            photos=self.photos,
            blocks=None if self.blocks is None else np.concatenate([self.blocks, np.full(len(more), -1)]),
            image_token=self.image_token,
        )

    def head(self, length: int) -> Prompt:
        """The first ``length`` tokens, which must contain all photos."""
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
    """The prompt for a text that is in the model's template already."""
    with loaded.processing:  # tokenizers are not thread-safe
        batch = processed(loaded, text, images)
        photos = _photos(loaded, batch, images)
    tokens = batch["input_ids"][0].numpy().astype(np.int64)
    image_token = image_token_of(loaded)
    positions = _rotary_positions(loaded, batch, len(tokens))
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
    """The id of the placeholder token for photos; -1 if the model has none."""
    config = loaded.model.config
    token = getattr(config, "image_token_id", None)
    return int(token if token is not None else getattr(config, "image_token_index", None) or -1)


def processed(loaded: LoadedModel, text: str, images: Sequence[Any]) -> dict[str, Any]:
    """All of the processor's output for a text and photos: token ids alone would lose the photos."""
    arguments: dict[str, Any] = {"text": [text], "return_tensors": "pt"}
    start = loaded.tokenizer.bos_token
    if start and text.startswith(start):  # from the template: the tokenizer must not add it again
        arguments["add_special_tokens"] = False
    if images:
        arguments["images"] = [list(images)]
    return dict(loaded.processor(**arguments))


def rendered(loaded: LoadedModel, messages: list[dict[str, Any]]) -> str:
    """The messages in the model's own template; system instructions join the first turn if it has no system role.

    Control tokens are removed from the texts first, so that these cannot end their turn or pose as a photo.
    """
    from jinja2 import TemplateError

    messages = _merge_turns([_without_control_tokens(loaded, message) for message in messages])
    # Reasoning before the answer would be streamed to the reader.
    options = {"enable_thinking": False} if "enable_thinking" in str(loaded.processor.chat_template) else {}

    def render(turns: list[dict[str, Any]]) -> str:
        return str(loaded.processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False, **options))

    try:
        return render(messages)
    except TemplateError:
        if messages[0]["role"] != "system":
            raise
        return render(_merge_turns([{**messages[0], "role": "user"}, *messages[1:]]))


def to_model(loaded: LoadedModel, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors on the model's device, floating-point ones in its precision."""
    device, dtype = loaded.model.device, loaded.model.dtype
    return {
        name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
        for name, value in batch.items()
        if hasattr(value, "is_floating_point")
    }


def _photos(loaded: LoadedModel, batch: Mapping[str, Any], images: Sequence[Any]) -> tuple[PhotoInput, ...]:
    """One input for each photo if the model encodes photos separately, else one for all of them."""
    if not images:
        return ()
    image_token = image_token_of(loaded)
    combined = _photo(loaded, batch, image_token)
    if len(images) == 1:
        return (combined,)
    placeholder = rendered(loaded, [{"role": "user", "content": [{"type": "image"}]}])
    separate = [_photo(loaded, processed(loaded, placeholder, [image]), image_token) for image in images]
    return tuple(separate) if sum(photo.tokens for photo in separate) == combined.tokens else (combined,)


def _photo(loaded: LoadedModel, batch: Mapping[str, Any], image_token: int) -> PhotoInput:
    pixels = {name: value for name, value in batch.items() if name in loaded.pixel_names}
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(pixels):
        digest.update(f"{name}{tuple(pixels[name].shape)}".encode())
        digest.update(pixels[name].contiguous().numpy().tobytes())
    return PhotoInput(digest.hexdigest(), pixels, int((batch["input_ids"] == image_token).sum()))


def _identity(tokens: np.ndarray, image_token: int, photos: Sequence[PhotoInput]) -> np.ndarray:
    identity = tokens.copy()
    # Negative, unlike any token.
    numbers = [np.full(photo.tokens, -1 - (int(photo.key[:15], 16) >> 1)) for photo in photos]
    placeholders = np.flatnonzero(tokens == image_token)
    if photos and sum(map(len, numbers)) == len(placeholders):
        identity[placeholders] = np.concatenate(numbers)
    return identity


def _rotary_positions(loaded: LoadedModel, batch: Mapping[str, Any], length: int) -> np.ndarray:
    """(3, n) for models whose positions have time, height and width, else (1, n)."""
    get_rope_index = getattr(loaded.model.model, "get_rope_index", None)
    if get_rope_index is None:
        return np.arange(length)[None]
    names = inspect.signature(get_rope_index).parameters.keys() - {"attention_mask"}
    found, _ = get_rope_index(**{name: value for name, value in batch.items() if name in names})
    positions: np.ndarray = found[:, 0].numpy()
    return positions


def _blocks(loaded: LoadedModel, batch: Mapping[str, Any]) -> np.ndarray | None:
    if "token_type_ids" not in batch or "token_type_ids" not in loaded.forward_names:
        return None
    of_photo = batch["token_type_ids"][0].numpy() == 1
    starts = of_photo & ~np.concatenate([[False], of_photo[:-1]])
    return np.where(of_photo, np.cumsum(starts) - 1, -1)


def _without_control_tokens(loaded: LoadedModel, message: dict[str, Any]) -> dict[str, Any]:
    content = [
        {**block, "text": loaded.without_control_tokens(block["text"])} if block["type"] == "text" else block
        for block in message["content"]
    ]
    return {**message, "content": content}


def _merge_turns(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Consecutive messages of one role become one: several templates refuse two in a row."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"]:
            separator = [{"type": "text", "text": "\n\n"}]
            merged[-1] = {**message, "content": [*merged[-1]["content"], *separator, *message["content"]]}
        else:
            merged.append(message)
    return merged
