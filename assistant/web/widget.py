"""The customer's side: the widget's API under ``/widget/v1``, the page in its iframe, its loader and a demo page.

Whoever holds the token of a session (`widget_sessions`) is its customer, and sees the public side of that customer's
conversations in the inbox and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, cast

from flask import Blueprint, Response, current_app, g, jsonify, render_template, request

from assistant import payloads, wording
from assistant.desk import (
    access,
    attachments,
    attention,
    conversations,
    feed,
    inboxes,
    people,
    proofs,
    sessions,
    site_context,
    state,
)
from assistant.desk.access import SessionPrincipal
from assistant.desk.attention import NOTHING
from assistant.desk.conversations import NewMessage, Posted
from assistant.desk.events import Audience
from assistant.errors import Conflict, Invalid
from assistant.knowledge import documents, figures
from assistant.media.files import Upload
from assistant.models import DEFAULT_INBOX, Conversation, Inbox, WidgetSession
from assistant.ports import HandoffReason
from assistant.settings import Settings
from assistant.text.storable import storable
from assistant.web import auth, embedding, widget_closing, widget_help, widget_replies, widget_sessions
from assistant.web.assets import Content
from assistant.web.bodies import read_json
from assistant.web.context import desk, runtime
from assistant.web.limits import STREAMS, OpenStreams, address, limiter
from assistant.web.responses import (
    attachment_response,
    document_response,
    event_stream,
    figure_response,
    picture_response,
    too_many_requests,
)
from assistant.wording import Notice

blueprint = Blueprint("widget", __name__)

# All of them, this one and those within it.
BLUEPRINTS = (
    blueprint,
    widget_sessions.blueprint,
    widget_replies.blueprint,
    widget_help.blueprint,
    widget_closing.blueprint,
)

_CONVERSATION = "/widget/v1/conversations/<public_id:conversation_id>"
_STARTS = "10 per minute;60 per hour"  # conversations started from one address
_LONGEST_FEEDBACK = 2000
_STREAMS_EACH = 4  # a customer's open tabs and devices
_RETRY_STREAM = 15.0
_CHECK_SESSION_EVERY = 5.0  # seconds
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


# API


blueprint.register_blueprint(widget_sessions.blueprint, url_prefix="/widget/v1")
blueprint.register_blueprint(widget_replies.blueprint, url_prefix=_CONVERSATION)
blueprint.register_blueprint(widget_help.blueprint, url_prefix="/widget/v1")
blueprint.register_blueprint(widget_closing.blueprint, url_prefix=_CONVERSATION)


@blueprint.get("/widget/v1/conversations")
def list_conversations() -> Response:
    """The customer's conversations, newest first, and whether the browser should renew its token."""
    principal = auth.visitor()
    with desk().db.read() as session:
        own = conversations.own_conversations(session, principal)
        unread = attention.unread(session, [one.id for one, _ in own])
        row = session.get_one(WidgetSession, principal.session_id)
        body = {
            "session": {**payloads.WidgetSession.of(row).to_json(), "renew": sessions.is_due(row)},
            "conversations": [
                payloads.OwnConversation.of(one, last, unread=unread.get(one.id, NOTHING).count).to_json()
                for one, last in own
            ],
        }
    return jsonify(body)


@blueprint.post("/widget/v1/conversations")
@limiter.limit(_STARTS, key_func=address, deduct_when=lambda _: g.get("begun", False))
def start_conversation() -> tuple[Response, int]:
    """Begin a conversation with its first message. ``after``: the newest conversation that the browser knows. If there
    is a newer one by now, the message goes there."""
    principal = auth.visitor()
    posted = conversations.start_conversation(
        desk(),
        principal,
        after=request.form.get("after") or None,
        prechat=_read_prechat(),
        language=next(_asked_languages(request.form.get("language")), None),
        **_read_message(),
    )
    g.begun = posted.begun
    with desk().db.read() as session:
        conversation = session.get_one(Conversation, posted.message.conversation_id)
        body = {
            "conversation": _conversation_json(session, conversation),
            "begun": posted.begun,
            **_posted_json(session, posted),
        }
    return jsonify(body), 200 if posted.repeated else 201


