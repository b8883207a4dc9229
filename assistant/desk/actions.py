"""Actions: what can be done to a ticket by its name and arguments. Macros, bulk actions and automations store them.

| action | arguments | taken back by |
|---|---|---|
| `set_status` | `status` | the same |
| `set_priority` | `priority` | the same |
| `assign` | `agent`: an id, `me`, or empty for nobody | the same |
| `transfer` | `team`: a key, or empty for none | the same |
| `set_field` | `field`: `KEY=VALUE` of a custom field, `KEY=` for none | the same |
| `add_tag`, `remove_tag` | `tag` | each other |
| `snooze` | `until`: a time (ISO 8601), `+3h`, `+2d`, or empty to wake it | the same |
| `follow`, `unfollow` | `agent`: an id or `me` | each other |
| `note` | `text`, with placeholders | nothing |
| `reply` | `text`, with placeholders | nothing |

`parse` checks what a form or a stored row says, `apply` does it. What it did is taken back by the actions it returns,
except where somebody has changed the same thing since.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.db import utcnow
from assistant.desk import custom_fields, drafts, people, placeholders, state, tags, tickets
from assistant.desk.access import AgentPrincipal, Staff
from assistant.errors import Invalid
from assistant.models import Agent, Priority, Ticket, TicketFollower, TicketStatus

ME = "me"
MOST = 20  # in one list
_LATER = re.compile(r"\+(\d{1,4})([hd])")
_TAGS, _FOLLOWERS, _FIELDS = "tags", "followers", "fields"


@dataclass(frozen=True)
class Action:
    """``expects``: of one that takes something back, the value that it replaces. If that is another by now, it does
    nothing."""

    name: str
    arguments: Mapping[str, str]
    expects: str | None = None

    def to_json(self) -> dict[str, Any]:
        plain = {"name": self.name, "arguments": dict(self.arguments)}
        return plain if self.expects is None else {**plain, "expects": self.expects}


@dataclass(frozen=True)
class Applied:
    """``undo``: the actions that take it back, in order. ``skipped``: those that would have undone somebody else's
    change."""

    undo: tuple[Action, ...] = ()
    skipped: tuple[Action, ...] = ()


@dataclass(frozen=True)
class _Kind:
    """``argument``: its only one. ``check`` returns its value as it is stored, or raises `Invalid`. ``changes``: the
    part of a ticket (see `_standing`) that it changes."""

    argument: str
    check: Callable[[Session, str], str]
    perform: Callable[[Session, Ticket, str, Staff], object]
    changes: str = ""


def parse(session: Session, given: object) -> tuple[Action, ...]:
    """Actions from JSON: ``[{"name": "add_tag", "arguments": {"tag": "refund"}}, …]``. Raises `Invalid` saying which
    is wrong and what is possible."""
    if not isinstance(given, list) or len(given) > MOST:
        raise Invalid(f"Actions are a list of at most {MOST}.", field="actions")
    return tuple(_parse_one(session, one) for one in given)


def apply(session: Session, ticket: Ticket, actions: Sequence[Action], by: Staff) -> Applied:
    """Do all of it in the caller's transaction, or raise. The caller has checked that ``by`` may see the ticket."""
    state.lock_conversation(session, ticket.conversation_id)
    state.forget(session, ticket)
    before = _standing(session, ticket)
    skipped = []
    for action in actions:
        kind = KINDS[action.name]
        if action.expects is not None and _replaced(action, _standing(session, ticket)) != action.expects:
            skipped.append(action)
        else:
            kind.perform(session, ticket, action.arguments[kind.argument], by)
    return Applied(tuple(_undo(before, _standing(session, ticket))), tuple(skipped))


def snooze(session: Session, ticket: Ticket, until: datetime | None) -> None:
    """Put a ticket out of sight until then, or until its customer writes. None wakes it. `subscribers` has the job."""
    if until is not None and until <= utcnow():
        raise Invalid("A ticket is snoozed until a time to come.", field="until")
    state.change_ticket(session, ticket, snoozed_until=until)


