"""Articles of the knowledge base, the passages they are retrieved by, their figures, and where they come from."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, WebAddress, enum_type, public_id, reference
from assistant.models.inboxes import Inbox
from assistant.models.vector_column import UnitVector
from assistant.text.words import searchable


class Visibility(StrEnum):
    PUBLIC = "public"
    INTERNAL = "internal"  # for agents only; never retrieved for a customer


class Article(Base):
    __tablename__ = "articles"
    __table_args__ = (UniqueConstraint("source", "source_key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("art")
    source: Mapped[str] = mapped_column(Text)  # the name of the import, e.g. a folder's name
    source_key: Mapped[str] = mapped_column(Text)  # the path within the source
    title: Mapped[str] = mapped_column(Text)
    url: Mapped[str | None] = mapped_column(WebAddress)
    product: Mapped[str | None] = mapped_column(Text, index=True)
    language: Mapped[str] = mapped_column(Text)
    visibility: Mapped[Visibility] = mapped_column(enum_type(Visibility, "visibility"), default=Visibility.PUBLIC)
    # The inbox whose customers alone may read it; null: all inboxes.
    inbox_id: Mapped[int | None] = reference("inboxes", ondelete="RESTRICT", nullable=True)
    inbox: Mapped[Inbox | None] = relationship()
    content_hash: Mapped[str] = mapped_column(Text)
    # Letters and digits found in its file, kept, and left out on purpose: `retrieval.sources.coverage.Coverage`.
    coverage: Mapped[dict[str, Any] | None] = mapped_column(JSONType)
    # Texts that were left out because they give an AI orders, each by its beginning: `skills.screening`.
    screened: Mapped[list[str] | None] = mapped_column(JSONType)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    passages: Mapped[list[Passage]] = relationship(
        order_by="Passage.position", back_populates="article", cascade="all, delete-orphan", passive_deletes=True
    )

    def may_be_read(self, *, internal: bool, inbox_id: int | None) -> bool:
        """By agents (``internal``), or by the customers of an inbox; ``inbox_id`` None: of any."""
        is_elsewhere = None not in (inbox_id, self.inbox_id) and self.inbox_id != inbox_id
        return (internal or self.visibility is Visibility.PUBLIC) and not is_elsewhere


class Passage(Base):
    """A retrieved piece of an article. Its vectors, of heading and text, are in `Vector` under its content hash."""

    __tablename__ = "passages"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("psg")
    article_id: Mapped[int] = reference("articles", ondelete="CASCADE")
    article: Mapped[Article] = relationship(back_populates="passages")
    position: Mapped[int]
    heading: Mapped[str] = mapped_column(Text)  # the article's title and the headings above it, joined by " > "
    text: Mapped[str] = mapped_column(Text)
    page: Mapped[int | None]  # where it begins, from 1, in a file that has pages
    # Both as the word index takes them; None where it does the same by itself.
    search_heading: Mapped[str | None] = mapped_column(
        Text, default=lambda insert: searchable(insert.get_current_parameters()["heading"])
    )
    search_text: Mapped[str | None] = mapped_column(
        Text, default=lambda insert: searchable(insert.get_current_parameters()["text"])
    )
    codes: Mapped[str] = mapped_column(Text, default="")  # exact identifiers in it, canonical, separated by spaces
    content_hash: Mapped[str] = mapped_column(Text, index=True)

    @property
    def indexed(self) -> str:
        """What is embedded: the heading gives the text its subject."""
        return f"{self.heading}\n{self.text}"


class Figure(Base):
    """A picture of an article. The bytes lie in storage, normalised like a customer's photo: without any metadata.

    The same picture in a new version of its article keeps its row and its public id."""

    __tablename__ = "figures"
    __table_args__ = (UniqueConstraint("article_id", "sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("fig")
    article_id: Mapped[int] = reference("articles", ondelete="CASCADE")
    article: Mapped[Article] = relationship()
    sha256: Mapped[str] = mapped_column(Text)
    thumbnail_sha256: Mapped[str] = mapped_column(Text)
    content_type: Mapped[str] = mapped_column(Text)
    width: Mapped[int]
    height: Mapped[int]
    alt: Mapped[str] = mapped_column(Text)  # what it shows, in words: alt text or caption
    caption: Mapped[str] = mapped_column(Text)


class PassageFigure(Base):
    """A figure that belongs beside a passage: it stands there, or the passage is what was read in it."""

    __tablename__ = "passage_figures"

    passage_id: Mapped[int] = mapped_column(ForeignKey("passages.id", ondelete="CASCADE"), primary_key=True)
    figure_id: Mapped[int] = mapped_column(ForeignKey("figures.id", ondelete="CASCADE"), primary_key=True, index=True)


class SourceKind(StrEnum):
    FOLDER = "folder"  # a file or folder on this machine
    WEBSITE = "website"  # by its sitemap
    FILES = "files"  # sent through the console
    SOLVED = "solved_tickets"  # questions and answers that an agent has approved
    WRITTEN = "written"  # in the console: the published versions of `WrittenArticle`


class Source(Base):
    """Where articles come from, and how the last import of them went. `Article.source` is its name."""

    __tablename__ = "sources"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("src")
    name: Mapped[str] = mapped_column(Text, unique=True)
    kind: Mapped[SourceKind] = mapped_column(enum_type(SourceKind, "kind"))
    location: Mapped[str] = mapped_column(Text, default="")  # a path, or an address
    # Of its articles, unless one names another itself.
    inbox_id: Mapped[int | None] = reference("inboxes", ondelete="RESTRICT", nullable=True)
    inbox: Mapped[Inbox | None] = relationship()
    every_minutes: Mapped[int | None]  # imported again so often; None: when asked
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]  # None while an import runs, and after one that was killed
    next_at: Mapped[datetime | None]
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    report: Mapped[dict[str, Any] | None] = mapped_column(JSONType)  # of the last import that ended well
    error: Mapped[str | None] = mapped_column(Text)  # why the last one did not
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    @property
    def is_running(self) -> bool:
        return self.started_at is not None and self.finished_at is None

    @property
    def every(self) -> timedelta | None:
        return timedelta(minutes=self.every_minutes) if self.every_minutes is not None else None


class SourceFile(Base):
    """A file of a source of kind `FILES`, its bytes in storage."""

    __tablename__ = "source_files"
    __table_args__ = (UniqueConstraint("source_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = reference("sources", ondelete="CASCADE")
    name: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text)
    byte_size: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class SourcePage(Base):
    """A page of a website, when it was last read, and what the site gave to ask it again by (ETag, Last-Modified)."""

    __tablename__ = "source_pages"
    __table_args__ = (UniqueConstraint("source_id", "url"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = reference("sources", ondelete="CASCADE")
    url: Mapped[str] = mapped_column(Text)
    validators: Mapped[dict[str, Any]] = mapped_column(JSONType)
    read_at: Mapped[datetime]


class SolvedState(StrEnum):
    PROPOSED = "proposed"
    APPROVED = "approved"  # an article of the knowledge base
    REJECTED = "rejected"


class SolvedAnswer(Base):
    """A solved ticket's question and answer, personal data masked, that may become an article once an agent says so.

    It goes when its ticket is erased, and the article with it at the next import."""

    __tablename__ = "solved_answers"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("slv")
    ticket_id: Mapped[int] = reference("tickets", ondelete="CASCADE", unique=True)
    question: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text)
    product: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str] = mapped_column(Text)
    state: Mapped[SolvedState] = mapped_column(
        enum_type(SolvedState, "state"), default=SolvedState.PROPOSED, index=True
    )
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    decided_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class GapState(StrEnum):
    OPEN = "open"
    DONE = "done"  # an article was written; asked again after that, it is open again


class Gap(Base):
    """An article that is missing: questions about one thing that the knowledge base does not answer."""

    __tablename__ = "gaps"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("gap")
    title: Mapped[str] = mapped_column(Text)  # the question that is nearest to all of them
    state: Mapped[GapState] = mapped_column(enum_type(GapState, "state"), default=GapState.OPEN, index=True)
    done_at: Mapped[datetime | None]
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    questions: Mapped[list[GapQuestion]] = relationship(
        order_by="GapQuestion.asked_at.desc()", back_populates="gap", cascade="all, delete-orphan", passive_deletes=True
    )


class GapKind(StrEnum):
    NOT_FOUND = "not_found"  # no passage answers it
    REWRITTEN = "rewritten"  # an agent put another answer in the draft's place
    NOT_HELPFUL = "not_helpful"  # the customer says so


class GapQuestion(Base):
    """A question behind a gap, personal data masked. ``embedding`` is float32, little-endian, unit length."""

    __tablename__ = "gap_questions"

    id: Mapped[int] = mapped_column(primary_key=True)
    gap_id: Mapped[int] = reference("gaps", ondelete="CASCADE")
    gap: Mapped[Gap] = relationship(back_populates="questions")
    message_id: Mapped[int] = reference("messages", ondelete="CASCADE", unique=True)
    kind: Mapped[GapKind] = mapped_column(enum_type(GapKind, "kind"))
    text: Mapped[str] = mapped_column(Text)
    embedding_model: Mapped[str] = mapped_column(Text)
    embedding: Mapped[bytes] = mapped_column(LargeBinary)
    asked_at: Mapped[datetime]


class WrittenArticle(Base):
    """An article that is written in the console. What is served of it is its ``published`` version, imported like any
    other source's article under the key `source_key`."""

    __tablename__ = "written_articles"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("wra")
    gap_id: Mapped[int | None] = reference("gaps", ondelete="SET NULL", nullable=True)  # that it was begun for
    published: Mapped[int | None]  # a version's number; None: nobody but agents sees it
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    versions: Mapped[list[ArticleVersion]] = relationship(
        order_by="ArticleVersion.number", cascade="all, delete-orphan", passive_deletes=True
    )

    @property
    def newest(self) -> ArticleVersion:
        return self.versions[-1]