@blueprint.get(_CONVERSATION)
def get_conversation(conversation_id: str) -> Response:
    """Everything a client needs to resume; `stream_events` delivers what changes after that."""
    principal = auth.customer(conversation_id)
    with desk().db.read() as session:
        conversation = access.access_conversation(session, principal)
        # The id before the messages: what arrives in between is delivered twice, and clients drop it by its id.
        last_event_id = feed.last_event_id(session, conversation_id=conversation.id)
        messages = conversations.public_messages(session, conversation.id)
        body = {
            **_conversation_json(session, conversation),
            "language": conversations.language_of(conversation, messages),
            "jobs_ahead": conversations.jobs_ahead(session, conversation),
            "messages": [payloads.Message.of(message).to_json() for message in messages],
            "last_event_id": last_event_id,
            **widget_replies.about_replies(session, conversation, auth.visitor()),
            **_about(conversation.inbox),
        }
    return jsonify(body)


@blueprint.post(f"{_CONVERSATION}/messages")
def post_message(conversation_id: str) -> tuple[Response, int]:
    principal = auth.customer(conversation_id)
    posted = conversations.post_message(desk(), principal, **_read_message())
    with desk().db.read() as session:
        body = _posted_json(session, posted)
    return jsonify(body), 200 if posted.repeated else 201


@blueprint.post(f"{_CONVERSATION}/handoff")
def ask_for_person(conversation_id: str) -> Response:
    """Hand the conversation to a person. Asking again changes nothing."""
    principal = auth.customer(conversation_id)
    with desk().db.begin() as session:
        conversation = state.lock_conversation(session, principal.conversation_id)
        if conversations.last_customer_message(session, conversation.id) is None:
            raise Conflict(Notice("message_first"))
        conversations.hand_off(session, conversation, HandoffReason.CUSTOMER_ASKED)
        body = _conversation_json(session, conversation)
    return jsonify(body)


