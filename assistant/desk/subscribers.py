"""The work that follows an event. A new consumer of events (webhooks, reminders, reports) is one more function here.

A subscriber runs in the transaction of the change and returns the jobs that the event makes necessary, which are
committed with it. It may read and must not write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.desk import learning
from assistant.desk.events import ConversationMoved, MessageCreated, Recorded
from assistant.desk.queue import NewJob
from assistant.models import Author, ConversationState, FileCondition, Message
from assistant.ports import WorkPriority

PROCESS_MESSAGE = "process_message"  # handled by `turns`
SCAN_AGAIN = "scan_again"  # handled by `attachments`

Subscriber = Callable[[Session, Recorded], Iterable[NewJob]]


def process_customer_message(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Read, triage and answer every customer message; those with a customer waiting for the assistant come first."""
    match recorded.event:
        case MessageCreated(message) if message.author is Author.CUSTOMER:
            live = message.conversation.state is ConversationState.ASSISTANT
            priority = WorkPriority.INTERACTIVE if live else WorkPriority.DRAFT
            yield NewJob(PROCESS_MESSAGE, {"message_id": message.id}, priority=priority)


def scan_unscanned_files(_session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Scan what was accepted while the malware scanner was away."""
    match recorded.event:
        case MessageCreated(message) if any(
            attachment.condition is FileCondition.UNSCANNED for attachment in message.attachments
        ):
            yield NewJob(SCAN_AGAIN, {"message_id": message.id, "tries": 0}, key=f"{SCAN_AGAIN}:{message.id}")


def draft_after_handoff(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Draft a reply to what the assistant could not answer, so that the agent does not start from an empty page."""
    match recorded.event:
        case ConversationMoved(conversation, was=ConversationState.ASSISTANT) if (
            conversation.state is ConversationState.HANDED_OFF
        ):
            query = select(Message).where(Message.conversation_id == conversation.id, Message.author == Author.CUSTOMER)
            last = session.scalar(query.order_by(Message.id.desc()).limit(1))
            if last is not None and not last.failed:
                yield NewJob(PROCESS_MESSAGE, {"message_id": last.id}, key=f"draft:{last.id}")


SUBSCRIBERS: tuple[Subscriber, ...] = (
    process_customer_message,
    scan_unscanned_files,
    draft_after_handoff,
    learning.learn_after_decision,
)
