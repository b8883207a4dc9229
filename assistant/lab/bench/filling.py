"""A database like that of a desk that has been open for a year, as bare rows: nine of ten tickets are solved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from assistant.db import Database, new_public_id, utcnow
from assistant.desk import custom_fields, inboxes, search
from assistant.media.likeness import bands_of
from assistant.models import (
    Agent,
    AgentRole,
    Attachment,
    AttachmentKind,
    Author,
    Conversation,
    ConversationState,
    Customer,
    CustomField,
    FieldKind,
    FieldValue,
    Message,
    MessageVisibility,
    PhotoHash,
    Priority,
    Tag,
    Team,
    Ticket,
    TicketStatus,
    TicketTag,
)
from assistant.progress import Progress

_AT_ONCE = 2000
_AGENTS = 20
_OPEN_FOR = timedelta(days=365)
_OPEN_STATES = (ConversationState.HANDED_OFF, ConversationState.AGENT, ConversationState.ASSISTANT)
_PRIORITIES = (*[Priority.NORMAL] * 6, Priority.LOW, Priority.HIGH, Priority.HIGH, Priority.URGENT)
# How many tickets there are for one with the tag.
_TAGS = {"refund": 20, "recall": 997}
# Custom fields of which a third of the tickets have a value.
_FIELDS = {"serial": ("Serial number", FieldKind.TEXT), "runtime": ("Hours run", FieldKind.NUMBER)}
_EACH = 3
# Words of messages, some of them much more frequent than others.
_VOCABULARY = 20_000
_WORDS_EACH = 40
Rows = list[dict[str, Any]]


def fill(db: Database, number: int, tell: Progress, *, labels: Mapping[str, Sequence[str]] | None = None) -> None:
    """Insert tickets of many customers, in every state. ``labels``: values of columns, the usual ones first."""
    with db.begin() as session:
        teams = [*session.scalars(select(Team.id).order_by(Team.id)), None]
        agents = _add_agents(session, teams)
        tags = _add_tags(session)
        _add_fields(session)
    for start in range(0, number, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, number))
        with db.begin() as session:
            _Filling(session, number, teams, agents, tags, labels or {}).add(numbers)
        tell(numbers.stop, number, "Filling the database")
    if not db.is_sqlite:
        with db.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")


def _add_agents(session: Session, teams: Sequence[int | None]) -> list[int]:
    """They cannot sign in."""
    rows: Rows = [
        {
            "public_id": new_public_id("agt"),
            "email": f"{new_public_id('agent')}@example.org",
            "name": f"Agent {number}",
            "password_hash": "",
            "role": AgentRole.AGENT,
            "team_id": teams[number % len(teams)],
            "languages": [],
        }
        for number in range(_AGENTS)
    ]
    return list(session.scalars(insert(Agent).returning(Agent.id), rows))


def _add_tags(session: Session) -> dict[str, int]:
    known = {name: tag_id for name, tag_id in session.execute(select(Tag.name, Tag.id))}  # noqa: C416
    for name in _TAGS.keys() - known.keys():
        tag = Tag(name=name, key=name)
        session.add(tag)
        session.flush()
        known[name] = tag.id
    return known


def _add_fields(session: Session) -> None:
    known = set(session.scalars(select(CustomField.key)))
    for key, (name, kind) in _FIELDS.items():
        if key not in known:
            custom_fields.add(session, name, kind, key=key)


class _Filling:
    """One of many transactions."""

    def __init__(
        self,
        session: Session,
        total: int,
        teams: Sequence[int | None],
        agents: Sequence[int],
        tags: Mapping[str, int],
        labels: Mapping[str, Sequence[str]],
    ) -> None:
        self.session, self.now = session, utcnow()
        self.total, self.teams, self.agents, self.tags, self.labels = total, teams, agents, tags, labels

    def add(self, numbers: range) -> None:
        customers: Rows = [{"public_id": new_public_id("cus"), "name": f"Customer {one}"} for one in numbers[::5]]
        owners = self.session.scalars(insert(Customer).returning(Customer.id, sort_by_parameter_order=True), customers)
        of_ticket = [owner for owner in owners.all() for _ in range(5)][: len(numbers)]
        conversations = self._add_conversations(numbers, of_ticket)
        tickets = self._add_tickets(numbers, of_ticket, conversations)
        texts = [" ".join(_said(number)) for number in numbers]
        self._add_messages(numbers, conversations, texts)
        tagged = [
            {"ticket_id": ticket_id, "tag_id": self.tags[name]}
            for name, each in _TAGS.items()
            for number, ticket_id in zip(numbers, tickets, strict=True)
            if number % each == 1
        ]
        if tagged:
            self.session.execute(insert(TicketTag), tagged)
        having = [(number, one) for number, one in zip(numbers, tickets, strict=True) if number % _EACH == 0]
        values = [row for number, one in having for row in _values(number, one)]
        if values:
            self.session.execute(insert(FieldValue), values)
        names = [customers[at // 5]["name"] for at in range(len(numbers))]
        _add_words(self.session, dict(zip(tickets, zip(texts, names, strict=True), strict=True)))

    def _add_conversations(self, numbers: range, owners: Sequence[int]) -> Sequence[int]:
        inbox_id = inboxes.default(self.session).id
        rows: Rows = [
            {
                "public_id": new_public_id("cnv"),
                "customer_id": owner,
                "state": ConversationState.CLOSED if _is_done(number) else _open_state(number),
                "inbox_id": inbox_id,
                "channel": "api",
                "site_context": {},
            }
            for number, owner in zip(numbers, owners, strict=True)
        ]
        returned = insert(Conversation).returning(Conversation.id, sort_by_parameter_order=True)
        return self.session.scalars(returned, rows).all()

    def _add_tickets(self, numbers: range, owners: Sequence[int], conversations: Sequence[int]) -> Sequence[int]:
        rows: Rows = [
            self._ticket(number) | {"requester_id": owner, "conversation_id": conversation_id}
            for number, owner, conversation_id in zip(numbers, owners, conversations, strict=True)
        ]
        returned = insert(Ticket).returning(Ticket.id, sort_by_parameter_order=True)
        return self.session.scalars(returned, rows).all()

    def _ticket(self, number: int) -> dict[str, Any]:
        is_done, state, opened = _is_done(number), _open_state(number), self._opened(number)
        waits = not is_done and state is ConversationState.HANDED_OFF
        is_taken = is_done or state is ConversationState.AGENT
        return {
            "public_id": new_public_id("tck"),
            "subject": f"Ticket {number}: the display shows E{number % 90 + 10}",
            "status": TicketStatus.SOLVED if is_done else TicketStatus.OPEN,
            "priority": _PRIORITIES[number // 10 % len(_PRIORITIES)],
            "team_id": self.teams[number % len(self.teams)],
            "agent_id": self.agents[number % len(self.agents)] if is_taken else None,
            "created_at": opened,
            "updated_at": opened + timedelta(hours=1),
            "solved_at": opened + timedelta(hours=1) if is_done else None,
            "waiting_since": opened if waits else None,
            "due_at": opened + timedelta(days=300) if waits and number % 20 == 0 else None,
            **{name: _skewed(number, values) for name, values in self.labels.items()},
        }

    def _opened(self, number: int) -> datetime:
        return self.now - _OPEN_FOR * (1 - number / self.total)

    def _add_messages(self, numbers: range, conversations: Sequence[int], texts: Sequence[str]) -> None:
        """What the customer says, an answer if it is solved, and a note in one of ten."""
        rows: Rows = []
        for number, conversation_id, said in zip(numbers, conversations, texts, strict=True):
            rows.append(self._message(number, conversation_id, Author.CUSTOMER, said))
            if _is_done(number):
                rows.append(self._message(number, conversation_id, Author.AGENT, "Please switch it off and on again."))
            if number % 10 == 3:
                note = self._message(number, conversation_id, Author.AGENT, "Known fault.")
                rows.append(note | {"visibility": MessageVisibility.INTERNAL})
        returned = insert(Message).returning(Message.id, sort_by_parameter_order=True)
        ids = self.session.scalars(returned, rows).all()
        photos = [
            _photo(row["conversation_id"], message_id)
            for row, message_id in zip(rows, ids, strict=True)
            if row["author"] is Author.CUSTOMER and row["conversation_id"] % 5 == 1
        ]
        if photos:
            self.session.execute(insert(Attachment), photos)
            self.session.execute(insert(PhotoHash), [_hash(photo["sha256"]) for photo in photos])

    def _message(self, number: int, conversation_id: int, author: Author, said: str) -> dict[str, Any]:
        return {
            "public_id": new_public_id("msg"),
            "conversation_id": conversation_id,
            "author": author,
            "agent_id": self.agents[number % len(self.agents)] if author is Author.AGENT else None,
            "visibility": MessageVisibility.PUBLIC,
            "text": said,
            "failed": False,
            "created_at": self._opened(number),
        }


def _is_done(number: int) -> bool:
    return number % 10 != 0


def _open_state(number: int) -> ConversationState:
    return _OPEN_STATES[number // 10 % 3]


def _skewed(number: int, values: Sequence[str]) -> str | None:
    """Half of the tickets have the first value, a quarter the second, and so on."""
    trailing = ((number + 1) & -(number + 1)).bit_length() - 1
    return values[min(trailing, len(values) - 1)] if values else None


def _photo(number: int, message_id: int) -> dict[str, Any]:
    """A photo that is nowhere in storage."""
    return {
        "public_id": new_public_id("att"),
        "message_id": message_id,
        "position": 0,
        "kind": AttachmentKind.PHOTO,
        "sha256": f"{number:064x}",
        "filename": "photo.jpg",
        "content_type": "image/jpeg",
        "byte_size": 1,
    }


def _hash(sha256: str) -> dict[str, Any]:
    """One that no other is near to."""
    value = int(np.random.default_rng(int(sha256, 16)).integers(-(2**63), 2**63, dtype=np.int64))
    return {"sha256": sha256, "value": value, **{f"part_{at}": part for at, part in enumerate(bands_of(value))}}


def _values(number: int, ticket_id: int) -> Rows:
    of_ticket = {"ticket_id": ticket_id}
    serial, hours = f"SN-{number:08d}", float(number % 5000)
    return [
        {**of_ticket, "key": "serial", "value": serial, "folded": serial.lower(), "number": None},
        {**of_ticket, "key": "runtime", "value": f"{hours:g}", "folded": f"{hours:g}", "number": hours},
    ]


def _said(number: int) -> list[str]:
    """Common words, and some that few others use."""
    draw = np.random.default_rng(number)
    ranks = np.exp(draw.uniform(0, np.log(_VOCABULARY), _WORDS_EACH)).astype(int)
    return [
        "display",
        *(["pump"] if number % 7 == 0 else []),
        "ticket",
        str(number),
        *(f"word{rank}" for rank in ranks),
    ]


def _add_words(session: Session, texts: Mapping[int, Sequence[str]]) -> None:
    """As `desk.search` keeps them, many tickets at once."""
    rows = {ticket_id: search.words_in(told) for ticket_id, told in texts.items()}
    if session.get_bind().dialect.name == "postgresql":
        add = "INSERT INTO fts_tickets (ticket_id, words) VALUES (:id, array_to_tsvector(CAST(:words AS text[])))"
        session.execute(text(add), [{"id": one, "words": words} for one, words in rows.items()])
    else:
        add = "INSERT INTO fts_tickets (rowid, words) VALUES (:id, :words)"
        session.execute(text(add), [{"id": one, "words": " ".join(words)} for one, words in rows.items()])
