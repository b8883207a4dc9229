"""Who has seen what: unread replies of a customer, on whichever device, receipts for both sides, and
which agents are at a ticket now.

Replies are public messages by the assistant or an agent. What the system says (a handoff, say) is no reply: it answers
nothing and needs no badge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.db import Database, utcnow
from assistant.desk import feed, state, views
from assistant.desk.access import AgentPrincipal, CustomerPrincipal
from assistant.desk.events import ConversationRead, SomebodyTypes
from assistant.errors import NotFound
from assistant.models import Agent, Attention, Author, Message, MessageVisibility, Presence

# Pages say so every 8 seconds: two that are lost make nobody disappear.
HERE_FOR = timedelta(seconds=25)
REPLIES = (Author.ASSISTANT, Author.AGENT)


@dataclass(frozen=True)
class Unread:
    """Replies that a customer has not seen. ``newest``: the last of them."""

    count: int = 0
    newest: Message | None = None


NOTHING = Unread()


@dataclass(frozen=True)
class Receipt:
    """What became of the newest reply. ``how``: "seen", "mailed" or "delivered" (a browser has it)."""

    message: Message
    how: str
    at: datetime | None = None


def attention_to(session: Session, conversation_id: int) -> Attention:
    """As it is now. Not stored unless the caller adds it."""
    return session.get(Attention, conversation_id) or Attention(conversation_id=conversation_id)


def receive(session: Session, customer: CustomerPrincipal, message_id: str, *, seen: bool) -> None:
    """A browser of the customer has got everything up to this message or, with ``seen``, shown it to them."""
    conversation = state.lock_conversation(session, customer.conversation_id)
    message = session.scalar(
        select(Message).where(
            Message.public_id == message_id,
            Message.conversation_id == conversation.id,
            Message.visibility == MessageVisibility.PUBLIC,
        )
    )
    if message is None:
        raise NotFound("There is no such message.")
    known = attention_to(session, conversation.id)
    is_new = _is_after(message, known.delivered_id)
    if is_new:
        known.delivered = message
    if seen and _is_after(message, known.seen_id):
        known.seen, known.seen_at = message, utcnow()
        is_new = True
    if is_new:
        _tell(session, known)


def agent_saw(session: Session, agent: AgentPrincipal, conversation_id: int) -> None:
    """An agent has the conversation before their eyes."""
    views.note_read(session, agent, conversation_id)
    newest = session.scalar(
        select(Message)
        .where(Message.conversation_id == conversation_id, Message.author == Author.CUSTOMER)
        .order_by(Message.id.desc())
        .limit(1)
    )
    known = attention_to(session, conversation_id)
    if newest is None or not _is_after(newest, known.seen_by_agents_id):
        return
    state.lock_conversation(session, conversation_id)
    known = session.get(Attention, conversation_id, populate_existing=True) or known
    if _is_after(newest, known.seen_by_agents_id):
        known.seen_by_agents, known.seen_by_agents_at = newest, utcnow()
        _tell(session, known)


def customer_types(session: Session, customer: CustomerPrincipal) -> None:
    feed.signal(session, customer.conversation_id, SomebodyTypes())


def agent_types(session: Session, agent: AgentPrincipal, conversation_id: int) -> None:
    feed.signal(session, conversation_id, SomebodyTypes(agent.name))


@dataclass(frozen=True)
class Colleague:
    """Another agent who has the ticket before their eyes; ``writes``: and answers it."""

    name: str
    writes: bool


def agent_is_here(session: Session, agent: AgentPrincipal, ticket_id: int, *, writes: bool) -> None:
    """An agent's page says so again and again: see `HERE_FOR`."""
    now = utcnow()
    values = {"seen_at": now, **({"wrote_at": now} if writes else {})}
    mine = and_(Presence.ticket_id == ticket_id, Presence.agent_id == agent.agent_id)
    if session.scalar(update(Presence).where(mine).values(**values).returning(Presence.agent_id)) is None:
        with suppress(IntegrityError), session.begin_nested():  # another tab of theirs was first
            session.execute(insert(Presence).values(ticket_id=ticket_id, agent_id=agent.agent_id, **values))


def colleagues(session: Session, agent: AgentPrincipal, ticket_id: int) -> list[Colleague]:
    """Who else is there now, those who write first."""
    now = utcnow()
    query = (
        select(Agent.name, Presence.wrote_at)
        .join(Presence, Presence.agent_id == Agent.id)
        .where(Presence.ticket_id == ticket_id, Presence.seen_at > now - HERE_FOR, Agent.id != agent.agent_id)
        .order_by(Agent.name)
    )
    found = [
        Colleague(name, wrote_at is not None and wrote_at > now - HERE_FOR) for name, wrote_at in session.execute(query)
    ]
    return sorted(found, key=lambda one: not one.writes)


def sweep(db: Database, *, now: datetime) -> None:
    """Forget who was where."""
    with db.begin() as session:
        session.execute(delete(Presence).where(Presence.seen_at < now - HERE_FOR))


def unread(session: Session, conversation_ids: Iterable[int]) -> Mapping[int, Unread]:
    """By conversation; of those without unread replies there is nothing."""
    unseen = (
        select(Message.conversation_id, func.count(), func.max(Message.id))
        .outerjoin(Attention, Attention.conversation_id == Message.conversation_id)
        .where(Message.conversation_id.in_(list(conversation_ids)), is_unseen_reply())
        .group_by(Message.conversation_id)
    )
    rows = session.execute(unseen).all()
    newest = select(Message).where(Message.id.in_([last for _, _, last in rows]))
    by_id = {message.id: message for message in session.scalars(newest)}
    return {conversation_id: Unread(count, by_id[last]) for conversation_id, count, last in rows}


def receipt(session: Session, conversation_id: int) -> Receipt | None:
    """What became of the newest reply, for agents; None if there is none, or if it has not left us yet."""
    query = select(Message).where(
        Message.conversation_id == conversation_id,
        Message.author.in_(REPLIES),
        Message.visibility == MessageVisibility.PUBLIC,
    )
    newest = session.scalar(query.order_by(Message.id.desc()).limit(1))
    if newest is None:
        return None
    known = attention_to(session, conversation_id)
    if not _is_after(newest, known.seen_id):
        return Receipt(newest, "seen", known.seen_at)
    if not _is_after(newest, known.mailed_id):
        return Receipt(newest, "mailed")
    return Receipt(newest, "delivered") if not _is_after(newest, known.delivered_id) else None


def is_unseen_reply() -> ColumnElement[bool]:
    """Of `Message` joined with its conversation's `Attention`, if there is one."""
    return and_(
        Message.author.in_(REPLIES),
        Message.visibility == MessageVisibility.PUBLIC,
        or_(Attention.seen_id.is_(None), Message.id > Attention.seen_id),
    )


def _is_after(message: Message, known_id: int | None) -> bool:
    return known_id is None or message.id > known_id


def _tell(session: Session, known: Attention) -> None:
    session.add(known)
    session.flush()
    feed.append(session, known.conversation_id, ConversationRead(known))
