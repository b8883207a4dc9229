"""the page where a passage begins, and a citation's; unknown until the file is imported again"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "passage_pages"
down_revision = "fold_subjects"


def upgrade() -> None:
    for table in ("passages", "citations"):
        op.add_column(table, sa.Column("page", sa.Integer(), nullable=True))


def downgrade() -> None:
    for table in ("passages", "citations"):
        op.drop_column(table, "page")
