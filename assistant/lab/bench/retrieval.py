"""How fast a search over very many passages is, how close to exact, and how much memory it takes.

Passages are synthetic: words with a natural distribution (Zipf), vectors in clusters, all from a seed. The search is
the one that ships, with the query's embedding known in advance.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from sqlalchemy import insert, text

from assistant.db import Database, migrate, new_public_id, utcnow
from assistant.knowledge.indexing import index_vectors, keep_vectors
from assistant.models import Article, Passage, VectorKind, Visibility
from assistant.ports import Embedder
from assistant.progress import Progress
from assistant.retrieval.embedders import Embedders
from assistant.retrieval.fulltext import Filters
from assistant.retrieval.index import Index
from assistant.retrieval.meaning import Reading, meaning_of

_MODEL = "synthetic"
_DIMENSIONS = 384
_CLUSTERS = 2000
_SPREAD = 0.7  # of a passage around its cluster, against a centre of length 1
_WORDS, _WORDS_A_PASSAGE, _WORDS_A_QUERY = 60_000, 100, 6
_PASSAGES_AN_ARTICLE = 10
_AT_ONCE = 5000
_NEIGHBOURS = 10


@dataclass(frozen=True)
class Report:
    """Milliseconds per search, and of the vector search alone. ``recall``: of the ten nearest, against an exact
    search."""

    database: str
    passages: int
    queries: int
    p50_ms: float
    p95_ms: float
    meaning_p50_ms: float
    meaning_p95_ms: float
    recall: float
    filled_s: float
    indexed_s: float
    first_search_s: float
    memory_mb: float
    stored_mb: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """A few lines for people."""
        return "\n".join(
            [
                f"{self.passages} passages on {self.database}, {self.queries} queries, embeddings known in advance",
                f"search         p50 {self.p50_ms:.1f} ms, p95 {self.p95_ms:.1f} ms",
                f"nearest alone  p50 {self.meaning_p50_ms:.1f} ms, p95 {self.meaning_p95_ms:.1f} ms, "
                f"Recall@{_NEIGHBOURS} {self.recall:.3f} of exact",
                f"stored in {self.filled_s:.0f} s, indexed in {self.indexed_s:.0f} s, "
                f"first search {self.first_search_s:.1f} s",
                f"memory of this process {self.memory_mb:.0f} MB, database {self.stored_mb:.0f} MB",
            ]
        )


class _Known(Embeddings):
    """Returns the vector that was set for the next query."""

    vector: np.ndarray

    def embed_query(self, text: str) -> list[float]:
        return self.vector  # type: ignore[return-value]  # an array works too, and is not copied

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise NotImplementedError


def measure(
    *, passages: int, queries: int, database_url: str | None = None, seed: int = 0, progress: Progress
) -> Report:
    """``database_url``: an empty PostgreSQL database; without it, SQLite in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        url = database_url or f"sqlite:///{Path(folder, 'assistant.db')}"
        migrate(url)
        db = Database(url)
        try:
            return _measure(db, passages=passages, queries=queries, seed=seed, progress=progress)
        finally:
            db.close()


def _measure(db: Database, *, passages: int, queries: int, seed: int, progress: Progress) -> Report:
    corpus = _Synthetic(seed)
    started = perf_counter()
    _fill(db, corpus, passages, progress)
    filled = perf_counter()
    progress(0, 1, "Indexing vectors")
    index_vectors(db, embedding_model=_MODEL)
    if not db.is_sqlite:
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE passages, vectors, articles")
    indexed = perf_counter()
    known = _Known()
    index = Index(db, Embedders(Embedder(known, _MODEL)))
    known.vector = corpus.vectors(1)[0]
    index.search(corpus.words(_WORDS_A_QUERY))
    first = perf_counter()
    asked = [(corpus.vectors(1)[0], corpus.words(_WORDS_A_QUERY)) for _ in range(queries)]
    whole, nearest, recall = [], [], []
    for number, (vector, words) in enumerate(asked):
        progress(number, queries, "Searching")
        known.vector = vector
        at = perf_counter()
        index.search(words)
        whole.append(perf_counter() - at)
    # Only afterwards, because comparing with all vectors evicts everything else from the processor's and database's
    # caches.
    for number, (vector, _) in enumerate(asked):
        progress(number, queries, "Comparing with an exact search")
        seconds, share = _nearest(db, index, vector)
        nearest.append(seconds)
        recall.append(share)
    p50, p95 = 1000 * np.percentile(whole, (50, 95))
    m50, m95 = 1000 * np.percentile(nearest, (50, 95))
    return Report(
        database=db.engine.dialect.name,
        passages=passages,
        queries=queries,
        p50_ms=float(p50),
        p95_ms=float(p95),
        meaning_p50_ms=float(m50),
        meaning_p95_ms=float(m95),
        recall=float(np.mean(recall)),
        filled_s=filled - started,
        indexed_s=indexed - filled,
        first_search_s=first - indexed,
        memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        stored_mb=_database_bytes(db) / 1e6,
    )


