"""what decided a triage field: words, photo, similarity, a learned head or a model"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "triage_sources"
down_revision = "confidence"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("triage_fields", sa.Column("sources", _JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("triage_fields", "sources")
