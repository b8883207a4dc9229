"""full-text search over passages, and a counter that says when they changed

SQLite: an FTS5 table that keeps no copy of the texts. Its column ``scope`` holds the visibility and language of the
passage's article as words (``vpublic0``, ``len0``), so that a search leaves out what may not be found before it ranks;
`passages_fts_scope` remembers what was written there, because a contentless table is told what it deletes.

PostgreSQL: a generated column, in which weight A marks words of the heading, B of the text, and D identifiers.

A later migration that copies `passages` or `articles` (a batch operation on SQLite) has to make the triggers again.
"""

from __future__ import annotations

from alembic import op

revision = "passage_words"
down_revision = "initial"

_SCOPE = "'v' || a.visibility || '0 l' || replace(replace(lower(a.language), '-', ''), '_', '') || '0'"
_CHANGED = "UPDATE passages_fts_version SET version = version + 1;"
_REMOVE = """INSERT INTO passages_fts(passages_fts, rowid, heading, text, codes, scope)
        SELECT 'delete', old.id, old.heading, old.text, old.codes, scope FROM passages_fts_scope WHERE id = old.id;
        DELETE FROM passages_fts_scope WHERE id = old.id;"""
_ADD = f"""INSERT INTO passages_fts_scope(id, scope) SELECT new.id, {_SCOPE} FROM articles a WHERE a.id = new.article_id;
        INSERT INTO passages_fts(rowid, heading, text, codes, scope)
        SELECT new.id, new.heading, new.text, new.codes, scope FROM passages_fts_scope WHERE id = new.id;"""  # noqa: S608  (only our own constants are put in)
_SQLITE = (
    """CREATE VIRTUAL TABLE passages_fts USING fts5(
        heading, text, codes, scope, content='', tokenize='porter unicode61 remove_diacritics 2'
    )""",
    "CREATE TABLE passages_fts_scope (id INTEGER PRIMARY KEY, scope TEXT NOT NULL)",
    f"CREATE TRIGGER passages_fts_insert AFTER INSERT ON passages BEGIN {_ADD} {_CHANGED} END",
    f"CREATE TRIGGER passages_fts_delete AFTER DELETE ON passages BEGIN {_REMOVE} {_CHANGED} END",
    f"CREATE TRIGGER passages_fts_update AFTER UPDATE ON passages BEGIN {_REMOVE} {_ADD} {_CHANGED} END",
    f"""CREATE TRIGGER passages_fts_article AFTER UPDATE ON articles BEGIN
        INSERT INTO passages_fts(passages_fts, rowid, heading, text, codes, scope)
        SELECT 'delete', p.id, p.heading, p.text, p.codes, s.scope
        FROM passages p JOIN passages_fts_scope s ON s.id = p.id WHERE p.article_id = new.id;
        UPDATE passages_fts_scope SET scope = (SELECT {_SCOPE} FROM articles a WHERE a.id = new.id)
        WHERE id IN (SELECT id FROM passages WHERE article_id = new.id);
        INSERT INTO passages_fts(rowid, heading, text, codes, scope)
        SELECT p.id, p.heading, p.text, p.codes, s.scope
        FROM passages p JOIN passages_fts_scope s ON s.id = p.id WHERE p.article_id = new.id;
        {_CHANGED}
    END""",  # noqa: S608
    f"CREATE TRIGGER passages_fts_article_delete AFTER DELETE ON articles BEGIN {_CHANGED} END",
)
_POSTGRESQL = (
    """ALTER TABLE passages ADD COLUMN fts_words tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', heading), 'A') || setweight(to_tsvector('english', text), 'B')
        || setweight(to_tsvector('simple', codes), 'D')
    ) STORED""",
    "CREATE INDEX fts_passages_words ON passages USING gin (fts_words)",
    f"""CREATE FUNCTION passages_fts_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN {_CHANGED} RETURN NULL; END
    $$""",
    *(
        f"""CREATE TRIGGER passages_fts_{table} AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION passages_fts_changed()"""
        for table in ("articles", "passages")
    ),
)


def upgrade() -> None:
    op.execute("CREATE TABLE passages_fts_version (version BIGINT NOT NULL)")
    op.execute("INSERT INTO passages_fts_version (version) VALUES (1)")
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name in ("insert", "delete", "update", "article", "article_delete"):
            op.execute(f"DROP TRIGGER passages_fts_{name}")
        op.execute("DROP TABLE passages_fts")
        op.execute("DROP TABLE passages_fts_scope")
    else:
        for table in ("articles", "passages"):
            op.execute(f"DROP TRIGGER passages_fts_{table} ON {table}")
        op.execute("DROP FUNCTION passages_fts_changed")
        op.execute("ALTER TABLE passages DROP COLUMN fts_words")
    op.execute("DROP TABLE passages_fts_version")
