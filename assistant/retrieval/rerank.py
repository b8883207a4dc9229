"""Reranking (optional): the best passages reordered by a model that reads question and passage together.

The model has little time. If it fails, the order stays as it was. Passages with an identifier of the question stay
first: such a model cannot tell E-21 from E-12.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TypeVar

import structlog

from assistant.ports import Reranker

log = structlog.get_logger(__name__)

# Only these many of the best passages are reranked: the right one is seldom further down.
RERANKED = 20
# Seconds that a model is not asked after it has failed.
_PAUSE = 60.0

Item = TypeVar("Item")


class Reranking:
    """``seconds``: the model's time for one search."""

    def __init__(self, model: Reranker, *, seconds: float) -> None:
        self._model = model
        self._seconds = seconds
        self._quiet_until = 0.0

    def ordered(
        self, question: str, items: Sequence[Item], texts: Sequence[str], carrying: Sequence[bool]
    ) -> list[tuple[Item, float | None]]:
        """The items, best first, each with the model's score, or None if there was no time for it.

        ``items`` come in their old order; ``texts`` and ``carrying`` (has an identifier of the question) go with
        them."""
        scores = self._scores(question, texts[:RERANKED])
        read = list(zip(items, scores, carrying, strict=False))
        # The sort is stable: items with equal scores keep their order.
        read.sort(key=lambda one: (not one[2], -one[1]))
        rest = [(item, None) for item in items[len(read) :]]
        return [*((item, score) for item, score, _ in read), *rest]

    def _scores(self, question: str, texts: Sequence[str]) -> list[float]:
        if monotonic() < self._quiet_until:
            return []
        try:
            return self._model.scores(question, texts, seconds=self._seconds)
        except Exception as error:
            log.warning("reranker.failed", name=self._model.name, error=type(error).__name__)
            self._quiet_until = monotonic() + _PAUSE
            return []
