"""SLA policies, and the clocks of tickets that they set: first response, next response, resolution.

* A clock runs while people have the ticket and it is new or open. It is paused while the ticket is pending or on hold,
  and while the assistant has the conversation.
* First response: from when its customer first waits for a person until a person (or a machine, by the API) answers.
  Next response: from what its customer writes after that until the next answer. Who says thanks waits for nothing.
* Giving it back to the assistant and solving it are answers, too. A reopened ticket's resolution goes on where it was.
* The first policy whose conditions hold counts, with the business hours of the ticket's inbox; without hours, or if the
  policy says so, around the clock. `sla` has the arithmetic.

`state` calls `follow` in the transaction of every change; it alone writes what that returns to the ticket.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, func, select, true
from sqlalchemy.orm import Session, joinedload

from assistant.db import utcnow
from assistant.desk import conditions, inboxes, queue, sla
from assistant.desk.access import MachinePrincipal
from assistant.desk.conditions import Asking, Condition
from assistant.desk.hours import Hours
from assistant.desk.sla import Stretch, Stretches
from assistant.errors import Invalid, NotFound
from assistant.models import Conversation, ConversationState, SLAClock, SLAPolicy, SLATarget, Ticket, TicketStatus
from assistant.skills.taxonomy import Taxonomy

NOTICE = "notice_breach"  # handled by `tickets`
# What policies go by: none of it is the taxonomy's, so a ticket can be matched wherever it is changed.
FIELDS = ("priority", "inbox", "team", "tag", "channel", "type")
# Of a ticket, what changes the policy that counts.
MATCHED = frozenset({"priority", "team", "tags", "type"})
LONGEST = timedelta(days=366)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_RESPONSES = (SLATarget.FIRST_RESPONSE, SLATarget.NEXT_RESPONSE)
_WITH_PEOPLE = (ConversationState.HANDED_OFF, ConversationState.AGENT)
_RUNS = (TicketStatus.NEW, TicketStatus.OPEN)
_DONE = (TicketStatus.SOLVED, TicketStatus.CLOSED)
_ASKING = MachinePrincipal(0, "SLA", frozenset())
_NO_LABELS = Taxonomy((), (), ())


@dataclass(frozen=True)
class Times:
    """What a ticket's clocks say of it. ``breached``: those of which it has just been noticed."""

    due_at: datetime | None
    breached_at: datetime | None
    breached: tuple[SLATarget, ...] = ()


def follow(
    session: Session,
    conversation: Conversation,
    ticket: Ticket,
    *,
    rematch: bool = False,
    asked: bool = False,
    answered: bool = False,
    now: datetime | None = None,
) -> Times:
    """Set the clocks by what the ticket is like now. ``asked``: its customer waits for a person; ``answered``: they
    have got an answer; ``rematch``: another policy may apply. The caller has the lock of the conversation."""
    now = now or utcnow()
    clocks = _clocks(session, ticket)
    started = _start_and_end(conversation, ticket, clocks, asked=asked, answered=answered, now=now)
    session.add_all(started)
    clocks += started
    active = [clock for clock in clocks if clock.ended_at is None or clock.ended_at == now]
    counts = next((clock.policy for clock in active if clock.policy is not None), None)
    policy = _matching(session, ticket, now) if rematch or started else counts
    hours = _hours(conversation, policy) if active else None
    runs = conversation.state in _WITH_PEOPLE and ticket.status in _RUNS
    noticed = [clock.target for clock in active if _set(clock, policy, hours, runs=runs, now=now)]
    session.flush()
    _look_again(session, ticket, active)
    running = [c.due_at for c in active if c.ended_at is None and c.due_at and sla.is_running(_stretches(c))]
    missed = [clock.breached_at for clock in clocks if clock.breached_at]
    return Times(min(running, default=None), min(missed, default=None), tuple(noticed))


def clocks_shown(session: Session, ticket: Ticket) -> list[SLAClock]:
    """Its clocks that a policy sets a time for: the newest of each target, responses before the resolution."""
    of_target = {clock.target: clock for clock in _clocks(session, ticket)}
    newest = {target: of_target[target] for target in SLATarget if target in of_target}
    return [
        clock
        for clock in newest.values()
        if clock.policy is not None
        and clock.policy.goal(clock.target) is not None
        and (clock.ended_at is None or clock.target is not SLATarget.NEXT_RESPONSE)
    ]


