"""inboxes: several widgets on one installation; every conversation is of one, those of before of the default one"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "inboxes"
down_revision = "notices"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    inboxes = op.create_table(
        "inboxes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=True),
        sa.Column("settings", _JSON, nullable=False),
        sa.Column("logo_sha256", sa.Text(), nullable=True),
        sa.Column("secret", sa.Text(), nullable=True),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name="fk_inboxes_team_id_teams", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_inboxes"),
        sa.UniqueConstraint("key", name="uq_inboxes_key"),
        sa.UniqueConstraint("public_id", name="uq_inboxes_public_id"),
    )
    op.create_index("ix_inboxes_team_id", "inboxes", ["team_id"])
    default = {"public_id": f"ibx_{secrets.token_hex(10)}", "key": "default", "name": "", "settings": {}}
    op.execute(inboxes.insert().values(**default, created_at=sa.func.now()))
    op.add_column("conversations", sa.Column("inbox_id", sa.Integer(), nullable=True))
    op.execute("UPDATE conversations SET inbox_id = (SELECT id FROM inboxes)")
    with op.batch_alter_table("conversations") as conversations:
        conversations.alter_column("inbox_id", existing_type=sa.Integer(), nullable=False)
        name = op.f("fk_conversations_inbox_id_inboxes")
        conversations.create_foreign_key(name, "inboxes", ["inbox_id"], ["id"], ondelete="RESTRICT")
        conversations.create_index("ix_conversations_inbox_id", ["inbox_id"])


def downgrade() -> None:
    with op.batch_alter_table("conversations") as conversations:
        conversations.drop_index("ix_conversations_inbox_id")
        conversations.drop_constraint(op.f("fk_conversations_inbox_id_inboxes"), type_="foreignkey")
        conversations.drop_column("inbox_id")
    op.drop_table("inboxes")
