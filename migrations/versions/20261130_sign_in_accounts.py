"""which account of a sign-in provider is an agent's"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "sign_in_accounts"
down_revision = "retention"


def upgrade() -> None:
    op.add_column("agents", sa.Column("oidc_subject", sa.Text(), nullable=True))
    op.create_index(op.f("ix_agents_oidc_subject"), "agents", ["oidc_subject"], unique=True)


def downgrade() -> None:
    op.drop_index(op.f("ix_agents_oidc_subject"), table_name="agents")
    op.drop_column("agents", "oidc_subject")