@blueprint.get(f"{_CONVERSATION}/events")
@limiter.limit("60 per minute")
def stream_events(conversation_id: str) -> Response:
    visitor, internal_id = auth.visitor(), auth.customer(conversation_id).conversation_id
    # Streams never take the last threads: messages must get through, and clients without a stream poll instead.
    together = max(1, runtime().settings.threads * 3 // 4)
    open_streams = cast("OpenStreams", current_app.extensions[STREAMS])
    if not open_streams.enter(internal_id, each=_STREAMS_EACH, together=together):
        raise too_many_requests(_RETRY_STREAM)
    try:
        response = event_stream(
            desk(), conversation_id=internal_id, audience=Audience.CUSTOMER, ended=_session_ended(visitor)
        )
    except BaseException:
        open_streams.leave(internal_id)
        raise
    response.call_on_close(lambda: open_streams.leave(internal_id))
    return response


@blueprint.get(f"{_CONVERSATION}/attachments/<public_id>")
@limiter.limit("600 per minute")
def get_attachment(conversation_id: str, public_id: str) -> Response:
    principal = auth.customer(conversation_id)
    with desk().db.read() as session:
        attachment = access.access_attachment(session, principal, public_id)
    return attachment_response(desk(), attachment, thumbnail=request.args.get("thumbnail") == "1")


@blueprint.get("/widget/v1/figures/<public_id:figure_id>")
@limiter.limit("600 per minute")
def get_figure(figure_id: str) -> Response:
    """A public article's figure, shown in it and beside a citation. As open as the articles: see `widget_help`."""
    with desk().db.read() as session:
        inbox = inboxes.find(session, auth.page_inbox())
        figure = figures.get_figure(session, figure_id, inbox_id=inbox.id)
    return figure_response(desk(), figure, thumbnail=request.args.get("thumbnail") == "1")


@blueprint.get("/widget/v1/documents/<public_id:article_id>")
@limiter.limit("60 per minute")
def get_document(article_id: str) -> Response:
    """The file of a public article with pages. A link opens it in a tab of its own, so no token is asked for."""
    return document_response(documents.read_document(desk(), article_id, inbox=auth.page_inbox()))


@blueprint.put(f"{_CONVERSATION}/messages/<public_id:message_id>/helpful")
def rate_answer(conversation_id: str, message_id: str) -> tuple[Response, int]:
    """Say whether an answer helped: ``{"helpful": true}``, false, or null to take the rating back. With false also, in
    ``feedback``, what is missing."""
    principal = auth.customer(conversation_id)
    said = read_json()
    helpful, feedback = said.get("helpful", ...), said.get("feedback")
    if helpful is not None and not isinstance(helpful, bool):
        raise Invalid("Send a JSON object in which helpful is true, false or null.", field="helpful")
    if feedback is not None and not (isinstance(feedback, str) and len(feedback) <= _LONGEST_FEEDBACK):
        raise Invalid(f"feedback must be a text of at most {_LONGEST_FEEDBACK} characters.", field="feedback")
    feedback = storable(feedback).strip() if feedback else None
    with desk().db.begin() as session:
        message = conversations.rate_answer(session, principal, message_id, helpful=helpful, feedback=feedback)
        return jsonify(payloads.Message.of(message).to_json()), 200


# Pages


@blueprint.get("/widget/")
def show_widget() -> Response | tuple[Response, int]:
    """The page in the iframe, in the language of the embedding page, else of the browser. Only the configured sites and
    our own may frame it."""
    settings = runtime().settings
    with desk().db.read() as session:
        inbox = inboxes.find(session, auth.page_inbox())
    own = inboxes.settings_of(inbox)
    words = _words(own.language)
    origins = inboxes.origins(inbox, settings)
    parent = request.args.get("origin")
    if parent is not None and not embedding.may_embed(parent, origins):
        return embedding.refuse(parent, _how_to_allow(inbox))
    g.frame_ancestors = " ".join(["'self'", *origins])
    config = {
        **_about(inbox),
        "inbox": inbox.key,
        **own.model_dump(mode="json", include={"accent", "greeting", "prechat"}),
        "api": f"{request.script_root}/widget/v1/",
        "origins": origins,
        "parent": parent,
        "max_files": settings.photos_per_message,
        "max_bytes": settings.photo_max_bytes,
        "max_chars": settings.message_max_chars,
        "accept": _accepted_files(settings),
        "code_minutes": proofs.MINUTES if desk().sends_mail else None,
        "languages": wording.LANGUAGES,
        **words,
    }
    page = render_template(
        "widget/frame.html",
        company=config["company"],
        config=config,
        logo=inbox.logo_sha256,
        quick_replies=own.quick_replies,
        language=words["language"],
        direction=words["direction"],
    )
    response = Content.of(page.encode(), "text/html").respond()
    response.vary.add("Accept-Language")
    return response


def _how_to_allow(inbox: Inbox) -> str:
    if inbox.key == DEFAULT_INBOX:
        return "Add it to the setting ASSISTANT_WIDGET_ORIGINS and restart the server."
    return f"Add it to the sites of its inbox: assistant inboxes set {inbox.key} --origin …"


@blueprint.get("/widget/v1/logo")
@limiter.limit("600 per minute")
def get_logo() -> Response:
    """The picture of an inbox's brand."""
    with desk().db.read() as session:
        inbox = inboxes.find(session, auth.page_inbox())
    return picture_response(desk(), inbox.logo_sha256)


@blueprint.get("/widget/v1/pictures/<sha256>")
@limiter.limit("600 per minute")
def get_picture(sha256: str) -> Response:
    """An agent's picture, for the customers they write to: its address is in their messages."""
    with desk().db.read() as session:
        agent = people.agent_with_picture(session, sha256)
    return picture_response(desk(), agent.picture_sha256)


@blueprint.get("/widget/v1/words")
def get_words() -> Response:
    """The widget's texts in another language, for a page that changes its own."""
    response = jsonify(_words())
    response.vary.add("Accept-Language")
    return response


@blueprint.get("/demo")
def show_demo() -> str:
    language = next(_asked_languages(None), wording.ENGLISH)  # the page is in English: its visitor may not be
    return render_template("widget/demo.html", company=runtime().settings.company, language=language)


# Reading requests, making responses


def _read_message() -> NewMessage:
    """The form of a customer's message, as the use cases take it."""
    photos = request.files.getlist("photos")
    return {
        "text": storable(request.form.get("text", "")),
        "uploads": [Upload(file.filename, file.mimetype or None, file.read()) for file in photos if file.filename],
        "client_id": _read_client_id(),
        "visitor": address(),
        "site_context": site_context.read(request.form.get("context")),
    }


def _posted_json(session: Any, posted: Posted) -> dict[str, Any]:
    """``conversation_id``: where the message is, which may be another conversation if it was sent before."""
    rejected = [payloads.RejectedFile.of(file.filename, file.error).to_json() for file in posted.rejected]
    return {
        "message": payloads.Message.of(posted.message).to_json(),
        "conversation_id": session.get_one(Conversation, posted.message.conversation_id).public_id,
        "rejected_files": rejected,
    }


def _words(inbox_language: str | None = None) -> dict[str, Any]:
    """The catalogue of the best language asked for (by the page, the inbox, the browser), and the tag whose dates and
    digits go with it. ``spoken``: what was asked for first; ``known``: whether there is a catalogue for any of it."""
    asked = list(_asked_languages(",".join(filter(None, (request.args.get("language"), inbox_language)))))
    locale = wording.choose(asked)
    language = wording.language_of(locale or wording.ENGLISH)
    return {
        "spoken": next(iter(asked), None),
        "known": locale is not None,
        "language": language,
        "locale": locale or wording.ENGLISH,
        "direction": wording.direction(language),
        "texts": wording.catalogue_of_widget(language),
    }


def _accepted_files(settings: Settings) -> list[str] | None:
    """Extensions of files that are taken besides photos, in lower case; None if any file is."""
    if settings.risky_files == "mark":
        return None
    return [f".{extension}" for extension in attachments.accepted_extensions(settings)]


def _asked_languages(first: str | None) -> Iterator[str]:
    """Well-formed BCP 47 tags, best first: those of the embedding page (``first``, separated by commas), then the
    browser's."""
    for tag in [*(first or "").split(","), *request.accept_languages.values()]:
        if _LANGUAGE_TAG.fullmatch(tag.strip()):
            yield tag.strip()


def _session_ended(principal: SessionPrincipal) -> Callable[[], bool]:
    """Whether the browser has lost its right to a stream, looked up every few seconds."""
    db, asked_at = desk().db, monotonic()

    def ended() -> bool:
        nonlocal asked_at
        if monotonic() - asked_at < _CHECK_SESSION_EVERY:
            return False
        asked_at = monotonic()
        return not sessions.is_valid(db, principal)

    return ended


def _read_prechat() -> dict[str, str]:
    """Answers to the inbox's questions, by their keys."""
    try:
        given = json.loads(request.form.get("prechat") or "{}")
    except ValueError:
        given = None
    if not isinstance(given, dict) or not all(isinstance(answer, str) for answer in given.values()):
        raise Invalid("prechat must be a JSON object of texts.", field="prechat")
    return {str(key): storable(answer).strip() for key, answer in given.items()}


def _read_client_id() -> str | None:
    client_id = request.form.get("client_id") or None
    if client_id is not None and (len(client_id) > 100 or not client_id.isprintable()):
        raise Invalid("client_id must be at most 100 printable characters.", field="client_id")
    return client_id


def _conversation_json(session: Any, conversation: Conversation) -> dict[str, Any]:
    position = state.queue_position(session, conversation)
    return payloads.Conversation.of(conversation, queue_position=position).to_json()


def _about(inbox: Inbox) -> dict[str, Any]:
    capabilities = desk().capabilities
    return {
        "company": inboxes.brand(inbox, desk().settings),
        "model": capabilities.model,
        "mode": capabilities.mode.value,
    }
