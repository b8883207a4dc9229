"""Views of the queue: which tickets, in which order, with which columns; built in, or saved by agents.

The working order is overdue, then urgent, then who has waited longest. A page is a range of its order (a keyset): what
is before or after it may change, and it stays where it is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, and_, case, false, func, literal, or_, select, type_coerce
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload, selectinload

from assistant.db import utcnow
from assistant.desk import conditions, custom_fields, search
from assistant.desk.access import AgentPrincipal, visible_tickets
from assistant.desk.conditions import UNSOLVED, WORDS, Asking, Condition
from assistant.errors import Invalid, NotAllowed, NotFound
from assistant.models import (
    Author,
    Conversation,
    Message,
    MessageVisibility,
    Priority,
    SavedView,
    Ticket,
    TicketRead,
)

PAGE = 50
COUNTED = 1000  # of a view, its tickets are counted up to here
MOST_SAVED = 50
NAME_LENGTH = 60
COLUMNS = ("category", "priority", "product", "team", "assignee", "inbox", "status", "tags", "created")
FIELD = "field."  # and its key: the column of a custom field
_USUAL = ("category", "priority", "assignee", "status")
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class View:
    """``key``: of a built-in view its name in addresses, of a saved one its id. ``own``: it is the agent's."""

    key: str
    name: str
    conditions: tuple[Condition, ...]
    sort: str = "work"
    columns: tuple[str, ...] = _USUAL
    shared: bool = False
    own: bool = False
    broken: str | None = None  # why it shows nothing: what it asks for is no longer there

    @property
    def query(self) -> str:
        return conditions.write(self.conditions)


@dataclass(frozen=True)
class NewView:
    """What an agent saves. ``shared``: with their team."""

    name: str
    query: str
    sort: str
    columns: tuple[str, ...]
    shared: bool = False


@dataclass(frozen=True)
class Row:
    """A ticket in a list. ``last``: what was said last, notes aside. ``unread``: by the agent who looks."""

    ticket: Ticket
    last: Message | None
    unread: bool


@dataclass(frozen=True)
class Page:
    """``before`` and ``after`` are cursors of the pages on both sides; None: there is none."""

    rows: Sequence[Row] = ()
    before: str | None = None
    after: str | None = None


def _built_in(key: str, name: str, query: str, sort: str = "work") -> View:
    return View(key, name, conditions.parse(query), sort)


BUILT_IN = (
    _built_in("mine", "My work", "assignee:me is:unsolved -is:snoozed"),
    _built_in("waiting", "Waiting", "is:waiting assignee:me,none -is:snoozed"),
    _built_in("urgent", "Urgent", "priority:urgent is:unsolved -is:snoozed"),
    _built_in("overdue", "Overdue", "sla:overdue is:unsolved -is:snoozed"),
    _built_in("unassigned", "Unassigned", "assignee:none is:unsolved -state:assistant -is:snoozed"),
    _built_in("assistant", "With the assistant", "state:assistant is:unsolved -is:snoozed"),
    _built_in("snoozed", "Snoozed", "is:snoozed is:unsolved", "wakes"),
    _built_in("solved", "Recently solved", "solved:<7d", "solved"),
    _built_in("all", "All", "", "newest"),
)
DEFAULT = "waiting"


# Orders


@dataclass(frozen=True)
class _Key:
    """A part of an order. Its values are never null."""

    by: Callable[[Asking], ColumnElement[Any]]
    descending: bool = False
    is_time: bool = False

    def stored(self, value: Any) -> str | int:
        return value.isoformat() if self.is_time else int(value)

    def read(self, value: Any) -> Any:
        if self.is_time:
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        if not isinstance(value, int) or abs(value) > 2**31 - 1:
            raise ValueError(value)
        return value


@dataclass(frozen=True)
class _Stretch:
    """A part of an order that an index has: the tickets of which something ``holds`` (None: all), by their keys."""

    keys: tuple[_Key, ...]
    holds: ColumnElement[bool] | None = None


