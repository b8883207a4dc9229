"""The knowledge base: importing articles, finding passages.

An import is incremental: an article whose content is unchanged costs nothing, a passage that was embedded before is
not embedded again, articles that have left the source go. Each article is replaced in one short transaction, so what
is served is always a whole article, and an import that is killed continues where it was. Two imports of one source at
once do each article one after the other: the later one finds it done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, defer

from assistant.db import Database, utcnow
from assistant.errors import NotFound
from assistant.models import Article, Passage, Visibility
from assistant.retrieval.index import Filters, Hit, Index
from assistant.retrieval.loaders import ArticleSource, Loaded, load
from assistant.retrieval.splitting import REVISION, PassageText, split

# Called with how many are done, of how many, and what is being done.
Progress = Callable[[int, int, str], None]

_EMBED_AT_ONCE = 64
_LOOK_UP_AT_ONCE = 500


@dataclass(frozen=True)
class ImportReport:
    """How many articles were added, updated, unchanged, removed; what could not be read, and why."""

    source: str
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0

    def summary(self) -> str:
        failed = f", {len(self.failed)} could not be read" if self.failed else ""
        return (
            f"Knowledge base {self.source!r}: {self.added} articles added, {self.updated} updated, "
            f"{self.unchanged} unchanged, {self.removed} removed{failed}; {self.passages} passages indexed "
            f"in {self.seconds:.1f} s."
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "removed": self.removed,
            "passages": self.passages,
            "failed": [{"key": key, "reason": reason} for key, reason in self.failed],
            "seconds": round(self.seconds, 2),
        }


@dataclass
class _Counts:
    added: int = 0
    updated: int = 0
    passages: int = 0
    waiting: list[tuple[ArticleSource, list[PassageText]]] = field(default_factory=list)


def import_folder(
    db: Database,
    *,
    path: Path,
    source: str,
    embeddings: Embeddings,
    embedding_model: str,
    progress: Progress = lambda _done, _total, _what: None,
) -> ImportReport:
    """Make the articles of ``source`` those of the folder (or file) at ``path``.

    Articles whose file cannot be read just now stay as they were. Raises `NotFound` or `Invalid` if there is nothing
    to import at all: a mistyped path does not empty the knowledge base.
    """
    started = perf_counter()
    loaded = load(path)
    if not loaded.articles:
        reasons = "; ".join(f"{key} {reason}" for key, reason in loaded.failed[:3])
        raise NotFound(f"No article at {path} could be read: {reasons}.")
    with db.read() as session:
        stored = _stored_hashes(session, source, embedding_model)
    changed = [article for article in loaded.articles if stored.get(article.key) != _digest(article)]
    counts = _Counts()
    for done, article in enumerate(changed):
        progress(done, len(changed), "Importing articles")
        counts.waiting.append((article, split(article)))
        if sum(len(passages) for _, passages in counts.waiting) >= _EMBED_AT_ONCE:
            _index(db, counts, source=source, embeddings=embeddings, embedding_model=embedding_model, stored=stored)
    _index(db, counts, source=source, embeddings=embeddings, embedding_model=embedding_model, stored=stored)
    progress(len(changed), len(changed), "Importing articles")
    removed = _remove(db, source, _gone(loaded, stored))
    return ImportReport(
        source=source,
        added=counts.added,
        updated=counts.updated,
        unchanged=len(loaded.articles) - len(changed),
        removed=removed,
        passages=counts.passages,
        failed=tuple(loaded.failed),
        seconds=perf_counter() - started,
    )


def search_articles(
    index: Index, query: str, *, product: str | None = None, internal: bool = False, limit: int = 8
) -> list[Hit]:
    """Passages for people and machines that look something up. ``internal``: also what only agents may read."""
    visibilities = (Visibility.PUBLIC, Visibility.INTERNAL) if internal else (Visibility.PUBLIC,)
    filters = Filters(visibilities=visibilities, products=(product,) if product else ())
    return index.search(query, filters=filters, limit=limit)


def count_articles(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Article)) or 0


def list_articles(
    session: Session, *, source: str | None = None, internal: bool = False, after: str | None = None, limit: int = 50
) -> list[Article]:
    """Articles by title, without their passages; ``after``: the public id of the last one seen.

    ``internal``: also what only agents may read. Raises `NotFound` for an ``after`` that is not there (any more)."""
    query = select(Article).order_by(Article.title, Article.id).limit(limit)
    if source is not None:
        query = query.where(Article.source == source)
    if not internal:
        query = query.where(Article.visibility == Visibility.PUBLIC)
    if after is not None:
        last = get_article(session, after, internal=internal)
        query = query.where(tuple_(Article.title, Article.id) > (last.title, last.id))
    return list(session.scalars(query))


def get_article(session: Session, public_id: str, *, internal: bool = False) -> Article:
    """The article; `NotFound` if there is none, or only agents may read it and ``internal`` is not given."""
    article = session.scalar(select(Article).where(Article.public_id == public_id))
    if article is None or (article.visibility is not Visibility.PUBLIC and not internal):
        raise NotFound("There is no such article.")
    return article


def passages_of(session: Session, article: Article) -> list[Passage]:
    """The article's passages in reading order, without their vectors."""
    query = select(Passage).where(Passage.article_id == article.id).order_by(Passage.position)
    return list(session.scalars(query.options(defer(Passage.embedding))))


