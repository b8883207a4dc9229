"""Candidates: the passages that words, meaning, exact identifiers and photos each propose for a query.

Nothing is ranked here (see `ranking`). Only what the filters allow is proposed; the database filters, and its results
are checked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy.orm import Session

from assistant.ports import Embedder, Scale, Standing
from assistant.retrieval.embedders import reader_of
from assistant.retrieval.fulltext import READ_AT_MOST, READ_AT_MOST_POSTGRESQL, Filters, find, rarest
from assistant.retrieval.identifiers import Asked, asked_in
from assistant.retrieval.meaning import InDatabase, InMemory, Reading, meaning_of
from assistant.retrieval.pictures import resembling
from assistant.retrieval.vectors import Vectors, occurrences
from assistant.text.names import Names
from assistant.text.words import query_words

# Words and meaning propose at most this many passages each: of all, of the product's, of those with each identifier.
CANDIDATES = 60


@dataclass(frozen=True)
class Query:
    """``readings``: none without text. ``unread_language``: the query's language if no embedder reads it. ``looks``:
    see `pictures.look`."""

    text: str
    readings: tuple[Reading, ...]
    unread_language: str | None
    looks: np.ndarray | None = None

    def measured(self, scales: Mapping[str, Scale], standings: Mapping[str, Standing]) -> Query:
        """With what was measured of the embedders, by their names."""
        known = (
            replace(one, scale=scales[one.model], standing=standings.get(one.model, one.standing))
            for one in self.readings
        )
        return replace(self, readings=tuple(known))


@dataclass(frozen=True)
class Candidates:
    """``rows`` of `Vectors`; how many passages have each query word; what the query names; for each row, how much a
    figure resembles the photo."""

    rows: np.ndarray
    meaning: InMemory | InDatabase | None  # None without text
    lead: float
    counts: Mapping[str, int]
    asked: Asked
    alike: Mapping[int, float]

    def similarities(self, rows: np.ndarray) -> np.ndarray:
        return self.meaning.similarities(rows) if self.meaning is not None else np.zeros(len(rows), dtype=np.float32)


def prepare_query(
    text: str, first: Embedder, second: Embedder | None, looks: np.ndarray | None, *, mixed: bool = False
) -> Query:
    """``second`` reads what ``first`` does not, queries or passages; ``mixed``: whether there are such passages. Embeds
    the text, so call it with no transaction open."""
    if not text:
        return Query("", (), None, looks)
    reader, unread_language = reader_of(text, first, second)
    if mixed and second is not None and reader is first and unread_language is None:
        return Query(text, (_read(text, first, first.languages), _read(text, second)), None, looks)
    return Query(text, (_read(text, reader),), unread_language, looks)


def _read(text: str, embedder: Embedder, languages: tuple[str, ...] = ()) -> Reading:
    return Reading(embedder.name, np.asarray(embedder.embeddings.embed_query(text), dtype=np.float32), languages)


def find_candidates(
    session: Session, vectors: Vectors, *, query: Query, pictures: str, filters: Filters, names: Names
) -> Candidates:
    """``pictures``: the name of the photo embedder. ``names``: of products."""
    allowed = vectors.allowed(filters)
    alike = {}
    if query.looks is not None:
        near_photos = resembling(session, query.looks, model=pictures, filters=filters)
        alike = {row: near_photos[int(vectors.ids[row])] for row in vectors.rows(list(near_photos)).tolist()}
    pictured = np.array(sorted(alike), dtype=np.int64)
    asked = asked_in(session, vectors, query.text, filters=filters, names=names)
    if not query.text:
        return Candidates(pictured[allowed[pictured]], None, 0.0, {}, asked, alike)
    meaning = meaning_of(session, vectors, query.readings)
    near = meaning.near(filters, CANDIDATES)
    counts = occurrences(session, vectors, query_words(query.text))
    most = READ_AT_MOST if vectors.in_memory else READ_AT_MOST_POSTGRESQL
    words = rarest(counts, most=most)
    by_words = vectors.rows(find(session, words, filters=filters, limit=CANDIDATES))
    # Passages about the product or with an identifier may not be among the best of all: the best of them are proposed,
    # unless there are more than a search may read; then some are among the best of all.
    proposed = [by_words, near.rows, pictured]
    for rows in (asked.about, *(one.about for one in asked.identifiers if one.weights.any())):
        if len(rows) <= CANDIDATES:
            proposed.append(rows)
        elif len(rows) <= most:
            among = vectors.ids[rows].tolist()
            proposed.append(rows[np.argsort(-meaning.similarities(rows), kind="stable")[:CANDIDATES]])
            proposed.append(vectors.rows(find(session, words, filters=filters, limit=CANDIDATES, among=among)))
    rows = np.unique(np.concatenate(proposed))
    return Candidates(rows[allowed[rows]], meaning, near.lead, counts, asked, alike)
