"""The embedder that the knowledge base is searched with, and switching it without a pause.

When the settings name another embedder, a job makes its vectors beside those of the served one, batch by batch, and
resumes after a kill. Search and imports stay with the old embedder until every passage has its new vector. Then the new
one is served, in one short transaction that no import can slip past, and the old vectors are deleted. Only if the old
embedder is no longer available is the new one served at once; passages without a vector are then found by words and
identifiers.

A second embedder may read what the served one does not. Imports store its vectors too; where it is new, the same job
makes those of the passages that were there before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import and_, exists, func, select, update
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
    """What is served, and what will be. ``done`` of ``total`` passages have a vector of ``wanted``, whose vectors are
    being made; that is ``served`` itself if the one before was no longer available."""

    served: str
    wanted: str | None
    done: int
    total: int

    def describe(self) -> str:
        if self.wanted is None:
            return self.served
        progress = f"{self.done} of {self.total} passages embedded"
        if self.wanted == self.served:
            return f"{self.served}: {progress}; the others are found by words"
        return f"{self.served}, until {self.wanted} is ready: {progress}"


def adopt(db: Database, embedders: Embedders, *, pictures: PhotoEmbedder | None = None) -> None:
    """Make the settings' embedder the one that is or will be served, and have figures embedded with ``pictures`` and
    the units of passages with what is served. A no-op if that is done."""
    with db.read() as session:
        is_done = _needs_nothing(session, embedders.own)
    if not is_done:
        try:
            _adopt(db, embedders)
        except IntegrityError:  # another process did so at the same moment
            _adopt(db, embedders)
    adopt_second(db, embedders)
    with db.read() as session:
        current = served(session)
        lacking = current is not None and indexing.lacks_units(session, current.name)
        lacking |= pictures is not None and figures.lacks_vectors(session, pictures.name)
    if lacking:
        with db.begin() as session:
            if not _job_exists(session):
                queue.enqueue(session, EMBED, {}, priority=WorkPriority.BATCH)


def adopt_second(db: Database, embedders: Embedders) -> None:
    """Keep vectors of the second embedder from now on, or no longer if the settings' reads every language. If its
    package is missing, what there is stays."""
    own, second = embedders.own, embedders.second_to(embedders.own)
    if second is None and own.languages:
        return
    with db.begin() as session:
        current = _models(session).get(EmbeddingModelState.SECOND)
        if current is not None and (second is None or current.name != second.name):
            session.delete(current)
            session.flush()
        if second is None:
            return
        if current is None or current.name != second.name:
            session.add(EmbeddingModel(name=second.name, source=second.source, state=EmbeddingModelState.SECOND))
            session.flush()
        lacking = not indexing.is_complete(session, second.name) or _unmeasured(session, second)
        lacking |= indexing.lacks_units(session, second.name)
        if lacking and not _job_exists(session):
            queue.enqueue(session, EMBED, {}, priority=WorkPriority.BATCH)


def serving(desk: Desk) -> Embedder:
    """The embedder that is served. Raises `NotReady` if it is not available in this process."""
    with desk.db.read() as session:
        model = served(session)
    return open_embedder(desk.embedders, model)


def open_embedder(embedders: Embedders, model: EmbeddingModel | None) -> Embedder:
    found = embedders.find(model)
    if found is None:
        name = model.name if model is not None else ""
        raise NotReady(
            f"Articles are searched with {name}, which is not on this machine. Check the embedding settings."
        )
    return found


def embed(desk: Desk, *, progress: Progress = no_progress) -> EmbedderStatus | None:
    """Make the vectors that are missing, then serve their embedder and delete old vectors. May run twice, even at the
    same time. Returns the status."""
    while (model := _next_to_embed(desk.db)) is not None:
        embedder = open_embedder(desk.embedders, model)
        save = throttled(partial(_save_progress, desk.db, embedder.name), seconds=_SAVE_EVERY)
        indexing.embed_passages(desk.db, embedder, progress=both(progress, save))
        indexing.embed_headings(desk.db, embedder, progress=progress)
        indexing.embed_units(desk.db, embedder, progress=progress)
        indexing.index_vectors(desk.db, embedding_model=embedder.name)
        indexing.calibrate(desk.db, embedder)
        before = _switch(desk.db, embedder.name)
        if before is not None:
            log.info("embedder.served", name=embedder.name, before=before)
            indexing.drop_index(desk.db, embedding_model=before)
    _complete(desk, progress)
    figures.embed_pictures(desk, progress=progress)
    indexing.sweep_vectors(desk.db)
    with desk.db.read() as session:
        return status(session)


def _complete(desk: Desk, progress: Progress) -> None:
    """Make the vectors of the second embedder that are missing, those of units, and scales that have not been
    measured."""
    own = desk.embedders.own
    second = desk.embedders.second_to(own)
    if second is not None:
        with desk.db.read() as session:
            was_complete = indexing.is_complete(session, second.name)
        save = throttled(partial(_save_progress, desk.db, second.name), seconds=_SAVE_EVERY)
        indexing.embed_passages(desk.db, second, progress=progress if was_complete else both(progress, save))
        indexing.embed_headings(desk.db, second, progress=progress)
        indexing.index_vectors(desk.db, embedding_model=second.name)
        if not was_complete:
            done = {"done": 0, "total": 0, "changed_at": utcnow()}  # whoever searches reads the vectors anew
            with desk.db.begin() as session:
                session.execute(update(EmbeddingModel).where(EmbeddingModel.name == second.name).values(done))
    for embedder in (own, second):
        if embedder is not None:
            if unmeasured(desk.db, embedder):
                indexing.calibrate(desk.db, embedder)
            indexing.embed_units(desk.db, embedder, progress=progress)


def unmeasured(db: Database, embedder: Embedder) -> bool:
    """Whether the embedder still has to be calibrated."""
    with db.read() as session:
        return _unmeasured(session, embedder)


def _unmeasured(session: Session, embedder: Embedder) -> bool:
    """Whether its vectors are kept but not what is measured of them."""
    lacking = exists().where(EmbeddingModel.name == embedder.name, EmbeddingModel.own.is_(None))
    return bool(session.scalar(select(and_(lacking, exists(select(Passage.id))))))


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
        _set_next(session, models, own)
        session.execute(update(EmbeddingModel).where(EmbeddingModel.name == own.name).values(source=own.source))
        if _needs_nothing(session, own):
            return
        following = _models(session).get(EmbeddingModelState.NEXT)
        count = session.execute(select(func.count()).select_from(Passage)).scalar_one()
        if following is not None and (not count or embedders.find(current) is None):
            _serve(session, following)
            following.total = count
        if not _job_exists(session):
            queue.enqueue(session, EMBED, {}, priority=WorkPriority.BATCH)
        queue.enqueue(session, learning.LEARN, {}, key=learning.LEARN, priority=WorkPriority.BATCH)


def _models(session: Session, *, locked: bool = False) -> dict[EmbeddingModelState, EmbeddingModel]:
    query = select(EmbeddingModel).order_by(EmbeddingModel.id)
    return {model.state: model for model in session.scalars(query.with_for_update() if locked else query)}


def _needs_nothing(session: Session, own: Embedder) -> bool:
    """Whether the settings' embedder is served and complete, or a job is working on it."""
    models = _models(session)
    following = models.get(EmbeddingModelState.NEXT)
    last = following or models.get(EmbeddingModelState.SERVED)
    if last is None or (last.name, last.source) != (own.name, own.source):
        return False
    done = following is None and not last.total and not _unmeasured(session, own)
    return done or _job_exists(session)


