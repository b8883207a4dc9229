"""Conditions on tickets: what is searched for, what a view shows and what an automation waits for.

| field | example | values |
|---|---|---|
| `status`, `priority`, `type`, `state` | `status:open,pending` | those of tickets; `state`: who answers |
| `category`, `product`, `sentiment`, `language` | `category:"Device fault"` | keys or names of the taxonomy, `none` |
| `team`, `inbox`, `assignee` | `assignee:me -team:none` | keys, names, an agent's address; `me`, `none` |
| `tag` | `tag:refund` | tags, `none` |
| `channel` | `channel:widget` | where the conversation is held |
| `requester` | `requester:rosa@example.org` | an e-mail address, external id or id of a customer |
| `number` | `number:1042`, `#1042` | a ticket's number |
| `code` | `code:E21` | an error code, part or order number, exactly, in words or photos |
| `shows` | `shows:leaking`, `shows:"red light"` | condition or light, as it was read in photos or corrected |
| `has` | `has:photo` | `photo`, `file`, `note`, `draft`, `rating` |
| `is` | `is:unsolved` | `unsolved`, `solved`, `assigned`, `waiting`, `snoozed`, `unread` |
| `sla` | `sla:overdue` | `overdue`, `soon` (within the hour), `running`, `paused`, `missed` (ever), `none` |
| `created`, `updated`, `solved`, `due` | `created:>2026-11-01`, `solved:<7d` | a day (UTC) or time; how long ago |
| `waiting` | `waiting:>2h` | the same: since when its customer waits for a person |
| `field.` and a key | `field.colour:red`, `field.paid:>100` | a custom field's value, `none`; more or less than it |
| `before`, `after` | `after:2026-11-01` | short for `created` |
| words | `display blinks` | all occur, or what begins like the last (`search`) |

In a query, conditions stand side by side and all of them hold. A comma means "or", a minus "not"; quotes hold a value
together. `parse` reads a query and `write` writes one; rows store JSON. Whether values exist is seen by `compiled`,
which turns conditions into SQL: whoever calls it begins with `access.visible_tickets`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, false, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from assistant.desk import custom_fields, search
from assistant.desk.access import AgentPrincipal, Staff
from assistant.errors import Invalid
from assistant.models import (
    Agent,
    Attachment,
    AttachmentKind,
    Author,
    Conversation,
    ConversationState,
    Customer,
    Draft,
    DraftStatus,
    Inbox,
    Message,
    MessageVisibility,
    Priority,
    Rating,
    SLAClock,
    Tag,
    Team,
    Ticket,
    TicketRead,
    TicketStatus,
    TicketTag,
    TicketType,
)
from assistant.skills.taxonomy import Taxonomy
from assistant.skills.triage_fields import allowed_values, options
from assistant.text.folding import address, fold

MOST = 30  # in one list
UNSOLVED = Ticket.solved_at.is_(None)
NONE, ME = "none", "me"
WORDS = "words"
CUSTOM = "field."
_SHOWN = 12  # of the possible values, in a refusal
_LONGEST = 2000  # characters of a query
_TERM = re.compile(
    r'(?P<minus>-?)(?P<field>field\.\w+|[A-Za-z_]+):(?P<value>(?:"[^"]*"|[^\s",])+(?:,(?:"[^"]*"|[^\s",])+)*)|\S+'
)
_VALUE = re.compile(r'(?:"[^"]*"|[^",])+')
_AGE = re.compile(r"(\d{1,5})(m|h|d|w)")
_LONG_AGO = timedelta(days=36_500)
_FEW = 2000
_DRAFTED = aliased(Ticket)
_SOON = timedelta(hours=1)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NUMBER = re.compile(r"#(\d{1,9})")


class Operator(StrEnum):
    IS = "is"  # one of the values
    IS_NOT = "is_not"
    BEFORE = "before"
    AFTER = "after"  # or at that time
    OLDER = "older"  # longer ago than
    NEWER = "newer"
    CONTAIN = "contain"


@dataclass(frozen=True)
class Condition:
    field: str
    operator: Operator
    values: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"field": self.field, "operator": self.operator.value, "value": list(self.values)}


@dataclass(frozen=True)
class Asking:
    """Who asks, when, and among which labels: what the values of conditions depend on."""

    by: Staff
    taxonomy: Taxonomy
    now: datetime


@dataclass(frozen=True)
class Option:
    """A value that a field may have. ``also``: other ways to write it, the most usual first."""

    value: str
    name: str
    also: tuple[str, ...] = ()


Options = Callable[[Session, Asking], Sequence[Option]]
Compile = Callable[[Session, Asking, tuple[str, ...]], ColumnElement[bool]]


@dataclass(frozen=True)
class Field:
    """``options``: None if any text is a value; ``fixed``: those that need no looking up. ``compile`` gets values as
    they are stored."""

    operators: tuple[Operator, ...]
    compile: Compile
    options: Options | None = None
    fixed: frozenset[str] = frozenset()


def parse(query: str) -> tuple[Condition, ...]:
    """The conditions of a query as people type it. Raises `Invalid` if there is no such field, or if a time is none."""
    if len(query) > _LONGEST:
        raise Invalid(f"A query has at most {_LONGEST} characters.", field="q")
    found, words = [], []
    for term in _TERM.finditer(query):
        name, value = (term["field"] or "").lower(), term["value"] or ""
        if numbered := _NUMBER.fullmatch(term[0]):
            found.append(Condition("number", Operator.IS, (numbered[1],)))
        elif not name or value.startswith("//"):  # an address of a page is no field
            words.append(term[0].replace('"', " ").strip())
        else:
            found.append(_typed(name, [one[0].replace('"', "") for one in _VALUE.finditer(value)], bool(term["minus"])))
    if text := " ".join(word for word in words if word):
        found.append(Condition(WORDS, Operator.CONTAIN, (text,)))
    return _checked(found)


def write(conditions: Iterable[Condition]) -> str:
    """The query that `parse` reads as these conditions."""
    return " ".join(_written(condition) for condition in conditions)


def from_json(given: object) -> tuple[Condition, ...]:
    """Conditions as they are stored. Raises `Invalid` that says what is wrong with which."""
    if not isinstance(given, list):
        raise Invalid("Conditions are a list.", field="conditions")
    return _checked(_from_json(one) for one in given)


def compiled(session: Session, conditions: Iterable[Condition], asking: Asking) -> list[ColumnElement[bool]]:
    """What must be true of a `Ticket`. Raises `Invalid` that names a value there is not, and which there are."""
    return [_compiled(session, condition, asking) for condition in conditions]


def are_of_unsolved(conditions: Iterable[Condition]) -> bool:
    """Whether only unsolved tickets fulfil these."""
    standing = [one.values for one in conditions if one.field == "is" and one.operator is Operator.IS]
    return any(_OF_UNSOLVED.issuperset(values) for values in standing)


def possible(session: Session, field: str, asking: Asking) -> Sequence[Option] | None:
    """The values that a field may have; None if any text is one."""
    of = _known(field).options
    return of(session, asking) if of is not None else None


def _typed(name: str, values: Sequence[str], negated: bool) -> Condition:
    """A term of a query."""
    if name == WORDS:  # they stand by themselves
        raise _unknown(name)
    if name in _SHORT:
        name, operator = _SHORT[name]
        return Condition(name, operator, tuple(values))
    operators, typed = _known(name).operators, values[0]
    is_compared = typed.startswith(("<", ">")) and not negated
    if Operator.IS in operators and not (is_compared and Operator.BEFORE in operators):
        return Condition(name, Operator.IS_NOT if negated else Operator.IS, tuple(values))
    if not is_compared:
        raise Invalid(f"Write {name}:>2026-11-01, {name}:<2026-11-01, {name}:<7d or {name}:>7d.", field=name)
    later, value = typed[0] == ">", typed[1:].removeprefix("=")
    if _AGE.fullmatch(value):
        return Condition(name, Operator.OLDER if later else Operator.NEWER, (value, *values[1:]))
    return Condition(name, Operator.AFTER if later else Operator.BEFORE, (value, *values[1:]))


def _written(condition: Condition) -> str:
    values = ",".join(f'"{value}"' if re.search(r"[\s,]", value) else value for value in condition.values)
    if condition.field == WORDS:
        return " ".join(f'"{word}"' if _is_special(word) else word for word in condition.values[0].split())
    sign = {Operator.BEFORE: "<", Operator.NEWER: "<", Operator.AFTER: ">", Operator.OLDER: ">"}
    minus = "-" if condition.operator is Operator.IS_NOT else ""
    return f"{minus}{condition.field}:{sign.get(condition.operator, '')}{values}"


def _is_special(word: str) -> bool:
    """Whether a word would be read as something else."""
    term = _TERM.match(word)
    return term is not None and (term["field"] is not None or _NUMBER.fullmatch(word) is not None)


def _from_json(given: object) -> Condition:
    if not isinstance(given, Mapping) or set(given) != {"field", "operator", "value"}:
        raise Invalid("A condition has a field, an operator and a value.", field="conditions")
    value = given["value"]
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise Invalid("The value of a condition is a text or a list of texts.", field="conditions")
    if given["operator"] not in list(Operator):
        raise Invalid(
            f"There is no operator {given['operator']!r}. Choose from: {', '.join(Operator)}.", field="conditions"
        )
    return Condition(str(given["field"]), Operator(given["operator"]), tuple(values))


def _checked(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """What can be said without the database."""
    checked = tuple(conditions)
    if len(checked) > MOST:
        raise Invalid(f"There are at most {MOST} conditions.", field="conditions")
    for condition in checked:
        operators, name = _known(condition.field).operators, condition.field
        if condition.operator not in operators:
            raise Invalid(f"{name} has the operators {', '.join(operators)}, not {condition.operator}.", field=name)
        several = condition.operator in (Operator.IS, Operator.IS_NOT)
        if not condition.values or not all(one.strip() for one in condition.values):
            raise Invalid(f"{name} needs a value.", field=name)
        if len(condition.values) > (MOST if several else 1):
            raise Invalid(f"{name} has too many values.", field=name)
        if name.startswith(CUSTOM):
            continue  # what it takes, the database knows
        if condition.operator in (Operator.BEFORE, Operator.AFTER):
            _moment(name, condition.values[0])
        elif condition.operator in (Operator.OLDER, Operator.NEWER):
            _ago(name, condition.values[0], datetime.now(UTC))
    return checked


def _known(name: str) -> Field:
    if name.startswith(CUSTOM):
        return _CUSTOM
    if name not in FIELDS:
        raise _unknown(name)
    return FIELDS[name]


def _unknown(name: str) -> Invalid:
    fields = ", ".join(one for one in (*FIELDS, *_SHORT, f"{CUSTOM}KEY") if one != WORDS)
    return Invalid(f"There is no field {name!r} to search by. Fields: {fields}.", field=name)


def _compiled(session: Session, condition: Condition, asking: Asking) -> ColumnElement[bool]:
    name, operator, values = condition.field, condition.operator, condition.values
    field = _known(name)
    if field is _CUSTOM:
        return _custom(session, condition)
    if operator in (Operator.BEFORE, Operator.AFTER):
        moment = _moment(name, values[0])
        return _in_time(name, moment, later=operator is Operator.AFTER)
    if operator in (Operator.OLDER, Operator.NEWER):
        return _in_time(name, _ago(name, values[0], asking.now), later=operator is Operator.NEWER)
    if field.options is not None and not field.fixed.issuperset(values):
        values = _stored(name, values, field.options(session, asking))
    holds = field.compile(session, asking, values)
    return ~holds if operator is Operator.IS_NOT else holds


def _custom(session: Session, condition: Condition) -> ColumnElement[bool]:
    key, operator = condition.field.removeprefix(CUSTOM), condition.operator
    if operator in (Operator.BEFORE, Operator.AFTER):
        return custom_fields.compared(session, key, condition.values[0], later=operator is Operator.AFTER)
    holds = custom_fields.among(session, key, condition.values)
    return ~holds if operator is Operator.IS_NOT else holds


def _stored(name: str, values: Iterable[str], known: Sequence[Option]) -> tuple[str, ...]:
    """Values as they are stored, of what people type: keys or names, capitals and accents aside."""
    spellings = {fold(spelling): one.value for one in known for spelling in (*one.also, one.name, one.value)}
    missing = [value for value in values if fold(value) not in spellings]
    if missing:
        names = [one.also[0] if one.also else one.value for one in known]
        near = get_close_matches(missing[0], names, n=3) if len(names) > _SHOWN else names
        say = ", ".join(near or names[:_SHOWN]) or "none yet"
        raise Invalid(f"There is no {name} {missing[0]!r}. Possible: {say}.", field=name)
    return tuple(spellings[fold(value)] for value in values)


# Times


def _moment(name: str, value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid(f"{value!r} is no time: write 2026-11-01 or 2026-11-01T09:00.", field=name) from error


def _ago(name: str, value: str, now: datetime) -> datetime:
    age = _AGE.fullmatch(value)
    if age is None:
        raise Invalid(f"{value!r} is no length of time: write 30m, 12h, 7d or 2w.", field=name)
    length = timedelta(**{_UNITS[age[2]]: int(age[1])})
    return now - min(length, _LONG_AGO)


def _in_time(name: str, moment: datetime, *, later: bool) -> ColumnElement[bool]:
    column = _TIMES[name]
    return column >= moment if later else and_(column.is_not(None), column < moment)


_TIMES: Mapping[str, InstrumentedAttribute[Any]] = {
    "created": Ticket.created_at,
    "updated": Ticket.updated_at,
    "solved": Ticket.solved_at,
    "due": Ticket.due_at,
    "waiting": Ticket.waiting_since,
}


def _never(_session: Session, _asking: Asking, _values: tuple[str, ...]) -> ColumnElement[bool]:
    raise AssertionError("times are compiled by their operators")


# What a field means


def _column(column: InstrumentedAttribute[Any]) -> Compile:
    """A column that holds one of the values, or none."""

    def compile_column(_session: Session, _asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
        return _among(column, [value for value in values if value != NONE], empty=NONE in values)

    return compile_column


def _reference(column: InstrumentedAttribute[Any], kind: type[Agent] | type[Team], key: Any) -> Compile:
    """A column that points at one of several rows, or at none."""

    def compile_reference(session: Session, asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
        named = [value for value in values if value not in (NONE, ME)]
        ids = list(session.scalars(select(kind.id).where(key.in_(named)))) if named else []
        own = [_own_id(asking)] if ME in values else []
        return _among(column, [*ids, *own], empty=NONE in values)

    return compile_reference


def _among(column: InstrumentedAttribute[Any], values: Sequence[Any], *, empty: bool) -> ColumnElement[bool]:
    """Never unknown, so that it can be negated."""
    holds = and_(column.is_not(None), column.in_(values))
    return or_(column.is_(None), holds) if empty else holds


def _own_id(asking: Asking) -> int:
    if isinstance(asking.by, AgentPrincipal):
        return asking.by.agent_id
    raise Invalid("Only an agent is “me”: name the agent.", field="assignee")


def _among_these(session: Session, conversations: Select[int]) -> ColumnElement[bool]:
    """Tickets of these conversations: of few, by looking those up, of many, by asking each ticket. Which is the faster
    by far depends on nothing else."""
    few = session.execute(select(func.count()).select_from(conversations.limit(_FEW).subquery())).scalar_one() < _FEW
    if few:
        return Ticket.conversation_id.in_(conversations)
    own = conversations.selected_columns[0] == Ticket.conversation_id
    return exists(conversations.where(own).correlate(Ticket))


def _inbox(session: Session, _asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
    ids = session.scalars(select(Inbox.id).where(Inbox.key.in_(values))).all()
    return _among_these(session, select(Conversation.id).where(Conversation.inbox_id.in_(ids)))


def _channel(session: Session, _asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
    return _among_these(session, select(Conversation.id).where(Conversation.channel.in_(values)))


def _state(session: Session, _asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
    return _among_these(session, select(Conversation.id).where(Conversation.state.in_(values)))


def _requester(_session: Session, _asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
    known = or_(
        Customer.public_id.in_(values),
        Customer.external_id.in_(values),
        Customer.email.in_([address(value) for value in values]),
    )
    return Ticket.requester_id.in_(select(Customer.id).where(known))


def _number(_session: Session, _asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
    plain = [value.removeprefix("#") for value in values]
    wrong = [value for value in plain if not (value.isascii() and value.isdigit() and len(value) < 10)]
    if wrong:
        raise Invalid(f"{wrong[0]!r} is no number of a ticket: write #1042.", field="number")
    return Ticket.id.in_([Ticket.id_of(int(value)) for value in plain])


def _has(session: Session, _asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
    return or_(*(_among_these(session, _PARTS[value]) for value in values))


def _attached(kind: AttachmentKind) -> Select[int]:
    return select(Message.conversation_id).join(Attachment).where(Attachment.kind == kind)


# Conversations with them.
_PARTS: Mapping[str, Select[int]] = {
    "photo": _attached(AttachmentKind.PHOTO),
    "file": _attached(AttachmentKind.FILE),
    "note": select(Message.conversation_id).where(Message.visibility == MessageVisibility.INTERNAL),
    "draft": select(_DRAFTED.conversation_id).join(Draft).where(Draft.status == DraftStatus.PROPOSED),
    "rating": select(Rating.conversation_id),
}


def _is(_session: Session, asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
    return or_(*(_STANDINGS[value](asking) for value in values))


def is_unread(agent: Staff) -> ColumnElement[bool]:
    """The customer of an unsolved ticket has written what this agent has not had before their eyes."""
    if not isinstance(agent, AgentPrincipal):
        return false()
    seen = select(TicketRead.message_id).where(TicketRead.agent_id == agent.agent_id, TicketRead.ticket_id == Ticket.id)
    newer = exists().where(
        Message.conversation_id == Ticket.conversation_id,
        Message.author == Author.CUSTOMER,
        Message.id > func.coalesce(seen.correlate(Ticket).scalar_subquery(), 0),
    )
    return and_(UNSOLVED, newer)


_STANDINGS: Mapping[str, Callable[[Asking], ColumnElement[bool]]] = {
    "unsolved": lambda _asking: UNSOLVED,
    "solved": lambda _asking: Ticket.solved_at.is_not(None),
    "assigned": lambda _asking: Ticket.agent_id.is_not(None),
    "waiting": lambda _asking: and_(UNSOLVED, Ticket.waiting_since.is_not(None)),
    "snoozed": lambda asking: and_(Ticket.snoozed_until.is_not(None), Ticket.snoozed_until > asking.now),
    "unread": lambda asking: is_unread(asking.by),
}


def _sla(_session: Session, asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
    return or_(*(_SLA_STATES[value](asking.now) for value in values))


def _has_policy(*holds: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(SLAClock.ticket_id == Ticket.id, SLAClock.policy_id.is_not(None), *holds)


# Never unknown, so that they can be negated.
_SLA_STATES: Mapping[str, Callable[[datetime], ColumnElement[bool]]] = {
    "overdue": lambda now: and_(Ticket.due_at.is_not(None), Ticket.due_at <= now),
    "soon": lambda now: and_(Ticket.due_at.is_not(None), Ticket.due_at > now, Ticket.due_at <= now + _SOON),
    "running": lambda now: and_(Ticket.due_at.is_not(None), Ticket.due_at > now),
    "paused": lambda _now: and_(Ticket.due_at.is_(None), _has_policy(SLAClock.ended_at.is_(None))),
    "missed": lambda _now: Ticket.breached_at.is_not(None),
    NONE: lambda _now: ~_has_policy(),
}


def _words(session: Session, _asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
    return search.has(session, values[0])


def _code(session: Session, _asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
    return search.has_code(session, values)


def _shows(session: Session, _asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
    return search.shows(session, values)


def _tag(_session: Session, _asking: Asking, values: tuple[str, ...]) -> ColumnElement[bool]:
    tagged = select(TicketTag.ticket_id).join(Tag, Tag.id == TicketTag.tag_id)
    named = Ticket.id.in_(tagged.where(Tag.key.in_(values)))
    return or_(~exists().where(TicketTag.ticket_id == Ticket.id), named) if NONE in values else named


_OF_UNSOLVED = frozenset({"unsolved", "waiting", "unread"})


# Which values there are


def _listed(values: Iterable[str]) -> Options:
    known = [Option(value, value.replace("_", " ")) for value in values]
    return lambda _session, _asking: known


def _labels(name: str) -> Options:
    """Of the taxonomy, and none."""

    def labels(_session: Session, asking: Asking) -> Sequence[Option]:
        if name == "language":
            return [*(Option(code, code) for code in allowed_values(asking.taxonomy, name)), _nothing()]
        return [*(Option(one.key, one.name) for one in options(asking.taxonomy, name)), _nothing()]

    return labels


def _nothing(*also: str) -> Option:
    return Option(NONE, NONE, also)


def _teams(session: Session, _asking: Asking) -> Sequence[Option]:
    return [*_rows(session, select(Team.key, Team.name).order_by(Team.name)), _nothing()]


def _tags(session: Session, _asking: Asking) -> Sequence[Option]:
    return [*_rows(session, select(Tag.key, Tag.name).order_by(Tag.key)), _nothing()]


def _inboxes(session: Session, _asking: Asking) -> Sequence[Option]:
    return _rows(session, select(Inbox.key, Inbox.name).order_by(Inbox.key))


def _agents(session: Session, _asking: Asking) -> Sequence[Option]:
    """Those who have left as well: their tickets are looked for most."""
    rows = session.execute(select(Agent.public_id, Agent.name, Agent.email).order_by(Agent.name))
    return [Option(ME, ME), *(Option(row[0], row[1], (row[2],)) for row in rows), _nothing("nobody")]


def _rows(session: Session, query: Select[str, str]) -> list[Option]:
    return [Option(key, name or key) for key, name in session.execute(query)]


_CHOICE = (Operator.IS, Operator.IS_NOT)
_TIME = (Operator.BEFORE, Operator.AFTER, Operator.OLDER, Operator.NEWER)
FIELDS: Mapping[str, Field] = {
    "status": Field(_CHOICE, _column(Ticket.status), _listed(TicketStatus)),
    "priority": Field(_CHOICE, _column(Ticket.priority), _listed(Priority)),
    "type": Field(_CHOICE, _column(Ticket.type), _listed((*TicketType, NONE))),
    "state": Field(_CHOICE, _state, _listed(ConversationState)),
    "category": Field(_CHOICE, _column(Ticket.category), _labels("category")),
    "product": Field(_CHOICE, _column(Ticket.product), _labels("product")),
    "sentiment": Field(_CHOICE, _column(Ticket.sentiment), _labels("sentiment")),
    "language": Field(_CHOICE, _column(Ticket.language), _labels("language")),
    "team": Field(_CHOICE, _reference(Ticket.team_id, Team, Team.key), _teams),
    "assignee": Field(_CHOICE, _reference(Ticket.agent_id, Agent, Agent.public_id), _agents, frozenset({ME, NONE})),
    "inbox": Field(_CHOICE, _inbox, _inboxes),
    "tag": Field(_CHOICE, _tag, _tags),
    "channel": Field(_CHOICE, _channel, _listed(("widget", "api"))),
    "requester": Field(_CHOICE, _requester),
    "number": Field(_CHOICE, _number),
    "code": Field(_CHOICE, _code),
    "shows": Field(_CHOICE, _shows),
    "has": Field(_CHOICE, _has, _listed(_PARTS)),
    "is": Field(_CHOICE, _is, _listed(_STANDINGS)),
    "sla": Field(_CHOICE, _sla, _listed(_SLA_STATES)),
    "created": Field(_TIME, _never),
    "updated": Field(_TIME, _never),
    "solved": Field(_TIME, _never),
    "due": Field(_TIME, _never),
    "waiting": Field(_TIME, _never),
    WORDS: Field((Operator.CONTAIN,), _words),
}
_CUSTOM = Field((*_CHOICE, Operator.BEFORE, Operator.AFTER), _never)
_SHORT: Mapping[str, tuple[str, Operator]] = {
    "before": ("created", Operator.BEFORE),
    "after": ("created", Operator.AFTER),
}