def _rank(asking: Asking) -> ColumnElement[int]:
    return case((Ticket.due_at <= asking.now, 0), (Ticket.priority == Priority.URGENT, 1), else_=2)


def _since(asking: Asking) -> ColumnElement[datetime]:
    return func.coalesce(Ticket.waiting_since, literal(_LATEST, Ticket.created_at.type))


def _time(column: Any, *, descending: bool = False) -> _Key:
    return _Key(lambda _asking: column, descending, is_time=True)


_ID = _Key(lambda _asking: type_coerce(Ticket.id, Integer))
_NEWEST = _Key(lambda _asking: type_coerce(Ticket.id, Integer), descending=True)
SORTS: Mapping[str, tuple[str, tuple[_Stretch, ...]]] = {
    "work": (
        "Working order",
        (
            _Stretch((_Key(_rank), _Key(_since, is_time=True), _ID), UNSOLVED),
            _Stretch((_NEWEST,), Ticket.solved_at.is_not(None)),
        ),
    ),
    "waiting": (
        "Longest waiting",
        (
            _Stretch((_time(Ticket.waiting_since), _ID), Ticket.waiting_since.is_not(None)),
            _Stretch((_NEWEST,), Ticket.waiting_since.is_(None)),
        ),
    ),
    "wakes": (
        "First to wake",
        (
            _Stretch((_time(Ticket.snoozed_until), _ID), Ticket.snoozed_until.is_not(None)),
            _Stretch((_NEWEST,), Ticket.snoozed_until.is_(None)),
        ),
    ),
    "newest": ("Newest", (_Stretch((_NEWEST,)),)),
    "oldest": ("Oldest", (_Stretch((_ID,)),)),
    "updated": ("Last changed", (_Stretch((_time(Ticket.updated_at, descending=True), _NEWEST)),)),
    "solved": (
        "Last solved",
        (
            _Stretch((_time(Ticket.solved_at, descending=True), _NEWEST), Ticket.solved_at.is_not(None)),
            _Stretch((_NEWEST,), UNSOLVED),
        ),
    ),
}


# Lists


def page(
    session: Session, agent: AgentPrincipal, view: View, asking: Asking, *, cursor: str | None = None, limit: int = PAGE
) -> Page:
    """A page of a view, in a constant number of statements. With words, newest first, whatever the view's order.

    ``cursor``: of another page, else the first. Raises `Invalid` for a cursor that is none."""
    if view.broken is not None:
        raise Invalid(view.broken, field="conditions")
    words = " ".join(one.values[0] for one in view.conditions if one.field == WORDS) or None
    others = [one for one in view.conditions if one.field != WORDS]
    query = visible_tickets(agent).where(*conditions.compiled(session, others, asking))
    sort = "newest" if words is not None else view.sort
    at = _read_cursor(sort, cursor) if cursor else None
    backwards = at is not None and at.backwards
    found = _range(session, query, sort, asking, at, limit=limit + 1, words=words)
    if backwards and len(found) <= limit:  # everything before it fits on a page: that is the first
        return page(session, agent, view, asking, limit=limit)
    shown = found[:limit][::-1] if backwards else found[:limit]
    more = _cursor(sort, shown[-1]) if backwards or len(found) > limit else None
    before = _cursor(sort, shown[0], backwards=True) if at is not None and shown else None
    return Page(rows(session, agent, [one.ticket_id for one in shown], view.columns), before, more)


def count(session: Session, agent: AgentPrincipal, views: Sequence[View], asking: Asking) -> list[int]:
    """How many tickets each view has, up to `COUNTED`; two statements. Those of unsolved tickets are counted in one
    pass over them."""
    held = [_holds(session, view, asking) for view in views]
    open_ones = [number for number, view in enumerate(views) if conditions.are_of_unsolved(view.conditions)]
    counted = [func.count().filter(and_(*held[number])) for number in open_ones]
    visible = visible_tickets(agent)
    passed = session.execute(visible.where(UNSOLVED).with_only_columns(*counted)).one() if counted else ()
    found = dict(zip(open_ones, passed, strict=True))
    rest = [number for number in range(len(views)) if number not in found]
    some = [visible.where(*held[number]).with_only_columns(Ticket.id).limit(COUNTED).subquery() for number in rest]
    each = [select(func.count()).select_from(one).scalar_subquery() for one in some]
    found |= dict(zip(rest, session.execute(select(*each)).one() if each else (), strict=True))
    return [min(found[number], COUNTED) for number in range(len(views))]


