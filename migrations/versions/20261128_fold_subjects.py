"""subjects are searched without regard to capitals and accents, in every script"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from assistant.text.folding import fold

revision = "fold_subjects"
down_revision = "files_and_failures"

_AT_ONCE = 10_000
_SOME = sa.text("SELECT id, subject FROM tickets WHERE id > :after ORDER BY id LIMIT :most")
_WRITE = sa.text("UPDATE tickets SET search_text = :folded WHERE id = :id")


def upgrade() -> None:
    op.add_column("tickets", sa.Column("search_text", sa.Text(), nullable=False, server_default=""))
    connection = op.get_bind()
    after = 0
    while rows := connection.execute(_SOME, {"after": after, "most": _AT_ONCE}).all():
        connection.execute(_WRITE, [{"id": row.id, "folded": fold(row.subject)} for row in rows])
        after = rows[-1].id


def downgrade() -> None:
    op.drop_column("tickets", "search_text")
