"""the operator's own products"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "products"
down_revision = "articles_of_machines"

_STATES = ("served", "replaced", "waiting", "rolled_back")


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    op.create_table(
        "product_photos",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("features", sa.Text(), nullable=False),
        sa.Column("views", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product_photos")),
        sa.UniqueConstraint("product", "sha256", "features", name=op.f("uq_product_photos_product_sha256_features")),
    )
    op.create_table(
        "product_heads",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("features", sa.Text(), nullable=False),
        sa.Column("names", json, nullable=False),
        sa.Column("weights", json, nullable=False),
        sa.Column(
            "state",
            sa.Enum(*_STATES, name="state", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trial", json, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product_heads")),
    )
    op.create_table(
        "product_head_photos",
        sa.Column("head_id", sa.Integer(), nullable=False),
        sa.Column("photo_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["head_id"],
            ["product_heads.id"],
            name=op.f("fk_product_head_photos_head_id_product_heads"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["photo_id"],
            ["product_photos.id"],
            name=op.f("fk_product_head_photos_photo_id_product_photos"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("head_id", "photo_id", name=op.f("pk_product_head_photos")),
    )
    op.create_index(op.f("ix_product_head_photos_photo_id"), "product_head_photos", ["photo_id"])


def downgrade() -> None:
    op.drop_table("product_head_photos")
    op.drop_table("product_heads")
    op.drop_table("product_photos")
