"""Tickets, the triage proposed for them, drafts with their citations, and the generations behind both."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, attribute_keyed_dict, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, enum_type, public_id, reference
from assistant.models.conversations import Citation, Conversation
from assistant.models.custom_fields import FieldValue
from assistant.models.people import Agent, Customer, Team
from assistant.ports import HandoffReason


class TicketStatus(StrEnum):
    NEW = "new"
    OPEN = "open"
    PENDING = "pending"  # waiting for the customer
    ON_HOLD = "on_hold"  # waiting for someone else
    SOLVED = "solved"
    CLOSED = "closed"


class Priority(StrEnum):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class TicketType(StrEnum):
    QUESTION = "question"
    INCIDENT = "incident"
    PROBLEM = "problem"
    TASK = "task"


class TriageFieldState(StrEnum):
    PROPOSED = "proposed"
    ABSTAINED = "abstained"  # not sure enough to propose; the best guess is kept for the agent to see
    ACCEPTED = "accepted"
    OVERRIDDEN = "overridden"


class DraftStatus(StrEnum):
    PROPOSED = "proposed"
    SENT = "sent"
    EDITED = "edited"  # sent, after an agent changed it
    DISCARDED = "discarded"
    REPLACED = "replaced"  # by another one, at an agent's wish
    WITHDRAWN = "withdrawn"  # answered or overtaken, or what it stood on was corrected


# Nobody's first ticket is number 1, and short numbers have the same length for a long time.
_NUMBERS_AFTER = 1000


class Tag(Base):
    """A word that agents, macros and machines put on tickets. ``key``: the name as it is compared."""

    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text, unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class TicketTag(Base):
    __tablename__ = "ticket_tags"

    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True)
    tag_id: Mapped[int] = mapped_column(ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True, index=True)


class TicketFollower(Base):
    """An agent who hears of what happens to a ticket, whoever has it."""

    __tablename__ = "ticket_followers"

    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True, index=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


def _where(holds: str) -> dict[str, Any]:
    """Of an index: only the rows of which this holds."""
    return {"sqlite_where": text(holds), "postgresql_where": text(holds)}


class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        # The queue is listed newest first, often by status, team or agent: each list is one index range.
        Index("ix_tickets_status_id", "status", "id"),
        Index("ix_tickets_team_id_id", "team_id", "id"),
        Index("ix_tickets_agent_id_id", "agent_id", "id"),
        Index("ix_tickets_category_id", "category", "id"),
        Index("ix_tickets_product_id", "product", "id"),
        Index("ix_tickets_updated_at_id", "updated_at", "id"),
        Index(
            "uq_tickets_external_id",
            *("external_id", "external_key_id"),
            unique=True,
            **_where("external_id IS NOT NULL"),
        ),
        Index("ix_tickets_solved", "solved_at", "id", **_where("solved_at IS NOT NULL")),
        # The few that are unsolved, with all that views ask and order by: they are read from here without the rows.
        Index(
            "ix_tickets_unsolved",
            *("waiting_since", "due_at", "priority", "id", "agent_id", "team_id", "snoozed_until", "status"),
            "conversation_id",
            **_where("solved_at IS NULL"),
        ),
        {"sqlite_autoincrement": True},  # a number that somebody has been told is never another ticket's
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("tck")
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), unique=True)
    conversation: Mapped[Conversation] = relationship()
    requester_id: Mapped[int] = reference("customers", ondelete="CASCADE")
    requester: Mapped[Customer] = relationship()
    # What whoever opened it calls it, and by which API key: each may have an id of its own of that name.
    external_id: Mapped[str | None] = mapped_column(Text)
    external_key_id: Mapped[int | None]
    subject: Mapped[str] = mapped_column(Text)
    status: Mapped[TicketStatus] = mapped_column(enum_type(TicketStatus, "status"), default=TicketStatus.NEW)
    priority: Mapped[Priority] = mapped_column(enum_type(Priority, "priority"), default=Priority.NORMAL)
    type: Mapped[TicketType | None] = mapped_column(enum_type(TicketType, "type"))
    category: Mapped[str | None] = mapped_column(Text)
    sentiment: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str | None] = mapped_column(Text)
    product: Mapped[str | None] = mapped_column(Text)
    team_id: Mapped[int | None] = reference("teams", ondelete="SET NULL", nullable=True)
    team: Mapped[Team | None] = relationship()
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    agent: Mapped[Agent | None] = relationship()
    created_at: Mapped[datetime] = mapped_column(default=utcnow, index=True)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    solved_at: Mapped[datetime | None]  # null exactly while it is not solved or closed
    # Since when its customer has waited for a person's answer; null while they do not.
    waiting_since: Mapped[datetime | None] = mapped_column(index=True)
    # Out of sight until then, or until its customer writes.
    snoozed_until: Mapped[datetime | None] = mapped_column(index=True)
    # The earliest time that the SLA clocks which run now are due, past or to come; and when one was first missed.
    due_at: Mapped[datetime | None] = mapped_column(index=True)
    breached_at: Mapped[datetime | None]
    tags: Mapped[list[Tag]] = relationship(secondary="ticket_tags", order_by="Tag.key")
    field_values: Mapped[dict[str, FieldValue]] = relationship(
        collection_class=attribute_keyed_dict("key"), cascade="all, delete-orphan", passive_deletes=True
    )
    triage_results: Mapped[list[TriageResult]] = relationship(order_by="TriageResult.id", back_populates="ticket")
    drafts: Mapped[list[Draft]] = relationship(order_by="Draft.id", back_populates="ticket")

    @hybrid_property
    def number(self) -> int:
        """What people call the ticket by: #1042. Counted from the row's id, so it is there from the start."""
        return self.id + _NUMBERS_AFTER

    @staticmethod
    def id_of(number: int) -> int:
        """The id of the ticket with this number, for queries: an index has ids, not numbers."""
        return number - _NUMBERS_AFTER

    @property
    def fields(self) -> dict[str, str]:
        """The values of its custom fields, by key."""
        return {key: one.value for key, one in self.field_values.items()}

    @fields.setter
    def fields(self, wanted: dict[str, str]) -> None:
        for key in self.fields.keys() - wanted.keys():
            del self.field_values[key]
        for key, value in wanted.items():
            if key in self.field_values:
                self.field_values[key].value = value
            else:
                self.field_values[key] = FieldValue(key=key, value=value)

    @property
    def current_triage(self) -> TriageResult | None:
        """The triage that counts: the newest."""
        return self.triage_results[-1] if self.triage_results else None


