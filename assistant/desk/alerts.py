"""What agents are told: that somebody mentions them in a note, that something was said in a ticket that is theirs or
that they follow, or that it is back. In the console, by mail as well, or not at all, as each of them likes.

Whoever may not see a ticket is told nothing of it, also if they are mentioned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import regex
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, joinedload

from assistant.db import utcnow
from assistant.desk import mail, people
from assistant.desk.access import AgentPrincipal, visible_tickets
from assistant.desk.desk import Desk
from assistant.errors import Invalid
from assistant.models import Agent, Alert, AlertKind, Author, Message, MessageVisibility, Ticket, TicketFollower
from assistant.text.clusters import shorten
from assistant.text.folding import fold
from assistant.text.letters import Letter, Link, Paragraph, Said

LISTED = 100
_QUOTED = 500  # characters of a message in a mail
_WORD = regex.compile(r"[\p{L}\p{N}\p{M}]")


class Way(StrEnum):
    """How an agent is told."""

    MAIL = "mail"  # and in the console
    CONSOLE = "console"
    OFF = "off"


USUAL: Mapping[AlertKind, Way] = {
    AlertKind.MENTION: Way.MAIL,
    AlertKind.WRITTEN: Way.CONSOLE,
    AlertKind.FOLLOWED: Way.CONSOLE,
    AlertKind.WOKEN: Way.CONSOLE,
}
SAYS: Mapping[AlertKind, str] = {
    AlertKind.MENTION: "{who} mentioned you",
    AlertKind.WRITTEN: "{who} wrote",
    AlertKind.FOLLOWED: "{who} wrote in a ticket that you follow",
    AlertKind.WOKEN: "Back from its snooze",
}


def tell(desk: Desk, message_id: int) -> None:
    """Job: tell whom a message concerns. Doing it again tells nobody twice."""
    with desk.db.begin() as session:
        message = session.get(Message, message_id)
        ticket = (
            session.scalar(select(Ticket).where(Ticket.conversation_id == message.conversation_id))
            if message is not None
            else None
        )
        if message is None or ticket is None:
            return
        told = set(session.scalars(select(Alert.agent_id).where(Alert.message_id == message.id)))
        for agent, kind in _concerned(session, ticket, message).items():
            if agent.id not in told:
                _tell(desk, session, agent, ticket, kind, message)


def tell_woken(desk: Desk, session: Session, ticket: Ticket) -> None:
    """The time is over for which the ticket was snoozed."""
    for agent in dict.fromkeys([*_owner(ticket), *_followers(session, ticket)]):
        _tell(desk, session, agent, ticket, AlertKind.WOKEN)


def unread(session: Session, agent: AgentPrincipal) -> int:
    mine = select(func.count()).where(Alert.agent_id == agent.agent_id, Alert.read_at.is_(None))
    return session.execute(mine).scalar_one()


def newest(session: Session, agent: AgentPrincipal) -> list[Alert]:
    """Those about tickets that the agent may still see, the newest first."""
    seen = visible_tickets(agent).with_only_columns(Ticket.id)
    query = select(Alert).where(Alert.agent_id == agent.agent_id, Alert.ticket_id.in_(seen))
    parts = (
        joinedload(Alert.message).joinedload(Message.agent),
        joinedload(Alert.ticket).joinedload(Ticket.requester),
    )
    return list(session.scalars(query.order_by(Alert.id.desc()).limit(LISTED).options(*parts)))


def read(session: Session, agent: AgentPrincipal, ticket_id: int | None = None) -> None:
    """The agent has seen what they were told of a ticket, or (None) of all."""
    mine = update(Alert).where(Alert.agent_id == agent.agent_id, Alert.read_at.is_(None))
    session.execute((mine if ticket_id is None else mine.where(Alert.ticket_id == ticket_id)).values(read_at=utcnow()))


def ways_of(agent: Agent) -> dict[AlertKind, Way]:
    return {kind: Way(agent.alerts.get(kind.value, usual)) for kind, usual in USUAL.items()}


def set_ways(agent: Agent, chosen: Mapping[str, str]) -> None:
    """How they are told of each kind. Raises `Invalid` for what there is not."""
    try:
        agent.alerts = {AlertKind(kind).value: Way(way).value for kind, way in chosen.items()}
    except ValueError as error:
        raise Invalid(f"There is no such choice: {error}.", field="alerts") from error


def says(alert: Alert) -> str:
    return _says(alert.kind, alert.ticket, alert.message)


def mentioned(text: str, agents: Iterable[Agent]) -> list[Agent]:
    """Whom a note names: @ and their name, first name if nobody else has it, or address. The longest name counts."""
    known: dict[str, list[Agent]] = {}
    for agent in agents:
        for name in {fold(agent.name), fold(agent.name.split()[0]), fold(agent.email)}:
            known.setdefault(name, []).append(agent)
    whole, found = fold(text), []
    for part in whole.split("@")[1:]:
        fitting = [name for name in known if part.startswith(name) and not _WORD.match(part[len(name) :])]
        if fitting and len(named := known[max(fitting, key=len)]) == 1:
            found += named
    # An address has an @ of its own.
    found += [agent for agent in agents if f"@{fold(agent.email)}" in whole]
    return list(dict.fromkeys(found))


def _concerned(session: Session, ticket: Ticket, message: Message) -> dict[Agent, AlertKind]:
    """Those whom it concerns and why, except whoever wrote it."""
    followers = _followers(session, ticket)
    concerned = dict.fromkeys(followers, AlertKind.FOLLOWED)
    if message.author is Author.CUSTOMER:
        concerned = dict.fromkeys([*followers, *_owner(ticket)], AlertKind.WRITTEN)
    if message.visibility is MessageVisibility.INTERNAL:
        concerned |= dict.fromkeys(mentioned(message.text, people.active_agents(session)), AlertKind.MENTION)
    return {agent: kind for agent, kind in concerned.items() if agent.id != message.agent_id}


def _owner(ticket: Ticket) -> list[Agent]:
    return [ticket.agent] if ticket.agent is not None and ticket.agent.deactivated_at is None else []


def _followers(session: Session, ticket: Ticket) -> list[Agent]:
    query = select(Agent).join(TicketFollower, TicketFollower.agent_id == Agent.id)
    active = query.where(TicketFollower.ticket_id == ticket.id, Agent.deactivated_at.is_(None))
    return list(session.scalars(active.order_by(Agent.id)))


def _tell(
    desk: Desk, session: Session, agent: Agent, ticket: Ticket, kind: AlertKind, message: Message | None = None
) -> None:
    """One agent, as they like it, if they may see the ticket."""
    way = ways_of(agent)[kind]
    if way is Way.OFF or not _may_see(session, agent, ticket):
        return
    session.add(Alert(agent_id=agent.id, ticket_id=ticket.id, message=message, kind=kind))
    if way is Way.MAIL and desk.sends_mail:
        mail.enqueue(session, _letter(desk, ticket, kind, message), to=agent.email)


def _says(kind: AlertKind, ticket: Ticket, message: Message | None) -> str:
    return SAYS[kind].format(who=_writer(ticket, message) if message is not None else "")


def _may_see(session: Session, agent: Agent, ticket: Ticket) -> bool:
    seen = visible_tickets(AgentPrincipal.of(agent)).where(Ticket.id == ticket.id)
    return session.scalar(seen.with_only_columns(Ticket.id)) is not None


def _writer(ticket: Ticket, message: Message) -> str:
    if message.author is Author.CUSTOMER:
        return ticket.requester.display_name
    return message.agent.name if message.agent is not None else "Assistant"


def _letter(desk: Desk, ticket: Ticket, kind: AlertKind, message: Message | None) -> Letter:
    what = _says(kind, ticket, message)
    said = []
    if message is not None:
        at = message.created_at.strftime("%Y-%m-%d %H:%M UTC")
        said = [Said(_writer(ticket, message), at, shorten(message.text, _QUOTED))]
    return Letter(
        f"[#{ticket.number}] {what}: {ticket.subject}",
        (
            Paragraph(f"{what}: #{ticket.number}, {ticket.subject}."),
            *said,
            Link("Open the ticket", f"{desk.settings.base_url}/console/tickets/{ticket.public_id}"),
            Link("Choose what you are told of", f"{desk.settings.base_url}/console/alerts", small=True),
        ),
        "en",
    )
