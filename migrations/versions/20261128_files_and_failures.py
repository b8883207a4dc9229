"""what became of a file and of a message: condition and risk of attachments, messages that failed, crashes of jobs,
and how much a visitor stored on a day"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "files_and_failures"
down_revision = "article_coverage"

_CONDITIONS = ("ready", "unscanned", "infected", "missing", "damaged")


def upgrade() -> None:
    condition = sa.Enum(*_CONDITIONS, name="condition", native_enum=False, create_constraint=True, length=40)
    with op.batch_alter_table("attachments") as attachments:
        attachments.add_column(sa.Column("condition", condition, nullable=False, server_default="ready"))
        attachments.add_column(sa.Column("risk", sa.Text(), nullable=True))
        attachments.create_index("ix_attachments_condition", ["condition"])
    op.add_column("messages", sa.Column("failed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("jobs", sa.Column("crashes", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "upload_counts",
        sa.Column("visitor", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("visitor", "day", name="pk_upload_counts"),
    )


def downgrade() -> None:
    op.drop_table("upload_counts")
    op.drop_column("jobs", "crashes")
    op.drop_column("messages", "failed")
    with op.batch_alter_table("attachments") as attachments:
        attachments.drop_index("ix_attachments_condition")
        attachments.drop_constraint(op.f("ck_attachments_condition"), type_="check")
        attachments.drop_column("risk")
        attachments.drop_column("condition")
