"""full-text search over passages"""

from __future__ import annotations

from alembic import op

revision = "passage_words"
down_revision = "initial"

_SQLITE = (
    """CREATE VIRTUAL TABLE passages_fts USING fts5(
        heading, text, codes, content='passages', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
    )""",
    """CREATE TRIGGER passages_fts_insert AFTER INSERT ON passages BEGIN
        INSERT INTO passages_fts(rowid, heading, text, codes) VALUES (new.id, new.heading, new.text, new.codes);
    END""",
    """CREATE TRIGGER passages_fts_delete AFTER DELETE ON passages BEGIN
        INSERT INTO passages_fts(passages_fts, rowid, heading, text, codes)
        VALUES ('delete', old.id, old.heading, old.text, old.codes);
    END""",
    """CREATE TRIGGER passages_fts_update AFTER UPDATE OF heading, text, codes ON passages BEGIN
        INSERT INTO passages_fts(passages_fts, rowid, heading, text, codes)
        VALUES ('delete', old.id, old.heading, old.text, old.codes);
        INSERT INTO passages_fts(rowid, heading, text, codes) VALUES (new.id, new.heading, new.text, new.codes);
    END""",
)
_POSTGRESQL = (
    """CREATE INDEX fts_passages_words ON passages USING gin (
        (to_tsvector('english', heading || ' ' || text) || to_tsvector('simple', codes))
    )""",
)


def upgrade() -> None:
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE passages_fts")
        for name in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER passages_fts_{name}")
    else:
        op.execute("DROP INDEX fts_passages_words")
