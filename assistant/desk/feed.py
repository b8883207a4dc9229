"""The feed of events: appended in the transaction of the change, replayable from any id, followed by live streams.

So an event, its change and the jobs that follow are stored together or not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Select, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from assistant import payloads
from assistant.db import Database, announce, utcnow
from assistant.desk import queue, search
from assistant.desk.access import MachinePrincipal, visible_tickets
from assistant.desk.events import TOLD, TYPING_SECONDS, Audience, DeskEvent, EventKind, Recorded
from assistant.desk.subscribers import SUBSCRIBERS
from assistant.models import Event, Ticket

KEEP = timedelta(days=30)
_SIGNAL_HOLDS = timedelta(seconds=TYPING_SECONDS)
# How long a change made by another process may go unseen, in seconds.
POLL = 1.0
_AT_ONCE = 1000
_EVENT_LOCK = 20261124
Batch = TypeVar("Batch", bound=Sequence[Any])


def append(session: Session, conversation_id: int, event: DeskEvent) -> None:
    """Record an event of a conversation, keep the words that it brings and enqueue the jobs that follow from it."""
    if session.get_bind().dialect.name == "postgresql":
        # Ids are given out before commit: without this, a smaller one could appear behind a stream that has passed it.
        session.execute(select(func.pg_advisory_xact_lock(_EVENT_LOCK)))
    row = Event(
        kind=event.kind.value,
        payload=event.payload(),
        conversation_id=conversation_id,
        audience=event.audience.value,
    )
    session.add(row)
    session.flush()
    search.learn(session, conversation_id, event)
    recorded = Recorded(row.id, conversation_id, event)
    for subscriber in SUBSCRIBERS:
        for job in subscriber(session, recorded):
            due = utcnow() + job.delay
            queue.enqueue(session, job.name, job.payload, key=job.key, priority=job.priority, run_at=due)
    announce(session, _topic(conversation_id))
    announce(session, _topic(None))


def signal(session: Session, conversation_id: int, event: DeskEvent) -> None:
    """Tell those who are there now, in place of the last such signal: it is not kept for others."""
    before = delete(Event).where(
        Event.conversation_id == conversation_id, Event.kind == event.kind.value, Event.audience == event.audience.value
    )
    session.execute(before)
    append(session, conversation_id, event)


def after(
    session: Session, last_id: int, *, conversation_id: int | None, audience: Audience, limit: int = 200
) -> Sequence[Event]:
    """Events after ``last_id``, oldest first. ``conversation_id`` None: of every conversation."""
    is_current = or_(Event.kind != EventKind.TYPING.value, Event.created_at > utcnow() - _SIGNAL_HOLDS)
    query = select(Event).where(Event.id > last_id, is_current).order_by(Event.id).limit(limit)
    if conversation_id is not None:
        query = query.where(Event.conversation_id == conversation_id)
    if audience is Audience.CUSTOMER:
        query = query.where(Event.audience == Audience.CUSTOMER.value)
    return session.scalars(query).all()


def last_event_id(session: Session, *, conversation_id: int | None = None, kinds: Collection[EventKind] = ()) -> int:
    """Where a stream starts that wants only what is new; 0 if nothing has happened. Of some ``kinds``, or any."""
    query = select(func.coalesce(func.max(Event.id), 0))
    if conversation_id is not None:
        query = query.where(Event.conversation_id == conversation_id)
    if kinds:
        query = query.where(Event.kind.in_(kinds))
    return session.execute(query).scalar_one()


def follow(db: Database, last_id: int, *, conversation_id: int | None, audience: Audience) -> Iterator[Sequence[Event]]:
    """Yield batches of events as they happen; an empty batch about every second, so that the caller regains control.

    Holds no transaction while it waits. Never ends by itself: the caller closes it.
    """

    def read(session: Session, last_id: int) -> tuple[Sequence[Event], int]:
        batch = after(session, last_id, conversation_id=conversation_id, audience=audience)
        return batch, batch[-1].id if batch else last_id

    for batch, _ in _follow(db, last_id, read, topic=_topic(conversation_id)):
        yield batch


def told(
    session: Session,
    machine: MachinePrincipal,
    last_id: int,
    *,
    kinds: Collection[EventKind] = (),
    ticket_id: str | None = None,
    limit: int = 100,
) -> tuple[list[payloads.Event], int]:
    """What other systems are told of the tickets that this one may see: what happened after the event ``last_id``,
    oldest first, and the id of the last event that was looked at, from where it goes on."""
    newest = last_event_id(session)
    tickets = visible_tickets(machine)
    if ticket_id is not None:
        tickets = tickets.where(Ticket.public_id == ticket_id)
    query = with_tickets(tickets).where(Event.id > last_id, Event.kind.in_(kinds or TOLD)).order_by(Event.id)
    rows = session.execute(query.limit(limit)).all()
    last = rows[-1][0].id if len(rows) == limit else max(newest, last_id)
    return [payloads.Event.of(event, ticket) for event, ticket in rows], last


def follow_told(
    db: Database, machine: MachinePrincipal, last_id: int, **which: Any
) -> Iterator[tuple[list[payloads.Event], int]]:
    """As `follow`, of what `told` returns."""
    return _follow(db, last_id, lambda session, last: told(session, machine, last, **which), topic=_topic(None))


def with_tickets(tickets: Select[Ticket]) -> Select[Event, Ticket]:
    """The events of these tickets, with them."""
    return tickets.join(Event, Event.conversation_id == Ticket.conversation_id).with_only_columns(Event, Ticket)


def _follow(
    db: Database, last_id: int, read: Callable[[Session, int], tuple[Batch, int]], *, topic: str
) -> Iterator[tuple[Batch, int]]:
    with _watching(db) as watch:
        while True:
            # Before the query: a change that is committed while we read wakes the wait below at once.
            seen = db.changes.seen(topic)
            with db.read() as session:
                batch, last_id = read(session, last_id)
            yield batch, last_id
            while not batch and db.changes.wait(topic, seen=seen, timeout=POLL) == seen:
                watch.look(db)
                yield batch, last_id


class _Watch:
    """What other processes append, asked for once a second for all the streams of this one. Thread-safe."""

    def __init__(self) -> None:
        self.streams = 0
        self._last_id = 0
        self._looked_at = 0.0
        self._lock = threading.Lock()

    def begin(self, db: Database) -> None:
        """A stream begins, and looks for itself now. Nothing that the first one has not seen may be passed over."""
        with self._lock:
            if not self.streams:
                with db.read() as session:
                    self._last_id = last_event_id(session)
            self.streams += 1

    def end(self) -> None:
        with self._lock:
            self.streams -= 1

    def look(self, db: Database) -> None:
        """Wake the streams for which there is something new, unless it was just done, or another does it now."""
        if monotonic() - self._looked_at < POLL or not self._lock.acquire(blocking=False):
            return
        try:
            self._looked_at = monotonic()
            appended = select(Event.id, Event.conversation_id).where(Event.id > self._last_id)
            with db.read() as session:
                rows = session.execute(appended.order_by(Event.id).limit(_AT_ONCE)).all()
            if rows:
                self._last_id = rows[-1].id
                db.changes.publish({_topic(None), *(_topic(row.conversation_id) for row in rows)})
        finally:
            self._lock.release()


_watches: WeakKeyDictionary[Database, _Watch] = WeakKeyDictionary()


@contextmanager
def _watching(db: Database) -> Iterator[_Watch]:
    watch = _watches.setdefault(db, _Watch())
    watch.begin(db)
    try:
        yield watch
    finally:
        watch.end()


def sweep(db: Database, *, now: datetime) -> int:
    """Remove events that no stream will resume from any more."""
    with db.begin() as session:
        signals = and_(Event.kind == EventKind.TYPING.value, Event.created_at < now - _SIGNAL_HOLDS)
        old = delete(Event).where(or_(Event.created_at < now - KEEP, signals))
        return len(session.execute(old.returning(Event.id)).all())


def _topic(conversation_id: int | None) -> str:
    return "conversations" if conversation_id is None else f"conversation:{conversation_id}"
