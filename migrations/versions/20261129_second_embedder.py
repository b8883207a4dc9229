"""a second embedder may read what the served one does not; embedders are calibrated to one scale"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "second_embedder"
down_revision = "corrections_and_contexts"

_OLD, _NEW = ("served", "next"), ("served", "next", "second")


def upgrade() -> None:
    _set_states(_NEW)
    for column in ("floor", "slope"):
        op.add_column("embedding_models", sa.Column(column, sa.Double(), nullable=True))


def downgrade() -> None:
    for column in ("floor", "slope"):
        op.drop_column("embedding_models", column)
    op.execute("DELETE FROM embedding_models WHERE state = 'second'")
    _set_states(_OLD)


def _set_states(states: tuple[str, ...]) -> None:
    quoted = ", ".join(f"'{state}'" for state in states)
    with op.batch_alter_table("embedding_models") as table:
        table.drop_constraint(op.f("ck_embedding_models_state"), type_="check")
        table.create_check_constraint(op.f("ck_embedding_models_state"), sa.text(f"state IN ({quoted})"))
