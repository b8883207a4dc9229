"""questions about photos"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "photo_questions"
down_revision = "products"


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    op.create_table(
        "photo_questions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("attachment_id", sa.Integer(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("answer", json, nullable=False),
        sa.Column("evidence_id", sa.Integer(), nullable=True),
        sa.Column("agent_id", sa.Integer(), nullable=True),
        sa.Column("api_key_id", sa.Integer(), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_photo_questions_{column}_{table}"), ondelete=rule
            )
            for column, table, rule in (
                ("attachment_id", "attachments", "CASCADE"),
                ("evidence_id", "evidence", "SET NULL"),
                ("agent_id", "agents", "SET NULL"),
                ("api_key_id", "api_keys", "SET NULL"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo_questions")),
        sa.UniqueConstraint("public_id", name=op.f("uq_photo_questions_public_id")),
    )
    for column in ("attachment_id", "evidence_id", "agent_id", "api_key_id"):
        op.create_index(op.f(f"ix_photo_questions_{column}"), "photo_questions", [column])


def downgrade() -> None:
    op.drop_table("photo_questions")
