"""Which embedder passages are searched with: the database decides, so that every process uses the same one.

The settings may name another embedder, whose vectors are still being made (`assistant.knowledge.embedding`). Until they
are complete, queries are embedded with the served one, opened from the source that the database records.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.models import EmbeddingModel, EmbeddingModelState
from assistant.ports import Embedder

log = structlog.get_logger(__name__)


def served(session: Session) -> EmbeddingModel | None:
    """The embedder that is served; None before the first article."""
    return session.scalar(select(EmbeddingModel).where(EmbeddingModel.state == EmbeddingModelState.SERVED))


class Embedders:
    """The settings' embedder and any others, each opened once. Thread-safe.

    ``reopen``: opens an embedder by its source; None if it is not on this machine."""

    def __init__(self, own: Embedder, reopen: Callable[[str], Embedder | None] = lambda _source: None) -> None:
        self.own = own
        self._reopen = reopen
        self._others: dict[str, Embedder | None] = {}
        self._lock = threading.Lock()

    def find(self, model: EmbeddingModel | None) -> Embedder | None:
        """The model's embedder; None if it is not available here. Without a model, the settings' own."""
        if model is None or model.name == self.own.name:
            return self.own
        with self._lock:
            if model.name not in self._others:
                found = self._reopen(model.source)
                self._others[model.name] = found if found is not None and found.name == model.name else None
                if self._others[model.name] is None:
                    log.warning("embedder.missing", name=model.name, advice="searching by words and identifiers")
            return self._others[model.name]
