"""what the system says, as codes with values (older messages keep their text); the language of the customer's page"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "notices"
down_revision = "unit_vectors"


def upgrade() -> None:
    op.add_column(
        "messages", sa.Column("notices", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True)
    )
    op.add_column("conversations", sa.Column("language", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("conversations", "language")
    op.drop_column("messages", "notices")
