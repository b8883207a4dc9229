"""How a customer ends a conversation and says how it was."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant import payloads
from assistant.desk import conversations, ratings, state
from assistant.errors import Invalid
from assistant.text.storable import storable
from assistant.web import auth
from assistant.web.bodies import read_json
from assistant.web.context import desk

blueprint = Blueprint("closing", __name__)


class _Rating(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True, extra="forbid", strict=True)

    score: int = Field(ge=1, le=5)
    comment: str = Field("", max_length=2000)


@blueprint.post("/end")
def end_conversation(conversation_id: str) -> Response:
    """The customer needs nothing more. Ending again changes nothing; the next question reopens it."""
    principal = auth.customer(conversation_id)
    with desk().db.begin() as session:
        conversation = conversations.end(session, principal)
        position = state.queue_position(session, conversation)
        return jsonify(payloads.Conversation.of(conversation, queue_position=position).to_json())


@blueprint.put("/rating")
def rate_conversation(conversation_id: str) -> Response:
    """How the conversation was: ``{"score": 1 to 5, "comment": "…"}``. It can be changed for a day."""
    principal = auth.customer(conversation_id)
    try:
        said = _Rating.model_validate(read_json())
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"]) or None
        raise Invalid(
            "Send a JSON object with a score from 1 to 5 and, if you like, a comment.", field=field
        ) from error
    with desk().db.begin() as session:
        rating = ratings.rate(session, principal, score=said.score, comment=storable(said.comment))
        return jsonify(payloads.Rating.of(rating).to_json())
