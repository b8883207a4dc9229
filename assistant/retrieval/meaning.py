"""Nearest passages by meaning: exactly, in memory, on SQLite; by the database's own index on PostgreSQL.

On PostgreSQL the filters are part of the query, and the index (HNSW, made by `assistant.knowledge.indexing`) is scanned
until there are enough passages that may be found. Without that index the search is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from assistant.retrieval import fusion
from assistant.retrieval.fulltext import MAY_BE_FOUND, Filters, bound
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
class Near:
    """Rows of `Vectors` near the query whose passages may be found, and the lead of the best (`fusion.lead`)."""

    rows: np.ndarray
    lead: float


class InMemory:
    """All cosines of a snapshot, as one product of matrix and vector."""

    def __init__(self, vectors: Vectors, query: np.ndarray) -> None:
        self._vectors = vectors
        self._any = vectors.matrix.shape[1] > 0
        self._cosines = vectors.matrix @ query if self._any else np.zeros(len(vectors), dtype=np.float32)

    def near(self, filters: Filters, number: int) -> Near:
        if not self._any:  # no vectors of this embedder: words have to do
            return Near(np.zeros(0, dtype=np.int64), 0.0)
        allowed = self._vectors.allowed(filters)
        masked = np.where(allowed, self._cosines, -2.0)
        best = np.argpartition(-masked, number)[:number] if len(masked) > number else np.arange(len(masked))
        return Near(best[allowed[best]], fusion.lead(self._cosines[best[allowed[best]]]))

    def cosines(self, rows: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._cosines[rows]
        return found


class InDatabase:
    """Asks PostgreSQL. ``model``: the embedding model whose vectors are compared."""

    def __init__(self, session: Session, vectors: Vectors, query: np.ndarray, *, model: str) -> None:
        self._session = session
        self._vectors = vectors
        self._query = str(query.astype(np.float16).astype(np.float32).tolist())
        # Written into the statement: only then is the index for this model and dimension used.
        self._distance = f"(v.embedding::halfvec({len(query)})) <#> CAST(:query AS halfvec({len(query)}))"
        self._model = "'" + model.replace("'", "''").replace(":", "\\:") + "'"

    def near(self, filters: Filters, number: int) -> Near:
        self._session.execute(text(_TUNED))
        statement = f"""
            SELECT p.id, {self._distance} AS distance FROM vectors v
            JOIN passages p ON p.content_hash = v.content_hash JOIN articles a ON a.id = p.article_id
            WHERE v.embedding_model = {self._model} AND v.kind = 'passage' AND {MAY_BE_FOUND}
            ORDER BY {self._distance} LIMIT :limit
        """  # noqa: S608  (only our own constants, a number and a quoted name are put in)
        values = {"query": self._query, "limit": number, **bound(filters)}
        found = self._session.execute(text(statement), values).all()
        cosines = np.array([-row[1] for row in found], dtype=np.float32)
        return Near(self._vectors.rows([row[0] for row in found]), fusion.lead(cosines))

    def cosines(self, rows: np.ndarray) -> np.ndarray:
        ids = self._vectors.ids[rows].tolist()
        statement = f"""
            SELECT p.id, -(v.embedding <#> CAST(:query AS halfvec)) FROM passages p
            JOIN vectors v ON v.content_hash = p.content_hash AND v.embedding_model = {self._model}
            WHERE p.id = ANY(:ids)
        """  # noqa: S608
        found = self._session.execute(text(statement), {"query": self._query, "ids": ids})
        known = {int(row[0]): float(row[1]) for row in found}
        return np.array([known.get(one, 0.0) for one in ids], dtype=np.float32)


def meaning_of(session: Session, vectors: Vectors, query: np.ndarray, *, model: str) -> InMemory | InDatabase:
    """``query``: (d,) float32, of unit length."""
    if vectors.in_memory:
        return InMemory(vectors, query)
    return InDatabase(session, vectors, query, model=model)
