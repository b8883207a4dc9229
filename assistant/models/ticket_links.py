"""What tickets have to do with each other."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, enum_type, public_id, reference
from assistant.models.people import Agent
from assistant.models.tickets import Ticket


class LinkKind(StrEnum):
    RELATED = "related"
    SPLIT = "split"  # the ticket began with a message of the other
    MERGED = "merged"  # the ticket is answered in the other


class TicketLink(Base):
    """``undo``: of a merge, the actions that take back what it did to the ticket. ``message_id``: of a split, the
    message that became the ticket."""

    __tablename__ = "ticket_links"
    __table_args__ = (
        UniqueConstraint("ticket_id", "other_id"),
        CheckConstraint("ticket_id <> other_id", name="two_tickets"),
        Index(
            "uq_ticket_links_merged",
            "ticket_id",
            unique=True,
            sqlite_where=text("kind = 'merged'"),
            postgresql_where=text("kind = 'merged'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("lnk")
    kind: Mapped[LinkKind] = mapped_column(enum_type(LinkKind, "kind"))
    ticket_id: Mapped[int] = reference("tickets", ondelete="CASCADE")
    ticket: Mapped[Ticket] = relationship(foreign_keys="TicketLink.ticket_id")
    other_id: Mapped[int] = reference("tickets", ondelete="CASCADE")
    other: Mapped[Ticket] = relationship(foreign_keys="TicketLink.other_id")
    message_id: Mapped[int | None] = reference("messages", ondelete="SET NULL", nullable=True, unique=True)
    undo: Mapped[list[dict[str, Any]]] = mapped_column(JSONType, default=list)
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    agent: Mapped[Agent | None] = relationship()
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
