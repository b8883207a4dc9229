"""Batches: many tickets assessed without storing them as tickets, when nobody else waits for a model.

The same skills as for one at a time, so the same results. Where a model takes part in triage, several tickets are
assessed at once, so that the engine decodes them in one batch. Without one they go one by one: embedding several
together saves nothing on a processor, and quantized embedders then say something else of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, func, null, or_, select
from sqlalchemy.orm import Session, selectinload

from assistant.db import Database, utcnow
from assistant.desk import api_keys, inboxes, queue, uploads
from assistant.desk.access import MachinePrincipal
from assistant.desk.assess import assess
from assistant.desk.desk import Desk
from assistant.errors import AssistantError, Conflict, Invalid, NotFound
from assistant.faults import passing_fault
from assistant.models import Batch, BatchFile, BatchItem
from assistant.ports import WorkPriority, at_priority, within

log = structlog.get_logger(__name__)

RUN = "run_batch"
MOST_ITEMS = 500
MOST_BATCHES = 10  # of a key, that are not done
KEEP = timedelta(days=1)
_TOGETHER = 16
# After this long, others have their turn.
_TURN = timedelta(seconds=10)


@dataclass(frozen=True)
class Item:
    """``reference``: the caller's own id of it, which comes back with the result. ``attachments``: ids of uploads,
    whose files are kept until they have been read."""

    text: str
    subject: str = ""
    reference: str | None = None
    attachments: tuple[str, ...] = ()
    language: str | None = None


@dataclass(frozen=True)
class Progress:
    batch: Batch
    done: int
    failed: int
    jobs_ahead: int | None  # None once it has been begun, and while it waits for its next turn


def add(
    session: Session,
    machine: MachinePrincipal,
    items: Sequence[Item],
    *,
    inbox: str,
    with_draft: bool = True,
    priority: WorkPriority = WorkPriority.BATCH,
    deadline: timedelta | None = None,
) -> Batch:
    """``deadline``: what is not done so long from now fails.

    Raises `Invalid` for too many items or none, or an upload that there is not, `Conflict` while too many batches of
    the key are not done."""
    if not 0 < len(items) <= MOST_ITEMS:
        raise Invalid(f"A batch has 1 to {MOST_ITEMS} tickets.", field="tickets")
    inboxes.for_machine(session, machine, inbox)
    waiting = select(func.count(Batch.id)).where(Batch.api_key_id == machine.key_id, Batch.finished_at.is_(None))
    if session.scalars(waiting).one() >= MOST_BATCHES:
        raise Conflict(f"{MOST_BATCHES} batches of this key are not done yet. Wait for one of them.")
    batch = Batch(
        api_key_id=machine.key_id,
        inbox=inbox,
        with_draft=with_draft,
        total=len(items),
        priority=priority,
        deadline_at=utcnow() + deadline if deadline is not None else None,
    )
    session.add(batch)
    session.flush()
    files = uploads.find_each(session, machine, [one.attachments for one in items], now=utcnow(), lock=True)
    session.add_all(
        BatchItem(
            batch_id=batch.id,
            position=number,
            reference=one.reference,
            subject=one.subject,
            text=one.text,
            language=one.language,
            files=[BatchFile(kind=file.kind, sha256=file.sha256, filename=file.filename) for file in its],
        )
        for number, (one, its) in enumerate(zip(items, files, strict=True))
    )
    _enqueue(session, batch)
    return batch


def find(session: Session, machine: MachinePrincipal, public_id: str) -> Progress:
    """Of the machine's own. Raises `NotFound`."""
    batch = session.scalar(select(Batch).where(Batch.public_id == public_id, Batch.api_key_id == machine.key_id))
    if batch is None:
        raise NotFound("There is no such batch. They are kept for a day once they are done.")
    over = select(func.count(BatchItem.id)).where(BatchItem.batch_id == batch.id)
    failed = session.scalars(over.where(BatchItem.error.is_not(None))).one()
    done = failed + session.scalars(over.where(BatchItem.result.is_not(None))).one()
    ahead = queue.jobs_ahead(session, RUN, {"batch_id": batch.id}, now=utcnow()) if not done else None
    return Progress(batch, done, failed, ahead)


