"""Passages of articles, as clients see them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self

from langchain_core.documents import Document
from pydantic import Field

from assistant import models
from assistant.models import Visibility
from assistant.payloads.conversations import Figure, at_page
from assistant.payloads.payload import Payload, Score
from assistant.payloads.people import Editor
from assistant.text.clusters import shorten
from assistant.text.units import units_of

_EXCERPT = 180


class FoundArticle(Payload):
    """An article that was found for a query, with the part of its best passage that says most about it."""

    id: str
    title: str
    heading: str = Field(description="Of the passage, below the title; empty if it stands right under it.")
    excerpt: str

    @classmethod
    def of(cls, document: Document) -> Self:
        found = document.metadata
        units = units_of(document.page_content)
        known = found["units"] or [0.0]
        best = max(range(min(len(units), len(known))), key=known.__getitem__, default=-1)
        return cls(
            id=found["article_id"],
            title=found["article_title"],
            heading=found["heading"].rsplit(" > ", 1)[-1]
            if not found["heading"].endswith(found["article_title"])
            else "",
            excerpt=shorten(units[best].text if best >= 0 else document.page_content, _EXCERPT),
        )


class ArticleSection(Payload):
    headings: tuple[str, ...] = Field(description="Those below the title, the outermost first.")
    text: str = Field(description="Markdown: paragraphs, lists and tables.")
    page: int | None = Field(description="Where it begins, from 1, in a PDF file.")
    figures: tuple[Figure, ...]


class Article(Payload):
    """An article to read."""

    id: str
    title: str
    url: str | None
    language: str
    updated_at: datetime
    sections: tuple[ArticleSection, ...]

    @classmethod
    def of(cls, article: models.Article, sections: Iterable[ArticleSection]) -> Self:
        return cls(
            id=article.public_id,
            title=article.title,
            url=article.url,
            language=article.language,
            updated_at=article.updated_at,
            sections=tuple(sections),
        )


class ArticleSummary(Payload):
    """A public article, without its text."""

    id: str
    title: str
    url: str | None
    product: str | None
    language: str
    inbox: str | None = Field(description="Key of the inbox whose customers alone may read it; null: all.")
    source: str = Field(description="What it was imported from, by name.")
    written_id: str | None = Field(description="Of what it was written as here, which can be changed; else null.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, article: models.Article, *, written_id: str | None) -> Self:
        return cls(
            id=article.public_id,
            title=article.title,
            url=article.url,
            product=article.product,
            language=article.language,
            inbox=article.inbox.key if article.inbox is not None else None,
            source=article.source,
            written_id=written_id,
            created_at=article.created_at,
            updated_at=article.updated_at,
        )


class WrittenSummary(Payload):
    """An article that is written here, as it was saved last, without its text."""

    id: str
    version: int = Field(description="Counted from 1. Its `ETag` is the same.")
    published_version: int | None = Field(description="That is served; null: none.")
    article_id: str | None = Field(description="Of what is served; null until an import has taken it up, and after.")
    title: str
    product: str | None
    language: str | None = Field(description="Null: the one it is written in.")
    visibility: Visibility
    inbox: str | None
    saved_at: datetime
    saved_by: Editor | None

    @classmethod
    def of(
        cls,
        written: models.WrittenArticle,
        *,
        served: models.Article | None,
        author: models.Agent | models.APIKey | None,
    ) -> Self:
        return cls(**cls._about(written, served, author))

    @staticmethod
    def _about(
        written: models.WrittenArticle, served: models.Article | None, author: models.Agent | models.APIKey | None
    ) -> dict[str, Any]:
        newest = written.newest
        return {
            "id": written.public_id,
            "version": newest.number,
            "published_version": written.published,
            "article_id": served.public_id if served is not None else None,
            "title": newest.title,
            "product": newest.product,
            "language": newest.language,
            "visibility": newest.visibility,
            "inbox": newest.inbox,
            "saved_at": newest.created_at,
            "saved_by": Editor.of(author) if author is not None else None,
        }


class WrittenArticle(WrittenSummary):
    """An article that is written here."""

    text: str = Field(description="Markdown.")
    screened: tuple[str, ...] = Field(
        description="Beginnings of what was left out of what is served, because it gives an AI orders."
    )

    @classmethod
    def of(
        cls,
        written: models.WrittenArticle,
        *,
        served: models.Article | None,
        author: models.Agent | models.APIKey | None,
    ) -> Self:
        screened = tuple(served.screened or ()) if served is not None else ()
        return cls(**cls._about(written, served, author), text=written.newest.text, screened=screened)


class Passage(Payload):
    """A piece of an article that was found, and why."""

    id: str
    article_id: str
    article_title: str
    heading: str
    url: str | None
    page: int | None = Field(description="Where it begins, from 1, in a PDF file.")
    product: str | None
    language: str
    visibility: Visibility
    text: str
    score: Score = Field(description="0 to 1; the best passage comes first.")
    similarity: Score | None = Field(description="Cosine of the query's and the passage's embeddings.")
    matched_words: tuple[str, ...] = Field(description="Words of the query that occur in it.")
    matched_codes: tuple[str, ...] = Field(description="Identifiers of the query that occur in it, in canonical form.")
    photo_similarity: Score | None = Field(
        description="How much a figure beside it resembles the photo, 0 to 1; null without such a figure."
    )
    unsupported_language: str | None = Field(
        description="The query's language, if the embedding model does not support it."
    )

    @classmethod
    def of(cls, document: Document) -> Self:
        """``document`` as `retrieval.index` makes it."""
        found = document.metadata
        return cls(
            id=found["passage_id"],
            article_id=found["article_id"],
            article_title=found["article_title"],
            heading=found["heading"],
            url=at_page(found["url"], found.get("page")),
            page=found.get("page"),
            product=found["product"],
            language=found["language"],
            visibility=found["visibility"],
            text=document.page_content,
            score=found["score"],
            similarity=found["similarity"],
            matched_words=found["words"],
            matched_codes=found["codes"],
            photo_similarity=found["resemblance"],
            unsupported_language=found["unread_language"],
        )
