"""replies that can be taken back for some seconds, and files for replies"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "held_replies"
down_revision = "order_of_tickets"

_KINDS = "kind IN ('photo', 'file')"
_CONDITIONS = "condition IN ('ready', 'unscanned', 'infected', 'missing', 'damaged')"
_WAITING = sa.text("problem IS NULL")


def upgrade() -> None:
    op.create_table(
        "held_replies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("ticket_id", sa.Integer(), nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("draft_id", sa.Integer(), nullable=True),
        sa.Column("macro_id", sa.Integer(), nullable=True),
        sa.Column("then", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_held_replies")),
        sa.UniqueConstraint("public_id", name=op.f("uq_held_replies_public_id")),
        _key("held_replies", "ticket_id", "tickets", "CASCADE"),
        _key("held_replies", "agent_id", "agents", "CASCADE"),
        _key("held_replies", "draft_id", "drafts", "SET NULL"),
        _key("held_replies", "macro_id", "macros", "SET NULL"),
    )
    for column in ("ticket_id", "agent_id", "draft_id", "macro_id"):
        op.create_index(op.f(f"ix_held_replies_{column}"), "held_replies", [column])
    op.create_index(
        "uq_held_replies_ticket_id",
        "held_replies",
        ["ticket_id"],
        unique=True,
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )
    op.create_table(
        "reply_files",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("ticket_id", sa.Integer(), nullable=False),
        sa.Column("agent_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("thumbnail_sha256", sa.Text(), nullable=True),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("byte_size", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("condition", sa.String(40), nullable=False),
        sa.Column("risk", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(_KINDS, name=op.f("ck_reply_files_kind")),
        sa.CheckConstraint(_CONDITIONS, name=op.f("ck_reply_files_condition")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reply_files")),
        sa.UniqueConstraint("public_id", name=op.f("uq_reply_files_public_id")),
        _key("reply_files", "ticket_id", "tickets", "CASCADE"),
        _key("reply_files", "agent_id", "agents", "CASCADE"),
    )
    for column in ("ticket_id", "agent_id", "sha256", "thumbnail_sha256"):
        op.create_index(op.f(f"ix_reply_files_{column}"), "reply_files", [column])


def downgrade() -> None:
    op.drop_table("reply_files")
    op.drop_table("held_replies")


def _key(table: str, column: str, target: str, ondelete: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete=ondelete)
