"""The index: passages found by exact identifiers, by words (BM25) and by meaning (embeddings), fused into one ranking.

Words come from the database (FTS5 or tsvector). Meaning is an exact search over unit vectors that are cached in one
matrix and renewed when passages change, in whatever process. Filters by visibility, language and product apply before
anything is ranked: a passage that may not be seen is never a candidate.

Fusion (scores, not ranks: rank fusion throws away how sure each side is): BM25 is divided by the best score of the
query, cosines are stretched between the corpus median for this query and its maximum, and the two are mixed half and
half. Passages that carry an identifier of the query come before all others.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, joinedload

from assistant.db import Database
from assistant.models import Article, Passage, Visibility
from assistant.retrieval.identifiers import spot

MEANING_WEIGHT = 0.5
PRODUCT_BONUS = 0.15
# Candidates that words and meaning each give to the fusion.
CANDIDATES = 200
QUERY_WORDS = 64
# BM25 weights of the columns heading, text, codes. Codes have their own search.
_COLUMN_WEIGHTS = "2.0, 1.0, 0.0"


@dataclass(frozen=True)
class Filters:
    """What may be found. ``visibilities`` and ``languages`` are strict; ``products`` come first but not alone."""

    visibilities: tuple[Visibility, ...] = (Visibility.PUBLIC,)
    languages: tuple[str, ...] = ()
    products: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hit:
    """A passage that was found and why: score 0 to 1, cosine, the query's words and identifiers that are in it."""

    document: Document
    score: float
    similarity: float | None
    words: tuple[str, ...]
    codes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        metadata = self.document.metadata
        names = ("article_id", "article_title", "heading", "url", "product", "language", "visibility", "passage_id")
        return {
            **{name: metadata[name] for name in names},
            "text": self.document.page_content,
            "score": round(self.score, 4),
            "similarity": None if self.similarity is None else round(self.similarity, 4),
            "words": list(self.words),
            "codes": list(self.codes),
        }


class Index:
    """Thread-safe. One per process; all see the same database."""

    def __init__(self, db: Database, embeddings: Embeddings, embedding_model: str) -> None:
        self._db = db
        self._embeddings = embeddings
        self._model = embedding_model
        self._lock = threading.Lock()
        self._snapshot: _Snapshot | None = None

    def search(self, query: str, *, filters: Filters | None = None, limit: int = 8) -> list[Hit]:
        """The best passages first; empty for an empty query or knowledge base."""
        query = query.replace("\0", " ").strip()
        if not query:
            return []
        filters = filters or Filters()
        snapshot = self.refresh()
        if not len(snapshot.ids):
            return []
        allowed = snapshot.allowed(filters)
        similarities = snapshot.vectors @ np.asarray(self._embeddings.embed_query(query), dtype=np.float32)
        codes = spot(query)
        with self._db.read() as session:
            by_words = _word_scores(session, query, filters)
            by_codes = _code_scores(session, codes, filters)
            ranked = _fuse(snapshot, allowed, similarities, by_words, by_codes, filters)[:limit]
            return _hits(session, snapshot, ranked, similarities, query, codes)

    def retriever(self, filters: Filters | None = None, *, limit: int = 8) -> PassageRetriever:
        """The index as a LangChain retriever with fixed filters."""
        return PassageRetriever(index=self, filters=filters or Filters(), limit=limit)

    def refresh(self) -> _Snapshot:
        """The vectors as they are in the database now; read again only if something changed."""
        with self._db.read() as session:
            version = _version(session, self._model)
            snapshot = self._snapshot
            if snapshot is not None and snapshot.version == version:
                return snapshot
            with self._lock:
                if self._snapshot is None or self._snapshot.version != version:
                    self._snapshot = _load_snapshot(session, self._model, version)
                return self._snapshot


