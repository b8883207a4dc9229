"""Conversations, their messages and attachments, and the evidence read in photos."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, WebAddress, enum_type, public_id, reference
from assistant.models.inboxes import Inbox
from assistant.models.knowledge import Figure
from assistant.models.people import Agent, Customer
from assistant.ports import HandoffReason
from assistant.text.mail import Part, own_words, parts_of


class ConversationState(StrEnum):
    ASSISTANT = "assistant"  # the assistant answers
    HANDED_OFF = "handed_off"  # waiting for an agent, with a reason code
    AGENT = "agent"  # an agent has taken it; the assistant no longer writes
    CLOSED = "closed"  # a customer's message reopens


class Author(StrEnum):
    CUSTOMER = "customer"
    AGENT = "agent"
    ASSISTANT = "assistant"
    SYSTEM = "system"


class MessageVisibility(StrEnum):
    PUBLIC = "public"
    INTERNAL = "internal"  # a note: only agents see it


class AttachmentKind(StrEnum):
    PHOTO = "photo"  # normalised; the model can see it
    FILE = "file"  # stored as a download, never decoded


class FileCondition(StrEnum):
    """Whether an attachment's bytes can be had."""

    READY = "ready"
    UNSCANNED = "unscanned"  # the malware scanner was away: it is asked again
    INFECTED = "infected"  # never handed out
    MISSING = "missing"  # no longer in storage
    DAMAGED = "damaged"  # in storage, but not as it was written
    REMOVED = "removed"  # deleted when its time was over, by the inbox's retention rules


class EvidenceState(StrEnum):
    READ = "read"
    CORRECTED = "corrected"  # by an agent; a later reading never overwrites it


class Conversation(Base):
    __tablename__ = "conversations"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("cnv")
    customer_id: Mapped[int] = reference("customers", ondelete="CASCADE")
    customer: Mapped[Customer] = relationship()
    inbox_id: Mapped[int] = reference("inboxes", ondelete="RESTRICT")
    inbox: Mapped[Inbox] = relationship()
    channel: Mapped[str] = mapped_column(Text, default="widget", index=True)  # widget, api
    # What the customer's page or browser speaks, e.g. "de": the likeliest language of a message too short to tell.
    language: Mapped[str | None] = mapped_column(Text)
    # What the site's page said with the newest message that said anything (`desk.site_context`).
    site_context: Mapped[dict[str, str]] = mapped_column(JSONType, default=dict)
    state: Mapped[ConversationState] = mapped_column(
        enum_type(ConversationState, "state"), default=ConversationState.ASSISTANT, index=True
    )
    handoff_reason: Mapped[HandoffReason | None] = mapped_column(enum_type(HandoffReason, "handoff_reason"))
    handed_off_at: Mapped[datetime | None]
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    agent: Mapped[Agent | None] = relationship()
    # Raised by every change of state and customer message; a reply begun under another turn is dropped.
    turn: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, index=True)
    # The last message before its customer reopened it: what was said until then has been dealt with.
    context_after_id: Mapped[int | None]
    # The turn with which it was first closed after an answer. Its customer is asked how it was until the next turn:
    # who says nothing is not asked again.
    rating_asked_turn: Mapped[int | None]
    rating: Mapped[Rating | None] = relationship(back_populates="conversation")
    # What its customer answered before the first message: ``{"question", "answer"}`` each.
    prechat: Mapped[list[dict[str, str]] | None] = mapped_column(JSONType)
    messages: Mapped[list[Message]] = relationship(order_by="Message.id", back_populates="conversation")

    @property
    def asks_rating(self) -> bool:
        """Whether its customer is asked now how it was."""
        is_asked = self.state is ConversationState.CLOSED and self.rating_asked_turn == self.turn
        return is_asked and self.rating is None


