"""What is asked of the engine, and what comes out: plain values that every part of it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from assistant.ports import WorkPriority


@dataclass(frozen=True)
class GenerationRequest:
    """Chat messages in transformers' form, the photos they refer to (PIL images, in order), and limits.

    ``schema``: a JSON schema that the text will match. ``logprobs``: how many alternatives of each token are told with
    their log-probabilities; None tells none, 0 those of the chosen tokens alone.
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
class Piece:
    """Text that is final: no broken characters, no part of a stop string."""

    text: str


@dataclass(frozen=True)
class TokenLogprob:
    """A token that was chosen, its natural log-probability, and the likeliest ones in its place, best first."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Done:
    """The end of a generation: the model ended it, it reached its length, or it was interrupted."""

    reason: Literal["stop", "length", "interrupted"]
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0  # of the input, how many an earlier request had read already
    first_token_seconds: float = 0.0  # from the request's arrival
    logprobs: tuple[TokenLogprob, ...] = ()
