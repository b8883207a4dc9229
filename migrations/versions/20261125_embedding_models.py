"""vectors apart from passages, and which embedding model is served: it can be changed without a pause

A passage's vector is found by its content hash and the model's name, so the vectors of two models stand side by side,
and passages with the same text share one. PostgreSQL gets an index of identifiers, and knows more words' frequencies.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "embedding_models"
down_revision = "vectors"

# The offline model's vectors were kept under a name that does not load it.
_SERVED = """INSERT INTO embedding_models (name, source, state, done, total, changed_at)
    SELECT embedding_model, CASE WHEN embedding_model LIKE 'all-MiniLM-L6-v2@%' THEN 'auto' ELSE embedding_model END,
    'served', 0, 0, CURRENT_TIMESTAMP FROM passages GROUP BY embedding_model ORDER BY count(*) DESC LIMIT 1"""
_MOVED = """INSERT INTO vectors (content_hash, embedding_model, kind, embedding)
    SELECT content_hash, embedding_model, 'passage', embedding FROM passages
    WHERE id IN (SELECT min(id) FROM passages GROUP BY content_hash, embedding_model) ON CONFLICT DO NOTHING"""
_KIND = """ALTER TABLE vectors ADD COLUMN kind VARCHAR(40) NOT NULL DEFAULT 'heading'
    CONSTRAINT ck_vectors_kind CHECK (kind IN ('passage', 'heading', 'picture'))"""
_BACK = """UPDATE passages SET embedding = v.embedding, embedding_model = v.embedding_model
    FROM vectors v JOIN embedding_models m ON m.name = v.embedding_model AND m.state = 'served'
    WHERE v.content_hash = passages.content_hash"""


def upgrade() -> None:
    op.create_table(
        "embedding_models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("served", "next", name="state", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_embedding_models")),
        sa.UniqueConstraint("name", name=op.f("uq_embedding_models_name")),
        sa.UniqueConstraint("state", name=op.f("uq_embedding_models_state")),
    )
    op.execute(_SERVED)
    op.execute(_KIND)
    op.execute(_MOVED)
    op.drop_index("ix_passages_content_hash_embedding_model", table_name="passages")
    op.create_index(op.f("ix_passages_content_hash"), "passages", ["content_hash"], unique=False)
    for column in ("embedding", "embedding_model"):
        op.execute(f"ALTER TABLE passages DROP COLUMN {column}")  # not as a batch: the triggers stay
    if op.get_bind().dialect.name != "sqlite":
        op.execute("CREATE INDEX fts_passages_codes ON passages USING gin (string_to_array(codes, ' '))")
        op.execute("ALTER TABLE passages ALTER COLUMN fts_words SET STATISTICS 400")


def downgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    kind, nothing = ("BLOB", "x''") if is_sqlite else ("halfvec", "'[0]'")
    op.execute("ALTER TABLE passages ADD COLUMN embedding_model TEXT NOT NULL DEFAULT ''")
    op.execute(f"ALTER TABLE passages ADD COLUMN embedding {kind} NOT NULL DEFAULT {nothing}")
    op.execute(_BACK)
    op.drop_index(op.f("ix_passages_content_hash"), table_name="passages")
    op.create_index(
        "ix_passages_content_hash_embedding_model", "passages", ["content_hash", "embedding_model"], unique=False
    )
    op.execute("DELETE FROM vectors WHERE kind <> 'heading'")
    if not is_sqlite:
        op.execute("DROP INDEX fts_passages_codes")
        op.execute("ALTER TABLE passages ALTER COLUMN fts_words SET STATISTICS -1")
        op.execute("DO $$ DECLARE one text; BEGIN FOR one IN SELECT indexname FROM pg_indexes WHERE indexname LIKE "
                   "'fts_hnsw_%' LOOP EXECUTE 'DROP INDEX ' || one; END LOOP; END $$")  # fmt: skip
    op.execute("ALTER TABLE vectors DROP COLUMN kind")
    op.drop_table("embedding_models")
