"""Who is asking: a machine by its API key, a customer by the session of their browser, an agent by a session cookie."""

from __future__ import annotations

from contextlib import suppress
from typing import cast

from flask import Flask, g, request, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from assistant.desk import access, agent_sessions, api_keys, credentials, links, people, sessions
from assistant.desk.access import AgentPrincipal, CustomerPrincipal, MachinePrincipal, Scope, SessionPrincipal
from assistant.errors import Unauthenticated
from assistant.models import DEFAULT_INBOX
from assistant.text.storable import storable
from assistant.web import known_browsers
from assistant.web.context import desk, runtime

PAGE_ORIGIN = "Widget-Origin"
_HALFWAY = "halfway"


def caller() -> str | None:
    """Who is asking, for counting: the API key or the browser's session, if key or token are genuine."""
    try:
        return f"key {_machine().key_id}" if request.path.startswith("/api/") else f"session {visitor().session_id}"
    except Unauthenticated:
        return None


def rate_limit() -> str:
    """How many requests whoever is asking may make: of a key its own limit, if it has one."""
    own = None
    if request.path.startswith("/api/"):
        with suppress(Unauthenticated):
            own = _machine().rate_limit
    return own or runtime().settings.rate_limit


def machine(*scopes: Scope) -> MachinePrincipal:
    """The machine behind ``Authorization: Bearer``; its key must have one of the scopes, if any is needed."""
    principal = _machine()
    if scopes:
        principal.require(*scopes)
    return principal


def _machine() -> MachinePrincipal:
    if "machine" not in g:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthenticated("Send your API key as: Authorization: Bearer ask_…")
        g.machine = api_keys.authenticate(desk().db, secret.strip(), address=request.remote_addr)
    return cast("MachinePrincipal", g.machine)


def visitor() -> SessionPrincipal:
    """The browser behind ``Authorization: Bearer``, if it asks from the pages that its session is bound to."""
    if "visitor" not in g:
        g.visitor = sessions.authenticate(desk().db, bearer_token(), origin=page_origin())
    return cast("SessionPrincipal", g.visitor)


def customer(conversation_id: str) -> CustomerPrincipal:
    """The customer in the conversation with this public id, which the browser must be allowed to see."""
    with desk().db.read() as db_session:
        return access.customer_in(db_session, visitor(), conversation_id)


def bearer_token() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("Send the token of your session as: Authorization: Bearer …")
    return token.strip()


def page_origin() -> str | None:
    """Of the page around the widget. The browser tells the widget's frame, and no other page can say otherwise."""
    return request.headers.get(PAGE_ORIGIN)


def page_inbox() -> str:
    """Key of the inbox that the page around the widget belongs to, where there is no session: as the page says, which
    is enough for what everybody may read."""
    return request.args.get("inbox") or DEFAULT_INBOX


def conversation_of(old_token: str) -> str:
    """The public id in a token of earlier versions, which named one conversation."""
    public_id = links.signed_subject(runtime().settings, old_token, audience="widget")
    if public_id is None:
        raise Unauthenticated("This conversation token has expired or is invalid. Begin a new session.")
    return public_id


class _SignedIn(UserMixin):  # type: ignore[misc]  # flask-login ships no types
    """The user of a request, as flask-login wants it. Its id, which the cookie holds, is the session's token."""

    def __init__(self, principal: AgentPrincipal, token: str, session_id: str | None = None) -> None:
        self.principal, self.token, self.session_id = principal, token, session_id

    def get_id(self) -> str:
        return self.token


def register_sign_in(app: Flask) -> None:
    """Keep agents' sessions in a signed cookie that scripts cannot read."""
    # No user in every template: the page that reports a lost database would ask the database for them.
    manager = LoginManager(app, add_context_processor=False)
    manager.login_view = "console.sign_in"
    manager.session_protection = "basic"

    @manager.user_loader  # type: ignore[untyped-decorator]
    def load(token: str) -> _SignedIn | None:
        found = agent_sessions.authenticate(desk().db, runtime().settings, token)
        return _SignedIn(found.principal, token, found.session_id) if found is not None else None


def sign_in(principal: AgentPrincipal) -> None:
    """Begin a session of the agent, who has proved all that is asked."""
    with desk().db.begin() as db_session:
        browser = request.headers.get("User-Agent", "")
        where = {"address": request.remote_addr or "unknown", "browser": storable(browser)}
        token = agent_sessions.begin(db_session, principal, **where)
        email = people.colleague(db_session, principal.public_id).email
    session.pop(_HALFWAY, None)
    login_user(_SignedIn(principal, token))
    known_browsers.remember(email)


def begin_second_step(principal: AgentPrincipal) -> None:
    """The agent has proved the first of two factors. Nobody is signed in by that."""
    with desk().db.read() as db_session:
        token = credentials.halfway_token(db_session, runtime().settings, principal)
        email = people.colleague(db_session, principal.public_id).email
    session[_HALFWAY] = {"token": token, "email": email}


def halfway() -> tuple[AgentPrincipal, str]:
    """Who may take the second step in this browser, and their address. Raises `NotFound` if nobody may any more."""
    with desk().db.read() as db_session:
        return credentials.halfway(db_session, runtime().settings, session.get(_HALFWAY, {}).get("token", ""))


def halfway_email() -> str:
    """For counting. The cookie is signed."""
    return str(session.get(_HALFWAY, {}).get("email", ""))


def sign_out() -> None:
    """End the session."""
    if current_user.is_authenticated:
        with desk().db.begin() as db_session:
            agent_sessions.end(db_session, agent().agent_id, only=current_user.session_id)
    logout_user()


def agent_session_id() -> str:
    """Of the browser that is asking. Only for views behind `login_required`."""
    return str(current_user.session_id)


def agent() -> AgentPrincipal:
    """The signed-in agent. Only for views behind `login_required`."""
    principal: AgentPrincipal = current_user.principal
    return principal
