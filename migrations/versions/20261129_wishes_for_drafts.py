"""drafts are replaced at an agent's wish, and rated"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "wishes_for_drafts"
down_revision = "ticket_links"

_INDEX = "uq_drafts_answers_message_id"
_BEFORE = ("proposed", "sent", "edited", "discarded", "withdrawn")


def upgrade() -> None:
    op.drop_index(_INDEX, table_name="drafts")
    with op.batch_alter_table("drafts") as drafts:
        drafts.add_column(sa.Column("wish", sa.Text(), nullable=True))
        drafts.add_column(sa.Column("helpful", sa.Boolean(), nullable=True))
        _check(drafts, (*_BEFORE, "replaced"))
    _index("status NOT IN ('withdrawn', 'replaced')")


def downgrade() -> None:
    op.drop_index(_INDEX, table_name="drafts")
    op.execute("UPDATE drafts SET status = 'withdrawn' WHERE status = 'replaced'")
    with op.batch_alter_table("drafts") as drafts:
        _check(drafts, _BEFORE)
        drafts.drop_column("helpful")
        drafts.drop_column("wish")
    _index("status <> 'withdrawn'")


def _check(drafts: object, states: tuple[str, ...]) -> None:
    name = op.f("ck_drafts_status")
    drafts.drop_constraint(name, type_="check")  # type: ignore[attr-defined]
    drafts.create_check_constraint(name, f"status IN {states}")  # type: ignore[attr-defined]


def _index(where: str) -> None:
    op.create_index(
        _INDEX,
        "drafts",
        ["answers_message_id"],
        unique=True,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
