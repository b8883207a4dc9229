"""what each side has seen of a conversation; addresses that want no mail about replies

Conversations of before have been seen as far as they go: nobody is sent old replies, and no badge counts them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "attention"
down_revision = "site_context"

_MESSAGES = ("delivered_id", "seen_id", "seen_by_agents_id", "mailed_id")


def upgrade() -> None:
    op.create_table(
        "attention",
        sa.Column("conversation_id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=True) for name in _MESSAGES),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_by_agents_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("mail_to", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("conversation_id", name=op.f("pk_attention")),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_attention_conversation_id_conversations"),
            ondelete="CASCADE",
        ),
        *(
            sa.ForeignKeyConstraint(
                [name], ["messages.id"], name=op.f(f"fk_attention_{name}_messages"), ondelete="SET NULL"
            )
            for name in _MESSAGES
        ),
    )
    for name in _MESSAGES:
        op.create_index(op.f(f"ix_attention_{name}"), "attention", [name])
    op.create_table(
        "mail_refusals",
        sa.Column("address_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("address_sha256", name=op.f("pk_mail_refusals")),
    )
    op.execute(
        """INSERT INTO attention (conversation_id, seen_id, delivered_id)
        SELECT conversation_id, MAX(id), MAX(id) FROM messages WHERE visibility = 'public' GROUP BY conversation_id"""
    )


def downgrade() -> None:
    op.drop_table("mail_refusals")
    op.drop_table("attention")