def results(session: Session, batch: Batch, *, after: int = -1, limit: int = 100) -> Sequence[BatchItem]:
    """What is done, in the order in which it was sent, after the position ``after``."""
    done = or_(BatchItem.result.is_not(None), BatchItem.error.is_not(None))
    query = select(BatchItem).where(BatchItem.batch_id == batch.id, BatchItem.position > after, done)
    return session.scalars(query.order_by(BatchItem.position).limit(limit)).all()


def remove(session: Session, batch: Batch) -> None:
    """With all that it says. What is being worked on ends without a trace."""
    session.execute(delete(BatchItem).where(BatchItem.batch_id == batch.id))
    session.delete(batch)


def run(desk: Desk, batch_id: int) -> None:
    """Job: assess the next tickets of a batch; a job for the rest is enqueued."""
    ends_at = desk.now() + _TURN
    while some := _next(desk, batch_id):
        _assess_all(desk, batch_id, some)
        if desk.now() >= ends_at:
            with desk.db.begin() as session:
                if (batch := session.get(Batch, batch_id)) is not None:
                    _enqueue(session, batch)
            return
    with desk.db.begin() as session:
        batch = session.get(Batch, batch_id)
        if batch is not None:
            batch.finished_at = desk.now()


def sweep(db: Database, *, now: datetime) -> None:
    with db.begin() as session:
        old = select(Batch).where(Batch.finished_at < now - KEEP)
        for batch in session.scalars(old):
            remove(session, batch)


def _next(desk: Desk, batch_id: int) -> Sequence[BatchItem]:
    waiting = select(BatchItem).where(
        BatchItem.batch_id == batch_id, BatchItem.result.is_(None), BatchItem.error.is_(None)
    )
    with desk.db.read() as session:
        query = waiting.options(selectinload(BatchItem.files)).order_by(BatchItem.position)
        return session.scalars(query.limit(_TOGETHER)).all()


def _assess_all(desk: Desk, batch_id: int, items: Sequence[BatchItem]) -> None:
    if desk.capabilities.decisions is None or not desk.capabilities.triages:
        for one in items:
            _assess(desk, batch_id, one)
        return
    with ThreadPoolExecutor(_TOGETHER) as threads:
        for done in [threads.submit(copy_context().run, _assess, desk, batch_id, one) for one in items]:
            done.result()


def _assess(desk: Desk, batch_id: int, item: BatchItem) -> None:
    """One that fails says why, and the others go on."""
    with desk.db.read() as session:
        batch = session.get(Batch, batch_id)
        by = api_keys.machine_of(session, batch.api_key_id) if batch is not None else None
    if batch is None:
        return
    result, error = None, None
    left = (batch.deadline_at - desk.now()).total_seconds() if batch.deadline_at is not None else None
    try:
        with at_priority(WorkPriority(batch.priority)), within(left):
            result = assess(
                desk,
                subject=item.subject,
                text=item.text,
                uploads=item.files,
                inbox=batch.inbox,
                language=item.language,
                with_draft=batch.with_draft,
                by=by,
            ).to_json()
    except AssistantError as refused:
        if passing_fault(refused) is not None:
            raise
        error = {"code": refused.code, "status": refused.status, "detail": refused.message}
    with desk.db.begin() as session:
        row = session.get(BatchItem, item.id)
        if row is not None:
            row.result, row.error = result if result is not None else null(), error if error is not None else null()
            session.execute(delete(BatchFile).where(BatchFile.item_id == item.id))


def _enqueue(session: Session, batch: Batch) -> None:
    priority = WorkPriority(batch.priority)
    queue.enqueue(session, RUN, {"batch_id": batch.id}, key=f"{RUN}:{batch.id}", priority=priority)
