"""views of the queue that agents save, how far each has read a ticket, and since when a customer waits"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "views"
down_revision = "words_of_tickets"

_JSON = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
_WAITS = """UPDATE tickets SET waiting_since = (SELECT c.handed_off_at FROM conversations c WHERE c.id = conversation_id)
    WHERE status IN ('new', 'open')"""


def upgrade() -> None:
    op.add_column("tickets", sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_tickets_waiting_since"), "tickets", ["waiting_since"])
    op.execute(_WAITS)
    op.create_table(
        "ticket_reads",
        sa.Column("agent_id", sa.Integer(), nullable=False),
        sa.Column("ticket_id", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.Integer(), nullable=False),
        _points_at("ticket_reads", "agent_id", "agents"),
        _points_at("ticket_reads", "ticket_id", "tickets"),
        sa.PrimaryKeyConstraint("agent_id", "ticket_id", name=op.f("pk_ticket_reads")),
    )
    op.create_index(op.f("ix_ticket_reads_ticket_id"), "ticket_reads", ["ticket_id"])
    op.create_table(
        "saved_views",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=True),
        sa.Column("conditions", _JSON, nullable=False),
        sa.Column("sort", sa.Text(), nullable=False),
        sa.Column("columns", _JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _points_at("saved_views", "agent_id", "agents"),
        _points_at("saved_views", "team_id", "teams"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_views")),
        sa.UniqueConstraint("public_id", name=op.f("uq_saved_views_public_id")),
    )
    for column in ("agent_id", "team_id"):
        op.create_index(op.f(f"ix_saved_views_{column}"), "saved_views", [column])


def downgrade() -> None:
    op.drop_table("saved_views")
    op.drop_table("ticket_reads")
    op.drop_index(op.f("ix_tickets_waiting_since"), table_name="tickets")
    op.drop_column("tickets", "waiting_since")


def _points_at(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete="CASCADE")
