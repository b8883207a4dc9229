"""files that machines upload before they say what for"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "uploads"
down_revision = "triage_revision"


def upgrade() -> None:
    kind = sa.Enum("photo", "file", name="kind", native_enum=False, create_constraint=True, length=40)
    conditions = ("ready", "unscanned", "infected", "missing", "damaged", "removed")
    op.create_table(
        "uploaded_files",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("api_key_id", sa.Integer(), nullable=False),
        sa.Column("kind", kind, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("thumbnail_sha256", sa.Text(), nullable=True),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("byte_size", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column(
            "condition",
            sa.Enum(*conditions, name="condition", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("risk", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["api_key_id"], ["api_keys.id"], name=op.f("fk_uploaded_files_api_key_id_api_keys"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploaded_files")),
        sa.UniqueConstraint("public_id", name=op.f("uq_uploaded_files_public_id")),
    )
    for column in ("api_key_id", "sha256", "thumbnail_sha256", "expires_at"):
        op.create_index(op.f(f"ix_uploaded_files_{column}"), "uploaded_files", [column])
    op.create_table(
        "batch_files",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("kind", kind, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["batch_items.id"], name=op.f("fk_batch_files_item_id_batch_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch_files")),
    )
    for column in ("item_id", "sha256"):
        op.create_index(op.f(f"ix_batch_files_{column}"), "batch_files", [column])


def downgrade() -> None:
    op.drop_table("batch_files")
    op.drop_table("uploaded_files")
