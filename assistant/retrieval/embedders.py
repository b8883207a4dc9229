"""Which embedder passages are searched with: the database decides, so that every process uses the same one.

The settings may name another embedder, whose vectors are still being made (`assistant.knowledge.embedding`). Until they
are complete, queries are embedded with the served one, opened from the source that the database records.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.models import EmbeddingModel, EmbeddingModelState
from assistant.ports import Embedder, Scale, Standing
from assistant.text.languages import SURE, detect

log = structlog.get_logger(__name__)


def served(session: Session) -> EmbeddingModel | None:
    """The embedder that is served; None before the first article."""
    return session.scalar(select(EmbeddingModel).where(EmbeddingModel.state == EmbeddingModelState.SERVED))


def reader_of(text: str, first: Embedder, second: Embedder | None) -> tuple[Embedder, str | None]:
    """The embedder that reads the text, and the text's language if it is certain that none does."""
    language, confidence = detect(text)
    if first.reads(language):
        return first, None
    if second is not None and second.reads(language):
        return second, None  # however uncertain: it reads what the first does too, nearly as well
    return first, language if confidence > SURE else None


@dataclass(frozen=True)
class Kept:
    """The embedders whose vectors are kept: when each was served or became complete, its scale, and the standing of
    passages by it, by its name."""

    changed_at: Mapping[str, datetime]
    scales: Mapping[str, Scale]
    standings: Mapping[str, Standing]

    def scale(self, embedder: Embedder) -> Scale | None:
        """None until it is measured: in a first import, or while a job makes vectors of a new embedder."""
        return embedder.scale or self.scales.get(embedder.name)


def kept(session: Session) -> Kept:
    rows = session.scalars(select(EmbeddingModel)).all()
    measured = {
        row.name: Scale(row.floor, row.slope) for row in rows if row.floor is not None and row.slope is not None
    }
    standings = {
        row.name: Standing(row.own, row.others) for row in rows if row.own is not None and row.others is not None
    }
    return Kept({row.name: row.changed_at for row in rows}, measured, standings)


class Embedders:
    """The settings' embedder and any others, each opened once. Thread-safe.

    ``reopen``: opens an embedder by its source; None if it is not on this machine. ``second``: reads more languages."""

    def __init__(
        self,
        own: Embedder,
        reopen: Callable[[str], Embedder | None] = lambda _source: None,
        second: Embedder | None = None,
    ) -> None:
        self.own = own
        self._second = second
        self._reopen = reopen
        self._others: dict[str, Embedder | None] = {}
        self._lock = threading.Lock()

    def second_to(self, first: Embedder) -> Embedder | None:
        """Reads what ``first`` does not; None if that reads every language, or if there is no such embedder here."""
        return self._second if first.languages and self._second != first else None

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
