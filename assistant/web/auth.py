"""Who is asking: a machine by its API key, a customer by a conversation token, an agent by a session cookie."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import jwt
from flask import Flask, g, request
from flask_login import LoginManager, UserMixin, current_user

from assistant.db import utcnow
from assistant.desk import credentials
from assistant.desk.access import AgentPrincipal, CustomerPrincipal, MachinePrincipal, Scope
from assistant.errors import Unauthenticated
from assistant.web.context import desk, runtime

TOKEN_FOR = timedelta(days=30)
_AUDIENCE = "widget"


def caller() -> str | None:
    """Who is asking, for counting: the API key or the conversation, if key or token are genuine."""
    try:
        return f"key {_machine().key_id}" if request.path.startswith("/api/") else f"conversation {_conversation()}"
    except Unauthenticated:
        return None


def machine(scope: Scope) -> MachinePrincipal:
    """The machine behind ``Authorization: Bearer``; its key must have the scope."""
    principal = _machine()
    principal.require(scope)
    return principal


def _machine() -> MachinePrincipal:
    if "machine" not in g:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthenticated("Send your API key as: Authorization: Bearer ask_…")
        g.machine = credentials.authenticate_key(desk().db, secret.strip())
    return cast("MachinePrincipal", g.machine)


def conversation_token(conversation_public_id: str) -> str:
    """What a customer's browser keeps: names one conversation, signed, valid for 30 days."""
    claims = {"sub": conversation_public_id, "aud": _AUDIENCE, "exp": utcnow() + TOKEN_FOR}
    return jwt.encode(claims, runtime().settings.signing_key(), algorithm="HS256")


def customer() -> CustomerPrincipal:
    """The customer behind a conversation token: ``Authorization: Bearer`` or, for streams and images, ``?token=``."""
    return credentials.customer_principal(desk().db, _conversation())


def _conversation() -> str:
    """The public id in the token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token if scheme.lower() == "bearer" else request.args.get("token", "")
    try:
        claims = jwt.decode(
            token,
            runtime().settings.signing_key(),
            algorithms=["HS256"],
            audience=_AUDIENCE,
            options={"require": ["exp", "sub"]},
        )
    except jwt.InvalidTokenError as error:
        raise Unauthenticated("This conversation token is missing, expired or invalid. Start a new one.") from error
    return str(claims["sub"])


class _SignedIn(UserMixin):  # type: ignore[misc]  # flask-login ships no types
    """The user of a request, as flask-login wants it."""

    def __init__(self, principal: AgentPrincipal) -> None:
        self.principal = principal

    def get_id(self) -> str:
        return self.principal.public_id


def register_sign_in(app: Flask) -> None:
    """Keep agents' sessions in a signed cookie that scripts cannot read."""
    # No user in every template: the page that reports a lost database would ask the database for them.
    manager = LoginManager(app, add_context_processor=False)
    manager.login_view = "console.sign_in"
    manager.session_protection = "basic"

    @manager.user_loader  # type: ignore[untyped-decorator]
    def load(public_id: str) -> _SignedIn | None:
        with desk().db.read() as session:
            principal = credentials.agent_principal(session, public_id)
        return _SignedIn(principal) if principal is not None else None


def signed_in(principal: AgentPrincipal) -> UserMixin:
    """For flask_login.login_user."""
    return _SignedIn(principal)


def agent() -> AgentPrincipal:
    """The signed-in agent. Only for views behind `login_required`."""
    principal: AgentPrincipal = current_user.principal
    return principal
