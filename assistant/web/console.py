"""The agent console: what all its pages share, and the agent's own account. Signing in is in `console_sign_in`, the
queue in `console_queue`, the ticket page in `console_ticket`, the knowledge base in `console_knowledge`.

Pages are rendered on the server; htmx refreshes their panels when server-sent events signal a change. Everything also
works without scripts, with forms and redirects.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Blueprint, Response, flash, g, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from assistant.desk import access, agent_sessions, assigning, credentials, people, products, second_factor
from assistant.desk.access import AgentPrincipal
from assistant.errors import AssistantError, Invalid, Unauthenticated
from assistant.media.files import Upload
from assistant.ports import Mode
from assistant.text.storable import storable
from assistant.web import (
    auth,
    console_admin,
    console_alerts,
    console_articles,
    console_audit,
    console_customers,
    console_drafts,
    console_knowledge,
    console_macros,
    console_palette,
    console_queue,
    console_related,
    console_reports,
    console_roles,
    console_second_factor,
    console_setup,
    console_sign_in,
    console_ticket,
    console_words,
    limits,
)
from assistant.web.context import desk, runtime
from assistant.web.responses import Reply, attachment_response, photo_response

blueprint = Blueprint("console", __name__, url_prefix="/console")
blueprint.add_url_rule("/", view_func=console_queue.queue)
blueprint.add_url_rule("/sign-in", view_func=console_sign_in.sign_in, methods=["GET", "POST"])
blueprint.add_url_rule("/sign-in/code", view_func=console_sign_in.sign_in_code, methods=["GET", "POST"])
blueprint.add_url_rule("/sign-in/oidc", view_func=console_sign_in.sign_in_oidc)
blueprint.add_url_rule("/sign-in/oidc/done", view_func=console_sign_in.sign_in_oidc_done)
blueprint.add_url_rule("/join/<token>", view_func=console_sign_in.join, methods=["GET", "POST"])
blueprint.register_blueprint(console_second_factor.blueprint)
blueprint.register_blueprint(console_queue.blueprint)
blueprint.register_blueprint(console_ticket.blueprint)
blueprint.register_blueprint(console_related.blueprint)
blueprint.register_blueprint(console_drafts.blueprint)
blueprint.register_blueprint(console_customers.blueprint)
blueprint.register_blueprint(console_knowledge.blueprint)
blueprint.register_blueprint(console_articles.blueprint)
blueprint.register_blueprint(console_macros.blueprint)
blueprint.register_blueprint(console_reports.blueprint)
blueprint.register_blueprint(console_setup.blueprint)
blueprint.register_blueprint(console_alerts.blueprint)
blueprint.register_blueprint(console_palette.blueprint)
blueprint.register_blueprint(console_admin.blueprint)


_FOR_EVERYBODY = (
    "console.sign_in",
    "console.sign_in_code",
    "console.sign_in_oidc",
    "console.sign_in_oidc_done",
    "console.join",
    "console.setup.first_admin",
)
_STREAMS = ("console.tickets.events", "console.ticket.events")


@blueprint.before_request
def require_agent() -> BaseResponse | None:
    """Every page needs a signed-in agent who has replaced their one-time password and set up the second factor that
    their role requires, and whose role may do this."""
    if request.endpoint in _FOR_EVERYBODY:
        return None
    if not current_user.is_authenticated:
        return _sign_in_first()
    g.agent = auth.agent()
    endpoint = request.endpoint or ""
    g.before_all = _before_all(g.agent)
    if g.before_all is not None and endpoint not in console_roles.THEIR_OWN:
        return _redirect(url_for(g.before_all))
    console_roles.require(g.agent, endpoint, request.method)
    return None


def _before_all(agent: AgentPrincipal) -> str | None:
    """The page on which the agent has something to do before anything else."""
    if agent.must_change_password:
        return "console.password"
    return "console.second_factor.show" if second_factor.is_missing(desk().settings, agent) else None


@blueprint.after_request
def note_for_audit(response: Response) -> Response:
    console_audit.note(response)
    return response


@blueprint.after_request
def set_page_headers(response: Response) -> Response:
    """Errors without panels of their own are shown in the notice area."""
    if request.headers.get("HX-Request") and response.status_code >= 400 and not g.get("has_panels"):
        response.headers["HX-Retarget"] = "#notice"
        response.headers["HX-Reswap"] = "innerHTML"
    return response


@blueprint.errorhandler(access.OutOfSight)
def show_out_of_sight(error: access.OutOfSight) -> Response:
    """In the place of the ticket's page, also if only a panel of it was asked for: nothing there works any more. What
    was typed into it stays, see keep.js."""
    is_panel = bool(request.headers.get("HX-Request"))
    g.has_panels = is_panel
    here = urlsplit(request.headers.get("HX-Current-URL") or request.url)
    place = console_queue.Place.of_address(parse_qs(here.query).get("place", [""])[0])
    told = {"message": error.message, "number": error.fields.get("number"), "place": place}
    typed = "" if is_panel else storable(request.form.get("text", ""))
    shown = render_template(f"console/{'_' if is_panel else ''}gone.html", typed=typed, **told)
    return Response(shown, error.status, {"HX-Retarget": "#live", "HX-Reswap": "outerHTML"} if is_panel else None)


@blueprint.app_context_processor
def page_context() -> dict[str, Any]:
    """What every page of the console needs, error pages included."""
    if not request.path.startswith("/console"):
        return {}
    capabilities, taxonomy = desk().capabilities, desk().taxonomy
    installed = runtime().installed
    reads_photos = capabilities.ocr is not None or capabilities.mode is not Mode.NO_VLM
    return {
        "company": desk().settings.company,
        "may": console_roles.may,
        "before_all": g.get("before_all"),
        "me": g.get("agent"),  # no query: the page that reports a lost database needs this, too
        "model": capabilities.model,
        "mode_words": console_words.MODE[capabilities.mode] if reads_photos else console_words.WITHOUT_OCR,
        "reads_photos": reads_photos,
        "trouble": installed.trouble() if installed is not None else None,
        "came_from": lambda: console_queue.Place.of_address(request.args.get("place", "")),
        "handoff_words": console_words.HANDOFF,
        "lost_words": console_words.LOST,
        "risk_words": console_words.RISK,
        "quoting_modes": console_words.QUOTES,
        "confidence_word": console_words.confidence_word,
        "state_words": console_words.STATE,
        "channel_words": console_words.CHANNEL,
        "words": console_words.words,
        "action_words": console_words.action_words,
        "decided_by": console_words.decided_by,
        "by_rule": console_words.by_rule,
        "wish_words": console_words.wish_words,
        "fate_of": console_words.fate_of,
        "label": lambda field, key: console_words.label(taxonomy, field, key),
        "csp_nonce": g.get("csp_nonce", ""),
    }


@blueprint.post("/away")
def set_away() -> Reply:
    """Whether tickets are assigned to the agent by themselves."""
    with desk().db.begin() as session:
        agent = people.find_agent(session, auth.agent().public_id)
        assigning.set_away(session, agent, away=request.form.get("away") == "1")
    return redirect(console_sign_in.safe_next() or url_for("console.queue"))


@blueprint.post("/sign-out")
def sign_out() -> Reply:
    """Sign out."""
    auth.sign_out()
    return redirect(url_for("console.sign_in"))


@blueprint.route("/password", methods=["GET", "POST"])
@limits.limiter.limit("10 per minute", key_func=lambda: current_user.get_id() or limits.address(), methods=["POST"])
def password() -> Reply:
    """Choose another password."""
    if request.method == "GET":
        return render_template("console/password.html", error=None)
    try:
        current = request.form.get("current", "")
        credentials.change_password(desk().db, auth.agent(), current=current, new=console_sign_in.new_password())
    except AssistantError as error:
        return render_template("console/password.html", error=error.message), error.status
    auth.sign_in(auth.agent())  # this session goes on
    return redirect(url_for("console.queue"))


@blueprint.route("/account", methods=["GET", "POST"])
@limits.limiter.limit("10 per minute", key_func=lambda: current_user.get_id() or limits.address(), methods=["POST"])
def account() -> Reply:
    """The agent's own picture, as customers see it, and the browsers in which they are signed in."""
    if request.method == "GET":
        return _account_page()
    try:
        people.set_picture(desk(), auth.agent().public_id, None if "remove" in request.form else _chosen_picture())
    except AssistantError as error:
        return _account_page(error.message), error.status
    return redirect(url_for("console.account"))


