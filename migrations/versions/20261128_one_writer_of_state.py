"""a conversation is closed exactly while its ticket is solved or closed; columns that nothing used are gone

Until now a status set by the API left the conversation as it was. What had drifted apart follows the ticket: an open
one waits for a person again, a solved or closed one closes its conversation.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "one_writer_of_state"
down_revision = "embedding_models"

_UNUSED = {
    "agents": ("last_seen_at",),
    "tickets": ("first_response_due_at", "next_response_due_at", "resolution_due_at"),
}
_REOPEN = """UPDATE conversations SET state = 'handed_off', handed_off_at = CURRENT_TIMESTAMP, turn = turn + 1
    WHERE state = 'closed'
    AND id IN (SELECT conversation_id FROM tickets WHERE status NOT IN ('solved', 'closed'))"""
_CLOSE = """UPDATE conversations SET state = 'closed', handed_off_at = NULL, agent_id = NULL, turn = turn + 1
    WHERE state <> 'closed'
    AND id IN (SELECT conversation_id FROM tickets WHERE status IN ('solved', 'closed'))"""


def upgrade() -> None:
    op.execute(_REOPEN)
    op.execute(_CLOSE)
    for table, columns in _UNUSED.items():
        for column in columns:
            op.drop_column(table, column)


def downgrade() -> None:
    for table, columns in _UNUSED.items():
        for column in columns:
            op.add_column(table, sa.Column(column, sa.DateTime(timezone=True), nullable=True))
