"""What each side has seen of a conversation."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base
from assistant.models.columns import reference
from assistant.models.conversations import Message


class Attention(Base):
    """How far customer and agents have come in a conversation, and where its customer is told of replies.

    ``delivered``: the newest message that a browser of the customer has; ``seen``: that they had before their eyes;
    ``seen_by_agents``: the newest customer's message that an agent had; ``mailed``: the newest reply sent by mail.
    """

    __tablename__ = "attention"

    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True)
    delivered_id: Mapped[int | None] = reference("messages", ondelete="SET NULL", nullable=True)
    delivered: Mapped[Message | None] = relationship(foreign_keys=delivered_id)
    seen_id: Mapped[int | None] = reference("messages", ondelete="SET NULL", nullable=True)
    seen: Mapped[Message | None] = relationship(foreign_keys=seen_id)
    seen_at: Mapped[datetime | None]
    seen_by_agents_id: Mapped[int | None] = reference("messages", ondelete="SET NULL", nullable=True)
    seen_by_agents: Mapped[Message | None] = relationship(foreign_keys=seen_by_agents_id)
    seen_by_agents_at: Mapped[datetime | None]
    mailed_id: Mapped[int | None] = reference("messages", ondelete="SET NULL", nullable=True)
    mail_to: Mapped[str | None] = mapped_column(Text)  # an address that the customer typed in this conversation


class Presence(Base):
    """An agent who has, or had, a ticket before their eyes. ``wrote_at``: when they last wrote to its customer."""

    __tablename__ = "presences"

    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True, index=True)
    seen_at: Mapped[datetime]
    wrote_at: Mapped[datetime | None]


class MailRefusal(Base):
    """An address whose owner wants no more mail about replies. Only its digest is kept."""

    __tablename__ = "mail_refusals"

    address_sha256: Mapped[str] = mapped_column(Text, primary_key=True)
    created_at: Mapped[datetime]
