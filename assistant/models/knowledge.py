"""Articles of the knowledge base and the passages they are retrieved by."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import enum_type, public_id, reference
from assistant.models.vector_column import UnitVector


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
    url: Mapped[str | None] = mapped_column(Text)
    product: Mapped[str | None] = mapped_column(Text, index=True)
    language: Mapped[str] = mapped_column(Text)
    visibility: Mapped[Visibility] = mapped_column(enum_type(Visibility, "visibility"), default=Visibility.PUBLIC)
    content_hash: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    passages: Mapped[list[Passage]] = relationship(
        order_by="Passage.position", back_populates="article", cascade="all, delete-orphan", passive_deletes=True
    )


class Passage(Base):
    """A retrieved piece of an article. ``embedding`` is that of heading and text, by ``embedding_model``."""

    __tablename__ = "passages"
    __table_args__ = (Index("ix_passages_content_hash_embedding_model", "content_hash", "embedding_model"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("psg")
    article_id: Mapped[int] = reference("articles", ondelete="CASCADE")
    article: Mapped[Article] = relationship(back_populates="passages")
    position: Mapped[int]
    heading: Mapped[str] = mapped_column(Text)  # the article's title and the headings above it, joined by " > "
    text: Mapped[str] = mapped_column(Text)
    codes: Mapped[str] = mapped_column(Text, default="")  # exact identifiers in it, canonical, separated by spaces
    content_hash: Mapped[str] = mapped_column(Text)
    embedding_model: Mapped[str] = mapped_column(Text)
    embedding: Mapped[bytes] = mapped_column(UnitVector)


class Vector(Base):
    """An embedding of something that is no passage as it is served: a heading, a passage by the embedding model that
    will be served next, a picture. ``content_hash`` is the SHA-256 of the text or of the picture's bytes."""

    __tablename__ = "vectors"
    __table_args__ = (UniqueConstraint("content_hash", "embedding_model"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[str] = mapped_column(Text)
    embedding_model: Mapped[str] = mapped_column(Text, index=True)
    embedding: Mapped[bytes] = mapped_column(UnitVector)
