"""copies of photos"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "photo_copies"
down_revision = "product_conditions"


def upgrade() -> None:
    op.add_column("photo_hashes", sa.Column("points", sa.LargeBinary(), nullable=True))
    op.create_table(
        "photo_copies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("other_sha256", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo_copies")),
        sa.UniqueConstraint("sha256", "other_sha256", name=op.f("uq_photo_copies_sha256_other_sha256")),
    )
    op.create_index(op.f("ix_photo_copies_other_sha256"), "photo_copies", ["other_sha256"])


def downgrade() -> None:
    op.drop_table("photo_copies")
    op.drop_column("photo_hashes", "points")
