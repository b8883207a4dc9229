"""how far an embedder's right and wrong passages stand out in this knowledge base"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "standing"
down_revision = "attention"


def upgrade() -> None:
    for column in ("own", "others"):
        op.add_column("embedding_models", sa.Column(column, sa.Double(), nullable=True))


def downgrade() -> None:
    for column in ("own", "others"):
        op.drop_column("embedding_models", column)