def followers(session: Session, ticket: Ticket) -> list[Agent]:
    query = select(Agent).join(TicketFollower, TicketFollower.agent_id == Agent.id)
    return list(session.scalars(query.where(TicketFollower.ticket_id == ticket.id).order_by(Agent.name)))


def _parse_one(session: Session, given: object) -> Action:
    if not isinstance(given, Mapping):
        raise Invalid("An action has a name and arguments.", field="actions")
    name = str(given.get("name"))
    if name not in KINDS:
        raise Invalid(f"There is no action {name!r}. Choose from: {', '.join(KINDS)}.", field="actions")
    kind, arguments, expects = KINDS[name], given.get("arguments"), given.get("expects")
    if not isinstance(arguments, Mapping) or set(arguments) != {kind.argument}:
        raise Invalid(f"{name} takes one argument: {kind.argument}.", field="actions")
    value = arguments[kind.argument]
    if not isinstance(value, str) or not isinstance(expects, str | None):
        raise Invalid(f"The argument {kind.argument} of {name} is a text.", field="actions")
    try:
        return Action(name, {kind.argument: kind.check(session, value)}, expects)
    except Invalid as error:
        raise Invalid(f"{name}: {error.message}", field="actions") from error


def _standing(session: Session, ticket: Ticket) -> dict[str, Any]:
    """What actions change of a ticket, as the values of their arguments."""
    followed = session.scalars(
        select(Agent.public_id)
        .join(TicketFollower, TicketFollower.agent_id == Agent.id)
        .where(TicketFollower.ticket_id == ticket.id)
    )
    return {
        "agent": ticket.agent.public_id if ticket.agent is not None else "",
        "team": ticket.team.key if ticket.team is not None else "",
        "status": ticket.status.value,
        "priority": ticket.priority.value,
        "snooze": ticket.snoozed_until.isoformat() if ticket.snoozed_until is not None else "",
        _TAGS: {tag.name for tag in ticket.tags},
        _FOLLOWERS: set(followed),
        _FIELDS: ticket.fields,
    }


def _replaced(action: Action, standing: Mapping[str, Any]) -> str:
    """What an action would replace."""
    kind = KINDS[action.name]
    found = standing[kind.changes]
    if kind.changes == _FIELDS:
        found = found.get(action.arguments[kind.argument].partition("=")[0], "")
    return str(found)


def _undo(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Action]:
    """Who has it comes before its status: a reopened ticket goes to its agent."""
    for name, kind in KINDS.items():
        if kind.changes in (_TAGS, _FOLLOWERS):
            adds = name in ("add_tag", "follow")
            was, now = (before, after) if adds else (after, before)
            for value in sorted(was[kind.changes] - now[kind.changes]):
                yield Action(name, {kind.argument: value})
        elif kind.changes == _FIELDS:
            was, now = before[_FIELDS], after[_FIELDS]
            for key in sorted(was.keys() | now.keys()):
                if was.get(key) != now.get(key):
                    yield Action(name, {kind.argument: f"{key}={was.get(key, '')}"}, expects=now.get(key, ""))
        elif kind.changes and before[kind.changes] != after[kind.changes]:
            yield Action(name, {kind.argument: before[kind.changes]}, expects=after[kind.changes])


def _set_status(session: Session, ticket: Ticket, value: str, by: Staff) -> None:
    if value == TicketStatus.SOLVED:
        tickets.solve(session, ticket, by if isinstance(by, AgentPrincipal) else None)
    else:
        tickets.set_status(session, ticket, TicketStatus(value))


def _set_priority(session: Session, ticket: Ticket, value: str, _by: Staff) -> None:
    state.change_ticket(session, ticket, priority=Priority(value))


def _assign(session: Session, ticket: Ticket, value: str, by: Staff) -> None:
    tickets.assign(session, ticket, _agent_id(value, by) or None)


def _transfer(session: Session, ticket: Ticket, value: str, _by: Staff) -> None:
    state.change_ticket(session, ticket, team=people.find_team(session, value) if value else None)


def _snooze(session: Session, ticket: Ticket, value: str, _by: Staff) -> None:
    snooze(session, ticket, _moment(value))


