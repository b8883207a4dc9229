"""The index: passages found by exact identifiers, by words (BM25) and by meaning (embeddings), in one ranking.

The database finds words and identifiers (FTS5 or tsvector). Meaning is an exact search over unit vectors that are kept
in one matrix, or PostgreSQL's search. `candidates` collects what each proposes, `ranking` scores them all alike.
Filters by visibility and language apply before anything is ranked: a passage that may not be seen is never a candidate,
and the database's filtering is checked again. Products are a preference: the filter's, and those that the query names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from assistant.db import Database
from assistant.models import Passage
from assistant.ports import Embedder, PhotoEmbedder, Scale, Standing
from assistant.retrieval import fusion
from assistant.retrieval.candidates import Candidates, Query, find_candidates, prepare_query
from assistant.retrieval.embedders import Embedders, kept, served
from assistant.retrieval.fulltext import Filters
from assistant.retrieval.meaning import shared_out
from assistant.retrieval.pictures import look
from assistant.retrieval.ranking import read_texts, score
from assistant.retrieval.rerank import RERANKED, Reranking
from assistant.retrieval.scales import usual_scale
from assistant.retrieval.vectors import HeadingVectors, VectorCache, Vectors, product_name, unit_cosines
from assistant.text.names import Names
from assistant.text.storable import storable
from assistant.text.words import stem

# So many passages tell what similarity is usual: the error of their mean is a sixteenth of their deviation.
_BACKGROUND = 256

__all__ = ["Filters", "Hit", "Index", "PassageRetriever"]


@dataclass(frozen=True)
class Hit:
    """A passage that was found, and why: score (0 to 1), cosine, and which of the query's words and identifiers it
    has."""

    document: Document
    score: float
    similarity: float | None
    words: tuple[str, ...]
    codes: tuple[str, ...]
    # How much a figure beside it resembles the query's photo, 0 to 1; None if none does.
    resemblance: float | None = None
    # The reranker's score; None without a reranker, or if it had no time for this passage.
    reranked: float | None = None
    # The query's language if the embedder does not read it: words and identifiers then count more than meaning.
    unread_language: str | None = None


class Index:
    """Thread-safe, one per process. The database, which all processes share, says which embedder is served."""

    def __init__(
        self,
        db: Database,
        embedders: Embedders,
        *,
        photo_embedder: PhotoEmbedder | None = None,
        reranking: Reranking | None = None,
        product_names: Sequence[tuple[str, str]] = (),
    ) -> None:
        """``product_names``: pairs of a product's name and the product, beside those that articles state."""
        self._db = db
        self._embedders = embedders
        self._photo_embedder = photo_embedder
        self._reranking = reranking
        self._product_names = tuple(product_names)
        self._names: tuple[list[str], Names] = ([], Names(self._product_names))
        self._serving = _Serving(embedders.own, embedders.second_to(embedders.own), None)

    @property
    def embedding_model(self) -> str:
        """The name of the embedder that queries are embedded with, as of the last search."""
        return self._serving.embedder.name

    def search(
        self, query: str, *, photos: Sequence[bytes] = (), filters: Filters | None = None, limit: int = 8
    ) -> list[Hit]:
        """The best passages first; none for an empty query or knowledge base. ``photos``, normalised by `media`, find
        passages beside figures that resemble them; they are ignored without a photo embedder."""
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

    def _search(self, text: str, looks: np.ndarray | None, filters: Filters, limit: int) -> list[Hit]:
        while True:
            # No transaction is open while the model works.
            serving, mixed = self._serving, self._serving.mixed
            query = prepare_query(text, serving.embedder, serving.second, looks, mixed=mixed)
            with self._db.read() as session:
                current = self._current(session)
                vectors = current.current(session)
                if not len(vectors):
                    return []
                if current is serving and current.mixed == mixed and not current.without_scale:
                    query = query.measured(current.scales, current.standings)
                    return self._hits(session, current, vectors, query, filters, limit)
            # Since the last search another embedder has been served, or languages have changed: embed it again.
            current.borrow_scales()

    def _hits(
        self, session: Session, serving: _Serving, vectors: Vectors, query: Query, filters: Filters, limit: int
    ) -> list[Hit]:
        pictures = self._photo_embedder.name if self._photo_embedder is not None else ""
        names = self._names_of(vectors)
        found = find_candidates(session, vectors, query=query, pictures=pictures, filters=filters, names=names)
        return _rank(session, vectors, serving.headings, query=query, found=found, limit=limit)

    def products_in(self, text: str) -> list[str]:
        """Products named in the text: those of the knowledge base, and those that the index was given names of."""
        return list(self._names_of(self.refresh()).find(text).keys)

    def _names_of(self, vectors: Vectors) -> Names:
        """Names of products, kept until the knowledge base's products change."""
        products, names = self._names
        if products != vectors.products:
            named = {product_name(key) for _, key in self._product_names}
            own = [(product, product) for product in vectors.products if product_name(product) not in named]
            names = Names([*self._product_names, *own])
            self._names = (vectors.products, names)
        return names

    def retriever(self, filters: Filters | None = None, *, limit: int = 8) -> PassageRetriever:
        """The index as a LangChain retriever with fixed filters."""
        return PassageRetriever(index=self, filters=filters or Filters(), limit=limit)

    def refresh(self) -> Vectors:
        """Read what has changed in the database since the last search, so that the next one does not have to."""
        with self._db.read() as session:
            return self._current(session).current(session)

    def _current(self, session: Session) -> _Serving:
        """What is searched with now. Snapshots of an earlier embedder, or of one that was incomplete, are dropped."""
        models = kept(session)
        if self._serving.since != models.changed_at:
            # If the served embedder is not available here, ours has no vectors: the search goes by words.
            embedder = self._embedders.find(served(session)) or self._embedders.own
            self._serving = _Serving(embedder, self._embedders.second_to(embedder), models.changed_at)
        serving = self._serving
        known = {one.name: models.scale(one) for one in serving.embedders}
        serving.scales |= {name: scale for name, scale in known.items() if scale is not None}
        serving.standings = models.standings
        return serving