def _job_exists(session: Session) -> bool:
    statuses = (JobStatus.QUEUED, JobStatus.RUNNING)
    return bool(session.scalar(select(exists().where(Job.name == EMBED, Job.status.in_(statuses)))))


def _set_next(session: Session, models: dict[EmbeddingModelState, EmbeddingModel], own: Embedder) -> None:
    """Record that the settings' embedder is to be served next, unless it is served."""
    following = models.get(EmbeddingModelState.NEXT)
    if following is not None and following.name == own.name:
        return
    if following is not None:
        session.delete(following)  # the settings have changed again; its vectors will be swept
        session.flush()
    if models[EmbeddingModelState.SERVED].name != own.name:
        session.add(EmbeddingModel(name=own.name, source=own.source, state=EmbeddingModelState.NEXT))
        session.flush()


def _next_to_embed(db: Database) -> EmbeddingModel | None:
    """The embedder whose vectors are to be made, if any."""
    with db.read() as session:
        models = _models(session)
    current, following = models.get(EmbeddingModelState.SERVED), models.get(EmbeddingModelState.NEXT)
    return following or (current if current is not None and current.total else None)


def _switch(db: Database, name: str) -> str | None:
    """Serve the embedder called ``name`` if every passage has its vector. Returns the name of the one before."""
    with db.begin() as session:
        models = _models(session, locked=True)  # waits for imports that are storing an article
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
        session.flush()  # two are never served, not even between two statements
    model.state, model.changed_at = EmbeddingModelState.SERVED, utcnow()
    session.flush()


def _save_progress(db: Database, name: str, done: int, total: int, _what: str) -> None:
    values = {"done": done, "total": max(total, 1)}
    with db.begin() as session:
        session.execute(update(EmbeddingModel).where(EmbeddingModel.name == name).values(values))