class Rating(Base):
    """How a conversation was, from 1 to 5, in its customer's words."""

    __tablename__ = "ratings"
    __table_args__ = (CheckConstraint("score BETWEEN 1 AND 5", name="score"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = reference("conversations", ondelete="CASCADE", unique=True)
    conversation: Mapped[Conversation] = relationship(back_populates="rating")
    score: Mapped[int]
    comment: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)

    @property
    def changeable_until(self) -> datetime:
        return self.created_at + timedelta(days=1)


class Message(Base):
    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("conversation_id", "client_id"),
        Index("ix_messages_visibility_conversation_id", "visibility", "conversation_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("msg")
    conversation_id: Mapped[int] = reference("conversations", ondelete="CASCADE")
    conversation: Mapped[Conversation] = relationship(back_populates="messages")
    author: Mapped[Author] = mapped_column(enum_type(Author, "author"))
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    agent: Mapped[Agent | None] = relationship()
    visibility: Mapped[MessageVisibility] = mapped_column(
        enum_type(MessageVisibility, "visibility"), default=MessageVisibility.PUBLIC
    )
    text: Mapped[str] = mapped_column(Text)
    # What the system says, as ``{"code", "params"}`` of `wording`; the text is the same in English.
    notices: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONType)
    helpful: Mapped[bool | None]  # the customer's rating of an answer
    feedback: Mapped[str | None] = mapped_column(Text)  # what they miss in one that did not help
    # Of a customer's message: nothing but a greeting or thanks, as was decided when it arrived; null in older ones.
    courtesy: Mapped[bool | None]
    confidence: Mapped[float | None]  # the assistant's, that its message answers the question
    # The sender's own id of the message: one sent twice is stored once.
    client_id: Mapped[str | None] = mapped_column(Text)
    # The assistant tried for good: nobody but a person will read it.
    failed: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    attachments: Mapped[list[Attachment]] = relationship(order_by="Attachment.position", back_populates="message")
    citations: Mapped[list[Citation]] = relationship(order_by="Citation.id", back_populates="message")

    @property
    def parts(self) -> tuple[Part, ...]:
        """The text, cut where a customer's new words begin and end: quoted mail and signatures are others' or old."""
        return parts_of(self.text) if self.author is Author.CUSTOMER else (Part(self.text, own=True),)

    @property
    def new_text(self) -> str:
        """What was written now: the text without quoted mail, signature and disclaimer."""
        return own_words(self.text) if self.author is Author.CUSTOMER else self.text


class Attachment(Base):
    """A file on a message. ``sha256`` is the digest of the stored (not the sent) bytes, and their key in storage; empty
    once they were removed."""

    __tablename__ = "attachments"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("att")
    message_id: Mapped[int] = reference("messages", ondelete="CASCADE")
    message: Mapped[Message] = relationship(back_populates="attachments")
    position: Mapped[int] = mapped_column(default=0)
    kind: Mapped[AttachmentKind] = mapped_column(enum_type(AttachmentKind, "kind"))
    sha256: Mapped[str] = mapped_column(Text, index=True)
    thumbnail_sha256: Mapped[str | None] = mapped_column(Text)
    filename: Mapped[str] = mapped_column(Text)
    content_type: Mapped[str] = mapped_column(Text)
    byte_size: Mapped[int]
    width: Mapped[int | None]
    height: Mapped[int | None]
    condition: Mapped[FileCondition] = mapped_column(
        enum_type(FileCondition, "condition"), default=FileCondition.READY, index=True
    )
    risk: Mapped[str | None] = mapped_column(Text)  # what opening it might do: `media.kinds.Risk`
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    removed_at: Mapped[datetime | None]


class UploadCount(Base):
    """What one visitor has stored on one day (UTC). ``visitor`` is a digest: addresses are not kept."""

    __tablename__ = "upload_counts"

    visitor: Mapped[str] = mapped_column(Text, primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    files: Mapped[int] = mapped_column(default=0)


class Citation(Base):
    """A link from one sentence of a draft or an assistant's message to the passage that supports it.

    Title, heading and quote are copied, so that the citation still shows them after the article has changed.
    """

    __tablename__ = "citations"
    __table_args__ = (CheckConstraint("(draft_id IS NULL) <> (message_id IS NULL)", name="one_owner"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    draft_id: Mapped[int | None] = reference("drafts", ondelete="CASCADE", nullable=True)
    message_id: Mapped[int | None] = reference("messages", ondelete="CASCADE", nullable=True)
    message: Mapped[Message | None] = relationship(back_populates="citations")
    passage_id: Mapped[int | None] = reference("passages", ondelete="SET NULL", nullable=True)
    sentence_index: Mapped[int]
    sentence: Mapped[str] = mapped_column(Text)
    article_public_id: Mapped[str] = mapped_column(Text)
    article_title: Mapped[str] = mapped_column(Text)
    heading: Mapped[str] = mapped_column(Text)
    quote: Mapped[str] = mapped_column(Text)
    url: Mapped[str | None] = mapped_column(WebAddress)
    page: Mapped[int | None]
    support: Mapped[float]
    # Pictures beside the passage, while the passage exists.
    figures: Mapped[list[Figure]] = relationship(
        secondary="passage_figures",
        primaryjoin="Citation.passage_id == PassageFigure.passage_id",
        secondaryjoin="PassageFigure.figure_id == Figure.id",
        order_by="Figure.id",
        viewonly=True,
        lazy="selectin",
    )


class Evidence(Base):
    """What was read in one photo, once per photo and model revision, shared by all attachments with that sha256; or an
    agent's correction of it (``corrects``), for one conversation or, without ``conversation_id``, for all.

    ``fields`` holds caption, product, condition and quality, each ``{"value", "confidence", "region"}``;
    ``visible_text`` a list of ``{"text", "confidence", "region"}``. Regions are ``[left, top, right, bottom]`` as
    fractions of the photo, or null.
    """

    __tablename__ = "evidence"
    __table_args__ = (
        Index(
            "uq_evidence_sha256_revision",
            "sha256",
            "revision",
            unique=True,
            sqlite_where=text("corrects_id IS NULL"),
            postgresql_where=text("corrects_id IS NULL"),
        ),
        Index("ix_evidence_sha256", "sha256"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("evd")
    sha256: Mapped[str] = mapped_column(Text)
    revision: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    mode: Mapped[str] = mapped_column(Text)
    fields: Mapped[dict[str, Any]] = mapped_column(JSONType)
    visible_text: Mapped[list[dict[str, Any]]] = mapped_column(JSONType)
    state: Mapped[EvidenceState] = mapped_column(enum_type(EvidenceState, "state"), default=EvidenceState.READ)
    corrected_by_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    corrected_at: Mapped[datetime | None]
    corrects_id: Mapped[int | None] = reference("evidence", ondelete="CASCADE", nullable=True)
    corrects: Mapped[Evidence | None] = relationship(remote_side="Evidence.id", lazy="joined", join_depth=1)
    conversation_id: Mapped[int | None] = reference("conversations", ondelete="CASCADE", nullable=True)
