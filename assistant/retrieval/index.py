"""The index: passages found by exact identifiers, by words (BM25) and by meaning (embeddings), in one ranking.

Words and identifiers are found by the database (FTS5 or tsvector), meaning by an exact search over unit vectors that
are kept in one matrix, or by PostgreSQL. Each gives candidates; `fusion` scores all of them alike. Filters by
visibility and language apply before anything is ranked: a passage that may not be seen is never a candidate, and a
second check stands behind the database's. Products are a preference: those asked for, and those that the query names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from assistant.db import Database
from assistant.models import Passage
from assistant.ports import Embedder, PhotoEmbedder
from assistant.retrieval import fusion
from assistant.retrieval.embedders import Embedders, served
from assistant.retrieval.fulltext import READ_AT_MOST, READ_AT_MOST_POSTGRESQL, Filters, find, find_code, rarest
from assistant.retrieval.meaning import InDatabase, InMemory, meaning_of
from assistant.retrieval.pictures import look, resembling
from assistant.retrieval.rerank import RERANKED, Reranking
from assistant.retrieval.vectors import HeadingVectors, VectorCache, Vectors, occurrences
from assistant.text.identifiers import certain, other_forms, spot
from assistant.text.languages import detect
from assistant.text.storable import storable
from assistant.text.words import known_stems, query_words, stem

__all__ = ["Filters", "Hit", "Index", "PassageRetriever", "query_words"]

# Candidates that words, meaning and each identifier give to the fusion.
CANDIDATES = 60
_MOST_CODES = 16
# An identifier in so many passages of an article may be its name.
_NAMES_FROM = 3
# Languages of short texts are mixed up: below this an English question is taken for one.
_SURE_OF_LANGUAGE = 0.6


@dataclass(frozen=True)
class Hit:
    """A passage that was found and why: score 0 to 1, cosine, the query's words and identifiers that are in it."""

    document: Document
    score: float
    similarity: float | None
    words: tuple[str, ...]
    codes: tuple[str, ...]
    # How much a figure beside it looks like the query's photo, 0 to 1; None without one that does.
    resemblance: float | None = None
    # What the reranker says; None without one, or if it had no time for this passage.
    reranked: float | None = None
    # The language of the query if the embedder does not read it: found by words and identifiers more than by meaning.
    unread_language: str | None = None


class Index:
    """Thread-safe. One per process; all see the same database, which says which embedder is served."""

    def __init__(
        self,
        db: Database,
        embedders: Embedders,
        *,
        photo_embedder: PhotoEmbedder | None = None,
        reranking: Reranking | None = None,
    ) -> None:
        self._db = db
        self._embedders = embedders
        self._photo_embedder = photo_embedder
        self._reranking = reranking
        self._side = _Side(embedders.own, None)

    @property
    def embedding_model(self) -> str:
        """The name of the embedder that queries are embedded with, as of the last search."""
        return self._side.embedder.name

    def search(
        self, query: str, *, photos: Sequence[bytes] = (), filters: Filters | None = None, limit: int = 8
    ) -> list[Hit]:
        """The best passages first; empty for an empty query or knowledge base. ``photos``: what a figure beside the
        passage may look like, as `media` normalises them; without a photo embedder they say nothing."""
        query = storable(query).strip()
        looks = look(self._photo_embedder, photos) if limit > 0 else None
        if limit < 1 or (not query and looks is None):
            return []
        if self._reranking is None or not query:
            return self._search(query, looks, filters or Filters(), limit)
        hits = self._search(query, looks, filters or Filters(), max(limit, RERANKED))
        texts = [f"{hit.document.metadata['heading']}\n{hit.document.page_content}" for hit in hits]
        ordered = self._reranking.ordered(query, hits, texts, [bool(hit.codes) for hit in hits])
        return [replace(hit, reranked=score) for hit, score in ordered[:limit]]

    def _search(self, query: str, looks: np.ndarray | None, filters: Filters, limit: int) -> list[Hit]:
        while True:
            # No transaction is open while the model works.
            side = self._side
            asked = _query(query, side.embedder, looks)
            with self._db.read() as session:
                current = self._current(session)
                if current.embedder is side.embedder:
                    return self._found(session, side=current, asked=asked, filters=filters, limit=limit)
                # Another embedder is served since the last search: the query is embedded anew.

    def _found(self, session: Session, *, side: _Side, asked: _Query, filters: Filters, limit: int) -> list[Hit]:
        vectors = side.cache.current(session)
        if not len(vectors):
            return []
        filters = replace(filters, products=(*filters.products, *vectors.products_in(asked.text)))
        pictures = self._photo_embedder.name if self._photo_embedder is not None else ""
        found = _find(session, vectors, query=asked, models=(side.embedder.name, pictures), filters=filters)
        return _hits(session, vectors, side.headings, query=asked, found=found, filters=filters, limit=limit)

    def retriever(self, filters: Filters | None = None, *, limit: int = 8) -> PassageRetriever:
        """The index as a LangChain retriever with fixed filters."""
        return PassageRetriever(index=self, filters=filters or Filters(), limit=limit)

    def refresh(self) -> Vectors:
        """Read what has changed in the database since the last search, so that the next one need not."""
        with self._db.read() as session:
            return self._current(session).cache.current(session)

    def _current(self, session: Session) -> _Side:
        """What is searched with now; the snapshots of another embedder, or of one that was incomplete, are let go."""
        model = served(session)
        if self._side.since != (model.changed_at if model is not None else None):
            # One that cannot be had here has no vectors of ours: the search goes by words then.
            embedder = self._embedders.find(model) or self._embedders.own
            self._side = _Side(embedder, model.changed_at if model is not None else None)
        return self._side


