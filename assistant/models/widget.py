"""Browsers with the widget: their sessions, and the codes by which their customers prove an address."""

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


class AddressCode(Base):
    """A code that a session has asked for, to prove an e-mail address. Of a session, only the newest is valid.

    The code is kept as a keyed hash. It counts against its mailbox unless the mailbox had enough of them (``sent``).
    """

    __tablename__ = "address_codes"

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = reference("widget_sessions", ondelete="CASCADE")
    email: Mapped[str] = mapped_column(Text)
    mailbox_hash: Mapped[str] = mapped_column(Text, index=True)
    code_hash: Mapped[str] = mapped_column(Text)
    sent: Mapped[bool]
    tries: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(index=True)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
