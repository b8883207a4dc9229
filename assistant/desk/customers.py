"""Customers as agents see them: who they are, all that is known of them from their tickets, notes on them, and two who
are one person.

An agent sees the customers of the tickets that they may see, and of each customer those tickets alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, joinedload

from assistant.desk import search, sessions, state
from assistant.desk.access import AgentPrincipal, Staff, visible_tickets
from assistant.desk.evidence import evidence_of
from assistant.errors import Conflict, Invalid, NotAllowed, NotFound
from assistant.models import (
    Attachment,
    AttachmentKind,
    Author,
    Conversation,
    Customer,
    CustomerMerge,
    CustomerNote,
    Message,
    Rating,
    Ticket,
)
from assistant.text import identifiers
from assistant.text.folding import address

LONGEST_NOTE = 4000
_SHOWN = 50  # tickets and photos on a customer's page
_LOOKED_AT = 2000  # tickets with the words that are looked for, the newest first
_READ = 200  # messages in which numbers are looked for, the newest first
# Shorter identifiers are error codes and models.
_LONGER_THAN_CODES = 6


@dataclass(frozen=True)
class Listed:
    customer: Customer
    tickets: int
    last: Ticket


@dataclass(frozen=True)
class Known:
    """All that is known of a customer. ``products``: by how many tickets; ``numbers``: as they were written or read,
    with the ticket; ``away``: who was merged into them."""

    customer: Customer
    tickets: Sequence[Ticket]
    count: int
    photos: Sequence[tuple[Attachment, Ticket]]
    products: Sequence[tuple[str, int]]
    numbers: Sequence[tuple[str, Ticket]]
    languages: Sequence[str]
    ratings: Sequence[tuple[Rating, Ticket]]
    site_context: dict[str, str]
    notes: Sequence[CustomerNote]
    merge: CustomerMerge | None
    away: Sequence[CustomerMerge]


def listed(
    session: Session,
    principal: Staff,
    *,
    query: str = "",
    before: str | None = None,
    limit: int = 50,
    **exactly: str | None,
) -> list[Listed]:
    """Customers with their newest tickets, the newest customers first, below the one with the id ``before``. With a
    ``query``: those who have all its words, or what begins like the last, in name, address or id. ``exactly``: values
    of columns."""
    mine = _tickets_of(principal)
    found = select(Customer).where(mine.where(Ticket.requester_id == Customer.id).exists()).order_by(Customer.id.desc())
    if before is not None:
        found = found.where(Customer.id < select(Customer.id).where(Customer.public_id == before).scalar_subquery())
    found = found.where(*(getattr(Customer, name) == value for name, value in exactly.items() if value is not None))
    if query.strip():
        found = found.where(Customer.id.in_(_meant(session, principal, query)))
    customers = session.scalars(found.limit(limit)).all()
    counts = mine.with_only_columns(Ticket.requester_id, func.count(), func.max(Ticket.id))
    counts = counts.where(Ticket.requester_id.in_([one.id for one in customers])).group_by(Ticket.requester_id)
    of = {row[0]: (row[1], row[2]) for row in session.execute(counts)}
    last = {
        one.id: one for one in session.scalars(select(Ticket).where(Ticket.id.in_([id_ for _, id_ in of.values()])))
    }
    return [Listed(one, of[one.id][0], last[of[one.id][1]]) for one in customers if one.id in of]


def find(session: Session, principal: Staff, public_id: str) -> Customer:
    """Raises `NotFound` for one of whom the agent may see no ticket, unless they see all."""
    customer = session.scalar(select(Customer).where(Customer.public_id == public_id))
    if customer is None or not (
        principal.sees_every_ticket
        or session.scalar(_tickets_of(principal).where(Ticket.requester_id == customer.id).limit(1))
    ):
        raise NotFound("There is no such customer.")
    return customer


def known(session: Session, principal: AgentPrincipal, customer: Customer) -> Known:
    mine = _tickets_of(principal).where(Ticket.requester_id == customer.id)
    tickets = session.scalars(
        visible_tickets(principal)
        .where(Ticket.requester_id == customer.id)
        .order_by(Ticket.id.desc())
        .limit(_SHOWN)
        .options(joinedload(Ticket.conversation).joinedload(Conversation.rating), joinedload(Ticket.agent))
    ).all()
    by_conversation = {one.conversation_id: one for one in tickets}
    photos = session.scalars(
        select(Attachment)
        .join(Attachment.message)
        .where(Message.conversation_id.in_(by_conversation), Attachment.kind == AttachmentKind.PHOTO)
        .order_by(Attachment.id.desc())
        .limit(_SHOWN)
        .options(joinedload(Attachment.message))
    ).all()
    context = next((one.conversation.site_context for one in tickets if one.conversation.site_context), {})
    count = session.scalar(mine.with_only_columns(func.count())) or 0
    return Known(
        customer,
        tickets,
        count,
        [(photo, by_conversation[photo.message.conversation_id]) for photo in photos],
        Counter(one.product for one in tickets if one.product).most_common(),
        _numbers(session, by_conversation, photos),
        list(dict.fromkeys(one.language for one in tickets if one.language)),
        [(one.conversation.rating, one) for one in tickets if one.conversation.rating is not None],
        context,
        notes_on(session, customer),
        session.scalar(_merges().where(CustomerMerge.from_id == customer.id)),
        session.scalars(_merges().where(CustomerMerge.into_id == customer.id).order_by(CustomerMerge.id)).all(),
    )


# Notes


def notes_on(session: Session, customer: Customer) -> Sequence[CustomerNote]:
    """The newest first."""
    query = select(CustomerNote).where(CustomerNote.customer_id == customer.id).options(joinedload(CustomerNote.agent))
    return session.scalars(query.order_by(CustomerNote.id.desc())).all()


def add_note(session: Session, agent: AgentPrincipal, customer: Customer, text: str) -> CustomerNote:
    text = text.strip()
    if not text:
        raise Invalid("Write the note first.", field="text")
    if len(text) > LONGEST_NOTE:
        raise Invalid(f"A note has at most {LONGEST_NOTE} characters.", field="text")
    note = CustomerNote(customer_id=customer.id, agent_id=agent.agent_id, text=text)
    session.add(note)
    session.flush()
    return note


def remove_note(session: Session, agent: AgentPrincipal, customer: Customer, note_id: str) -> None:
    """By whoever wrote it, or a lead. A no-op if it is gone."""
    query = select(CustomerNote).where(CustomerNote.public_id == note_id, CustomerNote.customer_id == customer.id)
    note = session.scalar(query)
    if note is not None:
        if note.agent_id != agent.agent_id and not agent.leads:
            raise NotAllowed("Only whoever wrote a note, a lead or an admin can remove it.")
        session.delete(note)


# Two who are one person


def other(session: Session, agent: AgentPrincipal, customer: Customer, who: str) -> Customer:
    """The other customer who is meant by an id, the site's id or an e-mail address.

    Raises `Invalid` if nobody is meant, several are, or the same."""
    who = who.strip()
    is_meant = or_(Customer.public_id == who, Customer.external_id == who, Customer.email == address(who))
    away = select(CustomerMerge.from_id)
    query = select(Customer).where(is_meant, Customer.id != customer.id, Customer.id.not_in(away))
    found = session.scalars(query.order_by(Customer.id).limit(2)).all() if who else []
    if not found:
        raise Invalid("There is no other customer with this id or e-mail address.", field="who")
    if len(found) > 1:
        ids = ", ".join(one.public_id for one in found)
        raise Invalid(f"Several customers have this address. Name one by their id: {ids}.", field="who")
    return found[0]


def stays(customer: Customer, other: Customer) -> tuple[Customer, Customer]:
    """Who of two stays, and who is merged into them: the one whom a site knows, else whose identity is verified, else
    the first. Raises `Conflict` if a site knows both: it says who they are, and that they are two."""
    if customer.external_id is not None and other.external_id is not None:
        raise Conflict("Your site knows these as two customers, each by an id of its own. Merge them there.")
    weights = [(one.external_id is not None, one.verified_at is not None) for one in (customer, other)]
    return (customer, other) if weights[0] >= weights[1] else (other, customer)


def merge(session: Session, agent: AgentPrincipal, first: Customer, second: Customer) -> CustomerMerge:
    """Say that two customers are one person: the conversations of one are the other's. Browsers of the former are
    signed out: what an agent believes must not show one customer's conversations to whoever wrote as another."""
    _require_lead(agent)
    into, away = stays(first, second)
    for one in (into, away):
        if session.scalar(select(CustomerMerge.id).where(CustomerMerge.from_id == one.id)) is not None:
            raise Conflict(f"{one.display_name} has been merged already.")
    moved = list(session.scalars(select(Conversation.id).where(Conversation.customer_id == away.id)))
    for conversation_id in moved:
        state.change_customer(session, conversation_id, into)
    sessions.revoke(session, customer_id=away.id)
    merged = CustomerMerge(from_id=away.id, into_id=into.id, moved=moved, agent_id=agent.agent_id)
    session.add(merged)
    session.flush()
    return merged


