"""numbers of tickets are counted from their ids, which SQLite then never gives out again"""

from __future__ import annotations

from alembic import op

revision = "ticket_numbers"
down_revision = "articles_of_inboxes"


def upgrade() -> None:
    _rebuild(autoincrement=True)


def downgrade() -> None:
    _rebuild(autoincrement=False)


def _rebuild(*, autoincrement: bool) -> None:
    if op.get_bind().dialect.name == "sqlite":  # PostgreSQL's ids come from a sequence, which only grows
        kept = {"sqlite_autoincrement": autoincrement}
        with op.batch_alter_table("tickets", recreate="always", table_kwargs=kept):
            pass