def _stored_hashes(session: Session, source: str, embedding_model: str) -> dict[str, str]:
    """Key to content hash; an empty hash where the passages belong to another embedding model and must be made new."""
    articles = select(Article.id, Article.source_key, Article.content_hash).where(Article.source == source)
    current = set(
        session.scalars(
            select(Passage.article_id)
            .join(Passage.article)
            .where(Article.source == source, Passage.embedding_model == embedding_model)
        )
    )
    return {key: digest if article in current else "" for article, key, digest in session.execute(articles)}


def _digest(article: ArticleSource) -> str:
    """Changes when the article does, and when we cut articles into other passages than before."""
    return f"{REVISION}:{article.content_hash}"


def _gone(loaded: Loaded, stored: Mapping[str, str]) -> list[str]:
    """Stored keys that have left the source: those neither read nor of something that could not be read just now."""
    keep = {article.key for article in loaded.articles} | loaded.doubtful
    return [key for key in stored if key not in keep and not any(file in keep for file in _files_of(key))]


def _files_of(key: str) -> Iterator[str]:
    """The files that an article with this key may be a row of: the name of a file may hold a # itself."""
    place = key.find("#")
    while place >= 0:
        yield key[:place]
        place = key.find("#", place + 1)


def _index(
    db: Database,
    counts: _Counts,
    *,
    source: str,
    embeddings: Embeddings,
    embedding_model: str,
    stored: Mapping[str, str],
) -> None:
    """Embed what is waiting, with no transaction open, and replace each article in a transaction of its own."""
    texts = [passage for _, passages in counts.waiting for passage in passages]
    vectors = _embed(db, texts, embeddings=embeddings, embedding_model=embedding_model)
    for article, passages in counts.waiting:
        try:
            _save(db, source, article, _rows(passages, vectors, embedding_model))
        except IntegrityError:  # another import has just added it
            _save(db, source, article, _rows(passages, vectors, embedding_model))
        counts.passages += len(passages)
        if article.key in stored:
            counts.updated += 1
        else:
            counts.added += 1
    counts.waiting.clear()


def _embed(
    db: Database, texts: Sequence[PassageText], *, embeddings: Embeddings, embedding_model: str
) -> dict[str, bytes]:
    """Content hash to vector; what the database already has is not embedded again."""
    by_hash = {text.content_hash: text for text in texts}
    vectors: dict[str, bytes] = {}
    with db.read() as session:
        for some in _slices(list(by_hash), _LOOK_UP_AT_ONCE):
            query = select(Passage.content_hash, Passage.embedding).where(
                Passage.content_hash.in_(some), Passage.embedding_model == embedding_model
            )
            vectors |= dict(session.execute(query).all())
    for some in _slices([digest for digest in by_hash if digest not in vectors], _EMBED_AT_ONCE):
        embedded = embeddings.embed_documents([by_hash[digest].indexed for digest in some])
        vectors |= {digest: _to_bytes(vector) for digest, vector in zip(some, embedded, strict=True)}
    return vectors


def _slices(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _to_bytes(vector: Iterable[float]) -> bytes:
    row = np.asarray(list(vector), dtype="<f4")
    return bytes((row / max(float(np.linalg.norm(row)), 1e-12)).astype("<f4").tobytes())


def _rows(passages: Sequence[PassageText], vectors: dict[str, bytes], embedding_model: str) -> list[Passage]:
    return [
        Passage(
            position=position,
            heading=passage.heading,
            text=passage.text,
            codes=passage.codes,
            content_hash=passage.content_hash,
            embedding_model=embedding_model,
            embedding=vectors[passage.content_hash],
        )
        for position, passage in enumerate(passages)
    ]


def _save(db: Database, source: str, article: ArticleSource, passages: list[Passage]) -> None:
    with db.begin() as session:
        # Locked where the database does not serialise writers itself: the other import's passages must be seen.
        query = select(Article).where(Article.source == source, Article.source_key == article.key).with_for_update()
        row = session.scalar(query)
        if row is None:
            row = Article(source=source, source_key=article.key)
            session.add(row)
        else:
            session.execute(delete(Passage).where(Passage.article_id == row.id))
        row.title, row.url, row.product = article.title, article.url, article.product
        row.language, row.visibility = article.language, Visibility(article.visibility)
        # The index asks for the time to know what has changed: it differs even if nothing else does.
        row.content_hash, row.updated_at = _digest(article), utcnow()
        session.flush()
        for passage in passages:
            passage.article_id = row.id
        session.add_all(passages)


def _remove(db: Database, source: str, keys: Sequence[str]) -> int:
    for key in keys:
        # One by one: short transactions, and no two imports wait for each other's articles.
        with db.begin() as session:
            session.execute(delete(Article).where(Article.source == source, Article.source_key == key))
    return len(keys)
