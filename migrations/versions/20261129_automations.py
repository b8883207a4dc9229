"""automations and the log of what they did"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "automations"
down_revision = "sla"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TRIGGERS = ("opened", "triaged", "handed_off", "written", "replied", "changed", "breached", "rated", "time")


def upgrade() -> None:
    op.create_table(
        "automations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        _choice("trigger", _TRIGGERS),
        sa.Column("conditions", _JSON, nullable=False),
        sa.Column("actions", _JSON, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_automations")),
        sa.UniqueConstraint("public_id", name=op.f("uq_automations_public_id")),
        sa.UniqueConstraint("name", name=op.f("uq_automations_name")),
    )
    op.create_index(op.f("ix_automations_trigger"), "automations", ["trigger"])
    op.create_table(
        "automation_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("automation_id", sa.Integer(), nullable=False),
        sa.Column("ticket_id", sa.Integer(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        _choice("outcome", ("done", "failed")),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("actions", _JSON, nullable=False),
        sa.Column("after_event_id", sa.Integer(), nullable=False),
        sa.Column("last_event_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *(
            sa.ForeignKeyConstraint(
                [f"{one}_id"], [f"{one}s.id"], name=op.f(f"fk_automation_runs_{one}_id_{one}s"), ondelete="CASCADE"
            )
            for one in ("automation", "ticket")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_automation_runs")),
        sa.UniqueConstraint(
            "automation_id", "ticket_id", "cause", name=op.f("uq_automation_runs_automation_id_ticket_id_cause")
        ),
    )
    for column in ("automation_id", "ticket_id", "created_at"):
        op.create_index(op.f(f"ix_automation_runs_{column}"), "automation_runs", [column])
    op.create_index("ix_automation_runs_ticket_id_last_event_id", "automation_runs", ["ticket_id", "last_event_id"])


def downgrade() -> None:
    op.drop_table("automation_runs")
    op.drop_table("automations")


def _choice(name: str, values: tuple[str, ...]) -> sa.Column[str]:
    kind = sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=40)
    return sa.Column(name, kind, nullable=False)
