"""alerts about a ticket that is back, which are about no message"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "alerts_without_message"
down_revision = "second_factor"

_KINDS = "kind IN ('mention', 'written', 'followed'%s)"


def upgrade() -> None:
    _allow(", 'woken'", without_message=True)


def downgrade() -> None:
    op.execute("DELETE FROM alerts WHERE message_id IS NULL")
    _allow("", without_message=False)


def _allow(more: str, *, without_message: bool) -> None:
    with op.batch_alter_table("alerts") as alerts:
        alerts.drop_constraint(op.f("ck_alerts_kind"), type_="check")
        alerts.create_check_constraint(op.f("ck_alerts_kind"), _KINDS % more)
        alerts.alter_column("message_id", existing_type=sa.Integer(), nullable=without_message)