class PassageRetriever(BaseRetriever):
    """Documents with ``metadata`` as `Hit.to_json` names it, and ``id`` the passage's public id."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Index
    filters: Filters
    limit: int

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun | None = None, product: str | None = None
    ) -> list[Document]:
        filters = self.filters
        if product is not None:
            filters = Filters(filters.visibilities, filters.languages, (product,))
        return [hit.document for hit in self.index.search(query, filters=filters, limit=self.limit)]


@dataclass(frozen=True)
class _Snapshot:
    version: tuple[Any, ...]
    ids: np.ndarray  # (n,) passage ids, ascending
    vectors: np.ndarray  # (n, d) float32, unit length
    visibilities: np.ndarray  # (n,) text
    languages: np.ndarray
    products: np.ndarray

    def allowed(self, filters: Filters) -> np.ndarray:
        """(n,) bool: what may be found at all."""
        mask: np.ndarray = np.isin(self.visibilities, [visibility.value for visibility in filters.visibilities])
        if filters.languages:
            mask = mask & np.isin(self.languages, filters.languages)
        return mask

    def rows(self, ids: Sequence[int]) -> np.ndarray:
        """Rows of passage ids that are in the snapshot; ids it does not know are left out."""
        wanted = np.asarray(ids, dtype=np.int64)
        places = np.searchsorted(self.ids, wanted)
        inside = places < len(self.ids)
        known = inside & (self.ids[np.where(inside, places, 0)] == wanted)
        rows: np.ndarray = np.where(known, places, -1)
        return rows


def _version(session: Session, model: str) -> tuple[Any, ...]:
    passages = session.execute(
        select(func.count(), func.max(Passage.id)).where(Passage.embedding_model == model)
    ).one()
    return (*passages, session.execute(select(func.count(), func.max(Article.updated_at))).one().tuple())


def _load_snapshot(session: Session, model: str, version: tuple[Any, ...]) -> _Snapshot:
    query = (
        select(Passage.id, Passage.embedding, Article.visibility, Article.language, Article.product)
        .join(Passage.article)
        .where(Passage.embedding_model == model)
        .order_by(Passage.id)
    )
    rows = session.execute(query).all()
    vectors = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f4")
    return _Snapshot(
        version=version,
        ids=np.array([row[0] for row in rows], dtype=np.int64),
        vectors=vectors.reshape(len(rows), -1) if rows else np.zeros((0, 0), dtype=np.float32),
        visibilities=np.array([row[2].value for row in rows], dtype=object),
        languages=np.array([row[3] for row in rows], dtype=object),
        products=np.array([row[4] or "" for row in rows], dtype=object),
    )


def query_words(query: str) -> list[str]:
    """The words to search for: each once, without those that are in almost every sentence."""
    words = dict.fromkeys(word.lower() for word in re.findall(r"\w+", query) if len(word) < 60)
    telling = [word for word in words if word not in _STOP_WORDS]
    return (telling or list(words))[:QUERY_WORDS]


_STOP_WORDS = frozenset(
    "a an and are as at be but by can could do does did for from had has have hi hello how i if in into is it its "
    "me my no not of on or our please so than thank thanks that the their them then there they this to up us was we "
    "were what when where which who why will with would you your am been being he she him her his about just also "
    "very get got any some".split()
)


def _word_scores(session: Session, query: str, filters: Filters) -> dict[int, float]:
    """Passage id to BM25 (higher is better), at most `CANDIDATES`."""
    words = query_words(query)
    if not words:
        return {}
    if session.get_bind().dialect.name == "sqlite":
        match = "{heading text} : (" + " OR ".join(f'"{word}"' for word in words) + ")"
        statement = f"""
            SELECT p.id, -bm25(passages_fts, {_COLUMN_WEIGHTS}) AS score
            FROM passages_fts JOIN passages p ON p.id = passages_fts.rowid JOIN articles a ON a.id = p.article_id
            WHERE passages_fts MATCH :match AND {_where(filters)} ORDER BY score DESC LIMIT :limit
        """  # noqa: S608  (only our own constants are put in; values are bound)
        return _scores(session, statement, filters, match=match)
    statement = f"""
        SELECT p.id, ts_rank_cd({_VECTOR}, query, 1) AS score
        FROM passages p JOIN articles a ON a.id = p.article_id, to_tsquery('english', :match) query
        WHERE {_VECTOR} @@ query AND {_where(filters)} ORDER BY score DESC LIMIT :limit
    """  # noqa: S608
    return _scores(session, statement, filters, match=" | ".join(f"'{word}'" for word in words))


# The expression that the migration indexes.
_VECTOR = "(to_tsvector('english', p.heading || ' ' || p.text) || to_tsvector('simple', p.codes))"


def _code_scores(session: Session, codes: Sequence[str], filters: Filters) -> dict[int, float]:
    """Passage id to the summed rarity of the identifiers that it shares with the query."""
    scores: dict[int, float] = {}
    for code in codes[:QUERY_WORDS]:
        word = code.lower()
        if session.get_bind().dialect.name == "sqlite":
            statement = f"""
                SELECT p.id, 1.0 FROM passages_fts JOIN passages p ON p.id = passages_fts.rowid
                JOIN articles a ON a.id = p.article_id
                WHERE passages_fts MATCH :match AND {_where(filters)} LIMIT :limit
            """  # noqa: S608
            found = _scores(session, statement, filters, match=f'codes : "{word}"')
        else:
            statement = f"""
                SELECT p.id, 1.0 FROM passages p JOIN articles a ON a.id = p.article_id
                WHERE {_VECTOR} @@ to_tsquery('simple', :match) AND {_where(filters)} LIMIT :limit
            """  # noqa: S608
            found = _scores(session, statement, filters, match=f"'{word}'")
        rarity = 1.0 / (1.0 + math.log1p(len(found))) if found else 0.0
        for passage_id in found:
            scores[passage_id] = scores.get(passage_id, 0.0) + rarity
    return scores


def _where(filters: Filters) -> str:
    names = ", ".join(f":visibility{number}" for number in range(len(filters.visibilities)))
    clause = f"a.visibility IN ({names or 'NULL'})"
    if filters.languages:
        clause += f" AND a.language IN ({', '.join(f':language{n}' for n in range(len(filters.languages)))})"
    return clause


def _scores(session: Session, statement: str, filters: Filters, *, match: str) -> dict[int, float]:
    values: dict[str, Any] = {"match": match, "limit": CANDIDATES}
    values |= {f"visibility{number}": value.value for number, value in enumerate(filters.visibilities)}
    values |= {f"language{number}": value for number, value in enumerate(filters.languages)}
    return {row[0]: float(row[1]) for row in session.execute(text(statement), values)}


def _fuse(
    snapshot: _Snapshot,
    allowed: np.ndarray,
    similarities: np.ndarray,
    by_words: dict[int, float],
    by_codes: dict[int, float],
    filters: Filters,
) -> list[tuple[int, float]]:
    """(row, score 0 to 1) of every candidate, best first."""
    if not allowed.any():
        return []
    floor = float(np.median(similarities[allowed]))
    ceiling = float(similarities[allowed].max())
    meaning = ((similarities - floor) / max(ceiling - floor, 1e-6)).clip(0, 1)
    words = _spread(snapshot, by_words, 1.0 / max(by_words.values(), default=1.0))
    codes = _spread(snapshot, by_codes, 1.0 / max(by_codes.values(), default=1.0))
    # Without a single shared word, meaning decides alone, and the other way round is impossible.
    weight = MEANING_WEIGHT if by_words else 1.0
    score = weight * meaning + (1 - weight) * words
    if filters.products:
        score = score + PRODUCT_BONUS * np.isin(snapshot.products, filters.products)
    score = score / (1 + PRODUCT_BONUS)
    # Half of the scale belongs to passages with the right identifier.
    score = 0.5 * score + 0.5 * codes if by_codes else score
    candidates = set(np.flatnonzero(words).tolist()) | set(np.flatnonzero(codes).tolist())
    candidates |= set(np.argsort(-np.where(allowed, similarities, -2.0))[:CANDIDATES].tolist())
    rows = [row for row in candidates if allowed[row]]
    return sorted(((row, float(score[row])) for row in rows), key=lambda pair: (-pair[1], pair[0]))


def _spread(snapshot: _Snapshot, scores: dict[int, float], factor: float) -> np.ndarray:
    """Scores by passage id as an array by row."""
    spread = np.zeros(len(snapshot.ids), dtype=np.float32)
    rows = snapshot.rows(list(scores))
    values = np.array(list(scores.values()), dtype=np.float32) * factor
    spread[rows[rows >= 0]] = values[rows >= 0]
    return spread


def _hits(
    session: Session,
    snapshot: _Snapshot,
    ranked: Sequence[tuple[int, float]],
    similarities: np.ndarray,
    query: str,
    codes: Sequence[str],
) -> list[Hit]:
    ids = [int(snapshot.ids[row]) for row, _ in ranked]
    query_passages = select(Passage).where(Passage.id.in_(ids)).options(joinedload(Passage.article))
    passages = {passage.id: passage for passage in session.scalars(query_passages)}
    words = query_words(query)
    hits = []
    for (row, score), passage_id in zip(ranked, ids, strict=True):
        if passage_id in passages:  # else removed a moment ago
            hits.append(_hit(passages[passage_id], score, float(similarities[row]), words, codes))
    return hits


def _hit(passage: Passage, score: float, similarity: float, words: Sequence[str], codes: Sequence[str]) -> Hit:
    article = passage.article
    indexed = f"{passage.heading} {passage.text}".lower()
    present = set(re.findall(r"\w+", indexed))
    matched_words = tuple(word for word in words if word in present or _stem(word) in {_stem(w) for w in present})
    matched_codes = tuple(code for code in codes if code in passage.codes.split())
    metadata = {
        "passage_id": passage.public_id,
        "article_id": article.public_id,
        "article_title": article.title,
        "heading": passage.heading,
        "url": article.url,
        "product": article.product,
        "language": article.language,
        "visibility": article.visibility.value,
        "score": score,
        "similarity": similarity,
        "words": list(matched_words),
        "codes": list(matched_codes),
    }
    document = Document(page_content=passage.text, id=passage.public_id, metadata=metadata)
    return Hit(document, score, similarity, matched_words, matched_codes)


def _stem(word: str) -> str:
    """Enough to show why a word matched; the search itself uses the database's stemmer."""
    return re.sub(r"(?:ing|ed|es|s|ly)$", "", word) if len(word) > 4 else word
