"""The agent console: sign-in and the queue. The ticket page is in `console_ticket`, the knowledge base in
`console_knowledge`.

Pages are rendered on the server; htmx refreshes their panels when server-sent events signal a change. Everything also
works without scripts, with forms and redirects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for
from flask_login import current_user, login_user, logout_user
from werkzeug.wrappers import Response as BaseResponse

from assistant.desk import access, assigning, credentials, evidence, inboxes, people, tickets
from assistant.desk.access import AgentPrincipal
from assistant.desk.events import EventKind
from assistant.desk.feed import last_event_id
from assistant.desk.state import DONE
from assistant.desk.tickets import TicketFilters
from assistant.errors import AssistantError, Invalid, Unauthenticated
from assistant.media.files import Upload
from assistant.models import DEFAULT_INBOX, ConversationState, Priority, Ticket, TicketStatus
from assistant.skills.triage_fields import allowed_values
from assistant.text.clusters import beginning
from assistant.text.storable import storable
from assistant.web import auth, console_knowledge, console_macros, console_ticket, console_words, limits
from assistant.web.console_live import news_stream
from assistant.web.context import desk, runtime
from assistant.web.responses import Reply, attachment_response

blueprint = Blueprint("console", __name__, url_prefix="/console")
blueprint.register_blueprint(console_ticket.blueprint)
blueprint.register_blueprint(console_knowledge.blueprint)
blueprint.register_blueprint(console_macros.blueprint)


OPEN = (TicketStatus.NEW, TicketStatus.OPEN, TicketStatus.PENDING, TicketStatus.ON_HOLD)
PAGE = 40
# A live queue reloads the rows shown, up to this many.
RELOAD_AT_MOST = 200
_ALLOWED_WITH_ONE_TIME_PASSWORD = ("console.password", "console.sign_out")
# Events that change nothing in the queue.
_NOT_IN_QUEUE = (EventKind.ANSWER_STARTED, EventKind.ANSWER_DELTA, EventKind.ANSWER_DROPPED)
_STREAMS = ("console.queue_events", "console.ticket.events")


@blueprint.before_request
def require_agent() -> BaseResponse | None:
    """Every page needs a signed-in agent who has replaced their one-time password."""
    if request.endpoint == "console.sign_in":
        return None
    if not current_user.is_authenticated:
        return _sign_in_first()
    g.agent = auth.agent()
    if g.agent.must_change_password and request.endpoint not in _ALLOWED_WITH_ONE_TIME_PASSWORD:
        return _redirect(url_for("console.password"))
    return None


@blueprint.after_request
def set_page_headers(response: Response) -> Response:
    """Pages are private and never cached. Errors without panels of their own are shown in the notice area."""
    response.headers.setdefault("Cache-Control", "no-store")
    if request.headers.get("HX-Request") and response.status_code >= 400 and not g.get("has_panels"):
        response.headers["HX-Retarget"] = "#notice"
        response.headers["HX-Reswap"] = "innerHTML"
    return response


@blueprint.app_context_processor
def page_context() -> dict[str, Any]:
    """What every page of the console needs, error pages included."""
    if not request.path.startswith("/console"):
        return {}
    capabilities, taxonomy = desk().capabilities, desk().taxonomy
    installed = runtime().installed
    return {
        "company": desk().settings.company,
        "me": g.get("agent"),  # no query: the page that reports a lost database needs this, too
        "model": capabilities.model,
        "mode_words": console_words.MODE[capabilities.mode],
        "trouble": installed.trouble() if installed is not None else None,
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
        "label": lambda field, key: console_words.label(taxonomy, field, key),
        "csp_nonce": g.get("csp_nonce", ""),
    }


@blueprint.route("/sign-in", methods=["GET", "POST"])
@limits.limiter.limit(limits.WRONG_FROM_ADDRESS, key_func=limits.address, methods=["POST"], deduct_when=limits.is_wrong)
@limits.limiter.limit(limits.WRONG_FOR_ACCOUNT, key_func=limits.account, methods=["POST"], deduct_when=limits.is_wrong)
def sign_in() -> Reply:
    if request.method == "GET":
        return render_template("console/sign_in.html", error=None, email="")
    email, password = request.form.get("email", ""), request.form.get("password", "")
    try:
        agent = credentials.sign_in(desk().db, email=storable(email), password=password)
    except Unauthenticated as error:
        return render_template("console/sign_in.html", error=error.message, email=email), 401
    login_user(auth.signed_in(agent))
    return redirect(_safe_next() or url_for("console.queue"))


@blueprint.post("/away")
def set_away() -> Reply:
    """Whether tickets are assigned to the agent by themselves."""
    with desk().db.begin() as session:
        agent = people.find_agent(session, auth.agent().public_id)
        assigning.set_away(session, agent, away=request.form.get("away") == "1")
    return redirect(_safe_next() or url_for("console.queue"))


@blueprint.post("/sign-out")
def sign_out() -> Reply:
    logout_user()
    return redirect(url_for("console.sign_in"))


@blueprint.route("/password", methods=["GET", "POST"])
@limits.limiter.limit("10 per minute", key_func=lambda: current_user.get_id() or limits.address(), methods=["POST"])
def password() -> Reply:
    if request.method == "GET":
        return render_template("console/password.html", error=None)
    form = request.form
    if form.get("new", "") != form.get("again", ""):
        return render_template("console/password.html", error="The new passwords do not match."), 422
    try:
        credentials.change_password(desk().db, auth.agent(), current=form.get("current", ""), new=form.get("new", ""))
    except AssistantError as error:
        return render_template("console/password.html", error=error.message), error.status
    return redirect(url_for("console.queue"))


@blueprint.route("/account", methods=["GET", "POST"])
@limits.limiter.limit("10 per minute", key_func=lambda: current_user.get_id() or limits.address(), methods=["POST"])
def account() -> Reply:
    """The agent's own picture, as customers see it."""
    with desk().db.read() as session:
        picture = people.find_agent(session, auth.agent().public_id).picture_sha256
    if request.method == "GET":
        return render_template("console/account.html", picture=picture, error=None)
    try:
        people.set_picture(desk(), auth.agent().public_id, None if "remove" in request.form else _chosen_picture())
    except AssistantError as error:
        return render_template("console/account.html", picture=picture, error=error.message), error.status
    return redirect(url_for("console.account"))


