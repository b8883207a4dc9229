"""how much of its file's text an article holds; unknown until it is imported again"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "article_coverage"
down_revision = "one_writer_of_state"


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    op.add_column("articles", sa.Column("coverage", json, nullable=True))


def downgrade() -> None:
    op.drop_column("articles", "coverage")
