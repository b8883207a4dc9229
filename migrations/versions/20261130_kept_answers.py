"""answers kept for requests that are sent again"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "kept_answers"
down_revision = "webhooks"

_JSON = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")


def upgrade() -> None:
    with op.batch_alter_table("idempotency_keys") as table:
        table.alter_column("ticket_id", existing_type=sa.Integer(), nullable=True)
        table.add_column(sa.Column("made", sa.Text(), nullable=True))
        table.add_column(sa.Column("status", sa.Integer(), nullable=True))
        table.add_column(sa.Column("headers", _JSON, nullable=True))
        table.add_column(sa.Column("body", sa.LargeBinary(), nullable=True))
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.execute("DELETE FROM idempotency_keys WHERE ticket_id IS NULL")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys")
    with op.batch_alter_table("idempotency_keys") as table:
        for name in ("body", "headers", "status", "made"):
            table.drop_column(name)
        table.alter_column("ticket_id", existing_type=sa.Integer(), nullable=False)
