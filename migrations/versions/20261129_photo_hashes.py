"""perceptual hashes of photos; those of older photos are made by a job"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "photo_hashes"
down_revision = "wishes_for_drafts"

_PARTS = tuple(f"part_{number}" for number in range(4))


def upgrade() -> None:
    op.create_table(
        "photo_hashes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=True),
        *(sa.Column(part, sa.Integer(), nullable=True) for part in _PARTS),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo_hashes")),
        sa.UniqueConstraint("sha256", name=op.f("uq_photo_hashes_sha256")),
    )
    for part in _PARTS:
        op.create_index(op.f(f"ix_photo_hashes_{part}"), "photo_hashes", [part])


def downgrade() -> None:
    op.drop_table("photo_hashes")
