"""vectors of the sentences, steps and rows of passages; made by the job that embeds articles"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "unit_vectors"
down_revision = "triage_head_states"


def upgrade() -> None:
    op.create_table(
        "unit_vectors",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("embedding_model", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("embeddings", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint(
            "content_hash", "embedding_model", name=op.f("uq_unit_vectors_content_hash_embedding_model")
        ),
    )


def downgrade() -> None:
    op.drop_table("unit_vectors")
