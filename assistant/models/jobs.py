"""Rows that make work and events durable: jobs, events and idempotency keys.

A job is committed in the transaction of the change that needs it, so no acknowledged change lacks its follow-up. The
table is neither a log nor a schedule: finished rows are swept.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, enum_type, reference
from assistant.ports import WorkPriority


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"  # failed its last attempt; `doctor` and the metrics count these


class Job(Base):
    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_status_priority_run_at", "status", "priority", "run_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONType)
    # A job that must exist once: see `desk.queue.enqueue`.
    key: Mapped[str | None] = mapped_column(Text, unique=True)
    priority: Mapped[int] = mapped_column(default=int(WorkPriority.DRAFT))
    status: Mapped[JobStatus] = mapped_column(enum_type(JobStatus, "status"), default=JobStatus.QUEUED)
    attempts: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)  # attempts during which the process died
    run_at: Mapped[datetime] = mapped_column(default=utcnow)
    leased_until: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)
    # The request that made it necessary: see `tracing.origin`.
    origin: Mapped[dict[str, str] | None] = mapped_column(JSONType)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]


class Event(Base):
    """A change that a client can see. Streams replay from the id, which only grows.

    ``audience``: ``customer`` events go to the customer and the agents, ``agent`` events to agents only.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_conversation_id_id", "conversation_id", "id"),
        {"sqlite_autoincrement": True},  # an id is never reused, even after the newest rows are deleted
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int | None] = reference("conversations", ondelete="CASCADE", nullable=True)
    audience: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONType)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class IdempotencyKey(Base):
    """A request with an Idempotency-Key that has been carried out, with its answer for as long as it may be repeated.

    ``made``: public id of what it has made, if that is no ticket."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (UniqueConstraint("api_key_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    api_key_id: Mapped[int] = reference("api_keys", ondelete="CASCADE")
    key: Mapped[str] = mapped_column(Text)
    request_hash: Mapped[str] = mapped_column(Text)
    ticket_id: Mapped[int | None] = reference("tickets", ondelete="CASCADE", nullable=True)
    made: Mapped[str | None] = mapped_column(Text)
    status: Mapped[int | None]
    headers: Mapped[dict[str, str] | None] = mapped_column(JSONType)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=utcnow, index=True)
