"""Who may see and do what: principals, keys, passwords, and the only ways to an object on someone's behalf.

Policy: a machine with the right scope sees every ticket; an admin sees everything; an agent sees the tickets of their
team and those of no team; a customer sees the public side of their own conversation. What someone may not see does not
exist for them: `NotFound`, never `NotAllowed`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Select, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.db import Database, utcnow
from assistant.errors import Conflict, Invalid, NotAllowed, NotFound, Unauthenticated
from assistant.models import (
    Agent,
    AgentRole,
    APIKey,
    Attachment,
    Conversation,
    Customer,
    Message,
    MessageVisibility,
    Team,
    Ticket,
)

KEY_PREFIX = "ask_"
_SEEN_EVERY = timedelta(minutes=5)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|[^@\s]+@localhost")
_passwords = PasswordHasher()


class Scope(StrEnum):
    TICKETS_READ = "tickets:read"
    TICKETS_WRITE = "tickets:write"
    TRIAGE = "triage"
    KNOWLEDGE_READ = "knowledge:read"
    METRICS = "metrics"


@dataclass(frozen=True)
class MachinePrincipal:
    key_id: int
    name: str
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        if scope not in self.scopes:
            raise NotAllowed(
                f"This key lacks the scope {scope.value}. Make one with: assistant keys add --scope {scope.value}"
            )


@dataclass(frozen=True)
class AgentPrincipal:
    agent_id: int
    public_id: str
    name: str
    role: AgentRole
    team_id: int | None
    must_change_password: bool = False

    @property
    def is_admin(self) -> bool:
        return self.role is AgentRole.ADMIN


@dataclass(frozen=True)
class CustomerPrincipal:
    conversation_id: int


Staff = MachinePrincipal | AgentPrincipal


def visible_tickets(principal: Staff) -> Select[Ticket]:
    """The tickets this principal may see. Every list and look-up starts here."""
    query = select(Ticket)
    if isinstance(principal, AgentPrincipal) and not principal.is_admin:
        return query.where(or_(Ticket.team_id == principal.team_id, Ticket.team_id.is_(None)))
    return query


def access_ticket(session: Session, principal: Staff, public_id: str) -> Ticket:
    ticket = session.scalar(visible_tickets(principal).where(Ticket.public_id == public_id))
    if ticket is None:
        raise NotFound("There is no such ticket.")
    return ticket


def access_conversation(session: Session, principal: CustomerPrincipal) -> Conversation:
    """The customer's own conversation."""
    conversation = session.get(Conversation, principal.conversation_id)
    if conversation is None:
        raise NotFound("This conversation no longer exists. Please start a new one.")
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


def customer_principal(db: Database, conversation_public_id: str) -> CustomerPrincipal:
    """The customer whose signed token names this conversation."""
    with db.read() as session:
        query = select(Conversation.id).where(Conversation.public_id == conversation_public_id)
        conversation_id = session.scalar(query)
    if conversation_id is None:
        raise NotFound("This conversation no longer exists. Please start a new one.")
    return CustomerPrincipal(conversation_id)


# Keys of machines


def add_key(session: Session, *, name: str, scopes: list[str]) -> tuple[APIKey, str]:
    """Make a key. The secret is returned once and never stored."""
    known = {scope.value for scope in Scope}
    unknown = sorted(set(scopes) - known)
    if unknown or not scopes:
        raise Invalid(
            f"Unknown scope {', '.join(unknown) or '(none)'}. Choose from: {', '.join(sorted(known))}", field="scope"
        )
    secret = KEY_PREFIX + secrets.token_urlsafe(30)
    key = APIKey(name=name, key_hash=_key_hash(secret), scopes=sorted(set(scopes)))
    session.add(key)
    session.flush()
    return key, secret


def authenticate_key(db: Database, secret: str) -> MachinePrincipal:
    """The machine behind a key, or `Unauthenticated`."""
    with db.read() as session:
        key = session.scalar(select(APIKey).where(APIKey.key_hash == _key_hash(secret)))
    if key is None or key.revoked_at is not None:
        raise Unauthenticated("This API key is unknown or revoked. Make one with: assistant keys add")
    now = utcnow()
    if key.last_used_at is None or now - key.last_used_at > _SEEN_EVERY:
        with db.begin() as session:
            session.merge(key, load=True).last_used_at = now
    return MachinePrincipal(key.id, key.name, frozenset(Scope(scope) for scope in key.scopes))


def _key_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


# Agents


