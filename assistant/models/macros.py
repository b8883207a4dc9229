"""Macros: texts and actions that agents use again and again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, public_id, reference
from assistant.models.people import Agent, Team


class Macro(Base):
    """An agent's own, a team's or, without either, everybody's. ``actions``: as `desk.actions` stores them."""

    __tablename__ = "macros"
    __table_args__ = (CheckConstraint("agent_id IS NULL OR team_id IS NULL", name="one_owner"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("mcr")
    name: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text, default="")
    actions: Mapped[list[dict[str, Any]]] = mapped_column(JSONType, default=list)
    agent_id: Mapped[int | None] = reference("agents", ondelete="CASCADE", nullable=True)
    agent: Mapped[Agent | None] = relationship()
    team_id: Mapped[int | None] = reference("teams", ondelete="CASCADE", nullable=True)
    team: Mapped[Team | None] = relationship()
    uses: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