class PassageRetriever(BaseRetriever):
    """Documents whose ``id`` is the passage's public id and whose ``metadata`` is as in `_hit` and `Asked.of`.

    ``invoke(query, products=..., photos=...)`` prefers passages about those products and those beside figures that
    resemble the photos. It never widens what may be seen."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Index
    filters: Filters
    limit: int

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun | None = None,
        products: Sequence[str] = (),
        photos: Sequence[bytes] = (),
    ) -> list[Document]:
        filters = replace(self.filters, products=tuple(products)) if products else self.filters
        return [hit.document for hit in self.index.search(query, photos=photos, filters=filters, limit=self.limit)]


class _Serving:
    """The embedder that is served and the one that reads what it does not, ``since`` the last changes of embedders, and
    what has been read of their vectors."""

    def __init__(self, embedder: Embedder, second: Embedder | None, since: Mapping[str, datetime] | None) -> None:
        self.embedder = embedder
        self.second = second
        self.since = since
        self.embedders = [one for one in (embedder, second) if one is not None]
        self.scales: dict[str, Scale] = {}
        self.standings: Mapping[str, Standing] = {}
        names = [one.name for one in self.embedders]
        self.headings = {name: HeadingVectors(name) for name in names}
        self._cache = VectorCache(names)
        self._seen: Vectors | None = None
        # Whether there are passages that only the second reads.
        self.mixed = False

    @property
    def without_scale(self) -> list[Embedder]:
        return [one for one in self.embedders if one.name not in self.scales]

    def borrow_scales(self) -> None:
        """Until a scale is measured, the usual one is used: taken as they are, the cosines of some embedders make every
        passage an answer. Models may work, so call it with no transaction open."""
        for embedder in self.without_scale:
            self.scales[embedder.name] = usual_scale(embedder, asked=True)

    def current(self, session: Session) -> Vectors:
        vectors = self._cache.current(session)
        if self.second is not None and vectors is not self._seen:
            self._seen = vectors
            self.mixed = not vectors.written_in(self.embedder.languages).all()
        return vectors


def _rank(
    session: Session,
    vectors: Vectors,
    headings: Mapping[str, HeadingVectors],
    *,
    query: Query,
    found: Candidates,
    limit: int,
) -> list[Hit]:
    """The candidates, best first. Those that have just been removed are left out."""
    wanted = {stem(word) for word in found.counts}
    by_id = read_texts(session, vectors.ids[found.rows].tolist(), wanted)
    rows = found.rows[[passage_id in by_id for passage_id in vectors.ids[found.rows].tolist()]]
    texts = [by_id[passage_id] for passage_id in vectors.ids[rows].tolist()]
    similarities = found.similarities(rows)
    of_headings = _of_headings(session, vectors, headings, rows, [text.heading for text in texts], similarities, query)
    alike = (similarities, of_headings)
    scores = score(vectors, rows, texts, query=query, candidates=found, similarities=alike)
    best = np.lexsort((rows, -scores))[:limit].tolist()
    with_article = select(Passage).options(joinedload(Passage.article))
    chosen = session.scalars(with_article.where(Passage.id.in_(vectors.ids[rows[best]].tolist())))
    passages = {passage.id: passage for passage in chosen}
    of_all = _of_all(vectors, query, found)
    units = _of_units(session, vectors, passages, query)
    standings = _standings(vectors, rows[best], query)
    hits = []
    for place in best:
        passage = passages.get(int(vectors.ids[rows[place]]))
        if passage is not None:
            why = {
                "score": float(scores[place]),
                "similarity": float(similarities[place]),
                "words": [word for word in found.counts if stem(word) in texts[place].stems],
                **found.asked.of(vectors, int(rows[place])),
                "resemblance": found.alike.get(int(rows[place])),
                **of_all,
                "units": units.get(passage.id),
                "standing": standings.get(int(rows[place])),
            }
            hits.append(_hit(passage, why))
    return hits


def _of_all(vectors: Vectors, query: Query, found: Candidates) -> dict[str, Any]:
    """What all hits share: the language that was not read, the ``rarity`` of the query's words by stem, and as
    ``background`` the mean and standard deviation of the similarities of so many passages taken evenly from all."""
    rarity = fusion.query_of(found.counts, passages=len(vectors)).rarity
    some = np.unique(np.linspace(0, len(vectors) - 1, min(_BACKGROUND, len(vectors)), dtype=np.int64))
    usual = found.similarities(some)
    return {
        "unread_language": query.unread_language,
        "rarity": dict(rarity),
        "background": (float(usual.mean()), float(usual.std()), len(some)),
    }


def _standings(vectors: Vectors, rows: np.ndarray, query: Query) -> dict[int, Standing]:
    """By row, the standing of passages by the embedder that compares it with the query."""
    return {
        row: reading.standing
        for reading, compared in shared_out(vectors, query.readings)
        for row in rows[compared[rows]].tolist()
    }


def _of_headings(
    session: Session,
    vectors: Vectors,
    known: Mapping[str, HeadingVectors],
    rows: np.ndarray,
    headings: Sequence[str],
    similarities: np.ndarray,
    query: Query,
) -> np.ndarray:
    """(len(rows),) similarities of the passages' ``headings``, given the passages' own."""
    found = np.full(len(rows), -1.0, dtype=np.float32)
    for reading, compared in shared_out(vectors, query.readings):
        own = np.flatnonzero(compared[rows])
        theirs = [headings[place] for place in own.tolist()]
        cosines = known[reading.model].cosines(session, theirs, reading.vector)
        found[own] = reading.scale.similarities(cosines)
        # By an embedder whose scale is that of passages, texts as short as headings may be more alike, above all across
        # languages (E5, Chinese questions, English headings: .75 on average, passages .71). Then all are too high.
        if reading.scale != Scale() and len(own):
            found[own] -= max(0.0, float(found[own].mean() - similarities[own].mean()))
    return found


def _of_units(
    session: Session, vectors: Vectors, passages: Mapping[int, Passage], query: Query
) -> dict[int, list[float]]:
    """By passage, the similarities of its units (`text.units`), in order; without those that are not embedded yet."""
    found: dict[int, list[float]] = {}
    for reading, compared in shared_out(vectors, query.readings):
        rows = vectors.rows(sorted(passages))
        own = [passages[one] for one in vectors.ids[rows[compared[rows]]].tolist()]
        hashes = [passage.content_hash for passage in own]
        cosines = unit_cosines(session, hashes, reading.vector, embedding_model=reading.model)
        for passage in own:
            if passage.content_hash in cosines:
                found[passage.id] = reading.scale.similarities(cosines[passage.content_hash]).tolist()
    return found


def _hit(passage: Passage, why: dict[str, Any]) -> Hit:
    article = passage.article
    metadata = {
        "passage_id": passage.public_id,
        "article_id": article.public_id,
        "article_title": article.title,
        "heading": passage.heading,
        "url": article.url,
        "page": passage.page,
        "product": article.product,
        "language": article.language,
        "visibility": article.visibility.value,
        **why,
    }
    document = Document(page_content=passage.text, id=passage.public_id, metadata=metadata)
    return Hit(
        document,
        score=why["score"],
        similarity=why["similarity"],
        words=tuple(why["words"]),
        codes=tuple(why["codes"]),
        resemblance=why["resemblance"],
        unread_language=why["unread_language"],
    )
