"""requests that jobs come from"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "origin_of_jobs"
down_revision = "processes"

_JSON = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("origin", _JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "origin")
