"""Many decisions and corrections of one request: each succeeds or fails by itself.

A few share a transaction, in which each has a savepoint. Should the process die in between, what was committed stays,
and the same request sent again does the rest: whatever is as it is wanted already is no change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from assistant.db import Database
from assistant.desk import access, corrections, state, tickets, triage
from assistant.desk.access import Staff
from assistant.desk.desk import Desk
from assistant.errors import AssistantError, NotFound, PreconditionFailed
from assistant.models import Attachment, Message, Ticket, TriageField, TriageFieldState
from assistant.skills.triage_fields import FIELDS

Item = TypeVar("Item")
Done = TypeVar("Done")
# What shares a transaction: writers of others wait no longer than these take.
_TOGETHER = 20
_LARGEST_ID = 2**31 - 1


@dataclass(frozen=True)
class Decision:
    """About a ticket, by its public id or number. ``value`` None: what was proposed is right. ``expected``: the version
    that the ticket must be in, but for what the same request has changed of it."""

    field: str
    value: str | None = None
    ticket_id: str | None = None
    number: int | None = None
    expected: str | None = None


@dataclass(frozen=True)
class Decided:
    """``ticket``: None if there is none. ``value``: what counts now, and how that came about; or an ``error``."""

    ticket: Ticket | None = None
    value: str | None = None
    state: TriageFieldState | None = None
    error: AssistantError | None = None


@dataclass(frozen=True)
class Correction:
    attachment_id: str
    fields: Mapping[str, str]
    lines: Mapping[int, str]
    everywhere: bool


def decide(desk: Desk, by: Staff, decisions: Sequence[Decision]) -> list[Decided]:
    """In the order in which they were given."""
    with desk.db.read() as session:
        known = _tickets(session, by, decisions)
    found = [known.get(one.ticket_id) or known.get(one.number) for one in decisions]
    versions = _Versions()

    def perform(session: Session, at: int) -> Decided:
        if (ticket := found[at]) is None:
            raise NotFound("There is no such ticket.")
        row = _decide(session, desk, by, ticket.public_id, decisions[at], versions)
        return Decided(ticket, row.label, row.state)

    # Whoever locks several tickets does so in one order, so that no two wait for each other.
    order = sorted(range(len(decisions)), key=lambda at: (getattr(found[at], "id", 0), at))
    outcomes = dict(zip(order, _each(desk.db, order, perform), strict=True))
    return [
        Decided(found[at], error=outcome) if isinstance(outcome := outcomes[at], AssistantError) else outcome
        for at in range(len(decisions))
    ]


def correct(desk: Desk, by: Staff, wanted: Sequence[Correction]) -> list[AssistantError | None]:
    """In the order in which they were given: what went wrong with each, if anything."""
    with desk.db.read() as session:
        its = select(Attachment.public_id, Message.conversation_id).join(Attachment.message)
        places = dict(session.execute(its.where(Attachment.public_id.in_(one.attachment_id for one in wanted))).all())

    def perform(session: Session, one: Correction) -> None:
        corrections.correct_evidence(
            session,
            by,
            one.attachment_id,
            one.fields,
            lines=one.lines,
            everywhere=one.everywhere,
            taxonomy=desk.taxonomy,
        )

    order = sorted(range(len(wanted)), key=lambda at: (places.get(wanted[at].attachment_id, 0), at))
    outcomes = dict(zip(order, _each(desk.db, [wanted[at] for at in order], perform), strict=True))
    return [outcomes[at] for at in range(len(wanted))]


@dataclass
class _Versions:
    """Of tickets by id: the version before the first change of the same request, and after the last."""

    before: dict[int, str] = field(default_factory=dict)
    after: dict[int, str] = field(default_factory=dict)

    def require(self, ticket: Ticket, now: str, expected: str | None) -> None:
        own = self.before.get(ticket.id) if self.after.get(ticket.id) == now else None
        if expected not in (None, now, own):
            raise PreconditionFailed("The ticket has been changed since. Read it again, and decide anew.")

    def note(self, ticket: Ticket, before: str, after: str) -> None:
        if self.after.get(ticket.id) != before:
            self.before[ticket.id] = before
        self.after[ticket.id] = after


def _decide(session: Session, desk: Desk, by: Staff, ticket_id: str, one: Decision, versions: _Versions) -> TriageField:
    if one.field not in FIELDS:
        raise NotFound(f"There is no triage field of that name. Choose from: {', '.join(FIELDS)}.")
    ticket = access.access_ticket(session, by, ticket_id)
    state.lock_conversation(session, ticket.conversation_id)
    session.refresh(ticket)
    result = ticket.current_triage
    row = next((row for row in result.fields if row.name == one.field), None) if result is not None else None
    if row is not None and row.label == (row.value if one.value is None else one.value):
        return row  # as it is wanted, perhaps by this very request before: in whatever version
    before = tickets.version(session, ticket)
    versions.require(ticket, before, one.expected)
    decided = triage.decide_field(session, by, ticket, one.field, taxonomy=desk.taxonomy, value=one.value)
    versions.note(ticket, before, tickets.version(session, ticket))
    return decided


def _tickets(session: Session, by: Staff, decisions: Sequence[Decision]) -> dict[str | int | None, Ticket]:
    """Those that there are, by public id and by number."""
    ids = {one.ticket_id for one in decisions if one.ticket_id is not None}
    numbers = (Ticket.id_of(one.number) for one in decisions if one.number is not None)
    rows = {one for one in numbers if 0 < one <= _LARGEST_ID}
    query = access.visible_tickets(by).where(or_(Ticket.public_id.in_(ids), Ticket.id.in_(rows)))
    found: dict[str | int | None, Ticket] = {}
    for ticket in session.scalars(query):
        found[ticket.public_id] = found[ticket.number] = ticket
    return found


def _each(db: Database, items: Sequence[Item], perform: Callable[[Session, Item], Done]) -> list[Done | AssistantError]:
    """What came of each. A fault of ours ends it all: what was committed before stays."""
    outcomes: list[Done | AssistantError] = []
    for start in range(0, len(items), _TOGETHER):
        with db.begin() as session:
            outcomes += [_one(session, item, perform) for item in items[start : start + _TOGETHER]]
    return outcomes


def _one(session: Session, item: Item, perform: Callable[[Session, Item], Done]) -> Done | AssistantError:
    try:
        with session.begin_nested():
            return perform(session, item)
    except AssistantError as error:
        if error.status >= 500:
            raise
        return error