@blueprint.post("/sessions/end")
def end_sessions() -> Reply:
    """Sign out one other browser, or all others."""
    only = request.form.get("session") or None
    with desk().db.begin() as session:
        here = auth.agent_session_id()
        count = agent_sessions.end(session, auth.agent().agent_id, only=only, all_but=here)
    flash(f"{count} other browser{' is' if count == 1 else 's are'} signed out.")
    return redirect(url_for("console.account"))


def _account_page(error: str | None = None) -> str:
    agent = auth.agent()
    with desk().db.read() as session:
        picture = people.colleague(session, agent.public_id).picture_sha256
        sessions = agent_sessions.valid_sessions(session, desk().settings, agent)
    here = auth.agent_session_id()
    return render_template("console/account.html", picture=picture, sessions=sessions, here=here, error=error)


def _chosen_picture() -> Upload:
    file = request.files.get("picture")
    if file is None or not file.filename:
        raise Invalid("Choose a picture first.", field="picture")
    return Upload(file.filename, file.mimetype, file.read())


# Files


@blueprint.get("/attachments/<public_id:attachment_id>")
def attachment(attachment_id: str) -> Response:
    """Look at a photo or file as it was sent."""
    with desk().db.read() as session:
        found = access.access_attachment(session, auth.agent(), attachment_id)
    is_small = request.args.get("thumbnail") == "1"
    return attachment_response(desk(), found, thumbnail=is_small, is_kept=is_small)


@blueprint.get("/product-photos/<sha256>")
def product_photo(sha256: str) -> Response:
    """Look at a reference photo of an own product."""
    return photo_response(products.reference_photo(desk(), sha256))


def _sign_in_first() -> BaseResponse:
    """Redirect to the sign-in page and back. A submitted form is refused instead, so that the typed text stays."""
    if request.endpoint in _STREAMS:
        return Response("Sign in first.", status=401)
    if request.method != "GET" and request.headers.get("HX-Request"):
        raise Unauthenticated("You have been signed out. Sign in again in another tab, then try again here.")
    if request.headers.get("HX-Request"):
        page = urlsplit(request.headers.get("HX-Current-URL", ""))
        return _redirect(url_for("console.sign_in", next=f"{page.path}?{page.query}" if page.query else page.path))
    here = f"{request.script_root}{request.full_path.rstrip('?')}"
    return _redirect(url_for("console.sign_in", next=here if request.method == "GET" else None))


def _redirect(url: str) -> BaseResponse:
    """A redirect that also works for a panel requested by htmx."""
    if request.headers.get("HX-Request"):
        return Response("", status=200, headers={"HX-Redirect": url})
    return redirect(url)
