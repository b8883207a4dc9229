"""Counts of tickets for reports, added up day by day by a job, so that a report reads a few thousand rows however many
tickets there are.

Every ticket counts on the day it was opened (`counting`), in the time zone of the default inbox's business hours. So
all figures of a report are about the same tickets, and what changes is counted again by counting its day again: the
days of the tickets that the feed tells of, and those whose outcome was left open.

What is deleted when its time is over has been counted: `keeping` has it counted for good, in rows of their own that are
never counted again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import and_, delete, func, insert, select
from sqlalchemy.orm import Session

from assistant.desk import counting, feed, inboxes, queue
from assistant.desk.counting import COMES_BACK_WITHIN, REVISION, Key, Measure, Outcome, day_of
from assistant.desk.desk import Desk
from assistant.models import Event, ReportCount, ReportState, Ticket
from assistant.ports import WorkPriority
from assistant.skills.taxonomy import Taxonomy

ROLL_UP = "roll_up"
EVERY = timedelta(minutes=10)


def request(session: Session, *, run_at: datetime | None = None) -> None:
    queue.enqueue(session, ROLL_UP, {}, key=ROLL_UP, priority=WorkPriority.BATCH, run_at=run_at)


def roll_up_job(desk: Desk) -> None:
    """The job: count, and again in ten minutes."""
    try:
        roll_up(desk)
    finally:
        with desk.db.begin() as session:
            request(session, run_at=desk.now() + EVERY)


def roll_up(desk: Desk) -> int:
    """Count what has changed, the newest days first, each stored by itself. Returns how many days. What is killed is
    gone on with."""
    with desk.db.begin() as session:
        left = note_waiting(session, now=desk.now())
    counted = 0
    while left:
        left = count_next(desk)
        counted += 1
    return counted


def zone_of(session: Session) -> str:
    """The time zone in which days begin."""
    hours = inboxes.settings_of(inboxes.default(session)).hours
    return hours.zone if hours is not None else "UTC"


def note_waiting(session: Session, *, now: datetime) -> int:
    """Note which days have to be counted, again or for the first time. Returns how many."""
    zone, last = zone_of(session), feed.last_event_id(session)
    state = session.scalar(select(ReportState).with_for_update())
    kept = state is not None and (state.counted_at is None or state.counted_at > now - feed.KEEP)
    if state is None or (state.revision, state.zone) != (REVISION, zone) or not kept:
        session.execute(delete(ReportCount).where(~ReportCount.kept))
        session.execute(delete(ReportState))
        days = _every_day(session, zone, now)
        state = ReportState(revision=REVISION, zone=zone, last_event_id=last, waiting=[])
        session.add(state)
    else:
        days = {date.fromisoformat(day) for day in state.waiting} | _changed(session, state, now)
        state.last_event_id = last
    state.waiting = [day.isoformat() for day in sorted(days)]
    if not days:
        state.counted_at = now
    return len(days)


def _every_day(session: Session, zone: str, now: datetime) -> set[date]:
    first = session.scalar(select(func.min(Ticket.created_at)))
    if first is None:
        return set()
    begin = day_of(first, zone)
    return {begin + timedelta(days=number) for number in range((day_of(now, zone) - begin).days + 1)}


def _changed(session: Session, state: ReportState, now: datetime) -> set[date]:
    """The days of tickets that something has happened to, and those of which the time to come back has passed."""
    told = select(Event.conversation_id).where(Event.id > state.last_event_id).distinct()
    moments = session.scalars(select(Ticket.created_at).where(Ticket.conversation_id.in_(told)))
    open_until = day_of(now - COMES_BACK_WITHIN, state.zone)
    undecided = select(ReportCount.day).where(
        ReportCount.measure == Measure.OUTCOME,
        ReportCount.key == Outcome.UNDECIDED,
        ReportCount.day <= open_until,
    )
    return {day_of(moment, state.zone) for moment in moments} | set(session.scalars(undecided.distinct()))


def count_next(desk: Desk) -> int:
    """Count the newest day that waits. Returns how many are left. Nobody has to wait while it is counted: what changes
    in the meantime is told by the feed, and counted by the next run."""
    with desk.db.read() as session:
        state = session.scalars(select(ReportState)).one()
        day = date.fromisoformat(state.waiting[-1]) if state.waiting else None
        waited = Counter(one for one in state.waiting if one == state.waiting[-1])
        rows = count_day(session, day, state.zone, desk.taxonomy, now=desk.now()) if day is not None else []
    with desk.db.begin() as session:
        state = session.scalars(select(ReportState).with_for_update()).one()
        if day is not None and day.isoformat() in state.waiting:
            session.execute(delete(ReportCount).where(ReportCount.day == day, ~ReportCount.kept))
            if rows:
                session.execute(insert(ReportCount), rows)
            state.waiting = sorted((Counter(state.waiting) - waited).elements())
        if not state.waiting:
            state.counted_at = desk.now()
        return len(state.waiting)


@contextmanager
def keeping(session: Session, ticket_ids: Collection[int], taxonomy: Taxonomy, *, now: datetime) -> Iterator[None]:
    """What these tickets count, and at the end of the block no longer do, stays in the reports."""
    zone, these = zone_of(session), Ticket.id.in_(ticket_ids)
    before = counting.count(session, these, zone, taxonomy, now=now).counts
    yield
    session.flush()
    after = counting.count(session, these, zone, taxonomy, now=now).counts
    gone = {key: (count - after[key][0], total - after[key][1]) for key, (count, total) in before.items()}
    gone = {key: lost for key, lost in gone.items() if lost[0] > 0}
    if gone:
        _keep(session, gone)


def _keep(session: Session, gone: dict[Key, tuple[float, float]]) -> None:
    """Move counts to the rows that stay; and count the days again, in case that they had not been counted lately."""
    days = {of[0] for of, _, _ in gone}
    state = session.scalar(select(ReportState).with_for_update())
    stored = {
        (((row.day, row.inbox_id, row.team_id), row.measure, row.key), row.kept): row
        for row in session.scalars(select(ReportCount).where(ReportCount.day.in_(days)))
    }
    for key, (count, total) in gone.items():
        (day, inbox_id, team_id), measure, name = key
        if (kept := stored.get((key, True))) is None:
            of = {"day": day, "inbox_id": inbox_id, "team_id": team_id}
            kept = ReportCount(**of, measure=measure, key=name, count=0, total=0.0, kept=True)
            session.add(kept)
        kept.count, kept.total = kept.count + int(count), kept.total + total
        if (left := stored.get((key, False))) is not None:
            left.count, left.total = left.count - int(count), left.total - total
            if left.count <= 0:
                session.delete(left)
    if state is not None:
        state.waiting = sorted([*state.waiting, *(day.isoformat() for day in days)])


def count_day(session: Session, day: date, zone: str, taxonomy: Taxonomy, *, now: datetime) -> list[dict[str, Any]]:
    """The rows of `ReportCount` about the tickets that were opened on this day."""
    begin, end = (datetime.combine(one, time.min, ZoneInfo(zone)) for one in (day, day + timedelta(days=1)))
    opened = and_(Ticket.created_at >= begin, Ticket.created_at < end)
    counts = counting.count(session, opened, zone, taxonomy, now=now).counts
    return [
        {
            "day": day,
            "inbox_id": inbox_id,
            "team_id": team_id,
            "measure": measure,
            "key": key,
            "count": number,
            "total": total,
        }
        for ((_, inbox_id, team_id), measure, key), (number, total) in counts.items()
    ]
