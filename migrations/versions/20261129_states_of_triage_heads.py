"""learned heads have a state and a trial, and can be taken back

Heads fitted until now never proposed what agents had not labelled. They go; the next decisions fit new ones.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "triage_head_states"
down_revision = "second_embedder"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    states = ("served", "replaced", "waiting", "rolled_back")
    _create(
        sa.Column("labels", _JSON, nullable=False),
        sa.Column(
            "state",
            sa.Enum(*states, name="state", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trial", _JSON, nullable=False),
    )


def downgrade() -> None:
    _create()


def _create(*more: sa.Column) -> None:
    op.drop_index(op.f("ix_triage_heads_field"), table_name="triage_heads")
    op.drop_table("triage_heads")
    op.create_table(
        "triage_heads",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("embedding_model", sa.Text(), nullable=False),
        sa.Column("label_count", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *more,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_triage_heads")),
    )
    op.create_index(op.f("ix_triage_heads_field"), "triage_heads", ["field"], unique=False)