def undo_merge(session: Session, agent: AgentPrincipal, customer: Customer) -> Customer:
    """Tell the customer apart again from whom they were merged into, with the conversations that were theirs then.
    Returns who that was. Raises `NotFound` if they have not been merged."""
    _require_lead(agent)
    merged = session.scalar(select(CustomerMerge).where(CustomerMerge.from_id == customer.id))
    if merged is None:
        raise NotFound("This customer has not been merged.")
    into, moved = merged.into, merged.moved
    there = set(session.scalars(select(Conversation.id).where(Conversation.id.in_(moved))))
    for conversation_id in moved:
        if conversation_id in there:
            state.change_customer(session, conversation_id, customer)
    session.delete(merged)
    session.flush()
    return into


def _require_lead(agent: AgentPrincipal) -> None:
    if not agent.leads:
        raise NotAllowed("Only leads and admins can merge customers.")


def _merges() -> Select[Any]:
    loads = (joinedload(CustomerMerge.away), joinedload(CustomerMerge.into), joinedload(CustomerMerge.agent))
    return select(CustomerMerge).options(*loads)


def _tickets_of(principal: Staff) -> Select[Any]:
    return visible_tickets(principal).with_only_columns(Ticket.id)


def _meant(session: Session, principal: Staff, query: str) -> list[int]:
    """Ids of customers whose own words are those of the query. Tickets know the words of their customers."""
    ids = search.newest(session, query, visible_tickets(principal), before=None, limit=_LOOKED_AT)
    wanted = search.words_in([query])
    requesters = session.scalars(
        select(Customer).where(Customer.id.in_(select(Ticket.requester_id).where(Ticket.id.in_(ids))))
    )
    return [one.id for one in requesters if _has(one, wanted)]


