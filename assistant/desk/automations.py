"""Automations: by an event or by time, if conditions hold, then actions.

* An event's automations run in a job of its transaction, on what the ticket is like then. Each run is a row in the
  transaction of what it did, unique for its event: whatever is killed in between, nothing is done twice.
* What a new ticket triggers runs once it has been triaged for the first time, or that has failed: conditions on what
  triage finds out would hold for none before.
* What an automation changes may run others, never itself again, neither directly nor through others, and no more than
  `subscribers.LONGEST_CHAIN` one after another.
* By time, an automation runs on a ticket once, and again only after somebody else, no automation, has changed the
  ticket. So two that undo each other do so once.
* If an action cannot be done, none of them is, and the log says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session, joinedload

from assistant.db import utcnow
from assistant.desk import actions, conditions, feed, queue, state
from assistant.desk.access import MachinePrincipal, visible_tickets
from assistant.desk.actions import Action
from assistant.desk.conditions import Asking, Condition
from assistant.desk.desk import Desk
from assistant.desk.events import EventKind
from assistant.desk.subscribers import CHAIN
from assistant.errors import AssistantError, Conflict, Invalid, NotFound
from assistant.models import Automation, AutomationRun, Event, RunOutcome, Ticket, Trigger
from assistant.skills.taxonomy import Taxonomy

BY_TIME = "automate_by_time"
TICK = timedelta(minutes=5)
TRIED_ON = 500  # of the newest tickets
_AT_ONCE = 200  # tickets of one automation, until the next tick
_LONGEST_NAME = 60
_OPENED = "opened"
# What people and customers do; other events follow from these.
_CHANGES = (
    EventKind.MESSAGE_CREATED,
    EventKind.NOTE_CREATED,
    EventKind.TICKET_UPDATED,
    EventKind.TRIAGE_DECIDED,
    EventKind.CONVERSATION_RATED,
)


@dataclass(frozen=True)
class Trial:
    """The tickets, of the newest ``looked_at``, on which an automation would act now."""

    looked_at: int
    tickets: Sequence[Ticket]


def add(
    session: Session,
    taxonomy: Taxonomy,
    name: str,
    *,
    trigger: str,
    holds: Iterable[Condition],
    then: object,
) -> Automation:
    """Not yet enabled. ``then``: actions as JSON. Raises `Invalid` that says what is wrong, `Conflict` for a name that
    there is."""
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME:
        raise Invalid(f"An automation needs a name of at most {_LONGEST_NAME} characters.", field="name")
    if session.scalar(select(Automation.id).where(Automation.name == name)) is not None:
        raise Conflict(f"There is already an automation {name!r}. Remove it first, or choose another name.")
    automation = Automation(name=name)
    change(session, taxonomy, automation, trigger=trigger, holds=holds, then=then)
    session.add(automation)
    session.flush()
    return automation


def change(
    session: Session,
    taxonomy: Taxonomy,
    automation: Automation,
    *,
    trigger: str,
    holds: Iterable[Condition],
    then: object,
) -> None:
    """Have it do something else from now on. Its log keeps what it did. Raises `Invalid` as `add` does."""
    holds = tuple(holds)
    if trigger not in list(Trigger):
        raise Invalid(f"There is no trigger {trigger!r}. Choose from: {', '.join(Trigger)}.", field="trigger")
    conditions.compiled(session, holds, _asking(automation.name, taxonomy, utcnow()))
    parsed = actions.parse(session, then)
    if not parsed:
        raise Invalid("An automation does something: give at least one action.", field="actions")
    for action in parsed:
        if actions.ME in action.arguments.values():
            raise Invalid(f"{action.name}: only an agent is “me”: name the agent.", field="actions")
    automation.trigger = Trigger(trigger)
    automation.conditions = [one.to_json() for one in holds]
    automation.actions = [one.to_json() for one in parsed]
    if automation.enabled:
        keep_ticking(session)


def get(session: Session, public_id: str) -> Automation:
    automation = session.scalar(select(Automation).where(Automation.public_id == public_id))
    if automation is None:
        raise NotFound("There is no such automation.")
    return automation


def find(session: Session, name: str) -> Automation:
    automation = session.scalar(select(Automation).where(Automation.name == name))
    if automation is None:
        names = ", ".join(one.name for one in all_automations(session)) or "none yet"
        raise NotFound(f"There is no automation {name!r}. Automations: {names}.")
    return automation


def all_automations(session: Session) -> list[Automation]:
    """In the order in which they run."""
    return list(session.scalars(select(Automation).order_by(Automation.id)))


def enable(session: Session, automation: Automation, *, enabled: bool = True) -> None:
    automation.enabled = enabled
    session.flush()
    keep_ticking(session)


def remove(session: Session, automation: Automation) -> None:
    """With its log."""
    session.delete(automation)
    session.flush()


def log(session: Session, automation: Automation | None = None, *, limit: int = 50) -> list[AutomationRun]:
    """The newest first."""
    query = select(AutomationRun).options(joinedload(AutomationRun.automation), joinedload(AutomationRun.ticket))
    if automation is not None:
        query = query.where(AutomationRun.automation_id == automation.id)
    return list(session.scalars(query.order_by(AutomationRun.id.desc()).limit(limit)))


def try_out(session: Session, taxonomy: Taxonomy, automation: Automation, *, now: datetime) -> Trial:
    """Which of the newest tickets it would act on, without doing anything."""
    newest = select(Ticket.id).order_by(Ticket.id.desc()).limit(TRIED_ON)
    count = session.execute(select(func.count()).select_from(newest.subquery())).scalar_one()
    holds = _compiled(session, automation, taxonomy, now)
    query = select(Ticket).where(Ticket.id.in_(newest.subquery().select()), *holds).order_by(Ticket.id.desc())
    return Trial(count, session.scalars(query).all())


# Jobs


def run_by_event(desk: Desk, *, conversation_id: int, event_id: int, trigger: str, chain: Sequence[int]) -> None:
    """Job: run what an event triggers, except what has led to it."""
    with desk.db.read() as session:
        ids = session.scalars(
            select(Automation.id)
            .where(Automation.enabled, Automation.trigger == Trigger(trigger), Automation.id.not_in(chain))
            .order_by(Automation.id)
        ).all()
        ticket_id = session.scalar(select(Ticket.id).where(Ticket.conversation_id == conversation_id))
    if ticket_id is None:
        return
    cause = _OPENED if trigger == Trigger.OPENED else f"event:{event_id}"  # a ticket is opened once
    for automation_id in ids:
        _run(desk, automation_id, ticket_id, cause=cause, chain=chain)


def run_by_time(desk: Desk) -> None:
    """Job: run what time triggers, and look again later."""
    with desk.db.read() as session:
        timed = select(Automation).where(Automation.enabled, Automation.trigger == Trigger.TIME)
        automations = session.scalars(timed.order_by(Automation.id)).all()
        due = [(one.id, *row) for one in automations for row in _due(desk, session, one)]
    for automation_id, ticket_id, newest in due:
        _run(desk, automation_id, ticket_id, cause=f"time:{newest or 0}", chain=())
    with desk.db.begin() as session:
        keep_ticking(session, at=desk.now() + TICK)


def keep_ticking(session: Session, *, at: datetime | None = None) -> None:
    """Have time looked at while an automation wants it. Calling it again does no harm."""
    timed = select(Automation.id).where(Automation.enabled, Automation.trigger == Trigger.TIME)
    if session.scalar(timed.limit(1)) is not None:
        queue.enqueue(session, BY_TIME, {}, key=BY_TIME, run_at=at)


def _run(desk: Desk, automation_id: int, ticket_id: int, *, cause: str, chain: Sequence[int]) -> None:
    """Once for each cause, if the conditions hold."""
    with desk.db.begin() as session:
        automation, ticket = session.get(Automation, automation_id), session.get(Ticket, ticket_id)
        if automation is None or not automation.enabled or ticket is None:
            return
        state.lock_conversation(session, ticket.conversation_id)
        known = select(AutomationRun.id).where(
            AutomationRun.automation_id == automation_id,
            AutomationRun.ticket_id == ticket_id,
            AutomationRun.cause == cause,
        )
        if session.scalar(known) is not None or not _holds(desk, session, automation, ticket):
            return
        session.info[CHAIN] = [*chain, automation_id]
        before = feed.last_event_id(session)
        problem = _act(session, automation, ticket)
        session.add(
            AutomationRun(
                automation_id=automation_id,
                ticket_id=ticket_id,
                cause=cause,
                outcome=RunOutcome.DONE if problem is None else RunOutcome.FAILED,
                problem=problem,
                actions=automation.actions,
                after_event_id=before,
                last_event_id=feed.last_event_id(session),
            )
        )


def _act(session: Session, automation: Automation, ticket: Ticket) -> str | None:
    """Do all of it, or nothing. Why it could not be done."""
    try:
        with session.begin_nested():
            parsed: tuple[Action, ...] = actions.parse(session, automation.actions)
            actions.apply(session, ticket, parsed, _principal(automation.name))
            session.flush()
    except AssistantError as error:
        return error.message
    return None


def _holds(desk: Desk, session: Session, automation: Automation, ticket: Ticket) -> bool:
    try:
        holds = _compiled(session, automation, desk.taxonomy, desk.now())
    except Invalid:  # what it names is gone: nothing is like that
        return False
    query = visible_tickets(_principal(automation.name)).where(Ticket.id == ticket.id, *holds)
    return session.scalar(query.with_only_columns(Ticket.id)) is not None


def _due(desk: Desk, session: Session, automation: Automation) -> list[tuple[int, int | None]]:
    """Tickets that time has come for, each with its newest event."""
    try:
        holds = _compiled(session, automation, desk.taxonomy, desk.now())
    except Invalid:
        return []
    newest = select(func.max(Event.id)).where(Event.conversation_id == Ticket.conversation_id).scalar_subquery()
    query = select(Ticket.id, newest).where(*holds, or_(~_ran(automation.id), _changed_since(automation.id)))
    return [(row[0], row[1]) for row in session.execute(query.order_by(Ticket.id).limit(_AT_ONCE))]


def _ran(automation_id: int) -> ColumnElement[bool]:
    return exists().where(AutomationRun.automation_id == automation_id, AutomationRun.ticket_id == Ticket.id)


def _changed_since(automation_id: int) -> ColumnElement[bool]:
    """Whether anybody but automations has done something since it ran last."""
    last = (
        select(func.max(AutomationRun.last_event_id))
        .where(AutomationRun.automation_id == automation_id, AutomationRun.ticket_id == Ticket.id)
        .correlate(Ticket)
        .scalar_subquery()
    )
    by_automation = exists().where(
        AutomationRun.ticket_id == Ticket.id,
        AutomationRun.after_event_id < Event.id,
        AutomationRun.last_event_id >= Event.id,
    )
    news = and_(Event.conversation_id == Ticket.conversation_id, Event.kind.in_([one.value for one in _CHANGES]))
    return exists().where(news, Event.id > last, ~by_automation.correlate(Ticket, Event))


def _compiled(session: Session, automation: Automation, taxonomy: Taxonomy, now: datetime) -> list[ColumnElement[bool]]:
    asking = _asking(automation.name, taxonomy, now)
    return conditions.compiled(session, conditions.from_json(automation.conditions), asking)


def _asking(name: str, taxonomy: Taxonomy, now: datetime) -> Asking:
    return Asking(_principal(name), taxonomy, now)


def _principal(name: str) -> MachinePrincipal:
    return MachinePrincipal(0, name, frozenset())
