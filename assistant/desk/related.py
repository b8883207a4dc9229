"""What other tickets have to do with one: as it is shown, of what one may see. `merging` says what it means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from assistant.desk.access import Staff, visible_tickets
from assistant.errors import Invalid
from assistant.models import LinkKind, Ticket, TicketLink
from assistant.payloads import Relation

_NUMBER = re.compile(r"#?(\d{1,9})")
# By kind: what the other ticket is to the first of a link, and the first to the other.
_RELATIONS = {
    LinkKind.RELATED: (Relation.RELATED, Relation.RELATED),
    LinkKind.SPLIT: (Relation.SPLIT_FROM, Relation.SPLIT_INTO),
    LinkKind.MERGED: (Relation.MERGED_INTO, Relation.MERGED_FROM),
}


@dataclass(frozen=True)
class Linked:
    """Another ticket, and what it is to the first."""

    relation: Relation
    ticket: Ticket
    link: TicketLink


def meant(session: Session, principal: Staff, text: str) -> Ticket:
    """The ticket with this number or id, among those that one may see."""
    numbered = _NUMBER.fullmatch(text.strip())
    is_it = Ticket.id == Ticket.id_of(int(numbered[1])) if numbered else Ticket.public_id == text.strip()
    ticket = session.scalar(visible_tickets(principal).where(is_it))
    if ticket is None:
        raise Invalid("There is no such ticket: write its number, like #1042.", field="other")
    return ticket


def shown(session: Session, principal: Staff, ticket: Ticket) -> list[Linked]:
    """What is linked to a ticket, of what one may see, in the order in which it was."""
    query = (
        select(TicketLink)
        .where(or_(TicketLink.ticket_id == ticket.id, TicketLink.other_id == ticket.id))
        .options(*(joinedload(side).joinedload(Ticket.requester) for side in (TicketLink.ticket, TicketLink.other)))
        .order_by(TicketLink.id)
    )
    found = []
    for link in session.scalars(query):
        first, second = _RELATIONS[link.kind]
        is_first = link.ticket_id == ticket.id
        found.append(Linked(first if is_first else second, link.other if is_first else link.ticket, link))
    ids = [one.ticket.id for one in found]
    if not ids:
        return []
    seen = set(session.scalars(visible_tickets(principal).where(Ticket.id.in_(ids)).with_only_columns(Ticket.id)))
    return [one for one in found if one.ticket.id in seen]


def merged_from(linked: Sequence[Linked]) -> dict[int, Ticket]:
    """The tickets whose messages are shown with this one's, by conversation."""
    return {one.ticket.conversation_id: one.ticket for one in linked if one.relation is Relation.MERGED_FROM}
