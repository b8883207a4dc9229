"""The index: passages found by exact identifiers, by words (BM25) and by meaning (embeddings), in one ranking.

Words and identifiers are found by the database (FTS5 or tsvector), meaning by an exact search over unit vectors that
are kept in one matrix. Each gives candidates; `fusion` scores all of them alike. Filters by visibility and language
apply before anything is ranked: a passage that may not be seen is never a candidate, and a second check stands behind
the database's. Products are a preference: those asked for, and those that the query names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session, defer, joinedload

from assistant.db import Database
from assistant.models import Passage
from assistant.retrieval import fusion
from assistant.retrieval.identifiers import certain, other_forms, spot
from assistant.retrieval.vectors import VectorCache, Vectors, occurrences
from assistant.retrieval.words import Filters, clean, find, find_code, query_words, rarest, stem, stems

__all__ = ["Filters", "Hit", "Index", "PassageRetriever", "query_words"]

# Candidates that words, meaning and each identifier give to the fusion.
CANDIDATES = 60
_MOST_CODES = 16


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
        self._cache = VectorCache(embedding_model)

    def search(self, query: str, *, filters: Filters | None = None, limit: int = 8) -> list[Hit]:
        """The best passages first; empty for an empty query or knowledge base."""
        query = clean(query)
        if not query or limit < 1:
            return []
        filters = filters or Filters()
        # No transaction is open while the model works.
        vector = np.asarray(self._embeddings.embed_query(query), dtype=np.float32)
        with self._db.read() as session:
            vectors = self._cache.current(session)
            if not len(vectors):
                return []
            filters = replace(filters, products=(*filters.products, *vectors.products_in(query)))
            found = _find(session, vectors, query=query, vector=vector, filters=filters)
            return _hits(session, vectors, query=query, found=found, filters=filters, limit=limit)

    def retriever(self, filters: Filters | None = None, *, limit: int = 8) -> PassageRetriever:
        """The index as a LangChain retriever with fixed filters."""
        return PassageRetriever(index=self, filters=filters or Filters(), limit=limit)

    def refresh(self) -> Vectors:
        """Read what has changed in the database since the last search, so that the next one need not."""
        with self._db.read() as session:
            return self._cache.current(session)


class PassageRetriever(BaseRetriever):
    """Documents with ``metadata`` as `Hit.to_json` names it, and ``id`` the passage's public id.

    ``invoke(query, product=...)`` prefers passages of that product; it never widens what may be seen."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Index
    filters: Filters
    limit: int

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun | None = None, product: str | None = None
    ) -> list[Document]:
        filters = self.filters if product is None else replace(self.filters, products=(product,))
        return [hit.document for hit in self.index.search(query, filters=filters, limit=self.limit)]


@dataclass(frozen=True)
class _Found:
    """Candidates: rows of `Vectors` with all cosines, the words' counts, and by identifier the rows that carry it."""

    rows: np.ndarray
    similarities: np.ndarray  # of all passages
    lead: float
    counts: Mapping[str, int]
    codes: Mapping[str, np.ndarray]


def _find(session: Session, vectors: Vectors, *, query: str, vector: np.ndarray, filters: Filters) -> _Found:
    """What words, meaning and identifiers each propose, of what may be found."""
    allowed = vectors.allowed(filters)
    similarities = vectors.matrix @ vector
    counts = occurrences(session, vectors, query_words(query))
    by_words = vectors.rows(find(session, rarest(counts), filters=filters, limit=CANDIDATES))
    by_meaning = _nearest(similarities, allowed, CANDIDATES)
    codes = {}
    for code in spot(query)[:_MOST_CODES]:
        rows = vectors.rows(_carrying(lambda form: find_code(session, form, filters=filters, limit=CANDIDATES), code))
        codes[code] = rows[allowed[rows]]
    rows = np.unique(np.concatenate([by_words, by_meaning, *codes.values()]))
    return _Found(
        rows=rows[allowed[rows]],
        similarities=similarities,
        lead=fusion.lead(similarities[allowed]),
        counts=counts,
        codes=codes,
    )


