"""pictures of agents, shown to customers beside what they write"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "pictures_of_agents"
down_revision = "tags"


def upgrade() -> None:
    op.add_column("agents", sa.Column("picture_sha256", sa.Text(), nullable=True))
    op.create_index(op.f("ix_agents_picture_sha256"), "agents", ["picture_sha256"])


def downgrade() -> None:
    op.drop_index(op.f("ix_agents_picture_sha256"), table_name="agents")
    op.drop_column("agents", "picture_sha256")
