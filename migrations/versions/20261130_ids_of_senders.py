"""ids that machines have of their tickets, and the languages of what batches hold"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ids_of_senders"
down_revision = "batch_deadlines"


def upgrade() -> None:
    op.add_column("tickets", sa.Column("external_id", sa.Text(), nullable=True))
    op.add_column("tickets", sa.Column("external_key_id", sa.Integer(), nullable=True))
    is_given = sa.text("external_id IS NOT NULL")
    op.create_index(
        "uq_tickets_external_id",
        "tickets",
        ["external_id", "external_key_id"],
        unique=True,
        sqlite_where=is_given,
        postgresql_where=is_given,
    )
    op.add_column("batch_items", sa.Column("language", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("batch_items", "language")
    op.drop_index("uq_tickets_external_id", "tickets")
    op.drop_column("tickets", "external_key_id")
    op.drop_column("tickets", "external_id")