def _holds(session: Session, view: View, asking: Asking) -> list[ColumnElement[bool]]:
    """Of the tickets of a view."""
    try:
        return [false()] if view.broken else conditions.compiled(session, view.conditions, asking)
    except Invalid:  # a team or tag that is gone: the view says so when it is opened
        return [false()]


def following(session: Session, agent: AgentPrincipal, view: View, asking: Asking, ticket: Ticket) -> Ticket | None:
    """The ticket that follows one in a view, else the view's first other one; None if there is none."""
    query = visible_tickets(agent).where(*conditions.compiled(session, view.conditions, asking))
    at = _place_of(session, view.sort, asking, ticket)
    found = _range(session, query, view.sort, asking, at, limit=1) or _range(
        session, query, view.sort, asking, None, limit=2
    )
    others = [one.ticket_id for one in found if one.ticket_id != ticket.id]
    return session.get(Ticket, others[0]) if others else None


def rows(session: Session, agent: AgentPrincipal, ids: Sequence[int], shown: Sequence[str]) -> list[Row]:
    """These tickets, in this order, with what a list with these columns shows of them."""
    fields = [selectinload(Ticket.field_values)] if any(one.startswith(FIELD) for one in shown) else []
    query = (
        select(Ticket)
        .where(Ticket.id.in_(ids))
        .options(
            joinedload(Ticket.conversation).joinedload(Conversation.inbox),
            joinedload(Ticket.requester),
            joinedload(Ticket.team),
            joinedload(Ticket.agent),
            selectinload(Ticket.tags),
            *fields,
        )
    )
    tickets = {ticket.id: ticket for ticket in session.scalars(query)}
    last = _last_messages(session, [ticket.conversation_id for ticket in tickets.values()])
    unread = _unread(session, agent, ids)
    return [Row(tickets[one], last.get(tickets[one].conversation_id), one in unread) for one in ids if one in tickets]


def _last_messages(session: Session, conversation_ids: Sequence[int]) -> dict[int, Message]:
    newest = (
        select(func.max(Message.id))
        .where(
            Message.conversation_id.in_(conversation_ids),
            Message.visibility == MessageVisibility.PUBLIC,
            Message.author != Author.SYSTEM,
        )
        .group_by(Message.conversation_id)
    )
    query = select(Message).where(Message.id.in_(newest)).options(joinedload(Message.agent))
    return {message.conversation_id: message for message in session.scalars(query)}


def _unread(session: Session, agent: AgentPrincipal, ids: Sequence[int]) -> set[int]:
    """Tickets whose customer has written something that this agent has not had before their eyes."""
    return set(session.scalars(select(Ticket.id).where(Ticket.id.in_(ids), conditions.is_unread(agent))))


@dataclass(frozen=True)
class _At:
    """A place in an order: in which stretch, and where in it; and in which direction the page lies."""

    stretch: int
    values: Sequence[Any]
    backwards: bool = False


@dataclass(frozen=True)
class _Found:
    ticket_id: int
    at: _At


