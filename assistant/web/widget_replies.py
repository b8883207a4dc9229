"""The widget's API around replies: what has been seen, who types, where replies are sent, and a copy by mail."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from assistant import payloads
from assistant.desk import access, attention, expectations, identity, notifications, proofs
from assistant.desk.access import SessionPrincipal
from assistant.errors import Invalid
from assistant.models import Conversation
from assistant.web import auth
from assistant.web.bodies import read_json
from assistant.web.context import desk
from assistant.web.limits import limiter

blueprint = Blueprint("replies", __name__)

_TRANSCRIPTS = "3 per hour;10 per day"


@blueprint.put("/read")
def mark_read(conversation_id: str) -> tuple[str, int]:
    """The browser has everything up to ``message`` and, with ``seen``, the customer has it before their eyes."""
    body, principal = read_json(), auth.customer(conversation_id)
    message, seen = body.get("message"), body.get("seen")
    if not isinstance(message, str) or not isinstance(seen, bool):
        raise Invalid("Send a JSON object with message, the id of a message, and seen, true or false.", field="message")
    with desk().db.begin() as session:
        attention.receive(session, principal, message, seen=seen)
    return "", 204


@blueprint.post("/typing")
def note_typing(conversation_id: str) -> tuple[str, int]:
    principal = auth.customer(conversation_id)
    with desk().db.begin() as session:
        attention.customer_types(session, principal)
    return "", 204


@blueprint.put("/address")
@limiter.limit("10 per hour")
def set_address(conversation_id: str) -> Response:
    """Send replies that stay unseen to ``email``, too."""
    typed, principal, visitor = read_json().get("email"), auth.customer(conversation_id), auth.visitor()
    if not isinstance(typed, str):
        raise Invalid("Send a JSON object with email.", field="email")
    with desk().db.begin() as session:
        notifications.set_address(session, principal, typed)
        return jsonify(by_mail(session, access.access_conversation(session, principal), visitor))


@blueprint.post("/transcript")
@limiter.limit(_TRANSCRIPTS)
def send_transcript(conversation_id: str) -> tuple[Response, int]:
    """Mail the conversation to the address that its customer has proved."""
    return jsonify({"email": notifications.send_transcript(desk(), auth.customer(conversation_id))}), 202


def about_replies(session: Any, conversation: Conversation, visitor: SessionPrincipal) -> dict[str, Any]:
    """What a page needs to know of replies when it loads a conversation."""
    known = attention.attention_to(session, conversation.id)
    expected = expectations.expected_reply(desk(), session, conversation)
    return {
        "attention": payloads.Attention.of(known).to_json(),
        "by_mail": by_mail(session, conversation, visitor),
        "opens_at": expected.opens_at.isoformat() if expected.opens_at is not None else None,
        "reply_minutes": expected.minutes,
    }


def by_mail(session: Any, conversation: Conversation, visitor: SessionPrincipal) -> dict[str, Any] | None:
    """Where replies are sent; None if no mail is sent at all. ``provable``: a code may prove the visitor's address.
    ``code_to``: where the code was sent that they may type now, for ``code_minutes`` at most."""
    if not desk().sends_mail:
        return None
    to = notifications.recipient(conversation, attention.attention_to(session, conversation.id))
    is_own = conversation.customer_id == visitor.customer_id
    provable = is_own and identity.may_prove(conversation.customer)
    return {
        "email": to.address if to is not None else None,
        "proved": to is not None and to.proved,
        "provable": provable,
        "code_to": proofs.waiting_for(session, visitor, now=desk().now()) if provable else None,
        "code_minutes": proofs.MINUTES,
    }
