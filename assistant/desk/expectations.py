"""When a customer who waits for a person may expect a reply: by business hours, and by what the last days were like.

Nothing is promised that was not so: without enough conversations that a person answered, there is no figure, and those
that nobody has answered yet count with the time that they have waited so far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from assistant.desk import inboxes
from assistant.desk.desk import Desk
from assistant.desk.hours import Hours
from assistant.models import Author, Conversation, ConversationState, Message, MessageVisibility

_LOOK_BACK = timedelta(days=14)
_ENOUGH = 10  # conversations below which a median says little
_AT_MOST = 500
_MEASURED_FOR = timedelta(minutes=10)


@dataclass(frozen=True)
class Expected:
    """``opens_at``: when people are back, while they are away. ``minutes``: the median wait of the last days for a
    person's first reply, counted in business hours; None if that is not known."""

    opens_at: datetime | None
    minutes: int | None


def expected_reply(desk: Desk, session: Session, conversation: Conversation) -> Expected:
    now = desk.now()
    hours = inboxes.settings_of(conversation.inbox).hours
    opens_at = hours.next_opening(now) if hours is not None and not hours.is_open(now) else None
    return Expected(opens_at, _measured(desk, session, conversation.inbox_id, hours, now))


def _measured(desk: Desk, session: Session, inbox_id: int, hours: Hours | None, now: datetime) -> int | None:
    known = desk.reply_minutes.get(inbox_id)
    if known is None or now - known[0] > _MEASURED_FOR:
        known = desk.reply_minutes[inbox_id] = (now, median_minutes(session, inbox_id, hours, now))
    return known[1]


def median_minutes(session: Session, inbox_id: int, hours: Hours | None, now: datetime) -> int | None:
    """Minutes from handoff to the first reply by a person that half of the last customers waited at most."""
    later = aliased(Message)
    answered_at = (
        select(func.min(later.created_at))
        .where(
            later.conversation_id == Message.conversation_id,
            later.id > Message.id,
            later.author == Author.AGENT,
            later.visibility == MessageVisibility.PUBLIC,
        )
        .correlate(Message)
        .scalar_subquery()
    )
    told = (
        select(Message.created_at, Message.notices, answered_at, Conversation.state)
        .join(Message.conversation)
        .where(
            Conversation.inbox_id == inbox_id,
            Conversation.updated_at > now - _LOOK_BACK,
            Message.author == Author.SYSTEM,
            Message.created_at > now - _LOOK_BACK,
        )
        .order_by(Message.id.desc())
        .limit(_AT_MOST)
    )
    waits: list[tuple[timedelta, bool]] = []  # how long, and whether it is over
    for began, notices, ended, state in session.execute(told):
        is_handoff = any(str(notice["code"]).startswith("handoff_") for notice in notices or ())
        if is_handoff and (ended is not None or state is ConversationState.HANDED_OFF):
            until = ended or now
            waited = until - began if hours is None else hours.business_time(began, until)
            waits.append((waited, ended is not None))
    if len(waits) < _ENOUGH:
        return None
    median, is_over = sorted(waits)[len(waits) // 2]
    return max(1, math.ceil(median.total_seconds() / 60)) if is_over else None
