"""the word index holds passages as they are searched: folded, and in pairs of characters where a script has no blanks

`search_heading` and `search_text` are kept only where they differ from what the index itself makes of a text, so
English passages take no more room. On SQLite the index is made anew, with the marks of Indic scripts as parts of words.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from assistant.text.words import searchable

revision = "fold_passages"
down_revision = "passage_pages"

_COLUMNS = ("search_heading", "search_text")
_AT_ONCE = 1_000
_SOME = sa.text("SELECT id, heading, text FROM passages WHERE id > :after ORDER BY id LIMIT :most")
_WRITE = sa.text("UPDATE passages SET search_heading = :heading, search_text = :text WHERE id = :id")
_TOKENS = "porter unicode61 remove_diacritics 2"
_SCOPE = "'v' || a.visibility || '0 l' || replace(replace(lower(a.language), '-', ''), '_', '') || '0'"
_CHANGED = "UPDATE passages_fts_version SET version = version + 1;"
_TRIGGERS = ("insert", "delete", "update", "article")
_INTO = "INSERT INTO passages_fts(rowid, heading, text, codes, scope)"
_OUT = "INSERT INTO passages_fts(passages_fts, rowid, heading, text, codes, scope)"


def upgrade() -> None:
    for column in _COLUMNS:
        op.add_column("passages", sa.Column(column, sa.Text(), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        _drop_index()
        _fold()
        _make_index(folded=True, tokens=f"{_TOKENS} categories 'L* N* Co M*'")
    else:
        _fold()
        _make_words(heading="coalesce(search_heading, heading)", text="coalesce(search_text, text)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _drop_index()
        for column in _COLUMNS:
            op.drop_column("passages", column)
        _make_index(folded=False, tokens=_TOKENS)
    else:
        _make_words(heading="heading", text="text")
        for column in _COLUMNS:
            op.drop_column("passages", column)


def _fold() -> None:
    connection = op.get_bind()
    after = 0
    while rows := connection.execute(_SOME, {"after": after, "most": _AT_ONCE}).all():
        folded = [{"id": row.id, "heading": searchable(row.heading), "text": searchable(row.text)} for row in rows]
        if changed := [row for row in folded if row["heading"] or row["text"]]:
            connection.execute(_WRITE, changed)
        after = rows[-1].id


def _drop_index() -> None:
    for name in _TRIGGERS:
        op.execute(f"DROP TRIGGER passages_fts_{name}")
    op.execute("DROP TABLE passages_fts")


def _make_index(*, folded: bool, tokens: str) -> None:
    def values(row: str) -> str:
        if not folded:
            return f"{row}.id, {row}.heading, {row}.text, {row}.codes"
        shown = (f"coalesce({row}.search_{name}, {row}.{name})" for name in ("heading", "text"))
        return f"{row}.id, {', '.join(shown)}, {row}.codes"

    remove = f"""{_OUT} SELECT 'delete', {values("old")}, scope FROM passages_fts_scope WHERE id = old.id;
        DELETE FROM passages_fts_scope WHERE id = old.id;"""  # noqa: S608  (only our own constants are put in)
    add = f"""INSERT INTO passages_fts_scope(id, scope) SELECT new.id, {_SCOPE} FROM articles a WHERE a.id = new.article_id;
        {_INTO} SELECT {values("new")}, scope FROM passages_fts_scope WHERE id = new.id;"""  # noqa: S608
    all_of = "FROM passages p JOIN passages_fts_scope s ON s.id = p.id"
    tokenizer = tokens.replace("'", "''")
    for statement in (
        f"CREATE VIRTUAL TABLE passages_fts USING fts5(heading, text, codes, scope, content='', tokenize='{tokenizer}')",
        f"{_INTO} SELECT {values('p')}, s.scope {all_of}",
        f"CREATE TRIGGER passages_fts_insert AFTER INSERT ON passages BEGIN {add} {_CHANGED} END",
        f"CREATE TRIGGER passages_fts_delete AFTER DELETE ON passages BEGIN {remove} {_CHANGED} END",
        f"CREATE TRIGGER passages_fts_update AFTER UPDATE ON passages BEGIN {remove} {add} {_CHANGED} END",
        f"""CREATE TRIGGER passages_fts_article AFTER UPDATE ON articles BEGIN
            {_OUT} SELECT 'delete', {values("p")}, s.scope {all_of} WHERE p.article_id = new.id;
            UPDATE passages_fts_scope SET scope = (SELECT {_SCOPE} FROM articles a WHERE a.id = new.id)
            WHERE id IN (SELECT id FROM passages WHERE article_id = new.id);
            {_INTO} SELECT {values("p")}, s.scope {all_of} WHERE p.article_id = new.id;
            {_CHANGED}
        END""",  # noqa: S608
    ):
        op.execute(sa.text(statement.replace(":", r"\:")))
    op.execute(_CHANGED)


def _make_words(*, heading: str, text: str) -> None:
    op.execute("ALTER TABLE passages DROP COLUMN fts_words")
    op.execute(f"""ALTER TABLE passages ADD COLUMN fts_words tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', {heading}), 'A') || setweight(to_tsvector('english', {text}), 'B')
        || setweight(to_tsvector('simple', codes), 'D')
    ) STORED""")
    op.execute("CREATE INDEX fts_passages_words ON passages USING gin (fts_words)")
    op.execute(_CHANGED)
