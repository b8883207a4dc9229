"""ratings: of conversations, by their customers; what they miss in an answer; whether a message is a courtesy"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ratings"
down_revision = "standing"


def upgrade() -> None:
    op.create_table(
        "ratings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("conversation_id", sa.Integer(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("score BETWEEN 1 AND 5", name=op.f("ck_ratings_score")),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_ratings_conversation_id_conversations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ratings")),
        sa.UniqueConstraint("conversation_id", name=op.f("uq_ratings_conversation_id")),
    )
    op.add_column("conversations", sa.Column("rating_asked_turn", sa.Integer(), nullable=True))
    op.add_column("messages", sa.Column("feedback", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("courtesy", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("messages", "courtesy")
    op.drop_column("messages", "feedback")
    op.drop_column("conversations", "rating_asked_turn")
    op.drop_table("ratings")