class PassageRetriever(BaseRetriever):
    """Documents with ``metadata`` as `_hit` makes it, ``names`` the identifiers that name the whole article, and
    ``id`` the passage's public id.

    ``invoke(query, product=..., photos=...)`` prefers passages of that product, and those beside figures that look like
    the photos; it never widens what may be seen."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Index
    filters: Filters
    limit: int

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun | None = None,
        product: str | None = None,
        photos: Sequence[bytes] = (),
    ) -> list[Document]:
        filters = self.filters if product is None else replace(self.filters, products=(product,))
        return [hit.document for hit in self.index.search(query, photos=photos, filters=filters, limit=self.limit)]


class _Side:
    """An embedder that is served ``since`` then, and what was read of its vectors."""

    def __init__(self, embedder: Embedder, since: datetime | None) -> None:
        self.embedder = embedder
        self.since = since
        self.cache = VectorCache(embedder.name)
        self.headings = HeadingVectors(embedder.name)


@dataclass(frozen=True)
class _Query:
    """``vector``: (d,) float32; (0,) without text. ``looks``: as `pictures.look` gives them. ``unread_language``: as in
    `Hit`."""

    text: str
    vector: np.ndarray
    unread_language: str | None
    looks: np.ndarray | None = None


def _query(words: str, embedder: Embedder, looks: np.ndarray | None) -> _Query:
    if not words:
        return _Query("", np.zeros(0, dtype=np.float32), None, looks)
    vector = np.asarray(embedder.embeddings.embed_query(words), dtype=np.float32)
    return _Query(words, vector, _unread(words, embedder.languages), looks)


def _unread(query: str, languages: tuple[str, ...]) -> str | None:
    """The query's language, if it is surely one that the embedder does not read."""
    if not languages:
        return None
    language, sure = detect(query)
    return language if sure > _SURE_OF_LANGUAGE and language not in languages else None


@dataclass(frozen=True)
class _Text:
    """A candidate's heading, and the stems of heading and text."""

    heading: str
    head: list[str]
    body: list[str]

    @cached_property
    def words(self) -> set[str]:
        return {*self.head, *self.body}


@dataclass(frozen=True)
class _Found:
    """Candidates: rows of `Vectors`, the words' counts, by identifier the rows that carry it and the articles that it
    names, and by row how much a figure looks like the photo."""

    rows: np.ndarray
    meaning: InMemory | InDatabase | None  # None without text
    lead: float
    counts: Mapping[str, int]
    codes: Mapping[str, np.ndarray]
    named: Mapping[str, np.ndarray]
    alike: Mapping[int, float]

    def cosines(self, rows: np.ndarray) -> np.ndarray:
        return self.meaning.cosines(rows) if self.meaning is not None else np.zeros(len(rows), dtype=np.float32)


def _hits(
    session: Session,
    vectors: Vectors,
    headings: HeadingVectors,
    *,
    query: _Query,
    found: _Found,
    filters: Filters,
    limit: int,
) -> list[Hit]:
    """The candidates scored, best first. Ones that were removed a moment ago are left out."""
    wanted = {stem(word) for word in found.counts}
    texts = _texts(session, vectors.ids[found.rows].tolist(), wanted)
    rows = found.rows[[passage_id in texts for passage_id in vectors.ids[found.rows].tolist()]]
    passages = [texts[passage_id] for passage_id in vectors.ids[rows].tolist()]
    similarities = found.cosines(rows)
    shown = [passage.heading for passage in passages] if query.text else []
    heading_cosines = headings.cosines(session, shown, query.vector)
    scores = _scores(
        vectors, rows, passages, query=query, found=found, filters=filters, cosines=(similarities, heading_cosines)
    )
    best = np.lexsort((rows, -scores))[:limit].tolist()
    whole = _passages(session, vectors.ids[rows[best]].tolist())
    return [
        _hit(
            whole[int(vectors.ids[rows[place]])],
            score=float(scores[place]),
            similarity=float(similarities[place]),
            words=tuple(word for word in found.counts if stem(word) in passages[place].words),
            codes=tuple(code for code, carrying in found.codes.items() if rows[place] in carrying),
            names=tuple(code for code, named in found.named.items() if vectors.places[rows[place]] in named),
            resemblance=found.alike.get(int(rows[place])),
            unread_language=query.unread_language,
        )
        for place in best
        if int(vectors.ids[rows[place]]) in whole
    ]


