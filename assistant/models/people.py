"""Customers, agents, teams, and the keys of machines."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, enum_type, public_id, reference


class AgentRole(StrEnum):
    """What somebody may do: each also whatever those before may."""

    VIEWER = "viewer"  # reads tickets and articles, and changes nothing
    AGENT = "agent"  # works the tickets of their team and those of no team
    LEAD = "lead"  # works every team's tickets
    ADMIN = "admin"  # manages people, keys, inboxes and sources


class VerifiedBy(StrEnum):
    """Who says that a customer is who they say they are."""

    SITE = "site"  # the site they are signed in to, by a signed identity
    CODE = "code"  # they typed a code that was sent to their e-mail address
    API = "api"  # a machine with a key


class Assignment(StrEnum):
    """How a team's tickets find their agent."""

    OFF = "off"  # agents take them
    ROUND_ROBIN = "round_robin"
    LEAST_BUSY = "least_busy"


class Customer(Base):
    """A person who asks. Without ``verified_at`` name and e-mail address are only what somebody typed."""

    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("cus")
    external_id: Mapped[str | None] = mapped_column(Text, unique=True)
    name: Mapped[str | None] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text, index=True)
    verified_at: Mapped[datetime | None]
    verified_by: Mapped[VerifiedBy | None] = mapped_column(enum_type(VerifiedBy, "verified_by"))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    @property
    def display_name(self) -> str:
        return self.name or self.email or "Visitor"


class CustomerNote(Base):
    """What an agent wants colleagues to know of a customer, whatever the ticket."""

    __tablename__ = "customer_notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("cnt")
    customer_id: Mapped[int] = reference("customers", ondelete="CASCADE")
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    agent: Mapped[Agent | None] = relationship()
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class CustomerMerge(Base):
    """Two customers who are one person, as an agent says: what was ``from_id``'s is ``into_id``'s. ``moved``: ids of
    the conversations, which go back if it is undone."""

    __tablename__ = "customer_merges"

    id: Mapped[int] = mapped_column(primary_key=True)
    from_id: Mapped[int] = reference("customers", ondelete="CASCADE", unique=True)
    into_id: Mapped[int] = reference("customers", ondelete="CASCADE")
    moved: Mapped[list[int]] = mapped_column(JSONType)
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    agent: Mapped[Agent | None] = relationship()
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    away: Mapped[Customer] = relationship(foreign_keys="CustomerMerge.from_id")
    into: Mapped[Customer] = relationship(foreign_keys="CustomerMerge.into_id")


class Team(Base):
    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("team")
    key: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    assignment: Mapped[Assignment] = mapped_column(enum_type(Assignment, "assignment"), default=Assignment.OFF)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Agent(Base):
    """A human support agent."""

    __tablename__ = "agents"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("agt")
    email: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[AgentRole] = mapped_column(enum_type(AgentRole, "role"), default=AgentRole.AGENT)
    team_id: Mapped[int | None] = reference("teams", ondelete="SET NULL", nullable=True)
    team: Mapped[Team | None] = relationship()
    languages: Mapped[list[str]] = mapped_column(JSONType, default=list)  # that they write
    alerts: Mapped[dict[str, str]] = mapped_column(JSONType, default=dict)  # how they are told: `desk.alerts`
    must_change_password: Mapped[bool] = mapped_column(default=False)
    # The second factor (`desk.second_factor`): its secret, encrypted; since when it counts; the last time step used.
    totp_secret: Mapped[str | None] = mapped_column(Text)
    totp_since: Mapped[datetime | None]
    totp_step: Mapped[int | None]
    # Their account at a sign-in provider, as `oidc.Person` has it.
    oidc_subject: Mapped[str | None] = mapped_column(Text, index=True, unique=True)
    picture_sha256: Mapped[str | None] = mapped_column(Text, index=True)  # a small JPEG in storage, shown to customers
    # For auto-assignment (`desk.assigning`): how many tickets at once, since when none, when the last one.
    capacity: Mapped[int | None]
    away_since: Mapped[datetime | None]
    given_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    deactivated_at: Mapped[datetime | None]


class RecoveryCode(Base):
    """In place of a lost second factor, once. Only the code's SHA-256 is kept."""

    __tablename__ = "recovery_codes"

    id: Mapped[int] = mapped_column(primary_key=True)
    agent_id: Mapped[int] = reference("agents", ondelete="CASCADE")
    code_hash: Mapped[str] = mapped_column(Text)
    used_at: Mapped[datetime | None]


class AgentSession(Base):
    """A browser in which an agent is signed in. Of its token only the SHA-256 is kept."""

    __tablename__ = "agent_sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("ase")
    agent_id: Mapped[int] = reference("agents", ondelete="CASCADE")
    agent: Mapped[Agent] = relationship()
    token_hash: Mapped[str] = mapped_column(Text, unique=True)
    address: Mapped[str] = mapped_column(Text)
    browser: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    last_used_at: Mapped[datetime] = mapped_column(default=utcnow)
    ended_at: Mapped[datetime | None]


class APIKey(Base):
    """A machine's key. Only its SHA-256 is kept: the key has 160 random bits, so a slow hash would add nothing."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("key")
    name: Mapped[str] = mapped_column(Text)
    key_hash: Mapped[str] = mapped_column(Text, unique=True)
    scopes: Mapped[list[str]] = mapped_column(JSONType)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime | None]
    inbox_ids: Mapped[list[int]] = mapped_column(JSONType, default=list, server_default="[]")  # none: every inbox
    networks: Mapped[list[str]] = mapped_column(JSONType, default=list, server_default="[]")  # none: every address
    rate_limit: Mapped[str | None] = mapped_column(Text)  # none: as the settings say
    last_used_at: Mapped[datetime | None]
    last_used_from: Mapped[str | None] = mapped_column(Text)
    # The key that this one replaced is valid until then.
    previous_hash: Mapped[str | None] = mapped_column(Text, index=True)
    previous_until: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
