"""Where a customer's photo has been before: in an earlier message, in another customer's ticket, in an article, among
the reference photos of own products.

It is told to agents, who may see that other ticket, and to nobody else; nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from assistant import payloads
from assistant.desk import likeness
from assistant.desk.access import MachinePrincipal, Staff, visible_tickets
from assistant.models import (
    Attachment,
    AttachmentKind,
    Author,
    Figure,
    FileCondition,
    Message,
    ProductPhoto,
    Ticket,
)

_MOST = 200  # photos with the same picture that are looked at
_EACH = 3  # of a kind, of a photo


def copies_of(session: Session, by: Staff, photos: Sequence[Attachment]) -> dict[int, list[payloads.PhotoCopy]]:
    """By the photos' ids in the database, only of those of customers that have any. Few statements for all of them."""
    own = [photo for photo in photos if photo.message.author is Author.CUSTOMER]
    if not own:
        return {}
    pairs = likeness.pairs_of(session, {photo.sha256 for photo in own})
    alike = {photo.id: pairs.get(photo.sha256, set()) | {photo.sha256} for photo in own}
    every = set().union(*alike.values())
    sent = _sent(session, every)
    tickets = _tickets(session, by, {photo.message.conversation_id for photo in (*sent, *own)})
    figures, references = _figures(session, by, every), _references(session, every)
    shown: dict[int, list[payloads.PhotoCopy]] = {}
    for photo in own:
        same = [one for one in sent if one.sha256 in alike[photo.id]]
        shown[photo.id] = [
            *_earlier(photo, same)[:1],
            *_of_others(photo, same, tickets)[:_EACH],
            *(_figure(photo, one) for one in figures if one.sha256 in alike[photo.id]),
            *(_reference(photo, one) for one in references if one.sha256 in alike[photo.id]),
        ]
    return {id_: copies for id_, copies in shown.items() if copies}


def _sent(session: Session, digests: Iterable[str]) -> Sequence[Attachment]:
    """By customers, the newest first."""
    query = select(Attachment).join(Attachment.message).options(joinedload(Attachment.message))
    query = query.where(
        Attachment.sha256.in_(digests),
        Attachment.kind == AttachmentKind.PHOTO,
        Attachment.condition != FileCondition.REMOVED,
        Message.author == Author.CUSTOMER,
    )
    return session.scalars(query.order_by(Attachment.id.desc()).limit(_MOST)).all()


def _tickets(session: Session, by: Staff, conversation_ids: Iterable[int]) -> Mapping[int, Ticket]:
    """Those that may be seen, by conversation."""
    rows = session.scalars(visible_tickets(by).where(Ticket.conversation_id.in_(set(conversation_ids))))
    return {row.conversation_id: row for row in rows}


def _figures(session: Session, by: Staff, digests: Iterable[str]) -> Sequence[Figure]:
    """Of articles that may be read."""
    query = select(Figure).where(Figure.sha256.in_(digests)).options(joinedload(Figure.article)).order_by(Figure.id)
    is_agent = not isinstance(by, MachinePrincipal)
    readable = (one for one in session.scalars(query) if one.article.may_be_read(internal=is_agent, inbox_id=None))
    return [one for one, _ in zip(readable, range(_EACH), strict=False)]


def _references(session: Session, digests: Iterable[str]) -> Sequence[ProductPhoto]:
    """The company's own; one that a customer sent says nothing."""
    query = select(ProductPhoto).where(ProductPhoto.sha256.in_(digests), ProductPhoto.is_customers.is_(False))
    found = {(one.product, one.sha256): one for one in session.scalars(query.order_by(ProductPhoto.id))}
    return list(found.values())[:_EACH]


def _earlier(photo: Attachment, sent: Sequence[Attachment]) -> list[payloads.PhotoCopy]:
    """The first time that it came in this ticket."""
    before = [
        one
        for one in sent
        if one.message.conversation_id == photo.message.conversation_id and one.message_id < photo.message_id
    ]
    return [
        payloads.PhotoCopy(
            kind="earlier",
            same=one.sha256 == photo.sha256,
            attachment_id=one.public_id,
            message_id=one.message.public_id,
            sent_at=one.message.created_at,
        )
        for one in reversed(before)
    ]


def _of_others(
    photo: Attachment, sent: Sequence[Attachment], tickets: Mapping[int, Ticket]
) -> list[payloads.PhotoCopy]:
    """One of each ticket of another customer."""
    own = tickets.get(photo.message.conversation_id)
    found: dict[int, payloads.PhotoCopy] = {}
    for one in sent:
        ticket = tickets.get(one.message.conversation_id)
        if own is None or ticket is None or ticket.requester_id == own.requester_id or ticket.id in found:
            continue
        found[ticket.id] = payloads.PhotoCopy(
            kind="other_customer",
            same=one.sha256 == photo.sha256,
            attachment_id=one.public_id,
            ticket=payloads.TicketReference.of(ticket),
        )
    return list(found.values())


def _figure(photo: Attachment, figure: Figure) -> payloads.PhotoCopy:
    is_same = figure.sha256 == photo.sha256
    return payloads.PhotoCopy(kind="figure", same=is_same, figure_id=figure.public_id, article=figure.article.title)


def _reference(photo: Attachment, reference: ProductPhoto) -> payloads.PhotoCopy:
    is_same = reference.sha256 == photo.sha256
    return payloads.PhotoCopy(kind="reference", same=is_same, product=reference.product, product_photo=reference.sha256)
