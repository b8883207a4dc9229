"""Replies that agents are writing or have just sent: their files, and what is held back while it can be taken back."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import enum_type, public_id, reference
from assistant.models.conversations import AttachmentKind, FileCondition
from assistant.models.macros import Macro
from assistant.models.people import Agent
from assistant.models.tickets import Draft, Ticket


class HeldReply(Base):
    """A reply that its agent has sent and that leaves at ``due_at``. What it does besides, a macro's actions and a
    status, it does then. ``problem``: why it could not leave."""

    __tablename__ = "held_replies"
    __table_args__ = (
        # Two agents never answer the same ticket.
        Index(
            "uq_held_replies_ticket_id",
            "ticket_id",
            unique=True,
            sqlite_where=text("problem IS NULL"),
            postgresql_where=text("problem IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("hld")
    ticket_id: Mapped[int] = reference("tickets", ondelete="CASCADE")
    ticket: Mapped[Ticket] = relationship()
    agent_id: Mapped[int] = reference("agents", ondelete="CASCADE")
    agent: Mapped[Agent] = relationship()
    said: Mapped[str] = mapped_column(Text)
    draft_id: Mapped[int | None] = reference("drafts", ondelete="SET NULL", nullable=True)
    draft: Mapped[Draft | None] = relationship()
    macro_id: Mapped[int | None] = reference("macros", ondelete="SET NULL", nullable=True)
    macro: Mapped[Macro | None] = relationship()
    then: Mapped[str | None] = mapped_column(Text)  # the status that the ticket gets
    due_at: Mapped[datetime]
    problem: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class ReplyFile(Base):
    """A file that an agent has put beside the reply that they are writing. It is sent with their next one."""

    __tablename__ = "reply_files"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("rpf")
    ticket_id: Mapped[int] = reference("tickets", ondelete="CASCADE")
    agent_id: Mapped[int] = reference("agents", ondelete="CASCADE")
    kind: Mapped[AttachmentKind] = mapped_column(enum_type(AttachmentKind, "kind"))
    sha256: Mapped[str] = mapped_column(Text, index=True)
    thumbnail_sha256: Mapped[str | None] = mapped_column(Text, index=True)
    filename: Mapped[str] = mapped_column(Text)
    content_type: Mapped[str] = mapped_column(Text)
    byte_size: Mapped[int]
    width: Mapped[int | None]
    height: Mapped[int | None]
    condition: Mapped[FileCondition] = mapped_column(enum_type(FileCondition, "condition"))
    risk: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
