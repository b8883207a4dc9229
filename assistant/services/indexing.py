"""What the index needs beyond the passages' own vectors: those of their headings.

A heading is embedded once, however many passages stand under it. It is made after the passages: until it is there, a
passage is ranked without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from assistant.db import Database
from assistant.models import Passage, Vector
from assistant.retrieval.vectors import text_hash

Progress = Callable[[int, int, str], None]

_AT_ONCE = 64
# Passages from which PostgreSQL gets an index of vectors, and the memory to build it with.
INDEX_FROM = 20_000
_BUILD_MEMORY = "2GB"
# An index that was being built when its process died is there, but not used.
_INVALID = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('{name}') AND NOT indisvalid"


def embed_headings(
    db: Database,
    *,
    embeddings: Embeddings,
    embedding_model: str,
    progress: Progress = lambda _done, _total, _what: None,
) -> int:
    """Embed the headings that have no vector yet. Returns how many. Killed, it goes on where it was."""
    with db.read() as session:
        headings = session.scalars(select(Passage.heading).distinct()).all()
        known = select(Vector.content_hash).where(Vector.embedding_model == embedding_model)
        have = set(session.scalars(known))
    missing = {digest: heading for heading in headings if (digest := text_hash(heading)) not in have}
    store_vectors(db, missing, embeddings=embeddings, embedding_model=embedding_model, progress=progress)
    return len(missing)


def store_vectors(
    db: Database, texts: Mapping[str, str], *, embeddings: Embeddings, embedding_model: str, progress: Progress
) -> None:
    """Embed texts, by their hash, in batches, each stored at once. No transaction is open while the model works."""
    order = sorted(texts, key=lambda digest: len(texts[digest]))  # a batch is as slow as its longest text
    for start in range(0, len(order), _AT_ONCE):
        progress(start, len(order), "Embedding headings")
        some = order[start : start + _AT_ONCE]
        rows: list[dict[str, Any]] = [
            {"content_hash": digest, "embedding_model": embedding_model, "embedding": to_bytes(vector)}
            for digest, vector in zip(some, embeddings.embed_documents([texts[d] for d in some]), strict=True)
        ]
        try:
            _insert(db, rows)
        except IntegrityError:  # somebody else has made some of them meanwhile
            for row in rows:
                _insert_one(db, row)
    progress(len(order), len(order), "Embedding headings")


def to_bytes(vector: Iterable[float]) -> bytes:
    """A vector as it is stored: float32, little-endian, unit length."""
    row = np.asarray(list(vector), dtype="<f4")
    return bytes((row / max(float(np.linalg.norm(row)), 1e-12)).astype("<f4").tobytes())


def _insert(db: Database, rows: list[dict[str, Any]]) -> None:
    with db.begin() as session:
        session.add_all([Vector(**row) for row in rows])


def _insert_one(db: Database, row: dict[str, Any]) -> None:
    with db.begin() as session:
        key = (Vector.content_hash == row["content_hash"], Vector.embedding_model == row["embedding_model"])
        session.execute(delete(Vector).where(*key))
        session.add(Vector(**row))


def index_vectors(db: Database, *, embedding_model: str) -> bool:
    """On PostgreSQL, make the HNSW index of this model's passages once there are `INDEX_FROM`; while it is made, they
    are searched and changed as before. Returns whether there is one. Below that an exact search is as fast, and exact.
    """
    if db.is_sqlite:
        return False
    with db.read() as session:
        passages = select(Passage.embedding).where(Passage.embedding_model == embedding_model)
        if len(session.scalars(passages.limit(1)).all()) == 0:
            return False
        dimensions = len(session.scalars(passages.limit(1)).one()) // 4
        count = session.execute(select(func.count()).select_from(passages.subquery())).scalar_one()
    if count < INDEX_FROM:
        return False
    name = f"fts_hnsw_{hashlib.sha256(f'{embedding_model} {dimensions}'.encode()).hexdigest()[:16]}"
    quoted = embedding_model.replace("'", "''")
    # Outside of a transaction: PostgreSQL wants it so, for an index that is built beside the work.
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(
            f"DROP INDEX IF EXISTS {name}"
            if connection.exec_driver_sql(_INVALID.format(name=name)).scalar_one_or_none()
            else "SELECT 1"
        )
        connection.exec_driver_sql(f"SET maintenance_work_mem = '{_BUILD_MEMORY}'")
        connection.exec_driver_sql(
            f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON passages USING hnsw "
            f"((embedding::halfvec({dimensions})) halfvec_ip_ops) WHERE embedding_model = '{quoted}'"
        )
        connection.exec_driver_sql("RESET maintenance_work_mem")
    return True
