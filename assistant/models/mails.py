"""Outgoing mail."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from assistant.db import Base, utcnow
from assistant.models.columns import enum_type, public_id, reference


class MailState(StrEnum):
    QUEUED = "queued"
    SENT = "sent"  # taken by our mail server
    REFUSED = "refused"  # for good, by our mail server
    EXPIRED = "expired"  # no server took it in time


class Mail(Base):
    """A mail by us. Its public id is the local part of its Message-ID, so that an answer to it can be recognised.

    What it says is kept until its fate is known: after that, the conversation has it.
    """

    __tablename__ = "mails"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("eml")
    conversation_id: Mapped[int | None] = reference("conversations", ondelete="CASCADE", nullable=True)
    recipient: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text)
    language: Mapped[str] = mapped_column(Text)
    unsubscribe_url: Mapped[str | None] = mapped_column(Text)
    state: Mapped[MailState] = mapped_column(enum_type(MailState, "state"), default=MailState.QUEUED, index=True)
    reason: Mapped[str | None] = mapped_column(Text)  # why it was not taken, last
    tries: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
