"""What agents are told about tickets."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import enum_type, reference
from assistant.models.conversations import Message
from assistant.models.people import Agent
from assistant.models.tickets import Ticket


class AlertKind(StrEnum):
    MENTION = "mention"  # somebody named them in a note
    WRITTEN = "written"  # the customer of a ticket that is theirs, or that they follow, has written
    FOLLOWED = "followed"  # a colleague has written in a ticket that they follow
    WOKEN = "woken"  # a ticket that is theirs, or that they follow, is no longer snoozed, as its time has come


class Alert(Base):
    """That an agent should look at a ticket, mostly because of a message; at most once for each message."""

    __tablename__ = "alerts"
    __table_args__ = (UniqueConstraint("agent_id", "message_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    agent_id: Mapped[int] = reference("agents", ondelete="CASCADE")
    agent: Mapped[Agent] = relationship()
    ticket_id: Mapped[int] = reference("tickets", ondelete="CASCADE")
    ticket: Mapped[Ticket] = relationship()
    message_id: Mapped[int | None] = reference("messages", ondelete="CASCADE", nullable=True)
    message: Mapped[Message | None] = relationship()
    kind: Mapped[AlertKind] = mapped_column(enum_type(AlertKind, "kind"))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    read_at: Mapped[datetime | None]
