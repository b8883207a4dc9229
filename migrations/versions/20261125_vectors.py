"""vectors of headings, pictures and the next embedding model; on PostgreSQL half floats that can be indexed

PostgreSQL needs the extension pgvector from here on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import op

revision = "vectors"
down_revision = "knowledge_sources"

_AT_ONCE = 1000


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    if not is_sqlite:
        op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.create_table(
        "vectors",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("embedding_model", sa.Text(), nullable=False),
        sa.Column("embedding", sa.LargeBinary() if is_sqlite else _half_vector(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vectors")),
        sa.UniqueConstraint("content_hash", "embedding_model", name=op.f("uq_vectors_content_hash_embedding_model")),
    )
    op.create_index(op.f("ix_vectors_embedding_model"), "vectors", ["embedding_model"], unique=False)
    if not is_sqlite:
        _convert(_half_vector(), lambda stored: str(np.frombuffer(stored, dtype="<f4").tolist()))


def downgrade() -> None:
    op.drop_index(op.f("ix_vectors_embedding_model"), table_name="vectors")
    op.drop_table("vectors")
    if op.get_bind().dialect.name != "sqlite":
        _convert(sa.LargeBinary(), lambda stored: np.array(json.loads(str(stored)), dtype="<f4").tobytes())
        op.execute("DROP EXTENSION vector")


def _half_vector() -> Any:
    from pgvector.sqlalchemy import HALFVEC

    return HALFVEC()


def _convert(kind: Any, converted: Callable[[Any], Any]) -> None:
    """Give the passages' column another type, keeping what is in it."""
    op.alter_column("passages", "embedding", new_column_name="embedding_before")
    op.add_column("passages", sa.Column("embedding", kind, nullable=True))
    connection, last = op.get_bind(), 0
    read = sa.text("SELECT id, embedding_before FROM passages WHERE id > :last ORDER BY id LIMIT :count")
    write = "UPDATE passages SET embedding = :embedding WHERE id = :id"
    if not isinstance(kind, sa.LargeBinary):
        write = write.replace(":embedding", "CAST(:embedding AS halfvec)")
    while rows := connection.execute(read, {"last": last, "count": _AT_ONCE}).all():
        connection.execute(sa.text(write), [{"id": row[0], "embedding": converted(row[1])} for row in rows])
        last = rows[-1][0]
    op.alter_column("passages", "embedding", nullable=False)
    op.drop_column("passages", "embedding_before")
