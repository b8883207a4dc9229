"""limits of API keys"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "limits_of_api_keys"
down_revision = "alerts_without_message"

_JSON = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("api_keys", sa.Column("inbox_ids", _JSON, nullable=False, server_default="[]"))
    op.add_column("api_keys", sa.Column("networks", _JSON, nullable=False, server_default="[]"))
    op.add_column("api_keys", sa.Column("last_used_from", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("previous_hash", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_api_keys_previous_hash"), "api_keys", ["previous_hash"])


def downgrade() -> None:
    # A version that knows no limits would let such a key do everything.
    op.execute(
        "UPDATE api_keys SET revoked_at = CURRENT_TIMESTAMP WHERE revoked_at IS NULL AND (expires_at IS NOT NULL "
        "OR CAST(inbox_ids AS TEXT) <> '[]' OR CAST(networks AS TEXT) <> '[]')"
    )
    op.drop_index(op.f("ix_api_keys_previous_hash"), "api_keys")
    for name in ("previous_until", "previous_hash", "last_used_from", "networks", "inbox_ids", "expires_at"):
        op.drop_column("api_keys", name)