def is_paused(clock: SLAClock) -> bool:
    return clock.ended_at is None and not sla.is_running(_stretches(clock))


# Policies


def policies(session: Session) -> list[SLAPolicy]:
    """In the order in which they are tried."""
    return list(session.scalars(select(SLAPolicy).order_by(SLAPolicy.position, SLAPolicy.id)))


def find(session: Session, public_id: str) -> SLAPolicy:
    policy = session.scalar(select(SLAPolicy).where(SLAPolicy.public_id == public_id))
    if policy is None:
        raise NotFound("There is no such SLA policy.")
    return policy


def read(text: str, *, field: str | None = None) -> timedelta:
    """A length of time as people write it: 30m, 8h, 2d (a day counts 24 hours). Raises `Invalid`."""
    found = re.fullmatch(r"(\d{1,5})([mhd])", text.strip())
    if found is None:
        advice = "Write for example 30m, 8h or 2d (a day counts 24 hours)."
        raise Invalid(f"{text!r} is no length of time. {advice}", field=field)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def written(length: timedelta) -> str:
    """As `read` reads it."""
    hours, minutes = divmod(int(length.total_seconds() // 60), 60)
    return f"{hours}h" if not minutes else f"{60 * hours + minutes}m"


def put(
    session: Session,
    name: str,
    *,
    holds: Iterable[Condition],
    goals: Mapping[SLATarget, timedelta | None],
    around_the_clock: bool = False,
    position: int | None = None,
) -> SLAPolicy:
    """Add the policy of this name, or change it to this. Every ticket that is not done counts by it from its beginning.

    ``position``: from 1; by default where it is, or last."""
    name, holds = name.strip(), tuple(holds)
    if not name or len(name) > 60:
        raise Invalid("A policy needs a name of at most 60 characters.", field="name")
    _check(session, holds, goals)
    policy = session.scalar(select(SLAPolicy).where(SLAPolicy.name == name))
    if policy is None:
        last = session.scalar(select(func.max(SLAPolicy.position))) or 0
        policy = SLAPolicy(name=name, position=last + 1)
        session.add(policy)
    policy.conditions = [one.to_json() for one in holds]
    policy.around_the_clock = around_the_clock
    policy.first_response = _minutes(goals.get(SLATarget.FIRST_RESPONSE))
    policy.next_response = _minutes(goals.get(SLATarget.NEXT_RESPONSE))
    policy.resolution = _minutes(goals.get(SLATarget.RESOLUTION))
    session.flush()
    if position is not None:
        _move(session, policy, position)
    inboxes.recount(session)
    return policy


def remove(session: Session, name: str) -> None:
    policy = session.scalar(select(SLAPolicy).where(SLAPolicy.name == name))
    if policy is None:
        names = ", ".join(one.name for one in policies(session)) or "none yet"
        raise NotFound(f"There is no SLA policy {name!r}. Policies: {names}.")
    session.delete(policy)
    session.flush()
    inboxes.recount(session)


def _minutes(goal: timedelta | None) -> int | None:
    return int(goal.total_seconds() // 60) if goal is not None else None


def _check(session: Session, holds: Sequence[Condition], goals: Mapping[SLATarget, timedelta | None]) -> None:
    if not any(goals.values()):
        raise Invalid(f"A policy sets at least one of {', '.join(SLATarget)}.", field="goals")
    for target, goal in goals.items():
        if goal is not None and not timedelta(minutes=1) <= goal <= LONGEST:
            raise Invalid(f"{target}: from a minute to a year.", field=target.value)
    for one in holds:
        if one.field not in FIELDS:
            raise Invalid(f"Policies go by {', '.join(FIELDS)}, not by {one.field}.", field="conditions")
    conditions.compiled(session, holds, _asking(utcnow()))


def _move(session: Session, policy: SLAPolicy, position: int) -> None:
    others = [one for one in policies(session) if one.id != policy.id]
    others.insert(max(position, 1) - 1, policy)
    for place, one in enumerate(others, 1):
        one.position = place
    session.flush()


def _matching(session: Session, ticket: Ticket, now: datetime) -> SLAPolicy | None:
    known = policies(session)
    if not known:
        return None
    session.flush()
    fits: list[tuple[Any, Any]] = []
    for policy in known:
        try:
            holds = conditions.compiled(session, conditions.from_json(policy.conditions), _asking(now))
        except Invalid:  # what it names is gone: nothing is like that
            continue
        fits.append((and_(true(), *holds), policy.id))
    found = session.scalar(select(case(*fits, else_=None)).where(Ticket.id == ticket.id)) if fits else None
    return next((policy for policy in known if policy.id == found), None)


def _asking(now: datetime) -> Asking:
    return Asking(_ASKING, _NO_LABELS, now)


def _hours(conversation: Conversation, policy: SLAPolicy | None) -> Hours | None:
    if policy is None or policy.around_the_clock:
        return None
    return inboxes.settings_of(conversation.inbox).hours


# Clocks


def _clocks(session: Session, ticket: Ticket) -> list[SLAClock]:
    """Oldest first."""
    query = select(SLAClock).where(SLAClock.ticket_id == ticket.id).options(joinedload(SLAClock.policy))
    return list(session.scalars(query.order_by(SLAClock.id)))


def _start_and_end(
    conversation: Conversation,
    ticket: Ticket,
    clocks: Sequence[SLAClock],
    *,
    asked: bool,
    answered: bool,
    now: datetime,
) -> list[SLAClock]:
    """End what is over, and return the clocks that begin."""
    newest = {clock.target: clock for clock in clocks}
    is_done, with_people = ticket.status in _DONE, conversation.state in _WITH_PEOPLE
    over = tuple(SLATarget) if is_done else _RESPONSES if answered or not with_people else ()
    for clock in clocks:
        if clock.ended_at is None and clock.target in over:
            clock.ended_at = max(now, clock.began_at)
    if is_done or not with_people:
        return []
    begin = []
    resolution = newest.get(SLATarget.RESOLUTION)
    if resolution is None:
        begin.append(SLATarget.RESOLUTION)
    else:
        resolution.ended_at = None
    if asked and not any(clock.ended_at is None for clock in clocks if clock.target in _RESPONSES):
        begin.append(SLATarget.NEXT_RESPONSE if SLATarget.FIRST_RESPONSE in newest else SLATarget.FIRST_RESPONSE)
    return [SLAClock(ticket_id=ticket.id, target=target, began_at=now, stretches=[]) for target in begin]


def _set(clock: SLAClock, policy: SLAPolicy | None, hours: Hours | None, *, runs: bool, now: datetime) -> bool:
    """Run or pause a clock, and say when it is due by this policy. Whether it has now turned out to be missed."""
    before = _stretches(clock)
    stretches = sla.run(before, now) if runs and clock.ended_at is None else sla.pause(before, now)
    if stretches != before:
        clock.stretches = [[_text(one.begin), _text(one.end)] for one in stretches]
    goal = policy.goal(clock.target) if policy is not None else None
    clock.policy = policy
    clock.due_at = sla.due_at(stretches, goal, hours) if goal is not None else None
    is_missed = clock.due_at is not None and (clock.due_at <= now if clock.ended_at is None else clock.due_at < now)
    is_news = is_missed and clock.breached_at is None
    clock.breached_at = clock.due_at if is_missed else None
    return is_news


def _look_again(session: Session, ticket: Ticket, active: Sequence[SLAClock]) -> None:
    """Have the next deadline looked at when it comes."""
    ahead = [clock.due_at for clock in active if clock.due_at and clock.breached_at is None and clock.ended_at is None]
    if ahead:
        key = f"{NOTICE}:{ticket.id}"
        queue.enqueue(session, NOTICE, {"ticket_id": ticket.id}, key=key, run_at=min(ahead))


def _stretches(clock: SLAClock) -> Stretches:
    return tuple(
        Stretch(datetime.fromisoformat(begin), datetime.fromisoformat(end) if end else None)
        for begin, end in clock.stretches
        if begin
    )


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