def _carrying(find_form: Callable[[str], list[int]], code: str) -> list[int]:
    """Ids of passages with the identifier; if there is none, with the nearest other form of it that there is."""
    return next((found for form in (code, *other_forms(code)) if (found := find_form(form))), [])


def _nearest(similarities: np.ndarray, allowed: np.ndarray, number: int) -> np.ndarray:
    masked = np.where(allowed, similarities, -2.0)
    if len(masked) <= number:
        return np.arange(len(masked))
    nearest: np.ndarray = np.argpartition(-masked, number)[:number]
    return nearest


def _hits(session: Session, vectors: Vectors, *, query: str, found: _Found, filters: Filters, limit: int) -> list[Hit]:
    """The candidates scored, best first. Ones that were removed a moment ago are left out."""
    texts = _texts(session, vectors.ids[found.rows].tolist())
    rows = found.rows[[passage_id in texts for passage_id in vectors.ids[found.rows].tolist()]]
    passages = [texts[passage_id] for passage_id in vectors.ids[rows].tolist()]
    scores = _scores(vectors, rows, texts=passages, query=query, found=found, filters=filters)
    best = np.lexsort((rows, -scores))[:limit].tolist()
    whole = _passages(session, vectors.ids[rows[best]].tolist())
    hits = []
    for place, passage in ((place, whole.get(int(vectors.ids[rows[place]]))) for place in best):
        if passage is None:
            continue
        present = {*passages[place][0], *passages[place][1]}
        hits.append(
            _hit(
                passage,
                score=float(scores[place]),
                similarity=float(found.similarities[rows[place]]),
                words=tuple(word for word in found.counts if stem(word) in present),
                codes=tuple(code for code, carrying in found.codes.items() if rows[place] in carrying),
            )
        )
    return hits


def _texts(session: Session, ids: Sequence[int]) -> dict[int, tuple[list[str], list[str]]]:
    """Passage id to the stems of its heading and of its text."""
    query = select(Passage.id, Passage.heading, Passage.text).where(Passage.id.in_(ids))
    return {row[0]: (stems(row[1]), stems(row[2])) for row in session.execute(query)}


def _passages(session: Session, ids: Sequence[int]) -> dict[int, Passage]:
    query = select(Passage).where(Passage.id.in_(ids)).options(joinedload(Passage.article), defer(Passage.embedding))
    return {passage.id: passage for passage in session.scalars(query)}


def _scores(
    vectors: Vectors,
    rows: np.ndarray,
    *,
    texts: Sequence[tuple[list[str], list[str]]],
    query: str,
    found: _Found,
    filters: Filters,
) -> np.ndarray:
    """(len(rows),) 0 to 1."""
    words = fusion.query_of(found.counts, passages=len(vectors))
    sure = certain(query)
    bonuses = np.zeros(len(rows), dtype=np.float32)
    if filters.products:
        bonuses += fusion.PRODUCT_BONUS * vectors.about(rows, filters.products)
    identifiers = np.zeros(len(rows), dtype=np.float32)
    for code, carrying in found.codes.items():
        rarity = 1.0 / (1.0 + math.log1p(len(carrying)))
        if code in sure:
            identifiers += rarity * np.isin(rows, carrying)
        else:
            bonuses += fusion.NUMBER_BONUS * rarity * np.isin(rows, carrying)
    scores = fusion.fuse(
        similarities=found.similarities[rows],
        matches=np.array([fusion.word_match(words, heading=head, text=body) for head, body in texts], dtype=np.float32),
        query=words,
        lead=found.lead,
        bonuses=bonuses,
    )
    return fusion.identifiers_first(scores, identifiers)


def _hit(passage: Passage, *, score: float, similarity: float, words: tuple[str, ...], codes: tuple[str, ...]) -> Hit:
    article = passage.article
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
        "words": list(words),
        "codes": list(codes),
    }
    document = Document(page_content=passage.text, id=passage.public_id, metadata=metadata)
    return Hit(document, score, similarity, words, codes)
