"""What a ticket has in common with others: the fault of a product, and photos that look alike.

A fault is a product with a code that was written or photographed; without a code, with what photos show to be wrong;
without that, with the ticket's category. Which tickets have it is a search like any other (`conditions`), so the list
behind a number is that number's, and nobody is told of tickets that they may not see.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from assistant.desk import conditions, likeness, search
from assistant.desk.access import visible_tickets
from assistant.desk.conditions import Asking, Condition, Operator
from assistant.desk.evidence import evidence_of, photos_of, to_value
from assistant.desk.likeness import Hash
from assistant.models import Attachment, Author, Message, MessageVisibility, Ticket
from assistant.skills.captions import FAULT_SHOWN, troubles_in
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy

WITHIN = timedelta(days=7)
_COUNTED, _LISTED, _PHOTOS = 1000, 4, 6
_READ = 50  # of a ticket's newest messages


@dataclass(frozen=True)
class Fault:
    """``codes``: canonical identifiers, any of which makes it the same; ``shows``: what it is without one, by what all
    photos together show (`captions.troubles_in`); ``category``: what it is without either."""

    product: str
    codes: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    category: str | None = None

    @property
    def conditions(self) -> tuple[Condition, ...]:
        if self.codes:
            what = [("code", self.codes)]
        else:
            what = [("shows", (one,)) for one in self.shows] or [("category", (self.category or conditions.NONE,))]
        recent = Condition("created", Operator.NEWER, (f"{WITHIN.days}d",))
        of = Condition("product", Operator.IS, (self.product,))
        return of, *(Condition(field, Operator.IS, values) for field, values in what), recent

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


@dataclass(frozen=True)
class Compared:
    """What is compared with tickets, of one of them or not. ``texts``, ``troubles``, ``digests`` and ``hashes`` of its
    photos; ``ticket_id``: of the one that it is itself."""

    product: str | None
    category: str | None
    texts: Sequence[str]
    digests: frozenset[str]
    hashes: Sequence[Hash]
    troubles: Collection[str] = ()
    ticket_id: int | None = None

    @classmethod
    def of(cls, session: Session, ticket: Ticket) -> Compared:
        messages = session.scalars(_said(ticket)).all()
        photos = photos_of(session, [one.id for one in messages])
        read = evidence_of(session, photos).values()
        texts = [ticket.subject, *(one.new_text for one in messages), *(to_value(row).text for row in read)]
        troubles = {one for row in read for one in troubles_in(row.fields)}
        digests = frozenset(photo.sha256 for photo in photos)
        hashes = likeness.hashes_of(session, photos)
        return cls(ticket.product, ticket.category, texts, digests, hashes, troubles, ticket.id)

    def fault(self, taxonomy: Taxonomy) -> Fault | None:
        if self.product is None or self.product == NO_PRODUCT:
            return None
        codes = taxonomy.codes_in(self.texts)
        vague = {FAULT_SHOWN} if len(self.troubles) > 1 else set[str]()
        shows = () if codes else tuple(sorted({*self.troubles} - vague))
        is_any = codes or shows or self.category is not None
        return Fault(self.product, tuple(codes), shows, self.category) if is_any else None


def similar_to(session: Session, compared: Compared, asking: Asking) -> Similar:
    """Only tickets that who asks may see."""
    others = visible_tickets(asking.by).where(Ticket.id != (compared.ticket_id or 0))
    photos_alike = _alike(session, others, compared)
    fault = compared.fault(asking.taxonomy)
    if fault is None:
        return Similar(photos=photos_alike)
    held = [one for one in fault.conditions if one.field not in ("code", "shows")]
    same = others.where(*conditions.compiled(session, held, asking))
    if fault.codes or fault.shows:
        recent = select(Ticket.id).where(Ticket.created_at > asking.now - WITHIN).order_by(Ticket.created_at)
        first = session.scalar(recent.limit(1))
        same = same.where(*(search.shows(session, [one], since=first) for one in fault.shows))
        same = same.where(search.has_code(session, fault.codes, since=first)) if fault.codes else same
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


def _alike(session: Session, others: Select[Ticket], compared: Compared) -> list[AlikePhoto]:
    """Photos of other tickets, the most alike first, one of each."""
    bits = likeness.alike(session, compared.digests, compared.hashes)
    if not bits:
        return []
    seen = others.where(Ticket.conversation_id == Message.conversation_id)
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
    return [AlikePhoto(tickets[one], photo, photo.sha256 in compared.digests) for one, photo in chosen.items()]
