"""second factors of agents"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "second_factor"
down_revision = "audit"

_COLUMNS = (
    ("totp_secret", sa.Text()),
    ("totp_since", sa.DateTime(timezone=True)),
    ("totp_step", sa.Integer()),
)


def upgrade() -> None:
    for name, kind in _COLUMNS:
        op.add_column("agents", sa.Column(name, kind, nullable=True))
    op.create_table(
        "recovery_codes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agents.id"], name=op.f("fk_recovery_codes_agent_id_agents"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_codes")),
    )
    op.create_index(op.f("ix_recovery_codes_agent_id"), "recovery_codes", ["agent_id"])


def downgrade() -> None:
    op.drop_table("recovery_codes")
    for name, _ in _COLUMNS:
        op.drop_column("agents", name)
