"""Processes of this installation, as they tell of themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from assistant.db import Base
from assistant.models.columns import JSONType


class Process(Base):
    """A server's or worker's sign of life, renewed while it lives and removed when it stops. ``health``: see
    `desk.processes.Health`."""

    __tablename__ = "processes"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime]
    beat_at: Mapped[datetime]
    health: Mapped[dict[str, Any]] = mapped_column(JSONType)
