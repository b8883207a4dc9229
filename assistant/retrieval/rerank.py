"""The best passages once more in order, by a model that reads question and passage together; optional.

It has little time, may fail, and then the order stays. Passages that carry an identifier of the question stay first:
such a model does not tell E-21 from E-12.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TypeVar

import structlog

from assistant.ports import Reranker

log = structlog.get_logger(__name__)

# Passages that are read again: the right one is seldom further behind.
RERANKED = 20
# A model that failed is left alone for so many seconds.
_PAUSE = 60.0

Item = TypeVar("Item")


class Reranking:
    """``seconds``: that the model has for a search."""

    def __init__(self, model: Reranker, *, seconds: float) -> None:
        self._model = model
        self._seconds = seconds
        self._quiet_until = 0.0

    def ordered(
        self, question: str, items: Sequence[Item], texts: Sequence[str], carrying: Sequence[bool]
    ) -> list[tuple[Item, float | None]]:
        """The items, best first, each with the model's score; None where there was no time to read it.

        ``texts`` and ``carrying`` (an identifier of the question) go with ``items``, which are in their old order."""
        scores = self._scores(question, texts[:RERANKED])
        read = list(zip(items, scores, carrying, strict=False))
        # Python's sort is stable: what the model takes for equal stays as it was.
        read.sort(key=lambda one: (not one[2], -one[1]))
        rest = [(item, None) for item in items[len(read) :]]
        return [*((item, score) for item, score, _ in read), *rest]

    def _scores(self, question: str, texts: Sequence[str]) -> list[float]:
        if monotonic() < self._quiet_until:
            return []
        try:
            return self._model.scores(question, texts, seconds=self._seconds)
        except Exception as error:
            log.warning("reranker.failed", name=self._model.name, error=f"{type(error).__name__}: {error}")
            self._quiet_until = monotonic() + _PAUSE
            return []
