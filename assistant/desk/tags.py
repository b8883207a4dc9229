"""Tags: words that agents, macros and machines put on tickets. Two spellings of one word are one tag."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.desk import state
from assistant.errors import Invalid
from assistant.models import Tag, Ticket, TicketTag
from assistant.text.folding import fold

LONGEST = 40
MOST = 30  # on one ticket


def clean(name: str) -> str:
    """A tag's name as it is stored. Raises `Invalid` if it cannot be one."""
    name = " ".join(name.split()).strip("#,")
    if not fold(name):
        raise Invalid("A tag needs a name.", field="tag")
    if len(name) > LONGEST:
        raise Invalid(f"A tag has at most {LONGEST} characters.", field="tag")
    if "," in name:
        raise Invalid("A tag cannot contain a comma.", field="tag")
    return name


def named(session: Session, name: str) -> Tag:
    """The tag of this name, however it is spelt; a new one if there is none."""
    name = clean(name)
    tag = find(session, name)
    if tag is not None:
        return tag
    try:
        with session.begin_nested():
            tag = Tag(name=name, key=fold(name))
            session.add(tag)
            session.flush()
            return tag
    except IntegrityError:  # somebody else was faster
        return session.scalars(select(Tag).where(Tag.key == fold(name))).one()


def find(session: Session, name: str) -> Tag | None:
    return session.scalar(select(Tag).where(Tag.key == fold(name)))


def put(session: Session, ticket: Ticket, names: Iterable[str]) -> None:
    """Give a ticket exactly these tags."""
    wanted = {tag.key: tag for tag in (named(session, name) for name in names)}
    if len(wanted) > MOST:
        raise Invalid(f"A ticket has at most {MOST} tags.", field="tags")
    state.change_ticket(session, ticket, tags=[wanted[key] for key in sorted(wanted)])


def add(session: Session, ticket: Ticket, name: str) -> None:
    """Having it already is fine."""
    put(session, ticket, [*_names(session, ticket), name])


def remove(session: Session, ticket: Ticket, name: str) -> None:
    """Not having it is fine."""
    put(session, ticket, [one for one in _names(session, ticket) if fold(one) != fold(name)])


def known(session: Session, *, on: Select[Ticket] | None = None, limit: int = 200) -> list[str]:
    """Names of tags, those on most tickets first. ``on``: only of those that some of these tickets have."""
    used = func.count(TicketTag.ticket_id)
    query = select(Tag.name).outerjoin(TicketTag).group_by(Tag.id).order_by(used.desc(), Tag.key).limit(limit)
    if on is not None:
        query = query.where(TicketTag.ticket_id.in_(on.with_only_columns(Ticket.id)))
    return list(session.scalars(query))


def _names(session: Session, ticket: Ticket) -> list[str]:
    """As they are now: writers to one ticket take turns."""
    state.lock_conversation(session, ticket.conversation_id)
    session.expire(ticket, ["tags"])
    return [tag.name for tag in ticket.tags]
