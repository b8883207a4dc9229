"""What was asked about photos."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, public_id, reference
from assistant.models.conversations import Attachment
from assistant.models.people import Agent, APIKey


class PhotoQuestion(Base):
    """A question about one photo of a message, and its answer: ``{"text", "confidence", "regions", "by", "model",
    "silence", "asks"}``. ``evidence_id``: what it was answered from. Asked again, it is answered anew."""

    __tablename__ = "photo_questions"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("pqu")
    attachment_id: Mapped[int] = reference("attachments", ondelete="CASCADE")
    attachment: Mapped[Attachment] = relationship()
    question: Mapped[str] = mapped_column(Text)
    answer: Mapped[dict[str, Any]] = mapped_column(JSONType)
    evidence_id: Mapped[int | None] = reference("evidence", ondelete="SET NULL", nullable=True)
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    agent: Mapped[Agent | None] = relationship(lazy="joined")
    api_key_id: Mapped[int | None] = reference("api_keys", ondelete="SET NULL", nullable=True)
    api_key: Mapped[APIKey | None] = relationship(lazy="joined")
    asked_at: Mapped[datetime] = mapped_column(default=utcnow)
