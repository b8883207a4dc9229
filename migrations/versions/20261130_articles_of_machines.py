"""articles that were written with an API key"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "articles_of_machines"
down_revision = "taxonomies_of_machines"


def upgrade() -> None:
    with op.batch_alter_table("article_versions") as versions:
        versions.add_column(sa.Column("api_key_id", sa.Integer(), nullable=True))
        name = op.f("fk_article_versions_api_key_id_api_keys")
        versions.create_foreign_key(name, "api_keys", ["api_key_id"], ["id"], ondelete="SET NULL")
        versions.create_index(op.f("ix_article_versions_api_key_id"), ["api_key_id"])


def downgrade() -> None:
    with op.batch_alter_table("article_versions") as versions:
        versions.drop_index(op.f("ix_article_versions_api_key_id"))
        versions.drop_constraint(op.f("fk_article_versions_api_key_id_api_keys"), type_="foreignkey")
        versions.drop_column("api_key_id")
