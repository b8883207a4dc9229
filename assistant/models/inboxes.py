"""Inboxes: the widgets of one installation, each with a brand, a team and customers' conversations of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, public_id, reference
from assistant.models.people import Team

# The key of the inbox that every installation has. What it leaves empty is as in the settings.
DEFAULT_INBOX = "default"


class Inbox(Base):
    """``settings`` as `desk.inboxes.InboxSettings` describes them.

    The secrets sign customers' identities (HS256), so they are kept, encrypted (`desk.sealing`). Both are valid: a site
    takes up a new one before the previous one is withdrawn.
    """

    __tablename__ = "inboxes"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("ibx")
    key: Mapped[str] = mapped_column(Text, unique=True)  # what the page names it by
    name: Mapped[str] = mapped_column(Text, default="")  # the brand; empty: the company of the settings
    team_id: Mapped[int | None] = reference("teams", ondelete="SET NULL", nullable=True)
    team: Mapped[Team | None] = relationship()
    settings: Mapped[dict[str, Any]] = mapped_column(JSONType, default=dict)
    logo_sha256: Mapped[str | None] = mapped_column(Text)  # a small JPEG in storage
    secret: Mapped[str | None] = mapped_column(Text)
    previous_secret: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    archived_at: Mapped[datetime | None]  # no longer served; its conversations stay
