"""custom fields of tickets"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "custom_fields"
down_revision = "taxonomy_versions"


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    kinds = sa.Enum(
        "text", "number", "choice", "date", name="kind", native_enum=False, create_constraint=True, length=40
    )
    op.create_table(
        "custom_fields",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", kinds, nullable=False),
        sa.Column("choices", json, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custom_fields")),
        sa.UniqueConstraint("key", name=op.f("uq_custom_fields_key")),
        sa.UniqueConstraint("public_id", name=op.f("uq_custom_fields_public_id")),
    )
    op.create_table(
        "ticket_field_values",
        sa.Column("ticket_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["key"], ["custom_fields.key"], name=op.f("fk_ticket_field_values_key_custom_fields"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["ticket_id"], ["tickets.id"], name=op.f("fk_ticket_field_values_ticket_id_tickets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("ticket_id", "key", name=op.f("pk_ticket_field_values")),
    )
    op.create_index("ix_ticket_field_values_key_folded", "ticket_field_values", ["key", "folded"])
    op.create_index("ix_ticket_field_values_key_number", "ticket_field_values", ["key", "number"])


def downgrade() -> None:
    op.drop_table("ticket_field_values")
    op.drop_table("custom_fields")
