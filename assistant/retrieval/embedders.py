"""Which embedder passages are searched with: the database says so, for every process alike.

The embedder of the settings may be another one, whose vectors are still being made (`assistant.knowledge.embedding`).
Until then queries are embedded with the one that is served, which is opened by what the database knows of it.
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
    """The embedder of the settings, and others, each opened once. Thread-safe.

    ``reopen``: an embedder by its source, None if it is not here."""

    def __init__(self, own: Embedder, reopen: Callable[[str], Embedder | None] = lambda _source: None) -> None:
        self.own = own
        self._reopen = reopen
        self._others: dict[str, Embedder | None] = {}
        self._lock = threading.Lock()

    def find(self, model: EmbeddingModel | None) -> Embedder | None:
        """The embedder with this name; None if it cannot be had here. Without a model, the settings' own."""
        if model is None or model.name == self.own.name:
            return self.own
        with self._lock:
            if model.name not in self._others:
                found = self._reopen(model.source)
                self._others[model.name] = found if found is not None and found.name == model.name else None
                if self._others[model.name] is None:
                    log.warning("embedder.missing", name=model.name, advice="searching by words and identifiers")
            return self._others[model.name]