class _Synthetic:
    """Words and vectors, reproducible by the seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        centres = self._random.standard_normal((_CLUSTERS, _DIMENSIONS)).astype(np.float32)
        self._centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        odds = 1 / np.arange(10, _WORDS + 10)
        self._odds = np.cumsum(odds / odds.sum())

    def vectors(self, number: int) -> np.ndarray:
        """(number, d) float32, of unit length, around the clusters' centres."""
        around = self._random.standard_normal((number, _DIMENSIONS)).astype(np.float32) * (_SPREAD / _DIMENSIONS**0.5)
        drawn = self._centres[self._random.integers(_CLUSTERS, size=number)] + around
        unit: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        return unit

    def words(self, number: int) -> str:
        return " ".join(_word(int(place)) for place in np.searchsorted(self._odds, self._random.random(number)))


def _word(number: int) -> str:
    """Letters only, because with a digit it would be an identifier; with an ending that stemmers do not change."""
    letters = ""
    while number:
        number, place = divmod(number, 20)
        letters += "bcdfghjklmnpqrtvwxza"[place]
    return f"o{letters}ok"


def _fill(db: Database, corpus: _Synthetic, passages: int, progress: Progress) -> None:
    done = 0
    while done < passages:
        progress(done, passages, "Storing passages")
        number = min(_AT_ONCE, passages - done)
        with db.begin() as session:
            articles = [_article_row(done + place) for place in range(0, number, _PASSAGES_AN_ARTICLE)]
            ids = session.scalars(insert(Article).returning(Article.id), articles).all()
            rows = list(_passage_rows(corpus, ids, number))
            session.execute(insert(Passage), rows)
            hashes = [row["content_hash"] for row in rows]
            vectors = (vector.astype("<f4").tobytes() for vector in corpus.vectors(number))
            keep_vectors(session, VectorKind.PASSAGE, dict(zip(hashes, vectors, strict=True)), embedding_model=_MODEL)
        done += number


def _article_row(number: int) -> dict[str, Any]:
    return {
        "public_id": new_public_id("art"),
        "source": "synthetic",
        "source_key": str(number),
        "title": f"Article {number}",
        "language": "en",
        # One in twenty is for agents only, so that the filter matters.
        "visibility": Visibility.INTERNAL if number // _PASSAGES_AN_ARTICLE % 20 == 0 else Visibility.PUBLIC,
        "content_hash": "",
        "updated_at": utcnow(),
    }


def _passage_rows(corpus: _Synthetic, articles: Any, number: int) -> Iterator[dict[str, Any]]:
    for row in range(number):
        yield {
            "public_id": new_public_id("psg"),
            "article_id": articles[row // _PASSAGES_AN_ARTICLE],
            "position": row % _PASSAGES_AN_ARTICLE,
            "heading": corpus.words(4),
            "text": corpus.words(_WORDS_A_PASSAGE),
            "codes": "",
            "content_hash": new_public_id("x"),
        }


def _nearest(db: Database, index: Index, vector: np.ndarray) -> tuple[float, float]:
    """Seconds to find the nearest passages that may be found, and the recall of the true ten among the first ten."""
    vectors = index.refresh()
    with db.read() as session:
        started = perf_counter()
        meaning = meaning_of(session, vectors, [Reading(_MODEL, vector)])
        near = meaning.near(Filters(), 60)
        seconds = perf_counter() - started
        similarities = meaning.similarities(near.rows)
        found = set(near.rows[np.argsort(-similarities)[:_NEIGHBOURS]].tolist())
    with db.read() as session:
        if not db.is_sqlite:
            session.execute(text("SET LOCAL enable_indexscan = off"))
        exact = meaning_of(session, vectors, [Reading(_MODEL, vector)])
        rows = exact.near(Filters(), 60).rows
        best = set(rows[np.argsort(-exact.similarities(rows))[:_NEIGHBOURS]].tolist())
    return seconds, len(found & best) / len(best)


def _database_bytes(db: Database) -> int:
    with db.read() as session:
        if db.is_sqlite:
            pages, size = (session.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "page_size"))
            return int(pages) * int(size)
        return int(session.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