class TicketRead(Base):
    """How far an agent has read a ticket."""

    __tablename__ = "ticket_reads"

    agent_id: Mapped[int] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True, index=True)
    message_id: Mapped[int] = mapped_column()  # the newest that they have had before their eyes


class SavedView(Base):
    """A view of the queue that an agent has made, for themselves or, with a ``team``, for their team."""

    __tablename__ = "saved_views"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("viw")
    name: Mapped[str] = mapped_column(Text)
    agent_id: Mapped[int] = reference("agents", ondelete="CASCADE")
    agent: Mapped[Agent] = relationship()
    team_id: Mapped[int | None] = reference("teams", ondelete="CASCADE", nullable=True)
    conditions: Mapped[list[dict[str, Any]]] = mapped_column(JSONType)  # see `desk.conditions`
    sort: Mapped[str] = mapped_column(Text)
    columns: Mapped[list[str]] = mapped_column(JSONType)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class TriageResult(Base):
    """One triage of a ticket. The newest counts; older ones are history."""

    __tablename__ = "triage_results"
    # One result per message, however often the job runs; another one only once what it stood on was corrected.
    __table_args__ = (
        Index(
            "uq_triage_results_message_id",
            "message_id",
            unique=True,
            sqlite_where=text("outdated = 0"),
            postgresql_where=text("NOT outdated"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("tri")
    ticket_id: Mapped[int] = reference("tickets", ondelete="CASCADE")
    ticket: Mapped[Ticket] = relationship(back_populates="triage_results")
    message_id: Mapped[int] = reference("messages", ondelete="CASCADE")  # the triaged message
    outdated: Mapped[bool] = mapped_column(default=False)  # an agent has corrected evidence since
    # The triaged text, which training learns from, whatever happens to the conversation later.
    text: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    mode: Mapped[str] = mapped_column(Text)
    revision: Mapped[str | None] = mapped_column(Text)  # of all that proposals depend on
    seconds: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    fields: Mapped[list[TriageField]] = relationship(order_by="TriageField.id", back_populates="result")


class TriageField(Base):
    """One proposed field: ``value`` with its ``probability``, and the ``probabilities`` of all options."""

    __tablename__ = "triage_fields"
    __table_args__ = (
        UniqueConstraint("result_id", "name"),
        CheckConstraint("probability >= 0 AND probability <= 1", name="probability_range"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    result_id: Mapped[int] = reference("triage_results", ondelete="CASCADE")
    result: Mapped[TriageResult] = relationship(back_populates="fields")
    name: Mapped[str] = mapped_column(Text)
    value: Mapped[str] = mapped_column(Text)
    probability: Mapped[float]
    probabilities: Mapped[dict[str, float]] = mapped_column(JSONType)
    # What decided it, the weightiest first, as `payloads.source_as_stored` has it. Empty before this was recorded.
    sources: Mapped[list[dict[str, Any]]] = mapped_column(JSONType, default=list, server_default="[]")
    state: Mapped[TriageFieldState] = mapped_column(
        enum_type(TriageFieldState, "state"), default=TriageFieldState.PROPOSED, index=True
    )
    corrected_value: Mapped[str | None] = mapped_column(Text)
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    decided_at: Mapped[datetime | None]

    @property
    def label(self) -> str | None:
        """The value that an agent confirmed or chose; None if no agent has decided."""
        if self.state is TriageFieldState.ACCEPTED:
            return self.value
        if self.state is TriageFieldState.OVERRIDDEN:
            return self.corrected_value
        return None


class HeadState(StrEnum):
    SERVED = "served"  # at most one of each field
    REPLACED = "replaced"  # by a newer one
    WAITING = "waiting"  # never served: held-back decisions spoke against it, or the field had been rolled back
    ROLLED_BACK = "rolled_back"  # by a person


class TriageHead(Base):
    """A learned head for one triage field, fitted on accepted and overridden values."""

    __tablename__ = "triage_heads"

    id: Mapped[int] = mapped_column(primary_key=True)
    field: Mapped[str] = mapped_column(Text, index=True)
    embedding_model: Mapped[str] = mapped_column(Text)
    label_count: Mapped[int]
    labels: Mapped[dict[str, int]] = mapped_column(JSONType)  # decisions for each
    payload: Mapped[bytes] = mapped_column(LargeBinary)  # NumPy .npz, no pickles
    state: Mapped[HeadState] = mapped_column(enum_type(HeadState, "state"))
    state_since: Mapped[datetime] = mapped_column(default=utcnow)
    trial: Mapped[dict[str, Any]] = mapped_column(JSONType)  # see `desk.learning.Trial`
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Draft(Base):
    """A proposed reply with citations, or the reason why there is none."""

    __tablename__ = "drafts"
    # One draft per message, however often the job runs; another one only once the first is out of the way.
    __table_args__ = (
        Index(
            "uq_drafts_answers_message_id",
            "answers_message_id",
            unique=True,
            **_where("status NOT IN ('withdrawn', 'replaced')"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("drf")
    ticket_id: Mapped[int] = reference("tickets", ondelete="CASCADE")
    ticket: Mapped[Ticket] = relationship(back_populates="drafts")
    status: Mapped[DraftStatus] = mapped_column(
        enum_type(DraftStatus, "status"), default=DraftStatus.PROPOSED, index=True
    )
    text: Mapped[str] = mapped_column(Text)
    sent_text: Mapped[str | None] = mapped_column(Text)
    handoff_reason: Mapped[HandoffReason | None] = mapped_column(enum_type(HandoffReason, "handoff_reason"))
    confidence: Mapped[float | None]  # that it answers the question; unknown of drafts from before it was measured
    model: Mapped[str] = mapped_column(Text)
    mode: Mapped[str] = mapped_column(Text)
    # What an agent asked for when it was made in place of another: again, shorter, friendlier, or a language.
    wish: Mapped[str | None] = mapped_column(Text)
    # What was left out of it, each {"text", "phrase"}: the inbox never says that phrase. None: nothing.
    withheld: Mapped[list[dict[str, str]] | None] = mapped_column(JSONType)
    helpful: Mapped[bool | None]  # to the agent, whether it was sent or not
    answers_message_id: Mapped[int] = reference("messages", ondelete="CASCADE")  # the customer's
    message_id: Mapped[int | None] = reference("messages", ondelete="SET NULL", nullable=True)
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    decided_at: Mapped[datetime | None]
    citations: Mapped[list[Citation]] = relationship(order_by="Citation.id")


class Generation(Base):
    """One run of a model: which revision and what it cost, never the text."""

    __tablename__ = "generations"

    id: Mapped[int] = mapped_column(primary_key=True)
    purpose: Mapped[str] = mapped_column(Text)  # read_photo, triage, answer, rewrite
    model: Mapped[str] = mapped_column(Text)
    revision: Mapped[str] = mapped_column(Text)
    mode: Mapped[str] = mapped_column(Text)
    conversation_id: Mapped[int | None] = reference("conversations", ondelete="CASCADE", nullable=True)
    input_tokens: Mapped[int] = mapped_column(default=0)
    output_tokens: Mapped[int] = mapped_column(default=0)
    latency_ms: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