def add_agent(
    session: Session,
    *,
    email: str,
    name: str,
    password: str,
    role: AgentRole = AgentRole.AGENT,
    team_key: str | None = None,
    must_change_password: bool = False,
) -> Agent:
    email = email.strip().lower()
    if not _EMAIL.fullmatch(email):
        raise Invalid(f"{email!r} is not an e-mail address.", field="email")
    if session.scalar(select(Agent).where(Agent.email == email)) is not None:
        raise Conflict(f"There is already an agent with the address {email}.")
    agent = Agent(
        email=email,
        name=name.strip() or email,
        password_hash=hash_password(password),
        role=role,
        team=find_team(session, team_key) if team_key else None,
        must_change_password=must_change_password,
    )
    session.add(agent)
    session.flush()
    return agent


def set_password(session: Session, agent: Agent, password: str, *, one_time: bool = False) -> None:
    """Also reactivates the agent. A one-time password must be changed at the next sign-in."""
    agent.password_hash = hash_password(password)
    agent.must_change_password = one_time
    agent.deactivated_at = None


def change_password(db: Database, agent: AgentPrincipal, *, current: str, new: str) -> None:
    """An agent's own change; the current password proves that it is they."""
    with db.read() as session:
        email = session.get_one(Agent, agent.agent_id).email
    sign_in(db, email=email, password=current)
    if new == current:
        raise Invalid("Choose a password that differs from the current one.", field="new")
    digest = hash_password(new)
    with db.begin() as session:
        row = session.get_one(Agent, agent.agent_id)
        row.password_hash, row.must_change_password = digest, False


def active_agents(session: Session) -> list[Agent]:
    """Everyone a ticket can be assigned to, by name."""
    return list(session.scalars(select(Agent).where(Agent.deactivated_at.is_(None)).order_by(Agent.name)))


def hash_password(password: str) -> str:
    if len(password) < 10:
        raise Invalid("A password needs at least 10 characters.", field="password")
    return _passwords.hash(password)


def sign_in(db: Database, *, email: str, password: str) -> AgentPrincipal:
    """Check a password. Unknown address and wrong password are the same answer and take the same time."""
    with db.read() as session:
        agent = session.scalar(select(Agent).where(Agent.email == email.strip().lower()))
    known = agent is not None and agent.deactivated_at is None
    stored = agent.password_hash if agent is not None and known else _unknown_agent_hash()
    try:
        _passwords.verify(stored, password)
    except (VerificationError, InvalidHashError):
        known = False
    if agent is None or not known:
        raise Unauthenticated("Wrong e-mail address or password.")
    return as_principal(agent)


def agent_principal(session: Session, public_id: str) -> AgentPrincipal | None:
    """The agent a session cookie names, if they still may come in."""
    agent = session.scalar(select(Agent).where(Agent.public_id == public_id, Agent.deactivated_at.is_(None)))
    return as_principal(agent) if agent is not None else None


def as_principal(agent: Agent) -> AgentPrincipal:
    return AgentPrincipal(agent.id, agent.public_id, agent.name, agent.role, agent.team_id, agent.must_change_password)


@cache
def _unknown_agent_hash() -> str:
    """Of a password nobody has: verifying against it takes as long as against a real one."""
    return _passwords.hash(secrets.token_urlsafe(16))


# Teams and customers


def find_team(session: Session, key: str) -> Team:
    team = session.scalar(select(Team).where(Team.key == key))
    if team is None:
        keys = ", ".join(session.scalars(select(Team.key).order_by(Team.key))) or "none yet"
        raise NotFound(f"There is no team {key!r}. Teams: {keys}.")
    return team


def sync_teams(session: Session, teams: dict[str, str]) -> None:
    """Make the teams of the taxonomy (key to name) exist. Teams that left it stay: tickets may point at them."""
    existing = {team.key: team for team in session.scalars(select(Team))}
    for key, name in teams.items():
        if key not in existing:
            session.add(Team(key=key, name=name))
        elif existing[key].name != name:
            existing[key].name = name


def find_or_add_customer(
    session: Session, *, name: str | None = None, email: str | None = None, external_id: str | None = None
) -> Customer:
    """The customer with this external id, else with this e-mail address, else a new one."""
    email = email.lower() if email else None
    lookups: list[tuple[Any, str | None]] = [(Customer.external_id, external_id), (Customer.email, email)]
    customer = _find_customer(session, lookups)
    if customer is not None:
        return customer
    try:
        with session.begin_nested():
            customer = Customer(name=name or None, email=email, external_id=external_id or None)
            session.add(customer)
            session.flush()
            return customer
    except IntegrityError:
        customer = _find_customer(session, lookups)  # another request of the same customer was first
        if customer is None:
            raise
        return customer


def _find_customer(session: Session, lookups: list[tuple[Any, str | None]]) -> Customer | None:
    for column, value in lookups:
        if value:
            customer = session.scalar(select(Customer).where(column == value).order_by(Customer.id).limit(1))
            if customer is not None:
                return customer
    return None
