"""What work follows an event. A new consumer of events (webhooks, reminders, reports) is one more function here.

A subscriber is called in the transaction of the change and gives the jobs that it makes necessary; they are committed
with it. It reads what it needs and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.desk import learning
from assistant.desk.events import ConversationMoved, MessageCreated, Recorded
from assistant.desk.queue import NewJob
from assistant.models import Author, ConversationState, Message
from assistant.ports import WorkPriority

PROCESS_MESSAGE = "process_message"  # done by `turns`

Subscriber = Callable[[Session, Recorded], Iterable[NewJob]]


def process_customer_message(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Every customer message is read, triaged and answered; first those whose customer waits for the assistant."""
    match recorded.event:
        case MessageCreated(message) if message.author is Author.CUSTOMER:
            live = message.conversation.state is ConversationState.ASSISTANT
            priority = WorkPriority.INTERACTIVE if live else WorkPriority.DRAFT
            yield NewJob(PROCESS_MESSAGE, {"message_id": message.id}, priority=priority)


def draft_after_handoff(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """What the assistant could not answer gets a draft: the agent finds that and the evidence, not an empty page."""
    match recorded.event:
        case ConversationMoved(conversation, was=ConversationState.ASSISTANT) if (
            conversation.state is ConversationState.HANDED_OFF
        ):
            query = select(Message.id).where(
                Message.conversation_id == conversation.id, Message.author == Author.CUSTOMER
            )
            last = session.scalar(query.order_by(Message.id.desc()).limit(1))
            if last is not None:
                yield NewJob(PROCESS_MESSAGE, {"message_id": last}, key=f"draft:{last}")


SUBSCRIBERS: tuple[Subscriber, ...] = (process_customer_message, draft_after_handoff, learning.learn_after_decision)
