"""How customers rate conversations: once, after the first time that one is closed, and changeable for a day."""

from __future__ import annotations

from sqlalchemy.orm import Session

from assistant.db import utcnow
from assistant.desk import feed, state
from assistant.desk.access import CustomerPrincipal, access_conversation
from assistant.desk.events import ConversationRated
from assistant.errors import Conflict
from assistant.models import Rating
from assistant.wording import Notice


def rate(session: Session, customer: CustomerPrincipal, *, score: int, comment: str = "") -> Rating:
    """Store the customer's rating, 1 to 5, or change it. The same again is a no-op.

    Whoever has been asked may answer, also if the conversation has been reopened meanwhile. Raises `Conflict` if it has
    not been closed yet, or was rated more than a day ago.
    """
    conversation = state.lock_conversation(session, access_conversation(session, customer).id)
    if conversation.rating_asked_turn is None:
        raise Conflict(Notice("rating_too_early"))
    now, rating = utcnow(), conversation.rating
    if rating is None:
        rating = Rating(conversation=conversation, created_at=now)
        session.add(rating)
    elif (rating.score, rating.comment) == (score, comment.strip()):
        return rating
    elif now > rating.changeable_until:
        raise Conflict(Notice("rating_over"))
    rating.score, rating.comment, rating.updated_at = score, comment.strip(), now
    session.flush()
    feed.append(session, conversation.id, ConversationRated(rating))
    return rating
