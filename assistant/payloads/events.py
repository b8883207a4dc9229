"""Events, as other systems are told of them: by webhooks and by the API alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from pydantic import Field

from assistant import models
from assistant.payloads.payload import Payload
from assistant.payloads.triage import TicketReference

PREFIX = "evt_"


class Event(Payload):
    """Something that happened to a ticket."""

    id: str = Field(description="The same however often and by whatever way it is told.")
    type: str
    timestamp: datetime = Field(description="When it happened.")
    ticket: TicketReference
    data: Mapping[str, Any] = Field(description="What has changed, as it was then: `type` says what it holds.")

    @classmethod
    def of(cls, event: models.Event, ticket: models.Ticket) -> Self:
        return cls(
            id=f"{PREFIX}{event.id}",
            type=event.kind,
            timestamp=event.created_at,
            ticket=TicketReference.of(ticket),
            data=event.payload,
        )
