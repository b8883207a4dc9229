"""Sessions of the widget over HTTP: begin, continue, renew, end, and prove whose they are.

A browser sends its token as ``Authorization: Bearer`` and the origin of the page around the widget as
``Widget-Origin``.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant import payloads, wording
from assistant.desk import identity, inboxes, links, proofs, sessions
from assistant.desk.links import Purpose
from assistant.errors import Invalid
from assistant.models import DEFAULT_INBOX, WidgetSession
from assistant.web import auth
from assistant.web.bodies import read_json
from assistant.web.context import desk
from assistant.web.limits import address, limiter

blueprint = Blueprint("sessions", __name__)

_BEGINS = "10 per minute;60 per hour"  # sessions begun from one address
# Codes asked for. By a session fewer than a mailbox may get (`proofs`): who is sent no more is told so.
_CODES, _CODES_FROM_ADDRESS = "3 per hour;6 per day", "20 per hour;60 per day"
_PROOFS = "30 per hour"


class _Open(BaseModel):
    """What a browser knows of itself and of its customer, who may stay anonymous."""

    model_config = ConfigDict(str_strip_whitespace=True, extra="forbid")

    token: str | None = Field(None, max_length=200)
    inbox: str = Field(DEFAULT_INBOX, max_length=100)
    name: str | None = Field(None, max_length=200, pattern=r"^[^\x00]*$")
    email: str | None = Field(None, max_length=320, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")
    link: str | None = Field(None, max_length=2000, description="From a mail of ours: opens its conversation.")
    identity: str | None = Field(None, max_length=8000, description="A JWT in which the site says who is signed in.")
    conversation_token: str | None = Field(None, max_length=2000, description="Of earlier versions; exchanged once.")


class _Code(BaseModel):
    """Where to send a code, and the language that is spoken (a BCP 47 tag)."""

    model_config = ConfigDict(str_strip_whitespace=True, extra="forbid")

    email: str = Field(max_length=320)
    language: str | None = Field(None, max_length=35)


class _Proof(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True, extra="forbid")

    code: str = Field(max_length=100)
    token: str = Field(max_length=200)


@blueprint.post("/sessions")
@limiter.limit(_BEGINS, key_func=address, deduct_when=lambda response: response.status_code == 201)
def open_session() -> tuple[Response, int]:
    """Continue the session of ``token`` or begin it. The answer says which token to use from now on."""
    wanted = _read(_Open)
    with desk().db.begin() as session:
        inbox = inboxes.find(session, wanted.inbox)
        opened = sessions.open_session(
            session,
            wanted.token,
            inbox=inbox,
            origin=auth.page_origin(),
            name=wanted.name or None,
            email=wanted.email or None,
        )
        if wanted.link:
            sessions.follow_link(session, opened.session, links.read(desk().settings, Purpose.OPEN, wanted.link))
        if wanted.conversation_token:
            sessions.take_over(session, opened.session, auth.conversation_of(wanted.conversation_token))
        if wanted.identity:
            signed_by = inboxes.valid_secrets(inbox, desk().settings)
            claims = identity.read_claims(wanted.identity, signed_by, inbox=inbox.key)
            opened = identity.sign_in(session, opened, claims)
        return jsonify(_session_json(opened.session, opened.token)), 201 if opened.begun else 200


@blueprint.post("/sessions/current/token")
def renew_token() -> Response:
    """The token to use from now on. The old one stays valid until the new one has been used, and a little longer."""
    principal = auth.visitor()
    with desk().db.begin() as session:
        token = sessions.renew(session, principal, auth.bearer_token())
        return jsonify(_session_json(session.get_one(WidgetSession, principal.session_id), token))


@blueprint.delete("/sessions/current")
def end_session() -> tuple[str, int]:
    """Log out: nobody reads the conversations with this token any more."""
    principal = auth.visitor()
    with desk().db.begin() as session:
        sessions.revoke(session, session_id=principal.session_id)
    return "", 204


@blueprint.post("/sessions/current/code")
@limiter.limit(_CODES, deduct_when=lambda response: response.status_code == 202)
@limiter.limit(_CODES_FROM_ADDRESS, key_func=address, deduct_when=lambda response: response.status_code == 202)
def send_code() -> tuple[Response, int]:
    """Mail a code to ``email``. The answer is the same whosever it is."""
    principal, wanted = auth.visitor(), _read(_Code)
    tags = [wanted.language, *request.accept_languages.values()]
    language = wording.language_of(wording.choose(tags) or wording.ENGLISH)
    return jsonify({"email": proofs.send_code(desk(), principal, wanted.email, language=language)}), 202


@blueprint.post("/sessions/current/proof")
@limiter.limit(_PROOFS)
def prove() -> Response:
    """The code that was mailed: the customer reads what is sent to that address. ``token``: of the session from now
    on, which the browser has drawn and keeps already, so that it gets on if the answer is lost."""
    principal, given = auth.visitor(), _read(_Proof)
    proofs.prove(desk(), principal, given.code, token=given.token)
    with desk().db.read() as session:
        return jsonify(_session_json(session.get_one(WidgetSession, principal.session_id), given.token))


def _read(model: type[BaseModel]) -> Any:
    try:
        return model.model_validate(read_json())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"{field} is not valid: {first['msg']}.", field=field) from error


def _session_json(row: WidgetSession, token: str) -> dict[str, Any]:
    return {"token": token, **payloads.WidgetSession.of(row).to_json()}
