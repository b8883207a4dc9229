"""notes on customers, and customers who are one person"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "customer_notes"
down_revision = "report_counts"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "customer_notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Integer(), nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _key("customer_notes", "customer_id", "customers", "CASCADE"),
        _key("customer_notes", "agent_id", "agents", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_notes")),
        sa.UniqueConstraint("public_id", name=op.f("uq_customer_notes_public_id")),
    )
    for column in ("customer_id", "agent_id"):
        op.create_index(op.f(f"ix_customer_notes_{column}"), "customer_notes", [column])
    op.create_table(
        "customer_merges",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("from_id", sa.Integer(), nullable=False),
        sa.Column("into_id", sa.Integer(), nullable=False),
        sa.Column("moved", _JSON, nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _key("customer_merges", "from_id", "customers", "CASCADE"),
        _key("customer_merges", "into_id", "customers", "CASCADE"),
        _key("customer_merges", "agent_id", "agents", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_merges")),
        sa.UniqueConstraint("from_id", name=op.f("uq_customer_merges_from_id")),
    )
    for column in ("into_id", "agent_id"):
        op.create_index(op.f(f"ix_customer_merges_{column}"), "customer_merges", [column])


def downgrade() -> None:
    op.drop_table("customer_merges")
    op.drop_table("customer_notes")


def _key(table: str, column: str, target: str, ondelete: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete=ondelete)
