"""Many tickets to be assessed at once, none of which is stored as a ticket."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, enum_type, public_id, reference
from assistant.models.conversations import AttachmentKind
from assistant.ports import WorkPriority


class Batch(Base):
    """``inbox``: key of the one whose articles are used. ``deadline_at``: what is not done by then fails. Removed with
    all that it says a day after it is done."""

    __tablename__ = "batches"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("bat")
    api_key_id: Mapped[int] = reference("api_keys", ondelete="CASCADE")
    inbox: Mapped[str] = mapped_column(Text)
    with_draft: Mapped[bool]
    priority: Mapped[int] = mapped_column(default=int(WorkPriority.BATCH), server_default="2")
    deadline_at: Mapped[datetime | None]
    total: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]


class BatchItem(Base):
    """``result`` or ``error``: what came of it, once it was its turn."""

    __tablename__ = "batch_items"
    __table_args__ = (UniqueConstraint("batch_id", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = reference("batches", ondelete="CASCADE")
    position: Mapped[int]
    reference: Mapped[str | None] = mapped_column(Text)  # the caller's own id
    subject: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    language: Mapped[str | None] = mapped_column(Text)  # that the customer is said to speak
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONType)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONType)
    files: Mapped[list[BatchFile]] = relationship(order_by="BatchFile.id")


class BatchFile(Base):
    """A file that was uploaded for an item, until it is the item's turn: the upload may be used or over by then."""

    __tablename__ = "batch_files"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = reference("batch_items", ondelete="CASCADE")
    kind: Mapped[AttachmentKind] = mapped_column(enum_type(AttachmentKind, "kind"))
    sha256: Mapped[str] = mapped_column(Text, index=True)
    filename: Mapped[str] = mapped_column(Text)
