"""People and what they are sorted by, as other systems see them."""

from __future__ import annotations

from datetime import datetime
from typing import Self

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
