"""Typed questions, answered with a probability for every option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal, Protocol

from assistant.errors import Invalid

# Options are answered by a letter.
MOST_OPTIONS = len(ascii_uppercase)


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

    @classmethod
    def from_weights(cls, question: Question, weights: Mapping[str, float]) -> Decision:
        """The weights of the question's options as probabilities, none of them zero."""
        positive = {option: max(float(weights[option]), 1e-9) for option in question.options}
        total = sum(positive.values())
        return cls(question.key, {option: weight / total for option, weight in positive.items()})

    @property
    def best(self) -> str:
        return max(self.probabilities, key=lambda option: self.probabilities[option])

    @property
    def probability(self) -> float:
        return self.probabilities[self.best]


def check_questions(questions: Sequence[Question]) -> None:
    """Raise `Invalid` for duplicate keys, too few or too many options, or descriptions that do not match them."""
    keys = [question.key for question in questions]
    if len(set(keys)) != len(keys):
        raise Invalid("Two questions have the same key.", field="questions")
    for question in questions:
        if not 2 <= len(set(question.options)) == len(question.options) <= MOST_OPTIONS:
            raise Invalid(f"{question.key} needs 2 to {MOST_OPTIONS} different options.", field="questions")
        if question.descriptions and len(question.descriptions) != len(question.options):
            raise Invalid(f"{question.key} needs a description for every option, or for none.", field="questions")


class DecisionModel(Protocol):
    """Answers several typed questions about one situation (text and photos)."""

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        """One decision per question, in order. ``photos`` as `media` normalises them."""
        ...
