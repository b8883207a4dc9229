"""site context: what the customer's page says of their visit"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "site_context"
down_revision = "widget_sessions"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    with op.batch_alter_table("conversations") as conversations:
        conversations.add_column(sa.Column("site_context", _JSON, nullable=False, server_default="{}"))
    with op.batch_alter_table("conversations") as conversations:
        conversations.alter_column("site_context", existing_type=_JSON, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("conversations") as conversations:
        conversations.drop_column("site_context")
