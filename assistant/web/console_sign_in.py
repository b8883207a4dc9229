"""How agents get in: by password or a link to choose one, and then by their second factor if they have one.

Between the two steps nobody is signed in. The browser's cookie says who may take the second one, for some minutes.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import g, redirect, render_template, request, url_for

from assistant.desk import audit, credentials, second_factor
from assistant.desk.access import AgentPrincipal
from assistant.errors import Invalid, NotFound, Unauthenticated
from assistant.text.storable import storable
from assistant.web import auth, limits
from assistant.web.context import desk
from assistant.web.responses import Reply


@limits.of_sign_in
def sign_in() -> Reply:
    if request.method == "GET":
        return render_template("console/sign_in.html", error=None, email="")
    email, password = request.form.get("email", ""), request.form.get("password", "")
    try:
        agent = credentials.sign_in(desk().db, email=storable(email), password=password)
    except Unauthenticated as error:
        _note_refusal(email, "sign_in_refused")
        return render_template("console/sign_in.html", error=error.message, email=email), 401
    return _entered(agent)


@limits.of_sign_in
def sign_in_code() -> Reply:
    """The second step."""
    try:
        agent, email = auth.halfway()
    except NotFound:
        return redirect(url_for("console.sign_in", next=safe_next()))
    if request.method == "GET":
        return render_template("console/sign_in_code.html", error=None, email=email)
    try:
        with desk().db.begin() as session:
            code = storable(request.form.get("code", ""))
            second_factor.prove(session, desk().settings, agent, code)
    except Invalid as error:
        _note_refusal(email, "sign_in_code_refused")
        return render_template("console/sign_in_code.html", error=error.message, email=email), 401
    return _signed_in(agent)


@limits.limiter.limit("10 per minute", key_func=limits.address, methods=["POST"])
def join(token: str) -> Reply:
    """Whoever has been sent a link chooses a password by it."""
    with desk().db.read() as session:
        agent = credentials.agent_of_link(session, desk().settings, token)
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


def _entered(agent: AgentPrincipal) -> Reply:
    """The first step is done."""
    if not agent.has_second_factor:
        return _signed_in(agent)
    auth.begin_second_step(agent)
    return redirect(url_for("console.sign_in_code", next=safe_next()))


def _signed_in(agent: AgentPrincipal) -> Reply:
    auth.sign_in(agent)
    g.agent = agent
    return redirect(safe_next() or url_for("console.queue"))


def _note_refusal(email: str, action: str) -> None:
    with desk().db.begin() as session:
        where = request.remote_addr or "unknown"
        audit.record_refusal(session, email=storable(email), address=where, action=action)
