"""articles that are written in the console"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "written_articles"
down_revision = "customer_notes"

_KINDS = "kind IN ('folder', 'website', 'files', 'solved_tickets'%s)"


def upgrade() -> None:
    _allow(", 'written'")
    op.create_table(
        "written_articles",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("gap_id", sa.Integer(), nullable=True),
        sa.Column("published", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _key("written_articles", "gap_id", "gaps", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_written_articles")),
        sa.UniqueConstraint("public_id", name=op.f("uq_written_articles_public_id")),
    )
    op.create_index(op.f("ix_written_articles_gap_id"), "written_articles", ["gap_id"])
    op.create_table(
        "article_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("article_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column(
            "visibility",
            sa.Enum("public", "internal", name="visibility", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("inbox", sa.Text(), nullable=True),
        sa.Column("agent_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _key("article_versions", "article_id", "written_articles", "CASCADE"),
        _key("article_versions", "agent_id", "agents", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_article_versions")),
        sa.UniqueConstraint("article_id", "number", name=op.f("uq_article_versions_article_id_number")),
    )
    for column in ("article_id", "agent_id"):
        op.create_index(op.f(f"ix_article_versions_{column}"), "article_versions", [column])
    op.create_table(
        "written_pictures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("article_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        _key("written_pictures", "article_id", "written_articles", "CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_written_pictures")),
        sa.UniqueConstraint("article_id", "name", name=op.f("uq_written_pictures_article_id_name")),
    )
    op.create_index(op.f("ix_written_pictures_article_id"), "written_pictures", ["article_id"])


def downgrade() -> None:
    for table in ("written_pictures", "article_versions", "written_articles"):
        op.drop_table(table)
    op.execute("DELETE FROM articles WHERE source IN (SELECT name FROM sources WHERE kind = 'written')")
    op.execute("DELETE FROM sources WHERE kind = 'written'")
    _allow("")


def _allow(more: str) -> None:
    with op.batch_alter_table("sources") as sources:
        sources.drop_constraint(op.f("ck_sources_kind"), type_="check")
        sources.create_check_constraint(op.f("ck_sources_kind"), _KINDS % more)


def _key(table: str, column: str, target: str, ondelete: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete=ondelete)
