"""Files that machines upload before they say what for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from assistant.db import Base, utcnow
from assistant.models.columns import enum_type, public_id, reference
from assistant.models.conversations import AttachmentKind, FileCondition


class UploadedFile(Base):
    """A file on no message yet. The attachment that it becomes has the same public id. Removed when its time is over,
    unless it was used."""

    __tablename__ = "uploaded_files"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("att")
    api_key_id: Mapped[int] = reference("api_keys", ondelete="CASCADE")
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
    expires_at: Mapped[datetime] = mapped_column(index=True)
