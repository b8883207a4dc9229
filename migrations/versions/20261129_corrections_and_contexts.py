"""corrections of evidence beside what was read, by ticket or everywhere, and what was made again after them; where the
context of a reopened conversation begins; the handoff because everything has been said"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "corrections_and_contexts"
down_revision = "triage_sources"

_REASONS = ("customer_asked", "missing_knowledge", "nothing_new", "unsupported_answer", "needs_human", "engine_down")
_STATUSES = ("proposed", "sent", "edited", "discarded", "withdrawn")


def upgrade() -> None:
    with op.batch_alter_table("conversations") as conversations:
        conversations.add_column(sa.Column("context_after_id", sa.Integer(), nullable=True))
        _allow(conversations, "conversations", "handoff_reason", _REASONS)
    op.drop_index("uq_evidence_sha256_revision", table_name="evidence")
    with op.batch_alter_table("evidence") as evidence:
        evidence.add_column(sa.Column("corrects_id", sa.Integer(), nullable=True))
        evidence.add_column(sa.Column("conversation_id", sa.Integer(), nullable=True))
        for column, table in (("corrects_id", "evidence"), ("conversation_id", "conversations")):
            name = op.f(f"fk_evidence_{column}_{table}")
            evidence.create_foreign_key(name, table, [column], ["id"], ondelete="CASCADE")
            evidence.create_index(op.f(f"ix_evidence_{column}"), [column])
        evidence.create_index("ix_evidence_sha256", ["sha256"])
    _unique("uq_evidence_sha256_revision", "evidence", ["sha256", "revision"], where="corrects_id IS NULL")
    with op.batch_alter_table("triage_results") as results:
        results.add_column(sa.Column("outdated", sa.Boolean(), nullable=False, server_default=sa.false()))
        results.drop_constraint(op.f("uq_triage_results_message_id"), type_="unique")
        results.create_index(op.f("ix_triage_results_message_id"), ["message_id"])
    current = "outdated = 0" if op.get_bind().dialect.name == "sqlite" else "NOT outdated"
    _unique("uq_triage_results_message_id", "triage_results", ["message_id"], where=current)
    with op.batch_alter_table("drafts") as drafts:
        drafts.drop_constraint(op.f("uq_drafts_answers_message_id"), type_="unique")
        drafts.create_index(op.f("ix_drafts_answers_message_id"), ["answers_message_id"])
        _allow(drafts, "drafts", "handoff_reason", _REASONS)
        _allow(drafts, "drafts", "status", _STATUSES)
    _unique("uq_drafts_answers_message_id", "drafts", ["answers_message_id"], where="status <> 'withdrawn'")


def downgrade() -> None:
    op.execute("DELETE FROM citations WHERE draft_id IN (SELECT id FROM drafts WHERE status = 'withdrawn')")
    op.execute("DELETE FROM drafts WHERE status = 'withdrawn'")
    op.execute("DELETE FROM triage_fields WHERE result_id IN (SELECT id FROM triage_results WHERE outdated)")
    op.execute("DELETE FROM triage_results WHERE outdated")
    op.execute("DELETE FROM evidence WHERE corrects_id IS NOT NULL")
    op.execute("UPDATE conversations SET handoff_reason = 'missing_knowledge' WHERE handoff_reason = 'nothing_new'")
    op.execute("UPDATE drafts SET handoff_reason = 'missing_knowledge' WHERE handoff_reason = 'nothing_new'")
    reasons = tuple(reason for reason in _REASONS if reason != "nothing_new")
    op.drop_index("uq_drafts_answers_message_id", table_name="drafts")
    with op.batch_alter_table("drafts") as drafts:
        drafts.drop_index(op.f("ix_drafts_answers_message_id"))
        drafts.create_unique_constraint(op.f("uq_drafts_answers_message_id"), ["answers_message_id"])
        _allow(drafts, "drafts", "status", _STATUSES[:-1])
        _allow(drafts, "drafts", "handoff_reason", reasons)
    op.drop_index("uq_triage_results_message_id", table_name="triage_results")
    with op.batch_alter_table("triage_results") as results:
        results.drop_index(op.f("ix_triage_results_message_id"))
        results.create_unique_constraint(op.f("uq_triage_results_message_id"), ["message_id"])
        results.drop_column("outdated")
    op.drop_index("uq_evidence_sha256_revision", table_name="evidence")
    with op.batch_alter_table("evidence") as evidence:
        evidence.drop_index("ix_evidence_sha256")
        for column, table in (("corrects_id", "evidence"), ("conversation_id", "conversations")):
            evidence.drop_index(op.f(f"ix_evidence_{column}"))
            evidence.drop_constraint(op.f(f"fk_evidence_{column}_{table}"), type_="foreignkey")
            evidence.drop_column(column)
    op.create_index("uq_evidence_sha256_revision", "evidence", ["sha256", "revision"], unique=True)
    with op.batch_alter_table("conversations") as conversations:
        conversations.drop_column("context_after_id")
        _allow(conversations, "conversations", "handoff_reason", reasons)


def _allow(table: BatchOperations, name: str, column: str, values: tuple[str, ...]) -> None:
    """The values that a column may have from now on."""
    listed = ", ".join(f"'{value}'" for value in values)
    table.drop_constraint(op.f(f"ck_{name}_{column}"), type_="check")
    table.create_check_constraint(op.f(f"ck_{name}_{column}"), f"{column} IN ({listed})")


def _unique(name: str, table: str, columns: list[str], *, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=True, sqlite_where=condition, postgresql_where=condition)
