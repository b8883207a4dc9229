"""what triage depended on and how long it took"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "triage_revision"
down_revision = "batches"


def upgrade() -> None:
    with op.batch_alter_table("triage_results") as table:
        table.add_column(sa.Column("revision", sa.Text(), nullable=True))
        table.add_column(sa.Column("seconds", sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("triage_results") as table:
        table.drop_column("seconds")
        table.drop_column("revision")
