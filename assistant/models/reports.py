"""What reports add up: counts of tickets by the day they were opened."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from assistant.db import Base
from assistant.models.columns import JSONType, reference


class ReportCount(Base):
    """Of the tickets opened on one day, in one inbox and for one team: how many there are of ``key``, by a ``measure``
    of `desk.counting`, and the ``total`` of what was measured. No customer can be told from it. ``kept``: counted for
    good, of what is gone by now."""

    __tablename__ = "report_counts"
    __table_args__ = (Index("ix_report_counts_measure_day", "measure", "day"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(index=True)
    inbox_id: Mapped[int] = reference("inboxes", ondelete="CASCADE")
    team_id: Mapped[int | None] = reference("teams", ondelete="SET NULL", nullable=True)
    measure: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    count: Mapped[int]
    total: Mapped[float] = mapped_column(default=0.0)
    kept: Mapped[bool] = mapped_column(default=False, server_default=false())


class ReportState(Base):
    """How far the counts go: one row. ``waiting``: days to be counted (again), the next one last."""

    __tablename__ = "report_states"

    id: Mapped[int] = mapped_column(primary_key=True)
    revision: Mapped[int]  # of what is counted
    zone: Mapped[str] = mapped_column(Text)  # in which days begin
    last_event_id: Mapped[int]  # changes up to this one are counted, or their days wait
    waiting: Mapped[list[Any]] = mapped_column(JSONType)  # ISO dates
    counted_at: Mapped[datetime | None]  # when none waited last
