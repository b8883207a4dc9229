"""Counts for metrics and reports, and the record of model runs behind them. `rollup` counts what reports add up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from assistant.desk.counting import Measure
from assistant.desk.desk import Desk
from assistant.desk.rollup import zone_of
from assistant.desk.state import DONE
from assistant.measures import GENERATION, TOKENS
from assistant.models import (
    Author,
    Conversation,
    ConversationState,
    Draft,
    DraftStatus,
    Generation,
    Message,
    ReportCount,
    ReportState,
    Ticket,
    TicketStatus,
)
from assistant.ports import Capabilities

AGES = (1, 3, 7, 30)  # days


def count_by_state(session: Session) -> dict[ConversationState, int]:
    rows = session.execute(select(Conversation.state, func.count()).group_by(Conversation.state))
    return dict(rows.all())


def record_generation(
    session: Session,
    desk: Desk,
    purpose: str,
    capabilities: Capabilities,
    *,
    conversation_id: int,
    seconds: float,
    input_tokens: int = 0,
    output_tokens: int = 0,
) -> None:
    """Note one run of a model: which it was and what it cost, never the text. Counted by this process, too."""
    row = Generation(
        purpose=purpose,
        model=capabilities.model,
        revision=capabilities.revision,
        mode=capabilities.mode.value,
        conversation_id=conversation_id,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        latency_ms=round(1000 * seconds),
    )
    session.add(row)
    desk.measures.observe(GENERATION, seconds, purpose, row.mode)
    for direction, many in (("input", input_tokens), ("output", output_tokens)):
        if many:
            desk.measures.count(TOKENS, many, purpose, row.mode, direction)


@dataclass(frozen=True)
class Verdict:
    """What became of an answer: an agent sent its draft unchanged, edited or discarded it; the customer says that it
    helped or not. ``accepted``: sent unchanged, or helped."""

    confidence: float
    outcome: str
    accepted: bool


def verdicts(session: Session) -> list[Verdict]:
    """On all answers whose confidence is known. Nobody has judged what a machine sent and no customer rated."""
    decided = select(Draft.confidence, Draft.status).where(
        Draft.confidence.is_not(None),
        Draft.text != "",
        Draft.agent_id.is_not(None),
        Draft.status.in_((DraftStatus.SENT, DraftStatus.EDITED, DraftStatus.DISCARDED)),
    )
    rated = select(Message.confidence, Message.helpful).where(
        Message.confidence.is_not(None), Message.helpful.is_not(None), Message.author == Author.ASSISTANT
    )
    return [
        *(Verdict(sure or 0.0, status.value, status is DraftStatus.SENT) for sure, status in session.execute(decided)),
        *(Verdict(sure or 0.0, "helped" if yes else "not helped", bool(yes)) for sure, yes in session.execute(rated)),
    ]


# Reports


@dataclass(frozen=True)
class Asked:
    """Which tickets a report is about: opened from one day to another, both included, in an inbox, for a team."""

    since: date
    until: date
    inbox_id: int | None = None
    team_id: int | None = None

    @property
    def days(self) -> int:
        return (self.until - self.since).days + 1

    @property
    def before(self) -> Asked:
        """The same number of days before."""
        length = timedelta(days=self.days)
        return replace(self, since=self.since - length, until=self.until - length)


@dataclass(frozen=True)
class Count:
    count: int = 0
    total: float = 0.0

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None


Counts = dict[str, Count]


def totals(session: Session, asked: Asked, measures: Iterable[Measure]) -> dict[Measure, Counts]:
    """By measure and key."""
    wanted, sums = tuple(measures), (func.sum(ReportCount.count), func.sum(ReportCount.total))
    query = select(ReportCount.measure, ReportCount.key, *sums).where(*_within(asked, wanted))
    found: dict[Measure, Counts] = {measure: {} for measure in wanted}
    for measure, key, count, total in session.execute(query.group_by(ReportCount.measure, ReportCount.key)):
        found[Measure(measure)][key] = Count(int(count), float(total))
    return found


def by_day(session: Session, asked: Asked, measure: Measure) -> dict[date, dict[str, int]]:
    """By the day of opening and key; days without any are missing."""
    query = select(ReportCount.day, ReportCount.key, func.sum(ReportCount.count)).where(*_within(asked, (measure,)))
    found: dict[date, dict[str, int]] = {}
    for day, key, count in session.execute(query.group_by(ReportCount.day, ReportCount.key)):
        found.setdefault(day, {})[key] = int(count)
    return found


def backlog(session: Session, asked: Asked) -> dict[date, tuple[int, int, int]]:
    """For every day: how many tickets were opened, how many solved (as it is known today: one that was reopened counts
    once), and how many were not solved at its end."""
    ever = replace(asked, since=date.min)
    opened = {day: counts.get("", 0) for day, counts in by_day(session, ever, Measure.OPENED).items()}
    solved: dict[date, int] = {}
    for key, one in totals(session, ever, (Measure.SOLVED,))[Measure.SOLVED].items():
        solved[date.fromisoformat(key)] = one.count
    left = sum(count for day, count in opened.items() if day < asked.since)
    left -= sum(count for day, count in solved.items() if day < asked.since)
    found = {}
    for number in range(asked.days):
        day = asked.since + timedelta(days=number)
        left += opened.get(day, 0) - solved.get(day, 0)
        found[day] = (opened.get(day, 0), solved.get(day, 0), left)
    return found


def open_ages(session: Session, asked: Asked, *, now: datetime) -> list[int]:
    """How many tickets are not solved now that were opened within 1, 3, 7 and 30 days, and how many there are at all,
    whenever they were opened."""
    young = [func.count(case((Ticket.created_at > now - timedelta(days=days), 1))) for days in AGES]
    query = select(*young, func.count()).select_from(Ticket)
    query = query.where(Ticket.status.in_([status for status in TicketStatus if status not in DONE]))
    if asked.inbox_id is not None:
        query = query.join(Ticket.conversation).where(Conversation.inbox_id == asked.inbox_id)
    if asked.team_id is not None:
        query = query.where(Ticket.team_id == asked.team_id)
    return list(session.execute(query).one())


def progress(session: Session) -> tuple[datetime | None, int, str]:
    """When all was counted last, how many days wait to be counted, and the time zone of days."""
    state = session.scalar(select(ReportState))
    if state is None:
        return None, 0, zone_of(session)
    return state.counted_at, len(state.waiting), state.zone


def _within(asked: Asked, measures: Sequence[Measure]) -> list[ColumnElement[bool]]:
    held = [ReportCount.measure.in_(measures), ReportCount.day >= asked.since, ReportCount.day <= asked.until]
    if asked.inbox_id is not None:
        held.append(ReportCount.inbox_id == asked.inbox_id)
    if asked.team_id is not None:
        held.append(ReportCount.team_id == asked.team_id)
    return held
