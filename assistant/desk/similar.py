"""What a ticket has in common with others: the fault of a product, and photos that look alike.

A fault is a product with a code that was written or photographed or, without a code, with the ticket's category. Which
tickets have it is a search like any other (`conditions`), so the list behind a number is that number's, and nobody is
told of tickets that they may not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from assistant.desk import conditions, likeness, search
from assistant.desk.access import AgentPrincipal, visible_tickets
from assistant.desk.conditions import Asking, Condition, Operator
from assistant.desk.evidence import evidence_of, photos_of, to_value
from assistant.models import Attachment, Author, Message, MessageVisibility, Ticket
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy

WITHIN = timedelta(days=7)
_COUNTED, _LISTED, _PHOTOS = 1000, 4, 6
_READ = 50  # of a ticket's newest messages


@dataclass(frozen=True)
class Fault:
    """``codes``: canonical identifiers, any of which makes it the same; ``category``: what it is without one."""

    product: str
    codes: tuple[str, ...] = ()
    category: str | None = None

    @property
    def conditions(self) -> tuple[Condition, ...]:
        what = ("code", self.codes) if self.codes else ("category", (self.category or conditions.NONE,))
        recent = Condition("created", Operator.NEWER, (f"{WITHIN.days}d",))
        return Condition("product", Operator.IS, (self.product,)), Condition(what[0], Operator.IS, what[1]), recent

    @property
    def query(self) -> str:
        """As agents would type it."""
        return conditions.write(self.conditions)


@dataclass(frozen=True)
class AlikePhoto:
    ticket: Ticket
    photo: Attachment
    is_same: bool  # to the byte


@dataclass(frozen=True)
class Similar:
    """``count``: of other tickets with the ``fault`` within the week, up to a thousand; ``newest``: of these."""

    fault: Fault | None = None
    count: int = 0
    newest: Sequence[Ticket] = ()
    photos: Sequence[AlikePhoto] = ()

    @property
    def is_many(self) -> bool:
        return self.count >= _COUNTED


def similar_to(session: Session, agent: AgentPrincipal, ticket: Ticket, asking: Asking) -> Similar:
    """Only tickets that the agent may see."""
    messages = session.scalars(_said(ticket)).all()
    photos = photos_of(session, [one.id for one in messages])
    photos_alike = _alike(session, agent, ticket, photos)
    fault = _fault(session, ticket, messages, photos, asking.taxonomy)
    if fault is None:
        return Similar(photos=photos_alike)
    held = [one for one in fault.conditions if one.field != "code"]
    same = visible_tickets(agent).where(Ticket.id != ticket.id, *conditions.compiled(session, held, asking))
    if fault.codes:
        recent = select(Ticket.id).where(Ticket.created_at > asking.now - WITHIN).order_by(Ticket.created_at)
        first = session.scalar(recent.limit(1))
        same = same.where(search.has_code(session, fault.codes, since=first))
    ids = session.scalars(same.with_only_columns(Ticket.id).order_by(Ticket.id.desc()).limit(_COUNTED)).all()
    newest = session.scalars(select(Ticket).where(Ticket.id.in_(ids[:_LISTED])).order_by(Ticket.id.desc())).all()
    return Similar(fault, len(ids), newest, photos_alike)


def _said(ticket: Ticket) -> Any:
    said = select(Message).where(
        Message.conversation_id == ticket.conversation_id,
        Message.author == Author.CUSTOMER,
        Message.visibility == MessageVisibility.PUBLIC,
    )
    return said.order_by(Message.id.desc()).limit(_READ)


def _fault(
    session: Session, ticket: Ticket, messages: Sequence[Message], photos: Sequence[Attachment], taxonomy: Taxonomy
) -> Fault | None:
    if ticket.product in (None, NO_PRODUCT):
        return None
    read = [to_value(row) for row in evidence_of(session, photos).values()]
    texts = [ticket.subject, *(one.new_text for one in messages), *(one.text for one in read)]
    codes = taxonomy.codes_in(texts)
    if not codes and ticket.category is None:
        return None
    return Fault(ticket.product, tuple(codes), ticket.category)


def _alike(session: Session, agent: AgentPrincipal, ticket: Ticket, photos: Sequence[Attachment]) -> list[AlikePhoto]:
    """Photos of other tickets, the most alike first, one of each."""
    bits = likeness.alike(session, photos)
    if not bits:
        return []
    seen = visible_tickets(agent).where(Ticket.id != ticket.id, Ticket.conversation_id == Message.conversation_id)
    found = (
        select(Attachment)
        .join(Attachment.message)
        .where(Attachment.sha256.in_(bits), Message.author == Author.CUSTOMER, seen.exists())
        .options(joinedload(Attachment.message))
        .order_by(Attachment.id.desc())
        .limit(_COUNTED)
    )
    best: dict[int, Attachment] = {}
    for photo in sorted(session.scalars(found), key=lambda one: (bits[one.sha256], -one.id)):
        best.setdefault(photo.message.conversation_id, photo)
    chosen = dict(list(best.items())[:_PHOTOS])
    rows = session.scalars(select(Ticket).where(Ticket.conversation_id.in_(chosen)))
    tickets = {row.conversation_id: row for row in rows}
    own = {photo.sha256 for photo in photos}
    return [AlikePhoto(tickets[one], photo, photo.sha256 in own) for one, photo in chosen.items()]
