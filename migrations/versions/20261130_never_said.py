"""what drafts leave out because their inbox never says it, and the handoff because of it"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations
from sqlalchemy.dialects import postgresql

revision = "never_said"
down_revision = "limits_of_api_keys"

_BEFORE = ("customer_asked", "missing_knowledge", "nothing_new", "unsupported_answer", "needs_human", "engine_down")


def upgrade() -> None:
    with op.batch_alter_table("conversations") as conversations:
        _allow(conversations, "conversations", (*_BEFORE, "never_said"))
    with op.batch_alter_table("drafts") as drafts:
        kind = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
        drafts.add_column(sa.Column("withheld", kind, nullable=True))
        _allow(drafts, "drafts", (*_BEFORE, "never_said"))


def downgrade() -> None:
    for table in ("conversations", "drafts"):
        rows = sa.table(table, sa.column("handoff_reason"))
        never_said = rows.c.handoff_reason == "never_said"
        op.execute(sa.update(rows).where(never_said).values(handoff_reason="unsupported_answer"))
    with op.batch_alter_table("drafts") as drafts:
        _allow(drafts, "drafts", _BEFORE)
        drafts.drop_column("withheld")
    with op.batch_alter_table("conversations") as conversations:
        _allow(conversations, "conversations", _BEFORE)


def _allow(table: BatchOperations, name: str, reasons: tuple[str, ...]) -> None:
    check = op.f(f"ck_{name}_handoff_reason")
    table.drop_constraint(check, type_="check")
    table.create_check_constraint(check, f"handoff_reason IN {reasons}")
