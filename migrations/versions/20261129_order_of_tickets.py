"""indices by which lists of tickets are read in their order, the unsolved ones from an index alone"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "order_of_tickets"
down_revision = "written_articles"

_UNSOLVED = ("waiting_since", "due_at", "priority", "id", "agent_id", "team_id", "snoozed_until", "status")
_BY = ("category", "product", "updated_at")


def upgrade() -> None:
    # What is unsolved is told by its time from now on.
    op.execute("UPDATE tickets SET solved_at = updated_at WHERE solved_at IS NULL AND status IN ('solved', 'closed')")
    op.execute("UPDATE tickets SET solved_at = NULL WHERE solved_at IS NOT NULL AND status NOT IN ('solved', 'closed')")
    for column in _BY:
        op.create_index(f"ix_tickets_{column}_id", "tickets", [column, "id"])
    _create("ix_tickets_solved", ("solved_at", "id"), "solved_at IS NOT NULL")
    _create("ix_tickets_unsolved", (*_UNSOLVED, "conversation_id"), "solved_at IS NULL")

    op.create_index("ix_conversations_channel", "conversations", ["channel"])
    op.create_index("ix_messages_visibility_conversation_id", "messages", ["visibility", "conversation_id"])


def downgrade() -> None:
    op.drop_index("ix_messages_visibility_conversation_id", "messages")
    op.drop_index("ix_conversations_channel", "conversations")
    op.drop_index("ix_tickets_unsolved", "tickets")
    op.drop_index("ix_tickets_solved", "tickets")
    for column in _BY:
        op.drop_index(f"ix_tickets_{column}_id", "tickets")


def _create(name: str, columns: tuple[str, ...], where: str) -> None:
    holds = sa.text(where)
    op.create_index(name, "tickets", list(columns), sqlite_where=holds, postgresql_where=holds)
