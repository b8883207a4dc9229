"""roles viewer and lead, languages of agents, and when an agent's sessions were ended"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "roles_of_agents"
down_revision = "views"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    with op.batch_alter_table("agents") as agents:
        agents.add_column(sa.Column("languages", _JSON, nullable=False, server_default="[]"))
        agents.add_column(sa.Column("signed_out_at", sa.DateTime(timezone=True), nullable=True))
        agents.drop_constraint(op.f("ck_agents_role"), type_="check")
        agents.create_check_constraint(op.f("ck_agents_role"), "role IN ('viewer', 'agent', 'lead', 'admin')")
    with op.batch_alter_table("agents") as agents:
        agents.alter_column("languages", existing_type=_JSON, server_default=None)


def downgrade() -> None:
    op.execute("UPDATE agents SET deactivated_at = CURRENT_TIMESTAMP WHERE role = 'viewer' AND deactivated_at IS NULL")
    op.execute("UPDATE agents SET role = 'agent' WHERE role IN ('viewer', 'lead')")
    with op.batch_alter_table("agents") as agents:
        agents.drop_constraint(op.f("ck_agents_role"), type_="check")
        agents.create_check_constraint(op.f("ck_agents_role"), "role IN ('agent', 'admin')")
        agents.drop_column("signed_out_at")
        agents.drop_column("languages")
