"""what photos show is found by, like the words of tickets"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from alembic import op

from assistant.desk.search import words_shown

revision = "shown_in_photos"
down_revision = "photo_copies"

_AT_ONCE = 500
_LAST = sa.text("SELECT max(id) FROM tickets")
# What counts for a photo comes last: what was corrected for its ticket, else everywhere, else the newest reading.
_READ = sa.text("""SELECT t.id AS ticket_id, e.sha256, e.fields
    FROM tickets t JOIN messages m ON m.conversation_id = t.conversation_id
    JOIN attachments a ON a.message_id = m.id JOIN evidence e ON e.sha256 = a.sha256
    WHERE t.id > :after AND t.id <= :until AND (e.conversation_id IS NULL OR e.conversation_id = m.conversation_id)
    ORDER BY e.corrects_id IS NOT NULL, e.conversation_id IS NOT NULL, e.id""").columns(fields=sa.JSON())
_SQLITE = "UPDATE fts_tickets SET words = words || ' ' || :words WHERE rowid = :id"
_POSTGRESQL = "UPDATE fts_tickets SET words = words || array_to_tsvector(CAST(:words AS text[])) WHERE ticket_id = :id"


def upgrade() -> None:
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    add: Any = sa.text(_SQLITE if is_sqlite else _POSTGRESQL)
    for after in range(0, connection.execute(_LAST).scalar() or 0, _AT_ONCE):
        shown: dict[int, dict[str, list[str]]] = defaultdict(dict)
        for row in connection.execute(_READ, {"after": after, "until": after + _AT_ONCE}):
            shown[row.ticket_id][row.sha256] = words_shown(row.fields)
        for ticket_id, photos in shown.items():
            if words := sorted({word for every in photos.values() for word in every}):
                connection.execute(add, {"id": ticket_id, "words": " ".join(words) if is_sqlite else words})


def downgrade() -> None:
    """Nobody finds these words without the version that asks for them."""
