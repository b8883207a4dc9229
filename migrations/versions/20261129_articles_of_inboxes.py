"""articles and sources that only one inbox's customers may read (all of before are for every inbox); what a customer
answered before the first message"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "articles_of_inboxes"
down_revision = "ratings"

_TABLES = ("articles", "sources")
_SCOPE = "'v' || a.visibility || '0 l' || replace(replace(lower(a.language), '-', ''), '_', '') || '0'"
# Nothing for an article of every inbox, so what is indexed stays right as it is.
_WITH_INBOX = f"{_SCOPE} || coalesce(' limited0 i' || a.inbox_id || '0', '')"
_CHANGED = "UPDATE passages_fts_version SET version = version + 1;"
_INTO = "INSERT INTO passages_fts(rowid, heading, text, codes, scope)"
_OUT = "INSERT INTO passages_fts(passages_fts, rowid, heading, text, codes, scope)"


def upgrade() -> None:
    _drop_triggers()
    for table in _TABLES:
        with op.batch_alter_table(table) as columns:
            columns.add_column(sa.Column("inbox_id", sa.Integer(), nullable=True))
            name = op.f(f"fk_{table}_inbox_id_inboxes")
            columns.create_foreign_key(name, "inboxes", ["inbox_id"], ["id"], ondelete="RESTRICT")
            columns.create_index(f"ix_{table}_inbox_id", ["inbox_id"])
    _make_triggers(_WITH_INBOX)
    answers = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("conversations", sa.Column("prechat", answers, nullable=True))


def downgrade() -> None:
    op.drop_column("conversations", "prechat")
    # What only one inbox's customers may read must not become everybody's.
    op.execute("UPDATE articles SET visibility = 'internal' WHERE inbox_id IS NOT NULL")
    _drop_triggers()
    for table in _TABLES:
        with op.batch_alter_table(table) as columns:
            columns.drop_index(f"ix_{table}_inbox_id")
            columns.drop_constraint(op.f(f"fk_{table}_inbox_id_inboxes"), type_="foreignkey")
            columns.drop_column("inbox_id")
    _make_triggers(_SCOPE)


def _drop_triggers() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name in ("insert", "update", "article", "article_delete"):
            op.execute(f"DROP TRIGGER passages_fts_{name}")


def _make_triggers(scope: str) -> None:
    """Have the word index of SQLite keep this of an article; PostgreSQL reads the article itself."""
    if op.get_bind().dialect.name != "sqlite":
        return

    def values(row: str) -> str:
        shown = (f"coalesce({row}.search_{name}, {row}.{name})" for name in ("heading", "text"))
        return f"{row}.id, {', '.join(shown)}, {row}.codes"

    remove = f"""{_OUT} SELECT 'delete', {values("old")}, scope FROM passages_fts_scope WHERE id = old.id;
        DELETE FROM passages_fts_scope WHERE id = old.id;"""  # noqa: S608  (only our own constants are put in)
    add = f"""INSERT INTO passages_fts_scope(id, scope) SELECT new.id, {scope} FROM articles a WHERE a.id = new.article_id;
        {_INTO} SELECT {values("new")}, scope FROM passages_fts_scope WHERE id = new.id;"""  # noqa: S608
    all_of = "FROM passages p JOIN passages_fts_scope s ON s.id = p.id"
    for statement in (
        f"CREATE TRIGGER passages_fts_insert AFTER INSERT ON passages BEGIN {add} {_CHANGED} END",
        f"CREATE TRIGGER passages_fts_update AFTER UPDATE ON passages BEGIN {remove} {add} {_CHANGED} END",
        f"""CREATE TRIGGER passages_fts_article AFTER UPDATE ON articles BEGIN
            {_OUT} SELECT 'delete', {values("p")}, s.scope {all_of} WHERE p.article_id = new.id;
            UPDATE passages_fts_scope SET scope = (SELECT {scope} FROM articles a WHERE a.id = new.id)
            WHERE id IN (SELECT id FROM passages WHERE article_id = new.id);
            {_INTO} SELECT {values("p")}, s.scope {all_of} WHERE p.article_id = new.id;
            {_CHANGED}
        END""",  # noqa: S608
        f"CREATE TRIGGER passages_fts_article_delete AFTER DELETE ON articles BEGIN {_CHANGED} END",
    ):
        op.execute(sa.text(statement.replace(":", r"\:")))
