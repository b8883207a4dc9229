"""what an import left out of an article because it gives an AI orders"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "screened"
down_revision = "kept_answers"


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("articles", sa.Column("screened", json, nullable=True))


def downgrade() -> None:
    op.drop_column("articles", "screened")
