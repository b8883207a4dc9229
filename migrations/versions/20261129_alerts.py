"""what agents are told about tickets, and how they want to be told"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "alerts"
down_revision = "held_replies"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    with op.batch_alter_table("agents") as agents:
        agents.add_column(sa.Column("alerts", _JSON, nullable=False, server_default="{}"))
    with op.batch_alter_table("agents") as agents:
        agents.alter_column("alerts", existing_type=_JSON, server_default=None)
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=False),
        sa.Column("ticket_id", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('mention', 'written', 'followed')", name=op.f("ck_alerts_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("agent_id", "message_id", name=op.f("uq_alerts_agent_id_message_id")),
        *(
            sa.ForeignKeyConstraint(
                [f"{one}_id"], [f"{one}s.id"], name=op.f(f"fk_alerts_{one}_id_{one}s"), ondelete="CASCADE"
            )
            for one in ("agent", "ticket", "message")
        ),
    )
    for column in ("agent_id", "ticket_id", "message_id"):
        op.create_index(op.f(f"ix_alerts_{column}"), "alerts", [column])


def downgrade() -> None:
    op.drop_table("alerts")
    with op.batch_alter_table("agents") as agents:
        agents.drop_column("alerts")