def _follow(session: Session, ticket: Ticket, value: str, by: Staff) -> None:
    agent = people.find_agent(session, _agent_id(value, by))
    if session.get(TicketFollower, (ticket.id, agent.id)) is None:
        session.add(TicketFollower(ticket_id=ticket.id, agent_id=agent.id))
        session.flush()


def _unfollow(session: Session, ticket: Ticket, value: str, by: Staff) -> None:
    agent = people.find_agent(session, _agent_id(value, by))
    row = session.get(TicketFollower, (ticket.id, agent.id))
    if row is not None:
        session.delete(row)
        session.flush()


def _add_tag(session: Session, ticket: Ticket, value: str, _by: Staff) -> None:
    tags.add(session, ticket, value)


def _remove_tag(session: Session, ticket: Ticket, value: str, _by: Staff) -> None:
    tags.remove(session, ticket, value)


def _set_field(session: Session, ticket: Ticket, value: str, _by: Staff) -> None:
    key, _, given = value.partition("=")
    tickets.set_fields(session, ticket, {key: given})


def _note(session: Session, ticket: Ticket, value: str, by: Staff) -> None:
    drafts.add_note(session, by, ticket, placeholders.fill(value, ticket, writer=by.name))


def _reply(session: Session, ticket: Ticket, value: str, by: Staff) -> None:
    drafts.reply(session, by, ticket, placeholders.fill(value, ticket, writer=by.name))


def _agent_id(value: str, by: Staff) -> str:
    if value != ME:
        return value
    if isinstance(by, AgentPrincipal):
        return by.public_id
    raise Invalid("Only an agent is “me”: name the agent.", field="agent")


def _moment(value: str) -> datetime | None:
    """When something is snoozed until, from now."""
    if not value:
        return None
    if later := _LATER.fullmatch(value):
        number = int(later[1])
        return utcnow() + (timedelta(hours=number) if later[2] == "h" else timedelta(days=number))
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise Invalid(
            "Give a time, e.g. 2026-12-01T09:00+01:00, or how much later: +3h, +2d.", field="until"
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _one_of(kind: type[TicketStatus] | type[Priority]) -> Callable[[Session, str], str]:
    def check(_session: Session, value: str) -> str:
        if value not in list(kind):
            raise Invalid(f"{value!r} is none of {', '.join(one.value for one in kind)}.")
        return value

    return check


def _check_agent(session: Session, value: str) -> str:
    return people.find_agent(session, value).public_id if value and value != ME else value


def _check_follower(session: Session, value: str) -> str:
    return _check_agent(session, value) or ME


def _check_team(session: Session, value: str) -> str:
    return people.find_team(session, value).key if value else ""


def _check_moment(_session: Session, value: str) -> str:
    _moment(value)
    return value


def _check_tag(_session: Session, value: str) -> str:
    return tags.clean(value)


def _check_field(session: Session, value: str) -> str:
    key, sign, given = value.partition("=")
    if not sign:
        raise Invalid("Write KEY=VALUE, or KEY= for no value.")
    return f"{key.strip().lower()}={custom_fields.read(session, key, given)}"


def _check_text(session: Session, value: str) -> str:
    if not value.strip():
        raise Invalid("The text is empty.")
    return placeholders.check(session, value)


KINDS: Mapping[str, _Kind] = {
    "assign": _Kind("agent", _check_agent, _assign, "agent"),
    "transfer": _Kind("team", _check_team, _transfer, "team"),
    "set_status": _Kind("status", _one_of(TicketStatus), _set_status, "status"),
    "set_priority": _Kind("priority", _one_of(Priority), _set_priority, "priority"),
    "snooze": _Kind("until", _check_moment, _snooze, "snooze"),
    "set_field": _Kind("field", _check_field, _set_field, _FIELDS),
    "add_tag": _Kind("tag", _check_tag, _add_tag, _TAGS),
    "remove_tag": _Kind("tag", _check_tag, _remove_tag, _TAGS),
    "follow": _Kind("agent", _check_follower, _follow, _FOLLOWERS),
    "unfollow": _Kind("agent", _check_follower, _unfollow, _FOLLOWERS),
    "note": _Kind("text", _check_text, _note),
    "reply": _Kind("text", _check_text, _reply),
}
