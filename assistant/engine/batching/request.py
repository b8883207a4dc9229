"""What callers ask of the engine and what they get back: plain values that every part of it shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from assistant.ports import WorkPriority


@dataclass(frozen=True)
class Limits:
    """``slots``: requests served at once, fewer if they do not fit into ``memory_share`` of the memory left free by the
    model. ``capacity``: tokens of a slot. ``chunk_seconds``: how long a step may prefill while others decode.
    ``compile``: whether to compile the decode step when the model is loaded."""

    slots: int = 16
    capacity: int = 4096
    memory_share: float = 0.6
    chunk_seconds: float = 0.15
    compile: bool = False


@dataclass(frozen=True)
class GenerationRequest:
    """Chat messages in transformers' form, the photos they refer to (PIL images, in order), and sampling parameters.

    ``schema``: a JSON schema that constrains the text. ``logprobs``: how many alternatives to report per token with
    their log-probabilities; 0 reports the chosen tokens only, None nothing.
    """

    messages: list[dict[str, Any]]
    images: list[Any] = field(default_factory=list)
    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    logprobs: int | None = None
    priority: WorkPriority = WorkPriority.INTERACTIVE


@dataclass(frozen=True)
class TextDelta:
    """Newly generated text. It is final: it ends in no partial character and in no part of a stop string."""

    text: str


@dataclass(frozen=True)
class TokenLogprob:
    """A sampled token, its natural log-probability, and the likeliest tokens in its place, best first."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Done:
    """The end of a generation, and why it ended: end-of-sequence token, stop string or complete schema; its length
    limit; or an interruption."""

    reason: Literal["stop", "length", "interrupted"]
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0  # input tokens found in the prefix cache
    first_token_seconds: float = 0.0  # since the request arrived
    logprobs: tuple[TokenLogprob, ...] = ()