class ArticleVersion(Base):
    """What an agent or a machine has saved, in Markdown. Versions are counted from 1 and never change."""

    __tablename__ = "article_versions"
    __table_args__ = (UniqueConstraint("article_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int] = reference("written_articles", ondelete="CASCADE")
    number: Mapped[int]
    title: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    product: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str | None] = mapped_column(Text)  # None: the one it is written in
    visibility: Mapped[Visibility] = mapped_column(enum_type(Visibility, "visibility"), default=Visibility.PUBLIC)
    inbox: Mapped[str | None] = mapped_column(Text)  # its key; None: all inboxes
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    api_key_id: Mapped[int | None] = reference("api_keys", ondelete="SET NULL", nullable=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class WrittenPicture(Base):
    """A picture that was put into a written article, under the name by which its text refers to it."""

    __tablename__ = "written_pictures"
    __table_args__ = (UniqueConstraint("article_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int] = reference("written_articles", ondelete="CASCADE")
    name: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text)


class VectorKind(StrEnum):
    PASSAGE = "passage"
    HEADING = "heading"
    PICTURE = "picture"


class Vector(Base):
    """What an embedding model makes of a text or a picture. ``content_hash``: a passage's own, else the SHA-256 of the
    heading or of the picture's bytes. ``embedding_model``: the name of an `EmbeddingModel`, or of what embeds pictures.
    """

    __tablename__ = "vectors"
    __table_args__ = (UniqueConstraint("content_hash", "embedding_model"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[str] = mapped_column(Text)
    embedding_model: Mapped[str] = mapped_column(Text, index=True)
    kind: Mapped[VectorKind] = mapped_column(enum_type(VectorKind, "kind"))
    embedding: Mapped[bytes] = mapped_column(UnitVector)


class UnitVectors(Base):
    """What an embedding model makes of a passage's units (`text.units`), each under the passage's heading: as many rows
    of signed bytes, 127 times a unit vector. ``revision``: of the cutting into units."""

    __tablename__ = "unit_vectors"
    __table_args__ = (UniqueConstraint("content_hash", "embedding_model"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[str] = mapped_column(Text)
    embedding_model: Mapped[str] = mapped_column(Text)
    revision: Mapped[int]
    embeddings: Mapped[bytes] = mapped_column(LargeBinary)


class EmbeddingModelState(StrEnum):
    SERVED = "served"  # queries are embedded with it
    NEXT = "next"  # its vectors are being made; it is served as soon as no passage is without one
    SECOND = "second"  # reads what the served one does not


class EmbeddingModel(Base):
    """An embedder whose vectors are kept. One is served, one may be the next, and one the second; the unique state says
    so.

    ``name`` is its identity and revision, ``source`` the setting that loads it."""

    __tablename__ = "embedding_models"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    source: Mapped[str] = mapped_column(Text)
    state: Mapped[EmbeddingModelState] = mapped_column(enum_type(EmbeddingModelState, "state"), unique=True)
    # Passages that have a vector, of how many, while they are made; 0 of 0 when all is done.
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    # `Scale` of its cosines; None until it is calibrated.
    floor: Mapped[float | None]
    slope: Mapped[float | None]
    # `Standing` of the knowledge base's passages; None until it is measured.
    own: Mapped[float | None]
    others: Mapped[float | None]
    changed_at: Mapped[datetime] = mapped_column(default=utcnow)  # when it was served, or its vectors became complete
