"""How agents get in: by password, a link to choose one, or an OpenID Connect provider, and then by their second factor
if they have one.

Between the two steps nobody is signed in. The browser's cookie says who may take the second one, for some minutes.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from flask import g, redirect, render_template, request, session, url_for

from assistant.desk import audit, credentials, people, second_factor
from assistant.desk.access import AgentPrincipal
from assistant.errors import AssistantError, Invalid, NotAllowed, NotFound, Unauthenticated
from assistant.models import AgentRole
from assistant.oidc import Person, Provider
from assistant.text.storable import storable
from assistant.web import auth, limits
from assistant.web.context import desk
from assistant.web.responses import Reply

_BEGUN = "oidc"
_PROVIDER_SECONDS = 600  # for signing in there


@limits.of_sign_in
def sign_in() -> Reply:
    """Sign in."""
    if request.method == "GET":
        return _sign_in_page()
    email, password = request.form.get("email", ""), request.form.get("password", "")
    try:
        agent = credentials.sign_in(desk().db, email=storable(email), password=password)
    except Unauthenticated as error:
        _note_refusal(email, "sign_in_refused")
        return _sign_in_page(error.message, email), 401
    return _entered(agent, safe_next())


@limits.of_sign_in
def sign_in_code() -> Reply:
    """Sign in with a second factor."""
    try:
        agent, email = auth.halfway()
    except NotFound:
        return redirect(url_for("console.sign_in", next=safe_next()))
    if request.method == "GET":
        return render_template("console/sign_in_code.html", error=None, email=email)
    try:
        with desk().db.begin() as db_session:
            code = storable(request.form.get("code", ""))
            second_factor.prove(db_session, desk().settings, agent, code)
    except Invalid as error:
        _note_refusal(email, "sign_in_code_refused")
        return render_template("console/sign_in_code.html", error=error.message, email=email), 401
    return _signed_in(agent, safe_next())


@limits.limiter.limit("30 per minute", key_func=limits.address)
def sign_in_oidc() -> Reply:
    """To the provider that the settings name."""
    try:
        begun = _provider().begin()
    except AssistantError as error:
        return _sign_in_page(error.message), error.status
    kept = {"state": begun.state, "nonce": begun.nonce, "verifier": begun.verifier, "next": safe_next() or ""}
    session[_BEGUN] = kept | {"until": time.time() + _PROVIDER_SECONDS}
    return redirect(begun.url)


@limits.limiter.limit("30 per minute", key_func=limits.address)
def sign_in_oidc_done() -> Reply:
    """Sign in with the company's account. Back from the provider, once: what was begun is used up."""
    begun = session.pop(_BEGUN, {})
    if begun.get("until", 0) < time.time():
        return _sign_in_page("That took too long, or was begun in another browser. Begin again."), 401
    email = ""
    try:
        person = _provider().finish(begun, request.args)
        email = person.email or ""
        agent = people.admit(desk(), person, _role_of(person))
    except AssistantError as error:
        _note_refusal(email, "sign_in_oidc_refused")
        return _sign_in_page(error.message), error.status
    return _entered(agent, begun["next"] or None)


def _provider() -> Provider:
    return Provider(desk().settings, f"{desk().settings.base_url}/console/sign-in/oidc/done")


def _role_of(person: Person) -> AgentRole | None:
    """The highest that their groups have; None where groups do not count. Raises `NotAllowed` if they have none."""
    roles = desk().settings.oidc_roles
    if roles is None:
        return None
    held = [role for role in AgentRole if role.value in {roles[group] for group in person.groups & roles.keys()}]
    if not held:
        raise NotAllowed("None of your groups at the sign-in provider may work here. Ask an admin.")
    return held[-1]


@limits.limiter.limit("10 per minute", key_func=limits.address, methods=["POST"])
def join(token: str) -> Reply:
    """Choose a password by a link. Whoever has been sent it may."""
    with desk().db.read() as db_session:
        agent = credentials.agent_of_link(db_session, desk().settings, token)
    shown = {"joining": agent, "error": None}
    if request.method == "GET":
        return render_template("console/password.html", **shown)
    try:
        principal = credentials.choose_password(desk().db, desk().settings, token, password=new_password())
    except Invalid as error:
        return render_template("console/password.html", **shown | {"error": error.message}), error.status
    return _entered(principal)


def new_password() -> str:
    form = request.form
    if form.get("new", "") != form.get("again", ""):
        raise Invalid("The new passwords do not match.", field="again")
    return form.get("new", "")


def safe_next() -> str | None:
    """The page requested before signing in, if it is one of the console's; never another site."""
    wanted = request.args.get("next", "")
    parts = urlsplit(wanted)
    root = request.script_root + "/console/"
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith(root)
    is_plain = wanted.isprintable() and "\\" not in wanted and "//" not in parts.path and ".." not in parts.path
    return wanted if is_ours and is_plain and not parts.path.startswith(f"{root}sign-") else None


def _sign_in_page(error: str | None = None, email: str = "") -> str:
    provider = desk().settings.oidc_issuer
    return render_template("console/sign_in.html", error=error, email=email, provider=provider, next=safe_next())


def _entered(agent: AgentPrincipal, wanted: str | None = None) -> Reply:
    """The first step is done. ``wanted``: the page that was asked for."""
    if not agent.has_second_factor:
        return _signed_in(agent, wanted)
    auth.begin_second_step(agent)
    return redirect(url_for("console.sign_in_code", next=wanted))


def _signed_in(agent: AgentPrincipal, wanted: str | None) -> Reply:
    auth.sign_in(agent)
    g.agent = agent
    return redirect(wanted or url_for("console.queue"))


def _note_refusal(email: str, action: str) -> None:
    with desk().db.begin() as db_session:
        where = request.remote_addr or "unknown"
        audit.record_refusal(db_session, email=storable(email), address=where, action=action)
