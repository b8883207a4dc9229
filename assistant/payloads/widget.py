"""What a customer's browser is told about its session and its conversations."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import Field

from assistant import models
from assistant.models import Author, ConversationState, VerifiedBy
from assistant.payloads.conversations import Notice
from assistant.payloads.payload import Payload


class WidgetCustomer(Payload):
    """As whom the browser talks. `verified_by` null: name and address are only what somebody typed."""

    id: str
    name: str | None
    email: str | None
    verified_by: VerifiedBy | None


class WidgetSession(Payload):
    id: str
    customer: WidgetCustomer
    expires_at: datetime

    @classmethod
    def of(cls, session: models.WidgetSession) -> Self:
        customer = session.customer
        return cls(
            id=session.public_id,
            customer=WidgetCustomer(
                id=customer.public_id, name=customer.name, email=customer.email, verified_by=customer.verified_by
            ),
            expires_at=session.expires_at,
        )


class OwnConversation(Payload):
    """One of a customer's conversations in their list."""

    id: str
    state: ConversationState
    created_at: datetime
    updated_at: datetime
    last_author: Author
    last_text: str
    last_notices: tuple[Notice, ...] = Field(description="Of a message by the system: what it says, code by code.")
    unread: int = Field(description="Replies that the customer has not seen.")

    @classmethod
    def of(cls, conversation: models.Conversation, last: models.Message, *, unread: int) -> Self:
        return cls(
            id=conversation.public_id,
            state=conversation.state,
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
            last_author=last.author,
            last_text=last.text,
            last_notices=tuple(Notice(**notice) for notice in last.notices or ()),
            unread=unread,
        )
