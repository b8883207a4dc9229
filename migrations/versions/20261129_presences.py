"""which agents are at a ticket"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "presences"
down_revision = "macros"


def upgrade() -> None:
    op.create_table(
        "presences",
        sa.Column("ticket_id", sa.Integer(), nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wrote_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["ticket_id"], ["tickets.id"], name=op.f("fk_presences_ticket_id_tickets"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agents.id"], name=op.f("fk_presences_agent_id_agents"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("ticket_id", "agent_id", name=op.f("pk_presences")),
    )
    op.create_index(op.f("ix_presences_agent_id"), "presences", ["agent_id"])


def downgrade() -> None:
    op.drop_table("presences")
