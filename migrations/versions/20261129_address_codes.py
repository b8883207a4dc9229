"""codes by which customers prove their e-mail address"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "address_codes"
down_revision = "pictures_of_agents"


def upgrade() -> None:
    op.create_table(
        "address_codes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("mailbox_hash", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("sent", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address_codes")),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["widget_sessions.id"],
            name=op.f("fk_address_codes_session_id_widget_sessions"),
            ondelete="CASCADE",
        ),
    )
    for name in ("session_id", "mailbox_hash", "created_at"):
        op.create_index(op.f(f"ix_address_codes_{name}"), "address_codes", [name])


def downgrade() -> None:
    op.drop_table("address_codes")
