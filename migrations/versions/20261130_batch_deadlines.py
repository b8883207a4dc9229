"""whose work a batch is done with, and until when"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "batch_deadlines"
down_revision = "key_rate_limits"


def upgrade() -> None:
    op.add_column("batches", sa.Column("priority", sa.Integer(), nullable=False, server_default="2"))
    op.add_column("batches", sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("batches", "deadline_at")
    op.drop_column("batches", "priority")
