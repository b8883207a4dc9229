"""What people did that somebody may have to answer for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType


class AuditEntry(Base):
    """Who did what, from where. Rows are only added: triggers refuse everything else. So ``agent`` is an address and no
    foreign key. ``subject``: ids and keys of what it was done to; ``fields``: names, never values."""

    __tablename__ = "audit_entries"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=utcnow, index=True)
    agent: Mapped[str] = mapped_column(Text, index=True)
    address: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text, index=True)
    subject: Mapped[str] = mapped_column(Text)
    fields: Mapped[list[str]] = mapped_column(JSONType, default=list)
