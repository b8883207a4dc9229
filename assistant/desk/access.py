"""Who may see what: principals, and the only ways to an object on someone's behalf.

Policy: a machine with the right scope sees every ticket, or those of the inboxes that its key is for; leads and admins
see every one; an agent sees the tickets of their
team, those of no team and those assigned to them; a viewer those of their team and of no team, without a team all, and
changes nothing; a customer sees the public side of their own conversations in the
inbox they talk to. What someone may not see does not exist for them: `NotFound`, never `NotAllowed`. Only an agent who
has had a ticket open is told where it is now: its number, which they know, and its team.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from assistant.errors import NotAllowed, NotFound
from assistant.models import (
    Agent,
    AgentRole,
    Assignment,
    Attachment,
    Conversation,
    Message,
    MessageVisibility,
    Ticket,
    TicketRead,
)
from assistant.wording import Notice


class Scope(StrEnum):
    TICKETS_READ = "tickets:read"
    TICKETS_WRITE = "tickets:write"
    TRIAGE = "triage"
    KNOWLEDGE_READ = "knowledge:read"
    KNOWLEDGE_WRITE = "knowledge:write"
    SETTINGS = "settings"
    KEYS = "keys"
    WEBHOOKS = "webhooks"
    METRICS = "metrics"


# What they are for concerns every inbox.
_OF_EVERY_INBOX = {Scope.SETTINGS}


@dataclass(frozen=True)
class MachinePrincipal:
    key_id: int
    name: str
    scopes: frozenset[Scope]
    inbox_ids: frozenset[int] | None = None  # None: every inbox
    rate_limit: str | None = None  # None: as the settings say

    @property
    def sees_every_ticket(self) -> bool:
        return self.inbox_ids is None

    def require(self, *scopes: Scope) -> None:
        """Raises `NotAllowed` unless the key has one of them."""
        given = self.scopes & set(scopes)
        if not given:
            names = " or ".join(scope.value for scope in scopes)
            raise NotAllowed(
                f"This key lacks the scope {names}. Make one with: assistant keys add --scope {scopes[0].value}"
            )
        if self.inbox_ids is not None and given <= _OF_EVERY_INBOX:
            raise NotAllowed(f"This key is for some inboxes only, and {scopes[0].value} concern all of them.")


@dataclass(frozen=True)
class AgentPrincipal:
    agent_id: int
    public_id: str
    name: str
    role: AgentRole
    team_id: int | None
    must_change_password: bool = False
    has_second_factor: bool = False
    is_away: bool | None = None  # None: no tickets are given to them by themselves
    languages: tuple[str, ...] = ()  # that they write, as codes

    @classmethod
    def of(cls, agent: Agent) -> AgentPrincipal:
        is_given = agent.team is not None and agent.team.assignment is not Assignment.OFF
        return cls(
            agent.id,
            agent.public_id,
            agent.name,
            agent.role,
            agent.team_id,
            agent.must_change_password,
            agent.totp_since is not None,
            agent.away_since is not None if is_given else None,
            tuple(agent.languages),
        )

    @property
    def is_admin(self) -> bool:
        return self.role is AgentRole.ADMIN

    @property
    def leads(self) -> bool:
        return self.role in (AgentRole.LEAD, AgentRole.ADMIN)

    @property
    def may_write(self) -> bool:
        return self.role is not AgentRole.VIEWER

    @property
    def sees_every_ticket(self) -> bool:
        return self.leads or (not self.may_write and self.team_id is None)


@dataclass(frozen=True)
class SessionPrincipal:
    """A browser with the widget: a customer in an inbox, and perhaps one conversation that a link has opened to it."""

    session_id: int
    customer_id: int
    inbox_id: int
    admitted_id: int | None = None


@dataclass(frozen=True)
class CustomerPrincipal:
    """The customer of one conversation, in it."""

    conversation_id: int


Staff = MachinePrincipal | AgentPrincipal


def visible_tickets(principal: Staff) -> Select[Ticket]:
    """The tickets this principal may see. Every list and look-up starts here."""
    query = select(Ticket)
    if isinstance(principal, MachinePrincipal) and principal.inbox_ids is not None:
        own = select(Conversation.id).where(Conversation.inbox_id.in_(principal.inbox_ids))
        return query.where(Ticket.conversation_id.in_(own))
    if isinstance(principal, AgentPrincipal) and not principal.sees_every_ticket:
        mine = Ticket.agent_id == principal.agent_id
        return query.where(or_(Ticket.team_id == principal.team_id, Ticket.team_id.is_(None), mine))
    return query


class OutOfSight(NotFound):
    """A ticket that there is not, for whoever asks for it."""


def access_ticket(session: Session, principal: Staff, public_id: str) -> Ticket:
    ticket = session.scalar(visible_tickets(principal).where(Ticket.public_id == public_id))
    if ticket is None:
        raise out_of_sight(session, principal, public_id)
    return ticket


def out_of_sight(session: Session, principal: Staff, public_id: str) -> OutOfSight:
    """Of a ticket that this principal may not see. That they have read it says that they once could."""
    ticket = None
    if isinstance(principal, AgentPrincipal):
        read = and_(TicketRead.ticket_id == Ticket.id, TicketRead.agent_id == principal.agent_id)
        ticket = session.scalar(select(Ticket).join(TicketRead, read).where(Ticket.public_id == public_id))
    if ticket is None or ticket.team is None:
        return OutOfSight("There is no such ticket.")
    message = f"#{ticket.number} is now with the team {ticket.team.name}, which you do not belong to."
    return OutOfSight(message, number=ticket.number)


def visible_conversations(principal: SessionPrincipal) -> Select[Conversation]:
    """The conversations that this browser may see. Every list and look-up starts here."""
    own = and_(
        Conversation.customer_id == principal.customer_id,
        Conversation.inbox_id == principal.inbox_id,
        Conversation.channel == "widget",
    )
    return select(Conversation).where(or_(own, Conversation.id == principal.admitted_id))


def customer_in(session: Session, principal: SessionPrincipal, public_id: str) -> CustomerPrincipal:
    """The customer in the conversation with this id."""
    conversation = session.scalar(visible_conversations(principal).where(Conversation.public_id == public_id))
    if conversation is None:
        raise NotFound(Notice("conversation_gone"))
    return CustomerPrincipal(conversation.id)


def access_conversation(session: Session, principal: CustomerPrincipal) -> Conversation:
    """The customer's own conversation."""
    conversation = session.get(Conversation, principal.conversation_id)
    if conversation is None:
        raise NotFound(Notice("conversation_gone"))
    return conversation


def access_attachment(session: Session, principal: Staff | CustomerPrincipal, public_id: str) -> Attachment:
    """An attachment of a ticket this principal may see, or of the customer's own conversation."""
    attachment = session.scalar(select(Attachment).where(Attachment.public_id == public_id))
    if attachment is None or not _may_see(session, principal, attachment.message):
        raise NotFound("There is no such attachment.")
    return attachment


def _may_see(session: Session, principal: Staff | CustomerPrincipal, message: Message) -> bool:
    if isinstance(principal, CustomerPrincipal):
        own = message.conversation_id == principal.conversation_id
        return own and message.visibility is MessageVisibility.PUBLIC
    query = visible_tickets(principal).where(Ticket.conversation_id == message.conversation_id)
    return session.scalar(query) is not None
