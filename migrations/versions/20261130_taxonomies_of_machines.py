"""categories that were changed with an API key; scopes that versions before do not know"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "taxonomies_of_machines"
down_revision = "ids_of_senders"

_NEW_SCOPES = {"settings", "knowledge:write", "keys"}
_JSON = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
_KEYS = sa.table("api_keys", sa.column("id", sa.Integer), sa.column("scopes", _JSON))


def upgrade() -> None:
    with op.batch_alter_table("taxonomy_versions") as versions:
        versions.add_column(sa.Column("api_key_id", sa.Integer(), nullable=True))
        name = op.f("fk_taxonomy_versions_api_key_id_api_keys")
        versions.create_foreign_key(name, "api_keys", ["api_key_id"], ["id"], ondelete="SET NULL")
        versions.create_index(op.f("ix_taxonomy_versions_api_key_id"), ["api_key_id"])


def downgrade() -> None:
    with op.batch_alter_table("taxonomy_versions") as versions:
        versions.drop_index(op.f("ix_taxonomy_versions_api_key_id"))
        versions.drop_constraint(op.f("fk_taxonomy_versions_api_key_id_api_keys"), type_="foreignkey")
        versions.drop_column("api_key_id")
    connection = op.get_bind()
    for key_id, scopes in connection.execute(sa.select(_KEYS.c.id, _KEYS.c.scopes)).all():
        if known := _NEW_SCOPES & set(scopes):
            left = sorted(set(scopes) - known)
            connection.execute(sa.update(_KEYS).where(_KEYS.c.id == key_id).values(scopes=left))
