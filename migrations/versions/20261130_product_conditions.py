"""conditions of own products"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "product_conditions"
down_revision = "photo_questions"


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    with op.batch_alter_table("product_photos") as photos:
        photos.add_column(sa.Column("condition", sa.Text(), nullable=False, server_default=""))
        photos.add_column(sa.Column("kind", sa.Text(), nullable=False, server_default=""))
        photos.add_column(sa.Column("is_customers", sa.Boolean(), nullable=False, server_default=sa.false()))
        photos.add_column(sa.Column("glow", json, nullable=False, server_default="[]"))
        photos.drop_constraint(op.f("uq_product_photos_product_sha256_features"), type_="unique")
        photos.create_unique_constraint(
            op.f("uq_product_photos_product_sha256_features_condition"),
            ["product", "sha256", "features", "condition"],
        )
    with op.batch_alter_table("product_photos") as photos:
        for name in ("condition", "kind", "is_customers", "glow"):
            photos.alter_column(name, server_default=None)


def downgrade() -> None:
    op.execute(
        "DELETE FROM product_photos WHERE EXISTS (SELECT 1 FROM product_photos AS other WHERE other.id < product_photos.id "
        "AND other.product = product_photos.product AND other.sha256 = product_photos.sha256 "
        "AND other.features = product_photos.features)"
    )
    with op.batch_alter_table("product_photos") as photos:
        photos.drop_constraint(op.f("uq_product_photos_product_sha256_features_condition"), type_="unique")
        photos.create_unique_constraint(
            op.f("uq_product_photos_product_sha256_features"), ["product", "sha256", "features"]
        )
        for name in ("condition", "kind", "is_customers", "glow"):
            photos.drop_column(name)
