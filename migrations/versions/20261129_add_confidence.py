"""how sure the assistant is that a draft or message answers the question; unknown of older ones"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "confidence"
down_revision = "fold_passages"


def upgrade() -> None:
    for table in ("drafts", "messages"):
        op.add_column(table, sa.Column("confidence", sa.Double(), nullable=True))


def downgrade() -> None:
    for table in ("drafts", "messages"):
        op.drop_column(table, "confidence")
