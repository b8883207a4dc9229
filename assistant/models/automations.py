"""Automations, and the log of what they did."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, enum_type, public_id, reference
from assistant.models.tickets import Ticket


class Trigger(StrEnum):
    """What an automation is run by."""

    OPENED = "opened"  # and triaged for the first time, as far as that can be done
    TRIAGED = "triaged"
    HANDED_OFF = "handed_off"  # its customer waits for a person
    WRITTEN = "written"  # by its customer
    REPLIED = "replied"  # to its customer, by a person or a machine
    CHANGED = "changed"
    BREACHED = "breached"  # an SLA target
    RATED = "rated"
    TIME = "time"  # every few minutes


class RunOutcome(StrEnum):
    DONE = "done"
    FAILED = "failed"


class Automation(Base):
    """Run by ``trigger``, for tickets whose ``conditions`` hold (`desk.conditions`), with ``actions`` (`desk.actions`).

    Several with one trigger run in the order of their ids."""

    __tablename__ = "automations"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("aut")
    name: Mapped[str] = mapped_column(Text, unique=True)
    trigger: Mapped[Trigger] = mapped_column(enum_type(Trigger, "trigger"), index=True)
    conditions: Mapped[list[dict[str, Any]]] = mapped_column(JSONType)
    actions: Mapped[list[dict[str, Any]]] = mapped_column(JSONType)
    enabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class AutomationRun(Base):
    """One run of an automation on a ticket, stored with what it did: a second run for one cause cannot be.

    ``cause``: the event, that the ticket was opened, or the newest event when time was the trigger. The events that it
    appended are those of the ticket after ``after_event_id`` up to ``last_event_id``.
    """

    __tablename__ = "automation_runs"
    __table_args__ = (
        UniqueConstraint("automation_id", "ticket_id", "cause"),
        Index("ix_automation_runs_ticket_id_last_event_id", "ticket_id", "last_event_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    automation_id: Mapped[int] = reference("automations", ondelete="CASCADE")
    automation: Mapped[Automation] = relationship()
    ticket_id: Mapped[int] = reference("tickets", ondelete="CASCADE")
    ticket: Mapped[Ticket] = relationship()
    cause: Mapped[str] = mapped_column(Text)
    outcome: Mapped[RunOutcome] = mapped_column(enum_type(RunOutcome, "outcome"))
    problem: Mapped[str | None] = mapped_column(Text)  # why it failed: nothing was done then
    actions: Mapped[list[dict[str, Any]]] = mapped_column(JSONType)  # as they were then
    after_event_id: Mapped[int]
    last_event_id: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=utcnow, index=True)
