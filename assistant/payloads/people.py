"""People and what they are sorted by, as other systems see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Self

from pydantic import Field

from assistant import models
from assistant.models import AgentRole, VerifiedBy
from assistant.payloads.payload import Payload


class Customer(Payload):
    id: str
    external_id: str | None = Field(description="Your own id of them.")
    name: str | None
    email: str | None
    verified_by: VerifiedBy | None = Field(description="As of a ticket's requester.")
    created_at: datetime

    @classmethod
    def of(cls, customer: models.Customer) -> Self:
        return cls(
            id=customer.public_id,
            external_id=customer.external_id,
            name=customer.name,
            email=customer.email,
            verified_by=customer.verified_by,
            created_at=customer.created_at,
        )


class Agent(Payload):
    id: str
    name: str
    email: str
    role: AgentRole
    team: str | None = Field(description="Key of their team.")
    away_since: datetime | None = Field(description="Since then, no ticket is given to them by itself.")

    @classmethod
    def of(cls, agent: models.Agent) -> Self:
        return cls(
            id=agent.public_id,
            name=agent.name,
            email=agent.email,
            role=agent.role,
            team=agent.team.key if agent.team is not None else None,
            away_since=agent.away_since,
        )


class Inbox(Payload):
    key: str
    name: str
    archived_at: datetime | None


class APIKey(Payload):
    """A machine's key, without its secret."""

    id: str
    name: str
    scopes: tuple[str, ...]
    inboxes: tuple[str, ...] = Field(description="Keys of the inboxes that it is for; empty: every one.")
    networks: tuple[str, ...] = Field(description="It is accepted from there only; empty: from anywhere.")
    rate_limit: str | None = Field(description="Of its own, that people set; null: that of all keys.")
    state: Literal["active", "expired", "revoked"]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    last_used_from: str | None = Field(description="The address.")
    previous_until: datetime | None = Field(description="Until then, the secret before this one is accepted, too.")
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: models.APIKey, *, inboxes: Sequence[str], state: Literal["active", "expired", "revoked"]) -> Self:
        return cls(
            id=key.public_id,
            name=key.name,
            scopes=tuple(key.scopes),
            inboxes=tuple(inboxes),
            networks=tuple(key.networks),
            rate_limit=key.rate_limit,
            state=state,
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
            last_used_from=key.last_used_from,
            previous_until=key.previous_until,
            revoked_at=key.revoked_at,
        )


class Editor(Payload):
    """Who changed something."""

    kind: Literal["agent", "key"]
    id: str
    name: str

    @classmethod
    def of(cls, who: models.Agent | models.APIKey) -> Self:
        return cls(kind="agent" if isinstance(who, models.Agent) else "key", id=who.public_id, name=who.name)