def _range(
    session: Session,
    query: Select[Ticket],
    sort: str,
    asking: Asking,
    at: _At | None,
    *,
    limit: int,
    words: str | None = None,
) -> list[_Found]:
    """The tickets from a place on, away from it. Most pages lie within one stretch, and take one statement."""
    backwards = at is not None and at.backwards
    if words is not None and not backwards:
        ids = search.newest(session, words, query, before=at.values[0] if at else None, limit=limit)
        return [_Found(one, _At(0, (one,))) for one in ids]
    if words is not None:
        query = query.where(search.has(session, words))
    stretches = list(enumerate(SORTS[sort][1]))
    first = at.stretch if at is not None else 0
    found: list[_Found] = []
    for number, stretch in stretches[first::-1] if backwards else stretches[first:]:
        found += _within(
            session,
            query,
            (number, stretch),
            asking,
            at if at is not None and number == first else None,
            backwards=backwards,
            limit=limit - len(found),
        )
        if len(found) >= limit:
            break
    return found


def _within(
    session: Session,
    query: Select[Ticket],
    numbered: tuple[int, _Stretch],
    asking: Asking,
    at: _At | None,
    *,
    backwards: bool,
    limit: int,
) -> Iterator[_Found]:
    number, stretch = numbered
    columns = [key.by(asking) for key in stretch.keys]
    order = [
        column.desc() if key.descending is not backwards else column.asc()
        for key, column in zip(stretch.keys, columns, strict=True)
    ]
    named = [column.label(f"key_{place}") for place, column in enumerate(columns)]  # the id may be there twice
    some = query.with_only_columns(Ticket.id, *named).order_by(*order).limit(limit)
    if stretch.holds is not None:
        some = some.where(stretch.holds)
    if at is not None:
        some = some.where(*_beyond(stretch.keys, columns, at.values, backwards=backwards))
    return (_Found(row[0], _At(number, row[1:])) for row in session.execute(some))


def _beyond(
    keys: Sequence[_Key], columns: Sequence[ColumnElement[Any]], values: Sequence[Any], *, backwards: bool
) -> Iterator[ColumnElement[bool]]:
    """(a, b) > (x, y) where each part has a direction of its own. That a >= x is said for the index, which looks at no
    choices."""
    choices = []
    for place, (key, column, value) in enumerate(zip(keys, columns, values, strict=True)):
        same = [one == known for one, known in zip(columns[:place], values[:place], strict=True)]
        choices.append(and_(*same, column < value if key.descending is not backwards else column > value))
    yield or_(*choices)
    if len(keys) > 1:
        yield columns[0] <= values[0] if keys[0].descending is not backwards else columns[0] >= values[0]


def _place_of(session: Session, sort: str, asking: Asking, ticket: Ticket) -> _At:
    for number, stretch in enumerate(SORTS[sort][1]):
        columns = [key.by(asking).label(f"key_{place}") for place, key in enumerate(stretch.keys)]
        query = select(*columns).where(Ticket.id == ticket.id)
        values = session.execute(query if stretch.holds is None else query.where(stretch.holds)).one_or_none()
        if values is not None:
            return _At(number, [key.read(key.stored(value)) for key, value in zip(stretch.keys, values, strict=True)])
    raise AssertionError("a ticket is in some stretch of every order")


def _cursor(sort: str, found: _Found, *, backwards: bool = False) -> str:
    stretch = SORTS[sort][1][found.at.stretch]
    values = [key.stored(value) for key, value in zip(stretch.keys, found.at.values, strict=True)]
    told = json.dumps([sort, backwards, found.at.stretch, values], separators=(",", ":"))
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def _read_cursor(sort: str, cursor: str) -> _At | None:
    """None if it belongs to another order: then the first page is shown."""
    try:
        told = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if told[0] != sort:
            return None
        _, backwards, number, values = told
        stretch = dict(enumerate(SORTS[sort][1]))[number]
        read = [key.read(value) for key, value in zip(stretch.keys, values, strict=True)]
        return _At(number, read, backwards is True)
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise Invalid("This cursor is unknown. Start again without it.", field="cursor") from error


# Saved views


def columns(session: Session) -> dict[str, str]:
    """What each column is called, in the order in which they stand."""
    fields = {f"{FIELD}{one.key}": one.name for one in custom_fields.in_use(session)}
    return {name: name.capitalize() for name in COLUMNS} | fields


