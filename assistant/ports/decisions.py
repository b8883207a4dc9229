"""Typed questions, answered with a probability for every option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Question:
    """A typed question: the answer is exactly one of ``options``.

    ``descriptions`` may explain the options, in the same order; shown to the model, never returned.
    """

    key: str
    text: str
    options: tuple[str, ...]
    descriptions: tuple[str, ...] = ()
    kind: Literal["choice", "score", "yes_no"] = "choice"


@dataclass(frozen=True)
class Decision:
    """A probability for every option of the question with this ``key``; they sum to 1."""

    key: str
    probabilities: Mapping[str, float]

    @property
    def best(self) -> str:
        return max(self.probabilities, key=lambda option: self.probabilities[option])

    @property
    def probability(self) -> float:
        return self.probabilities[self.best]


class DecisionModel(Protocol):
    """Answers several typed questions about one situation (text and photos)."""

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        """One decision per question, in order. ``photos`` as `media` normalises them."""
        ...