def _find(session: Session, vectors: Vectors, *, query: _Query, models: tuple[str, str], filters: Filters) -> _Found:
    """What words, meaning, identifiers and photos each propose, of what may be found. ``models``: the embedder of texts
    and that of photos."""
    allowed = vectors.allowed(filters)
    alike = {}
    if query.looks is not None:
        near_photos = resembling(session, query.looks, model=models[1], filters=filters)
        alike = {row: near_photos[int(vectors.ids[row])] for row in vectors.rows(list(near_photos)).tolist()}
    pictured = np.array(sorted(alike), dtype=np.int64)
    if not query.text:
        return _Found(pictured[allowed[pictured]], None, 0.0, {}, {}, {}, alike)
    meaning = meaning_of(session, vectors, query.vector, model=models[0])
    near = meaning.near(filters, CANDIDATES)
    counts = occurrences(session, vectors, query_words(query.text))
    searched = rarest(counts, most=READ_AT_MOST if vectors.in_memory else READ_AT_MOST_POSTGRESQL)
    by_words = vectors.rows(find(session, searched, filters=filters, limit=CANDIDATES))
    codes = {}
    for code in spot(query.text)[:_MOST_CODES]:
        rows = vectors.rows(_carrying(lambda form: find_code(session, form, filters=filters, limit=CANDIDATES), code))
        codes[code] = rows[allowed[rows]]
    rows = np.unique(np.concatenate([by_words, near.rows, pictured, *codes.values()]))
    named = {code: _named(vectors, carrying) for code, carrying in codes.items()}
    return _Found(rows[allowed[rows]], meaning, near.lead, counts, codes, named, alike)


def _named(vectors: Vectors, carrying: np.ndarray) -> np.ndarray:
    """Places of the articles that an identifier names, as "X4" does the manual of the TrailMaster X4: it stands in the
    first passage and in several others. All of such an article is about it, whether a passage repeats it or not."""
    places, counts = np.unique(vectors.places[carrying], return_counts=True)
    often = places[counts >= _NAMES_FROM]
    first = np.array([np.argmax(vectors.places == place) for place in often], dtype=np.int64)
    named: np.ndarray = often[np.isin(first, carrying)]
    return named


def _carrying(find_form: Callable[[str], list[int]], code: str) -> list[int]:
    """Ids of passages with the identifier; if there is none, with the nearest other form of it that there is."""
    return next((found for form in (code, *other_forms(code)) if (found := find_form(form))), [])


def _texts(session: Session, ids: Sequence[int], wanted: set[str]) -> dict[int, _Text]:
    """Passage id to its heading and the stems in it, those that are ``wanted``."""
    query = select(Passage.id, Passage.heading, Passage.text).where(Passage.id.in_(ids))
    return {
        row[0]: _Text(row[1], known_stems(row[1], wanted), known_stems(row[2], wanted))
        for row in session.execute(query)
    }


def _passages(session: Session, ids: Sequence[int]) -> dict[int, Passage]:
    query = select(Passage).where(Passage.id.in_(ids)).options(joinedload(Passage.article))
    return {passage.id: passage for passage in session.scalars(query)}


def _scores(
    vectors: Vectors,
    rows: np.ndarray,
    passages: Sequence[_Text],
    *,
    query: _Query,
    found: _Found,
    filters: Filters,
    cosines: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """(len(rows),) 0 to 1. ``cosines``: of the passages and of their headings."""
    reads = query.unread_language is None
    words = fusion.query_of(found.counts, passages=len(vectors), only_known=not reads)
    sure = certain(query.text)
    alike = np.array([found.alike.get(row, 0.0) for row in rows.tolist()], dtype=np.float32)
    if not query.text:
        return alike
    bonuses = fusion.PICTURE_BONUS * alike
    if filters.products:
        bonuses += fusion.PRODUCT_BONUS * vectors.about(rows, filters.products)
    identifiers = np.zeros(len(rows), dtype=np.float32)
    for code, carrying in found.codes.items():
        rarity = 1.0 / (1.0 + math.log1p(len(carrying)))
        about = np.isin(rows, carrying) | np.isin(vectors.places[rows], found.named[code])
        if code in sure:
            identifiers += rarity * about
        else:
            bonuses += fusion.NUMBER_BONUS * rarity * about
    scores = fusion.fuse(
        similarities=cosines[0],
        headings=cosines[1],
        matches=[fusion.word_match(words, heading=passage.head, text=passage.body) for passage in passages],
        lead=found.lead,
        bonuses=bonuses,
        reads=reads,
    )
    return fusion.identifiers_first(scores, identifiers)


def _hit(
    passage: Passage,
    *,
    score: float,
    similarity: float,
    words: tuple[str, ...],
    codes: tuple[str, ...],
    names: tuple[str, ...],
    resemblance: float | None,
    unread_language: str | None,
) -> Hit:
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
        "names": list(names),
        "resemblance": resemblance,
        "unread_language": unread_language,
    }
    document = Document(page_content=passage.text, id=passage.public_id, metadata=metadata)
    return Hit(document, score, similarity, words, codes, resemblance, unread_language=unread_language)
