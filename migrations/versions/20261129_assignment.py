"""auto-assignment: how a team's tickets are given out, and to whom none"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "assignment"
down_revision = "automations"

_ASSIGNMENTS = ("off", "round_robin", "least_busy")
_TIMES = ("away_since", "given_at")


def upgrade() -> None:
    kind = sa.Enum(*_ASSIGNMENTS, name="assignment", native_enum=False, create_constraint=True, length=40)
    with op.batch_alter_table("teams") as teams:
        teams.add_column(sa.Column("assignment", kind, nullable=False, server_default="off"))
    with op.batch_alter_table("teams") as teams:
        teams.alter_column("assignment", existing_type=sa.String(40), server_default=None)
    op.add_column("agents", sa.Column("capacity", sa.Integer(), nullable=True))
    for name in _TIMES:
        op.add_column("agents", sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for name in ("capacity", *_TIMES):
        op.drop_column("agents", name)
    with op.batch_alter_table("teams") as teams:
        teams.drop_constraint(op.f("ck_teams_assignment"), type_="check")
        teams.drop_column("assignment")
