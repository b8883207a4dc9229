"""SLA policies, and the clocks that run for each ticket."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, enum_type, public_id, reference


class SLATarget(StrEnum):
    FIRST_RESPONSE = "first_response"  # of a person, since one was first asked for
    NEXT_RESPONSE = "next_response"  # to what a customer writes after that
    RESOLUTION = "resolution"


class SLAPolicy(Base):
    """How long each target may take, in minutes; None: as long as it wants. Of those that apply to a ticket, the first
    by ``position`` counts.

    ``conditions`` as `desk.conditions` stores them. ``around_the_clock``: nights and holidays count, too.
    """

    __tablename__ = "sla_policies"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("sla")
    name: Mapped[str] = mapped_column(Text, unique=True)
    position: Mapped[int]
    conditions: Mapped[list[dict[str, Any]]] = mapped_column(JSONType)
    first_response: Mapped[int | None]
    next_response: Mapped[int | None]
    resolution: Mapped[int | None]
    around_the_clock: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    def goal(self, target: SLATarget) -> timedelta | None:
        minutes = {
            SLATarget.FIRST_RESPONSE: self.first_response,
            SLATarget.NEXT_RESPONSE: self.next_response,
            SLATarget.RESOLUTION: self.resolution,
        }[target]
        return timedelta(minutes=minutes) if minutes is not None else None


class SLAClock(Base):
    """When a target of a ticket ran. It is kept without a policy, too: one that is made later, or fits later, counts
    from the beginning.

    ``stretches``: ``[begin, end or null]`` each. ``due_at`` follows from them, policy and hours. ``ended_at``: answered
    or solved. ``breached_at``: when it was missed, once that has been noticed.
    """

    __tablename__ = "sla_clocks"
    __table_args__ = (
        Index(
            "uq_sla_clocks_ticket_id_target",
            "ticket_id",
            "target",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        CheckConstraint("ended_at IS NULL OR ended_at >= began_at", name="order"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = reference("tickets", ondelete="CASCADE")
    policy_id: Mapped[int | None] = reference("sla_policies", ondelete="SET NULL", nullable=True)
    policy: Mapped[SLAPolicy | None] = relationship()
    target: Mapped[SLATarget] = mapped_column(enum_type(SLATarget, "target"))
    began_at: Mapped[datetime]
    stretches: Mapped[list[list[str | None]]] = mapped_column(JSONType)
    due_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    breached_at: Mapped[datetime | None]
