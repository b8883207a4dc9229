"""Candidates: the passages that words, meaning, exact identifiers and photos each propose for a query.

Nothing is ranked here (see `ranking`). Only what the filters allow is proposed; the database filters, and its results
are checked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from assistant.ports import Embedder
from assistant.retrieval.fulltext import READ_AT_MOST, READ_AT_MOST_POSTGRESQL, Filters, find, find_code, rarest
from assistant.retrieval.meaning import InDatabase, InMemory, meaning_of
from assistant.retrieval.pictures import resembling
from assistant.retrieval.vectors import Vectors, occurrences
from assistant.text.identifiers import other_forms, spot
from assistant.text.languages import detect
from assistant.text.words import query_words

# Words, meaning and each identifier propose at most this many passages each.
CANDIDATES = 60
_MOST_CODES = 16
# An identifier in this many passages of an article may be its name.
_NAMES_FROM = 3
# Languages of short texts are easily confused: below this confidence an English question may be taken for another.
_SURE_OF_LANGUAGE = 0.6


@dataclass(frozen=True)
class Query:
    """``vector``: (d,) float32, (0,) without text. ``unread_language``: the query's language if the embedder does not
    read it. ``looks``: see `pictures.look`."""

    text: str
    vector: np.ndarray
    unread_language: str | None
    looks: np.ndarray | None = None


@dataclass(frozen=True)
class Candidates:
    """``rows`` of `Vectors`; how many passages have each query word; for each identifier, the rows that have it and the
    places of the articles it names; for each row, how much a figure resembles the photo."""

    rows: np.ndarray
    meaning: InMemory | InDatabase | None  # None without text
    lead: float
    counts: Mapping[str, int]
    codes: Mapping[str, np.ndarray]
    named: Mapping[str, np.ndarray]
    alike: Mapping[int, float]

    def cosines(self, rows: np.ndarray) -> np.ndarray:
        return self.meaning.cosines(rows) if self.meaning is not None else np.zeros(len(rows), dtype=np.float32)


def prepare_query(text: str, embedder: Embedder, looks: np.ndarray | None) -> Query:
    """Embeds the text, so call it with no transaction open."""
    if not text:
        return Query("", np.zeros(0, dtype=np.float32), None, looks)
    vector = np.asarray(embedder.embeddings.embed_query(text), dtype=np.float32)
    return Query(text, vector, _unread_language(text, embedder.languages), looks)


def _unread_language(query: str, languages: tuple[str, ...]) -> str | None:
    """The query's language, if it is certain and not one that the embedder reads."""
    if not languages:
        return None
    language, confidence = detect(query)
    return language if confidence > _SURE_OF_LANGUAGE and language not in languages else None


def find_candidates(
    session: Session, vectors: Vectors, *, query: Query, models: tuple[str, str], filters: Filters
) -> Candidates:
    """``models``: the names of the text embedder and of the photo embedder."""
    allowed = vectors.allowed(filters)
    alike = {}
    if query.looks is not None:
        near_photos = resembling(session, query.looks, model=models[1], filters=filters)
        alike = {row: near_photos[int(vectors.ids[row])] for row in vectors.rows(list(near_photos)).tolist()}
    pictured = np.array(sorted(alike), dtype=np.int64)
    if not query.text:
        return Candidates(pictured[allowed[pictured]], None, 0.0, {}, {}, {}, alike)
    meaning = meaning_of(session, vectors, query.vector, model=models[0])
    near = meaning.near(filters, CANDIDATES)
    counts = occurrences(session, vectors, query_words(query.text))
    searched = rarest(counts, most=READ_AT_MOST if vectors.in_memory else READ_AT_MOST_POSTGRESQL)
    by_words = vectors.rows(find(session, searched, filters=filters, limit=CANDIDATES))
    codes = {}
    for code in spot(query.text)[:_MOST_CODES]:
        rows = vectors.rows(_find_any_form(session, code, filters))
        codes[code] = rows[allowed[rows]]
    rows = np.unique(np.concatenate([by_words, near.rows, pictured, *codes.values()]))
    named = {code: _named_articles(vectors, carrying) for code, carrying in codes.items()}
    return Candidates(rows[allowed[rows]], meaning, near.lead, counts, codes, named, alike)


def _find_any_form(session: Session, code: str, filters: Filters) -> list[int]:
    """Ids of passages with the identifier; if there are none, with the nearest other form of it that occurs."""
    for form in (code, *other_forms(code)):
        if found := find_code(session, form, filters=filters, limit=CANDIDATES):
            return found
    return []


def _named_articles(vectors: Vectors, carrying: np.ndarray) -> np.ndarray:
    """Places of the articles that an identifier names, as "X4" names the manual of the TrailMaster X4: it occurs in the
    first passage and in several others. The whole article is about it, whether a passage repeats it or not."""
    places, counts = np.unique(vectors.places[carrying], return_counts=True)
    often = places[counts >= _NAMES_FROM]
    first = np.array([np.argmax(vectors.places == place) for place in often], dtype=np.int64)
    named: np.ndarray = often[np.isin(first, carrying)]
    return named
