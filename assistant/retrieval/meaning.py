"""Nearest passages by meaning: exactly, in memory, on SQLite; by the database's own index on PostgreSQL.

Two embedders may share the passages: one compares the query with those in the languages that it reads, the other with
the rest. Their similarities are on one scale (see `assistant.ports.search`), so the passages are ranked together.

On PostgreSQL the filters are part of the query, and the index (HNSW, made by `assistant.knowledge.indexing`) is scanned
until there are enough passages that may be found. Without that index the search is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from assistant.ports import USUAL_STANDING, Scale, Standing
from assistant.retrieval import fusion
from assistant.retrieval.fulltext import Filters, bound, may_be_found
from assistant.retrieval.vectors import Vectors

# How many neighbours HNSW keeps in view. On a million passages in two thousand clusters, 200 missed the right cluster
# for 1 to 5 % of queries, 400 for less than 1 %, and 600 for none, at 3 ms more.
EF_SEARCH = 600
# For the rest of the transaction. Starting a parallel worker takes longer than a search may, and everything a search
# needs has an index: given a LIMIT, PostgreSQL is too ready to scan the table instead.
_TUNED = f"""SELECT set_config('hnsw.ef_search', '{EF_SEARCH}', true),
    set_config('hnsw.iterative_scan', 'strict_order', true),
    set_config('max_parallel_workers_per_gather', '0', true), set_config('enable_seqscan', 'off', true)"""


@dataclass(frozen=True)
class Reading:
    """What an embedder makes of the query: ``vector`` (d,) float32, of unit length. It is compared with the passages in
    these ``languages``; without any, with all that no reading before it is compared with. ``scale``: its cosines'."""

    model: str
    vector: np.ndarray
    languages: tuple[str, ...] = ()
    scale: Scale = field(default_factory=Scale)
    standing: Standing = USUAL_STANDING


@dataclass(frozen=True)
class Near:
    """Rows of `Vectors` near the query whose passages may be found, and the lead of the best (`fusion.lead`)."""

    rows: np.ndarray
    lead: float


class InMemory:
    """All similarities of a snapshot, as a product of matrix and vector for each reading."""

    def __init__(self, vectors: Vectors, readings: Sequence[Reading]) -> None:
        self._vectors = vectors
        self._any = False
        self._similarities = np.zeros(len(vectors), dtype=np.float32)
        for reading, compared in shared_out(vectors, readings):
            matrix = (vectors.matrices or {})[reading.model]
            if matrix.shape[1]:
                self._any = True
                cosines = matrix @ reading.vector
                known = compared & (cosines != 0.0)  # a passage without a vector is similar to nothing
                self._similarities = np.where(known, reading.scale.similarities(cosines), self._similarities)

    def near(self, filters: Filters, number: int) -> Near:
        if not self._any:  # no vectors of this embedder: words have to do
            return Near(np.zeros(0, dtype=np.int64), 0.0)
        allowed = self._vectors.allowed(filters)
        masked = np.where(allowed, self._similarities, -2.0)
        best = np.argpartition(-masked, number)[:number] if len(masked) > number else np.arange(len(masked))
        best = best[allowed[best]]
        return Near(best, fusion.lead(self._similarities[best]))

    def similarities(self, rows: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._similarities[rows]
        return found


class InDatabase:
    """Asks PostgreSQL, once for each reading."""

    def __init__(self, session: Session, vectors: Vectors, readings: Sequence[Reading]) -> None:
        self._session = session
        self._vectors = vectors
        self._readings = tuple(readings)

    def near(self, filters: Filters, number: int) -> Near:
        self._session.execute(text(_TUNED))
        found = [row for reading in self._readings for row in self._nearest(reading, filters, number)]
        best = sorted(found, key=lambda row: -row[1])[:number]
        similarities = np.array([similarity for _, similarity in best], dtype=np.float32)
        return Near(self._vectors.rows([passage_id for passage_id, _ in best]), fusion.lead(similarities))

    def _nearest(self, reading: Reading, filters: Filters, number: int) -> list[tuple[int, float]]:
        # Dimension and model are written into the statement: only then is the index for them used.
        size = len(reading.vector)
        distance = f"(v.embedding::halfvec({size})) <#> CAST(:query AS halfvec({size}))"
        others = [language for other in self._readings for language in other.languages]
        own = "= ANY(:spoken)" if reading.languages else "<> ALL(:spoken)"
        statement = f"""
            SELECT p.id, {distance} AS distance FROM vectors v
            JOIN passages p ON p.content_hash = v.content_hash JOIN articles a ON a.id = p.article_id
            WHERE v.embedding_model = {_quoted(reading.model)} AND v.kind = 'passage' AND {may_be_found(filters)}
            {f"AND split_part(lower(a.language), '-', 1) {own}" if others else ""}
            ORDER BY {distance} LIMIT :limit
        """  # noqa: S608  (only our own constants, a number and a quoted name are put in)
        values = {"query": _halves(reading.vector), "limit": number, **bound(filters)}
        if others:
            values["spoken"] = list(reading.languages) or others
        found = self._session.execute(text(statement), values).all()
        similarities = reading.scale.similarities(np.array([-row[1] for row in found], dtype=np.float32))
        return [(int(row[0]), float(similarity)) for row, similarity in zip(found, similarities, strict=True)]

    def similarities(self, rows: np.ndarray) -> np.ndarray:
        known: dict[int, float] = {}
        for reading, compared in shared_out(self._vectors, self._readings):
            statement = f"""
                SELECT p.id, -(v.embedding <#> CAST(:query AS halfvec)) FROM passages p
                JOIN vectors v ON v.content_hash = p.content_hash AND v.embedding_model = {_quoted(reading.model)}
                WHERE p.id = ANY(:ids)
            """  # noqa: S608
            ids = self._vectors.ids[rows[compared[rows]]].tolist()
            found = self._session.execute(text(statement), {"query": _halves(reading.vector), "ids": ids}).all()
            similarities = reading.scale.similarities(np.array([row[1] for row in found], dtype=np.float32))
            known.update(zip([int(row[0]) for row in found], similarities.tolist(), strict=True))
        return np.array([known.get(one, 0.0) for one in self._vectors.ids[rows].tolist()], dtype=np.float32)


def meaning_of(session: Session, vectors: Vectors, readings: Sequence[Reading]) -> InMemory | InDatabase:
    return InMemory(vectors, readings) if vectors.in_memory else InDatabase(session, vectors, readings)


def shared_out(vectors: Vectors, readings: Sequence[Reading]) -> Iterator[tuple[Reading, np.ndarray]]:
    """For each reading, (n,) bool: the passages that it is compared with."""
    left = np.ones(len(vectors), dtype=bool)
    for reading in readings:
        compared = left & vectors.written_in(reading.languages) if reading.languages else left
        left = left & ~compared
        yield reading, compared


def _halves(vector: np.ndarray) -> str:
    return str(vector.astype(np.float16).astype(np.float32).tolist())


def _quoted(model: str) -> str:
    return "'" + model.replace("'", "''").replace(":", "\\:") + "'"