def views_of(session: Session, agent: AgentPrincipal) -> list[View]:
    """The built-in views, then the agent's own and their team's, by name."""
    saved = select(SavedView).where(_may_use(agent)).order_by(SavedView.name, SavedView.id)
    return [*BUILT_IN, *(_view(row, agent) for row in session.scalars(saved))]


def save(session: Session, agent: AgentPrincipal, asking: Asking, new: NewView, *, key: str | None = None) -> View:
    """Save a view, or change the one with this ``key``.

    Raises `Invalid` that says what is wrong, `NotAllowed` if it is another agent's."""
    name = " ".join(new.name.split())
    if not name or len(name) > NAME_LENGTH:
        raise Invalid(f"A view needs a name of at most {NAME_LENGTH} characters.", field="name")
    if new.sort not in SORTS:
        raise Invalid(f"There is no order {new.sort!r}. Choose from: {', '.join(SORTS)}.", field="sort")
    possible = columns(session)
    if unknown := [one for one in new.columns if one not in possible]:
        raise Invalid(f"There is no column {unknown[0]!r}. Choose from: {', '.join(possible)}.", field="columns")
    if new.shared and agent.team_id is None:
        raise Invalid("You are in no team to share a view with.", field="shared")
    chosen = conditions.parse(new.query)
    conditions.compiled(session, chosen, asking)
    if key is None:
        saved = select(func.count()).where(SavedView.agent_id == agent.agent_id)
        if session.execute(saved).scalar_one() >= MOST_SAVED:
            raise Invalid(f"An agent saves at most {MOST_SAVED} views. Remove one first.", field="name")
        row = SavedView(agent_id=agent.agent_id, created_at=utcnow())
        session.add(row)
    else:
        row = _own(session, agent, key)
    row.name, row.sort, row.columns = name, new.sort, [one for one in possible if one in new.columns]
    row.conditions = [one.to_json() for one in chosen]
    row.team_id = agent.team_id if new.shared else None
    session.flush()
    return _view(row, agent)


def remove(session: Session, agent: AgentPrincipal, key: str) -> None:
    session.delete(_own(session, agent, key))


def note_read(session: Session, agent: AgentPrincipal, conversation_id: int) -> None:
    """The agent has the newest message of a conversation before their eyes."""
    ticket_id = session.scalar(select(Ticket.id).where(Ticket.conversation_id == conversation_id))
    newest = session.scalar(select(func.max(Message.id)).where(Message.conversation_id == conversation_id))
    if ticket_id is None or newest is None:
        return
    row = session.get(TicketRead, (agent.agent_id, ticket_id))
    if row is not None:
        row.message_id = max(row.message_id, newest)
        return
    with suppress(IntegrityError), session.begin_nested():  # another tab of theirs may be first
        session.add(TicketRead(agent_id=agent.agent_id, ticket_id=ticket_id, message_id=newest))


def _may_use(agent: AgentPrincipal) -> ColumnElement[bool]:
    own = SavedView.agent_id == agent.agent_id
    return own if agent.team_id is None else or_(own, SavedView.team_id == agent.team_id)


def _own(session: Session, agent: AgentPrincipal, key: str) -> SavedView:
    row = session.scalar(select(SavedView).where(_may_use(agent), SavedView.public_id == key))
    if row is None:
        raise NotFound("There is no such view.")
    if row.agent_id != agent.agent_id and not agent.is_admin:
        raise NotAllowed("Only the agent who saved this view can change it.")
    return row


def _view(row: SavedView, agent: AgentPrincipal) -> View:
    chosen: tuple[Condition, ...] = ()
    broken = None
    try:
        chosen = conditions.from_json(row.conditions)
    except Invalid as error:
        broken = error.message
    return View(
        row.public_id,
        row.name,
        chosen,
        row.sort if row.sort in SORTS else "work",
        tuple(row.columns),
        shared=row.team_id is not None,
        own=row.agent_id == agent.agent_id,
        broken=broken,
    )
