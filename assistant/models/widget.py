"""Browsers with the widget: their sessions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import public_id, reference
from assistant.models.inboxes import Inbox
from assistant.models.people import Customer


class WidgetSession(Base):
    """A browser that talks as one customer in one inbox. Only the SHA-256 of its token is kept.

    A token that has been replaced stays valid until the new one has been used, and a little longer
    (``previous_until``): an answer that is lost on the way must not lose the conversation.
    """

    __tablename__ = "widget_sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("wse")
    customer_id: Mapped[int] = reference("customers", ondelete="CASCADE")
    customer: Mapped[Customer] = relationship()
    inbox_id: Mapped[int] = reference("inboxes", ondelete="CASCADE")
    inbox: Mapped[Inbox] = relationship()
    # A conversation that its holder may see although another customer's: they opened a link to it.
    admitted_id: Mapped[int | None] = reference("conversations", ondelete="SET NULL", nullable=True)
    origin: Mapped[str | None] = mapped_column(Text)  # of the page around the widget
    token_hash: Mapped[str] = mapped_column(Text, unique=True)
    previous_hash: Mapped[str | None] = mapped_column(Text, index=True)
    previous_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    renewed_at: Mapped[datetime] = mapped_column(default=utcnow)
    last_used_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