def _chosen_picture() -> Upload:
    file = request.files.get("picture")
    if file is None or not file.filename:
        raise Invalid("Choose a picture first.", field="picture")
    return Upload(file.filename, file.mimetype, file.read())


# The queue


@dataclass(frozen=True)
class QueueView:
    """The tickets an agent is viewing: a tab and its filters, as given in the page's URL."""

    tab: str
    narrowed: dict[str, str]

    @classmethod
    def of_request(cls) -> QueueView:
        given = {name: beginning(storable(request.args.get(name, "")).strip(), 200) for name in _FILTERS}
        return cls(request.args.get("tab", ""), {name: value for name, value in given.items() if value})

    def filters(self, base: TicketFilters) -> TicketFilters:
        """``base`` with the view's filters. Unknown priorities are ignored, so that old URLs still open."""
        chosen = self.narrowed
        priority = chosen.get("priority", "")
        agent = chosen.get("agent", "")
        return replace(
            base,
            text=chosen.get("q"),
            category=chosen.get("category"),
            product=chosen.get("product"),
            team=chosen.get("team"),
            inbox=chosen.get("inbox"),
            priority=(Priority(priority),) if priority in list(Priority) else base.priority,
            unassigned=agent == "nobody" or base.unassigned,
            assigned_to=base.assigned_to or (agent if agent not in ("", "nobody") else None),
        )


_FILTERS = ("q", "category", "product", "team", "inbox", "priority", "agent")


@blueprint.get("/")
def queue() -> Reply:
    return render_template("console/queue.html", **_queue_page(), choices=_choices())


@blueprint.get("/rows")
def rows() -> Reply:
    """The part of the queue page that changes; with a ``cursor``, only the rows after it."""
    page = _queue_page()
    if request.args.get("cursor"):
        return render_template("console/_more.html", **page)
    response = make_response(render_template("console/_rows.html", **page))
    if request.args.get("narrow"):
        response.headers["HX-Replace-Url"] = page["address"]
    return response