def _has(customer: Customer, wanted: Sequence[str]) -> bool:
    own = search.words_in(one for one in (customer.name, customer.email, customer.external_id) if one)
    return all(any(word.startswith(one) for word in own) for one in wanted)


def _numbers(
    session: Session, by_conversation: dict[int, Ticket], photos: Sequence[Attachment]
) -> list[tuple[str, Ticket]]:
    """Serial, order and other long numbers that the customer wrote or that were read in their photos."""
    said = session.execute(
        select(Message.conversation_id, Message.text)
        .where(Message.conversation_id.in_(by_conversation), Message.author == Author.CUSTOMER)
        .order_by(Message.id.desc())
        .limit(_READ)
    )
    texts = [(text, conversation_id) for conversation_id, text in said]
    evidence = evidence_of(session, photos)
    for photo in photos:
        read = evidence.get(photo.sha256)
        lines = read.visible_text if read is not None else []
        texts += [(str(line.get("text") or ""), photo.message.conversation_id) for line in lines]
    found: dict[str, tuple[str, Ticket]] = {}
    for text, conversation_id in texts:
        for number in _long_numbers(text):
            found.setdefault(identifiers.canonical(number), (number, by_conversation[conversation_id]))
    return list(found.values())


def _long_numbers(text: str) -> Iterable[str]:
    """As they stand there."""
    certain = {code for code in identifiers.certain(text) if len(code) > _LONGER_THAN_CODES}
    for word in text.split() if certain else ():
        shown = word.strip(".,;:!?()[]\"'")
        if identifiers.canonical(shown) in certain:
            yield shown
