"""The embedder that the knowledge base is searched with, and changing it without a pause.

When the settings name another embedder, its vectors are made beside those of the one that is served, by a job, batch by
batch; killed, it goes on where it was. Search and imports stay with the old one until no passage is without its new
vector; then the new one is served, in one short transaction that no import can slip past, and the old vectors go.
Only if the old embedder cannot be had any more is the new one served at once: what has no vector yet is then found by
words and identifiers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.db import Database, utcnow
from assistant.desk import learning, queue
from assistant.desk.desk import Desk
from assistant.errors import NotReady
from assistant.knowledge import figures, indexing
from assistant.models import EmbeddingModel, EmbeddingModelState, Job, JobStatus, Passage
from assistant.ports import Embedder, PhotoEmbedder, WorkPriority
from assistant.progress import Progress, both, no_progress, throttled
from assistant.retrieval.embedders import Embedders, served

log = structlog.get_logger(__name__)

EMBED = "embed_articles"  # the job

_SAVE_EVERY = 1.0  # seconds


@dataclass(frozen=True)
class EmbedderStatus:
    """What is served, and what will be; ``done`` of ``total`` passages have a vector of ``wanted``, the one that is
    being made; it is ``served`` itself where the one before could not be had any more."""

    served: str
    wanted: str | None
    done: int
    total: int

    def describe(self) -> str:
        if self.wanted is None:
            return self.served
        made = f"{self.done} of {self.total} passages embedded"
        if self.wanted == self.served:
            return f"{self.served}: {made}; the others are found by words"
        return f"{self.served}, until {self.wanted} is ready: {made}"


def adopt(db: Database, embedders: Embedders, *, pictures: PhotoEmbedder | None = None) -> None:
    """Make the settings' embedder the one that is, or will be, served, and have figures embedded for ``pictures``. Does
    nothing where all is done."""
    if pictures is not None:
        with db.begin() as session:
            if figures.lacks_vectors(session, pictures.name) and not _at_work(session):
                queue.enqueue(session, EMBED, {}, priority=WorkPriority.BATCH)
    own = embedders.own
    with db.read() as session:
        if _is_settled(session, own):
            return
    try:
        _adopt(db, embedders)
    except IntegrityError:  # another process has begun at the same moment
        _adopt(db, embedders)


def serving(desk: Desk) -> Embedder:
    """The embedder that is served. Raises `NotReady` if it cannot be had in this process."""
    with desk.db.read() as session:
        model = served(session)
    return opened(desk.embedders, model)


def opened(embedders: Embedders, model: EmbeddingModel | None) -> Embedder:
    found = embedders.find(model)
    if found is None:
        name = model.name if model is not None else ""
        raise NotReady(f"The articles are searched with {name}, which is not on this machine. Check its settings.")
    return found


def embed(desk: Desk, *, progress: Progress = no_progress) -> EmbedderStatus | None:
    """Make the vectors that are missing, then serve their embedder; old vectors are removed. Safe to run twice, also at
    once. Returns how things stand."""
    while (model := _wanted(desk.db)) is not None:
        embedder = opened(desk.embedders, model)
        save = throttled(partial(_save_progress, desk.db, embedder.name), seconds=_SAVE_EVERY)
        indexing.embed_passages(desk.db, embedder, progress=both(progress, save))
        indexing.embed_headings(desk.db, embedder, progress=progress)
        indexing.index_vectors(desk.db, embedding_model=embedder.name)
        before = _switch(desk.db, embedder.name)
        if before is not None:
            log.info("embedder.served", name=embedder.name, before=before)
            indexing.drop_index(desk.db, embedding_model=before)
    figures.embed_pictures(desk, progress=progress)
    indexing.sweep_vectors(desk.db)
    with desk.db.read() as session:
        return status(session)


def embed_job(desk: Desk) -> None:
    embed(desk)


def status(session: Session) -> EmbedderStatus | None:
    """None before the first article."""
    models = _models(session)
    current, following = models.get(EmbeddingModelState.SERVED), models.get(EmbeddingModelState.NEXT)
    if current is None:
        return None
    wanted = following or (current if current.total else None)
    if wanted is None:
        return EmbedderStatus(current.name, None, 0, 0)
    return EmbedderStatus(current.name, wanted.name, wanted.done, wanted.total)


def _adopt(db: Database, embedders: Embedders) -> None:
    own = embedders.own
    with db.begin() as session:
        models = _models(session, locked=True)
        current = models.get(EmbeddingModelState.SERVED)
        if current is None:
            indexing.hold_served(session, own.name, own.source)
            return
        _await(session, models, own)
        session.execute(update(EmbeddingModel).where(EmbeddingModel.name == own.name).values(source=own.source))
        if _is_settled(session, own):
            return
        following = _models(session).get(EmbeddingModelState.NEXT)
        count = session.execute(select(func.count()).select_from(Passage)).scalar_one()
        if following is not None and (not count or embedders.find(current) is None):
            _serve(session, following)
            following.total = count
        if not _at_work(session):
            queue.enqueue(session, EMBED, {}, priority=WorkPriority.BATCH)
        queue.enqueue(session, learning.LEARN, {}, key=learning.LEARN, priority=WorkPriority.BATCH)


def _models(session: Session, *, locked: bool = False) -> dict[EmbeddingModelState, EmbeddingModel]:
    query = select(EmbeddingModel).order_by(EmbeddingModel.id)
    return {model.state: model for model in session.scalars(query.with_for_update() if locked else query)}


def _is_settled(session: Session, own: Embedder) -> bool:
    """Whether the settings' embedder is served and complete, or a job is seeing to it."""
    models = _models(session)
    following = models.get(EmbeddingModelState.NEXT)
    last = following or models.get(EmbeddingModelState.SERVED)
    if last is None or (last.name, last.source) != (own.name, own.source):
        return False
    return (following is None and not last.total) or _at_work(session)


