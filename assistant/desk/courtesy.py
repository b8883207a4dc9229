"""Messages that are nothing but a greeting or thanks: they get a kind word or nothing, and move nothing.

No draft, no place in the queue, no reopened ticket follows from one, and an answer that is being written goes on.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from assistant.models import Author, Message
from assistant.skills import language


def is_courtesy(message: Message) -> bool:
    """Whether a customer's message is nothing but a greeting or thanks."""
    if message.courtesy is not None:
        return message.courtesy
    if message.author is not Author.CUSTOMER or message.attachments:
        return False
    return language.courtesy(message.new_text) is not None


def last_request(session: Session, conversation_id: int) -> Message | None:
    """The customer's newest message that is no courtesy; the newest of all if there is no other."""
    query = (
        select(Message)
        .where(Message.conversation_id == conversation_id, Message.author == Author.CUSTOMER)
        .order_by(Message.id.desc())
        .options(selectinload(Message.attachments))
    )
    messages = session.scalars(query).all()
    return next((one for one in messages if not is_courtesy(one)), messages[0] if messages else None)
