"""SLA policies and the clocks of tickets"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "sla"
down_revision = "address_codes"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TARGETS = ("first_response", "next_response", "resolution")


def upgrade() -> None:
    op.create_table(
        "sla_policies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("conditions", _JSON, nullable=False),
        *(sa.Column(target, sa.Integer(), nullable=True) for target in _TARGETS),
        sa.Column("around_the_clock", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_policies")),
        sa.UniqueConstraint("public_id", name=op.f("uq_sla_policies_public_id")),
        sa.UniqueConstraint("name", name=op.f("uq_sla_policies_name")),
    )
    op.create_table(
        "sla_clocks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ticket_id", sa.Integer(), nullable=False),
        sa.Column("policy_id", sa.Integer(), nullable=True),
        sa.Column(
            "target",
            sa.Enum(*_TARGETS, name="target", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stretches", _JSON, nullable=False),
        *(sa.Column(name, sa.DateTime(timezone=True), nullable=True) for name in ("due_at", "ended_at", "breached_at")),
        sa.CheckConstraint("ended_at IS NULL OR ended_at >= began_at", name=op.f("ck_sla_clocks_order")),
        sa.ForeignKeyConstraint(
            ["ticket_id"], ["tickets.id"], name=op.f("fk_sla_clocks_ticket_id_tickets"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["policy_id"], ["sla_policies.id"], name=op.f("fk_sla_clocks_policy_id_sla_policies"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_clocks")),
    )
    op.create_index(op.f("ix_sla_clocks_ticket_id"), "sla_clocks", ["ticket_id"])
    op.create_index(op.f("ix_sla_clocks_policy_id"), "sla_clocks", ["policy_id"])
    op.create_index(
        "uq_sla_clocks_ticket_id_target",
        "sla_clocks",
        ["ticket_id", "target"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.add_column("tickets", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tickets", sa.Column("breached_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_tickets_due_at"), "tickets", ["due_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_tickets_due_at"), table_name="tickets")
    op.drop_column("tickets", "breached_at")
    op.drop_column("tickets", "due_at")
    op.drop_table("sla_clocks")
    op.drop_table("sla_policies")