def _at_work(session: Session) -> bool:
    statuses = (JobStatus.QUEUED, JobStatus.RUNNING)
    return bool(session.scalar(select(exists().where(Job.name == EMBED, Job.status.in_(statuses)))))


def _await(session: Session, models: dict[EmbeddingModelState, EmbeddingModel], own: Embedder) -> None:
    """Note that the settings' embedder is the next to be served, unless it is served."""
    following = models.get(EmbeddingModelState.NEXT)
    if following is not None and following.name == own.name:
        return
    if following is not None:
        session.delete(following)  # the settings have changed again; its vectors are swept away
        session.flush()
    if models[EmbeddingModelState.SERVED].name != own.name:
        session.add(EmbeddingModel(name=own.name, source=own.source, state=EmbeddingModelState.NEXT))
        session.flush()


def _wanted(db: Database) -> EmbeddingModel | None:
    """The embedder whose vectors are to be made."""
    with db.read() as session:
        models = _models(session)
    current, following = models.get(EmbeddingModelState.SERVED), models.get(EmbeddingModelState.NEXT)
    return following or (current if current is not None and current.total else None)


def _switch(db: Database, name: str) -> str | None:
    """Serve the embedder called ``name`` if no passage is without its vector. Returns the name of the one before."""
    with db.begin() as session:
        models = _models(session, locked=True)  # an import that is storing an article holds them: it ends first
        model = next((one for one in models.values() if one.name == name), None)
        if model is None or not indexing.is_complete(session, name):
            return None
        before = models[EmbeddingModelState.SERVED].name
        if model.state is EmbeddingModelState.NEXT:
            _serve(session, model)
        model.done = model.total = 0
        model.changed_at = utcnow()
        return before if before != name else None


def _serve(session: Session, model: EmbeddingModel) -> None:
    before = _models(session).get(EmbeddingModelState.SERVED)
    if before is not None:
        session.delete(before)
        session.flush()  # two are never served, also not between two statements
    model.state, model.changed_at = EmbeddingModelState.SERVED, utcnow()
    session.flush()


def _save_progress(db: Database, name: str, done: int, total: int, _what: str) -> None:
    values = {"done": done, "total": max(total, 1)}
    with db.begin() as session:
        session.execute(update(EmbeddingModel).where(EmbeddingModel.name == name).values(values))
