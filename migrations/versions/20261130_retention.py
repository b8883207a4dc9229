"""files that were removed when their time was over, and figures of what is gone"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "retention"
down_revision = "origin_of_jobs"

_TABLES = ("attachments", "reply_files")
_CONDITIONS = "condition IN ('ready', 'unscanned', 'infected', 'missing', 'damaged'%s)"


def upgrade() -> None:
    _allow(", 'removed'")
    op.add_column("attachments", sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("report_counts", sa.Column("kept", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("report_counts", "kept")
    op.drop_column("attachments", "removed_at")
    op.execute("UPDATE attachments SET condition = 'missing' WHERE condition = 'removed'")
    _allow("")


def _allow(more: str) -> None:
    for table in _TABLES:
        with op.batch_alter_table(table) as files:
            files.drop_constraint(op.f(f"ck_{table}_condition"), type_="check")
            files.create_check_constraint(op.f(f"ck_{table}_condition"), _CONDITIONS % more)
