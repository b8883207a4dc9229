"""how many requests an API key may make"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "key_rate_limits"
down_revision = "uploads"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("rate_limit", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "rate_limit")
