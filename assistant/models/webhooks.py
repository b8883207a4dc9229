"""Webhooks of other systems, and what was delivered to them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, enum_type, public_id, reference


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"  # the receiver has answered 2xx
    GIVEN_UP = "given_up"  # it has not for a day


class Webhook(Base):
    """Where to deliver events. ``kinds``: those that it is for, each with the last event from before it was.

    ``inbox_ids``: of the inboxes that it is for; none: every one. ``secret`` and ``previous_secret`` are sealed.
    """

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("whk")
    url: Mapped[str] = mapped_column(Text)
    kinds: Mapped[dict[str, int]] = mapped_column(JSONType)
    inbox_ids: Mapped[list[int]] = mapped_column(JSONType, default=list)
    secret: Mapped[str] = mapped_column(Text)
    previous_secret: Mapped[str | None] = mapped_column(Text)
    previous_until: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class WebhookDelivery(Base):
    """An event that a webhook has been or is being told. ``status``: what the receiver answered last, by HTTP."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_id"),
        Index("ix_webhook_deliveries_webhook_id_conversation_id_event_id", "webhook_id", "conversation_id", "event_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("dlv")
    webhook_id: Mapped[int] = reference("webhooks", ondelete="CASCADE")
    webhook: Mapped[Webhook] = relationship()
    conversation_id: Mapped[int] = reference("conversations", ondelete="CASCADE")
    event_id: Mapped[int] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(Text)
    state: Mapped[DeliveryState] = mapped_column(enum_type(DeliveryState, "state"), default=DeliveryState.PENDING)
    tries: Mapped[int] = mapped_column(default=0)
    status: Mapped[int | None]
    problem: Mapped[str | None] = mapped_column(Text)
    due_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]  # somebody is delivering it
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]