@blueprint.get("/events")
def queue_events() -> Response:
    """Signals that some ticket changed, without details, as not every agent may see it. The queue reloads its rows."""
    return news_stream(None, lambda event: None if event.kind in _NOT_IN_QUEUE else "queue")


def _tabs(agent: AgentPrincipal) -> dict[str, tuple[str, TicketFilters]]:
    return {
        "waiting": ("Waiting for an agent", TicketFilters(status=OPEN, state=(ConversationState.HANDED_OFF,))),
        "mine": ("Mine", TicketFilters(status=OPEN, assigned_to=agent.public_id)),
        "assistant": ("With the assistant", TicketFilters(status=OPEN, state=(ConversationState.ASSISTANT,))),
        "all": ("All", TicketFilters()),
        "solved": ("Solved", TicketFilters(status=DONE)),
    }


def _queue_page() -> dict[str, Any]:
    agent, view = auth.agent(), QueueView.of_request()
    tabs = _tabs(agent)
    tab = view.tab if view.tab in tabs else "waiting"
    filters = {key: view.filters(base) for key, (_, base) in tabs.items()}
    cursor = request.args.get("cursor")
    shown = request.args.get("shown", type=int, default=0) if cursor is None else 0
    with desk().db.read() as session:
        limit = min(max(PAGE, shown), RELOAD_AT_MOST)
        page = tickets.list_tickets(session, agent, filters[tab], cursor=cursor, limit=limit)
        counts = {key: tickets.count_tickets(session, agent, one) for key, one in filters.items()}
        photos = evidence.first_photos(session, [ticket.conversation_id for ticket in page.tickets])
        last_id = last_event_id(session)
    before = request.args.get("before", type=int, default=0)
    return {
        "tab": tab,
        "tabs": {key: name for key, (name, _) in tabs.items()},
        "counts": counts,
        "tickets": page.tickets,
        "shown": before + len(page.tickets),
        "cursor": page.cursor,
        "photos": photos,
        "narrowed": view.narrowed,
        "address": f"{url_for('console.queue')}?{urlencode({'tab': tab, **view.narrowed})}",
        "category_of": _category_of,
        "brand_of": _brand_of,
        "last_event_id": last_id,
    }


def _category_of(ticket: Ticket) -> Any:
    """The category field of the ticket's triage, for its confidence."""
    result = ticket.current_triage
    return next((field for field in result.fields if field.name == "category"), None) if result is not None else None


def _brand_of(ticket: Ticket) -> str | None:
    """What the ticket's inbox is called; None for the default one."""
    inbox = ticket.conversation.inbox
    return None if inbox.key == DEFAULT_INBOX else inboxes.brand(inbox, desk().settings)


def _choices() -> dict[str, list[tuple[str, str]]]:
    """The options of the queue's filters: (value, name) each."""
    taxonomy = desk().taxonomy
    with desk().db.read() as session:
        agents = [(agent.public_id, agent.name) for agent in people.active_agents(session)]
        brands = [(one.key, inboxes.brand(one, desk().settings)) for one in inboxes.all_inboxes(session)]
    several = {"inbox": brands} if len(brands) > 1 else {}
    return {
        **several,
        "priority": [(key, console_words.words(key)) for key in reversed(allowed_values(taxonomy, "priority"))],
        "category": [(one.key, one.name) for one in taxonomy.categories],
        "product": [(one.key, one.name) for one in taxonomy.products],
        "team": [(one.key, one.name) for one in taxonomy.teams],
        "agent": [("nobody", "Unassigned"), *agents],
    }


# Files


@blueprint.get("/attachments/<public_id:attachment_id>")
def attachment(attachment_id: str) -> Response:
    with desk().db.read() as session:
        found = access.access_attachment(session, auth.agent(), attachment_id)
    return attachment_response(desk(), found, thumbnail=request.args.get("thumbnail") == "1")


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


def _safe_next() -> str | None:
    """The page requested before signing in, if it is one of the console's; never another site."""
    wanted = request.args.get("next", "")
    parts = urlsplit(wanted)
    root = request.script_root + "/console/"
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith(root)
    is_plain = wanted.isprintable() and "\\" not in wanted and "//" not in parts.path and ".." not in parts.path
    return wanted if is_ours and is_plain and not parts.path.startswith(f"{root}sign-") else None
