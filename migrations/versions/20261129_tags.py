"""tags of tickets, who follows a ticket, and until when one is snoozed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "tags"
down_revision = "ticket_numbers"


def upgrade() -> None:
    op.create_table(
        "tags",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
        sa.UniqueConstraint("key", name=op.f("uq_tags_key")),
    )
    _join("ticket_tags", "tag_id", "tags")
    _join("ticket_followers", "agent_id", "agents", sa.Column("created_at", sa.DateTime(timezone=True), nullable=False))
    op.add_column("tickets", sa.Column("snoozed_until", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_tickets_snoozed_until"), "tickets", ["snoozed_until"])


def downgrade() -> None:
    op.drop_index(op.f("ix_tickets_snoozed_until"), table_name="tickets")
    op.drop_column("tickets", "snoozed_until")
    op.drop_table("ticket_followers")
    op.drop_table("ticket_tags")
    op.drop_table("tags")


def _join(table: str, column: str, target: str, *more: sa.Column[object]) -> None:
    op.create_table(
        table,
        sa.Column("ticket_id", sa.Integer(), nullable=False),
        sa.Column(column, sa.Integer(), nullable=False),
        *more,
        sa.ForeignKeyConstraint(
            ["ticket_id"], ["tickets.id"], name=op.f(f"fk_{table}_ticket_id_tickets"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            [column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}_{target}"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("ticket_id", column, name=op.f(f"pk_{table}")),
    )
    op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
