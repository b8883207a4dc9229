"""the words of tickets are searched: of messages, notes, requesters and what was read in photos, not of subjects alone"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from assistant.desk.search import words_in

revision = "words_of_tickets"
down_revision = "presences"

_AT_ONCE = 500
_TICKETS = sa.text("""SELECT t.id, t.public_id, t.conversation_id, t.subject, c.name, c.email, c.external_id
    FROM tickets t JOIN customers c ON c.id = t.requester_id WHERE t.id > :after ORDER BY t.id LIMIT :most""")
_MESSAGES = sa.text("SELECT conversation_id, text FROM messages WHERE author <> 'system' AND conversation_id IN :ids")
_FILES = sa.text("""SELECT m.conversation_id, a.filename FROM attachments a JOIN messages m ON m.id = a.message_id
    WHERE m.conversation_id IN :ids""")
_TAGS = sa.text("""SELECT t.conversation_id, g.name FROM tickets t JOIN ticket_tags tt ON tt.ticket_id = t.id
    JOIN tags g ON g.id = tt.tag_id WHERE t.conversation_id IN :ids""")
_READ = sa.text("""SELECT DISTINCT m.conversation_id, e.id, e.fields, e.visible_text
    FROM evidence e JOIN attachments a ON a.sha256 = e.sha256 JOIN messages m ON m.id = a.message_id
    WHERE m.conversation_id IN :ids AND (e.conversation_id IS NULL OR e.conversation_id = m.conversation_id)
    AND (e.corrects_id IS NOT NULL OR NOT EXISTS (SELECT 1 FROM evidence c WHERE c.sha256 = e.sha256
        AND c.corrects_id IS NOT NULL AND (c.conversation_id IS NULL OR c.conversation_id = m.conversation_id)))""")
_JSON = {"fields": sa.JSON(), "visible_text": sa.JSON()}
_SQLITE = """CREATE VIRTUAL TABLE fts_tickets USING fts5(words, detail=none, columnsize=0,
    tokenize='unicode61 remove_diacritics 0 categories ''L* N* Co M*''')"""
_POSTGRESQL = """CREATE TABLE fts_tickets (
    ticket_id integer PRIMARY KEY REFERENCES tickets (id) ON DELETE CASCADE, words tsvector NOT NULL)"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_SQLITE)
        add = "INSERT INTO fts_tickets (rowid, words) VALUES (:id, :words)"
        _fill(sa.text(add), " ".join)
        op.execute("""CREATE TRIGGER fts_tickets_delete AFTER DELETE ON tickets BEGIN
            DELETE FROM fts_tickets WHERE rowid = old.id; END""")
    else:
        op.execute(_POSTGRESQL)
        add = "INSERT INTO fts_tickets (ticket_id, words) VALUES (:id, array_to_tsvector(CAST(:words AS text[])))"
        _fill(sa.text(add), list)
        op.execute("CREATE INDEX fts_tickets_words ON fts_tickets USING gin (words)")
    op.drop_column("tickets", "search_text")


def downgrade() -> None:
    op.add_column("tickets", sa.Column("search_text", sa.Text(), nullable=False, server_default=""))
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER fts_tickets_delete")
    op.execute("DROP TABLE fts_tickets")


def _fill(add: sa.TextClause, stored: Any) -> None:
    connection, after = op.get_bind(), 0
    while rows := connection.execute(_TICKETS, {"after": after, "most": _AT_ONCE}).all():
        texts = defaultdict(list)
        for conversation_id, one in _texts(connection, [row.conversation_id for row in rows]):
            texts[conversation_id].append(one)
        values = []
        for row in rows:
            own = [str(row.id + 1000), row.public_id, row.subject, row.name, row.email, row.external_id]
            words = words_in([one for one in own if one] + texts[row.conversation_id])
            values.append({"id": row.id, "words": stored(words)})
        connection.execute(add, values)
        after = rows[-1].id


def _texts(connection: sa.Connection, ids: list[int]) -> Iterator[tuple[int, str]]:
    for query in (_MESSAGES, _FILES, _TAGS):
        for row in connection.execute(_of(query), {"ids": ids}):
            yield row[0], row[1]
    for row in connection.execute(_of(_READ).columns(**_JSON), {"ids": ids}):
        for one in _read(row.fields, row.visible_text):
            yield row.conversation_id, one


def _of(query: sa.TextClause) -> sa.TextClause:
    return query.bindparams(sa.bindparam("ids", expanding=True))


def _read(fields: dict[str, Any], lines: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield from (str(line.get("text") or "") for line in lines)
    yield from (str((fields.get(name) or {}).get("value") or "") for name in ("caption", "product"))
