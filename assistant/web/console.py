"""The agents' side: pages rendered on the server, panels of a ticket renewed by htmx, live by server-sent events.

Every action answers with the panels it changed; without scripts it redirects back to the page. What went wrong is said
in the panel, and what the agent had typed is still there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask_login import current_user, login_user, logout_user
from werkzeug.wrappers import Response as BaseResponse

from assistant.errors import AssistantError, Unauthenticated
from assistant.models import ConversationState, Event, Ticket, TicketStatus
from assistant.ports import HandoffReason, Mode
from assistant.services import access, conversations, drafts, evidence, knowledge, tickets, triage
from assistant.services.access import AgentPrincipal
from assistant.services.events import Audience, last_event_id
from assistant.services.tickets import TicketFilters
from assistant.skills.triage import allowed_values
from assistant.web import auth
from assistant.web.context import desk
from assistant.web.limits import address, limiter
from assistant.web.responses import attachment_response, event_stream
from assistant.web.schemas import ticket_json

blueprint = Blueprint("console", __name__, url_prefix="/console")

Reply = str | BaseResponse | tuple[str, int]

OPEN = (TicketStatus.NEW, TicketStatus.OPEN, TicketStatus.PENDING, TicketStatus.ON_HOLD)
PAGE = 40
HANDOFF_WORDS = {
    HandoffReason.CUSTOMER_ASKED.value: "The customer asked for a person.",
    HandoffReason.MISSING_KNOWLEDGE.value: "No article answers this.",
    HandoffReason.UNSUPPORTED_ANSWER.value: "What the model wrote does not stand on the articles.",
    HandoffReason.NEEDS_HUMAN.value: "Triage says that a person must handle this.",
    HandoffReason.ENGINE_DOWN.value: "The assistant could not answer.",
}
MODE_WORDS = {
    Mode.NO_VLM: "No vision-language model: photos are read by OCR, answers are quoted from articles.",
    Mode.SMALL_VLM: "A small model reads photos and decides; answers are quoted from articles.",
    Mode.FULL_VLM: "The model reads photos and writes answers; every sentence is checked against its article.",
    Mode.REMOTE: "A model server reads photos and writes answers; every sentence is checked against its article.",
}
# Which panel of a ticket page an event renews.
_PANELS = {
    "message.created": "thread",
    "evidence.read": "thread",
    "evidence.corrected": "thread",
    "ticket.triaged": "triage",
    "draft.changed": "draft",
    "conversation.state": "status",
    "ticket.updated": "status",
}


@blueprint.before_request
def require_agent() -> BaseResponse | None:
    """Everyone here is signed in, with a password of their own."""
    if request.endpoint == "console.sign_in":
        return None
    if not current_user.is_authenticated:
        return _go(url_for("console.sign_in", next=request.full_path.rstrip("?")))
    if auth.agent().must_change_password and request.endpoint not in ("console.password", "console.sign_out"):
        return _go(url_for("console.password"))
    return None


@blueprint.context_processor
def shared() -> dict[str, Any]:
    capabilities = desk().capabilities
    return {
        "company": desk().company,
        "me": auth.agent() if current_user.is_authenticated else None,
        "model": capabilities.model,
        "mode_words": MODE_WORDS[capabilities.mode],
        "handoff_words": HANDOFF_WORDS,
        "product_name": desk().taxonomy.product_name,
    }


@blueprint.route("/sign-in", methods=["GET", "POST"])
@limiter.limit("10 per minute; 60 per hour", key_func=address, methods=["POST"])
def sign_in() -> Reply:
    if request.method == "GET":
        return render_template("console/sign_in.html", error=None, email="")
    email, password = request.form.get("email", ""), request.form.get("password", "")
    try:
        agent = access.sign_in(desk().db, email=email, password=password)
    except Unauthenticated as error:
        return render_template("console/sign_in.html", error=error.message, email=email), 401
    login_user(auth.signed_in(agent))
    return redirect(_safe_next() or url_for("console.queue"))


@blueprint.post("/sign-out")
def sign_out() -> Reply:
    logout_user()
    return redirect(url_for("console.sign_in"))


@blueprint.route("/password", methods=["GET", "POST"])
def password() -> Reply:
    if request.method == "GET":
        return render_template("console/password.html", error=None)
    form = request.form
    try:
        if form.get("new", "") != form.get("again", ""):
            return render_template("console/password.html", error="The two new passwords differ."), 422
        access.change_password(desk().db, auth.agent(), current=form.get("current", ""), new=form.get("new", ""))
    except AssistantError as error:
        return render_template("console/password.html", error=error.message), error.status
    return redirect(url_for("console.queue"))


# The queue


@blueprint.get("/")
def queue() -> Reply:
    return render_template("console/queue.html", **_queue_page())


@blueprint.get("/rows")
def rows() -> Reply:
    return render_template("console/_rows.html", **_queue_page())


@blueprint.get("/events")
def queue_events() -> Response:
    """Something happened to some ticket: the queue asks for its rows again."""
    return event_stream(desk(), conversation_id=None, audience=Audience.AGENT, name=_queue_event)


def _queue_event(event: Event) -> str | None:
    return None if event.kind in ("answer.delta", "answer.started") else "queue"


def _tabs(agent: AgentPrincipal) -> dict[str, tuple[str, TicketFilters]]:
    return {
        "waiting": ("Waiting for a person", TicketFilters(status=OPEN, state=(ConversationState.HANDED_OFF,))),
        "mine": ("Mine", TicketFilters(status=OPEN, assigned_to=agent.public_id)),
        "assistant": ("With the assistant", TicketFilters(status=OPEN, state=(ConversationState.ASSISTANT,))),
        "all": ("All open", TicketFilters(status=OPEN)),
        "solved": ("Solved", TicketFilters(status=tickets.DONE)),
    }


def _queue_page() -> dict[str, Any]:
    agent = auth.agent()
    tabs = _tabs(agent)
    tab = request.args.get("tab", "waiting")
    tab = tab if tab in tabs else "waiting"
    text = request.args.get("q", "").replace("\0", "").strip()[:200]
    filters = tabs[tab][1]
    if text:
        filters = TicketFilters(filters.status, state=filters.state, assigned_to=filters.assigned_to, text=text)
    with desk().db.read() as session:
        page = tickets.list_tickets(session, agent, filters, cursor=request.args.get("cursor"), limit=PAGE)
        counts = {key: tickets.count_tickets(session, agent, one) for key, (_, one) in tabs.items()}
        photos = evidence.first_photos(session, [ticket.conversation_id for ticket in page.tickets])
        last_id = last_event_id(session)
    return {
        "tab": tab,
        "tabs": {key: name for key, (name, _) in tabs.items()},
        "counts": counts,
        "tickets": page.tickets,
        "cursor": page.cursor,
        "photos": photos,
        "q": text,
        "current_triage": triage.current_triage,
        "last_event_id": last_id,
    }


# A ticket


@blueprint.get("/tickets/<public_id:ticket_id>")
def ticket(ticket_id: str) -> Reply:
    return render_template("console/ticket.html", **_ticket_page(ticket_id))


@blueprint.get("/tickets/<public_id:ticket_id>/<any(thread, triage, draft, status):panel>")
def panel(ticket_id: str, panel: str) -> Reply:
    return render_template(f"console/_{panel}.html", **_ticket_page(ticket_id))


@blueprint.get("/tickets/<public_id:ticket_id>/events")
def ticket_events(ticket_id: str) -> Response:
    with desk().db.read() as session:
        conversation_id = access.access_ticket(session, auth.agent(), ticket_id).conversation_id
    name = lambda event: _PANELS.get(event.kind)  # noqa: E731
    return event_stream(desk(), conversation_id=conversation_id, audience=Audience.AGENT, name=name)


@blueprint.post("/tickets/<public_id:ticket_id>/take-over")
def take_over(ticket_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        conversation = conversations.lock_conversation(session, row.conversation_id)
        conversations.take_over(session, conversation, auth.agent())

    return _act(ticket_id, act, panels=("status", "draft"))


@blueprint.post("/tickets/<public_id:ticket_id>/solve")
def solve(ticket_id: str) -> Reply:
    return _act(ticket_id, lambda session, row: tickets.solve(session, row, auth.agent()), panels=("status", "draft"))


@blueprint.post("/tickets/<public_id:ticket_id>/reopen")
def reopen(ticket_id: str) -> Reply:
    return _act(ticket_id, lambda session, row: tickets.reopen(session, row, auth.agent()), panels=("status", "draft"))


@blueprint.post("/tickets/<public_id:ticket_id>/set-status")
def set_status(ticket_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        wanted = request.form.get("status", "")
        if wanted in (TicketStatus.OPEN, TicketStatus.PENDING, TicketStatus.ON_HOLD):
            tickets.set_status(session, row, TicketStatus(wanted))

    return _act(ticket_id, act, panels=("status",))


@blueprint.post("/tickets/<public_id:ticket_id>/assign")
def assign(ticket_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        tickets.assign(session, row, request.form.get("agent") or None)

    return _act(ticket_id, act, panels=("status",))


@blueprint.post("/tickets/<public_id:ticket_id>/reply")
def reply(ticket_id: str) -> Reply:
    """A public reply, or a note that only agents see."""

    def act(session: Any, row: Ticket) -> None:
        if request.form.get("internal"):
            drafts.add_note(session, auth.agent(), row, _text())
        else:
            drafts.reply(session, auth.agent(), row, _text())

    return _act(ticket_id, act, panels=("draft", "thread", "status"), keep="reply")


@blueprint.post("/tickets/<public_id:ticket_id>/drafts/<public_id:draft_id>/send")
def send_draft(ticket_id: str, draft_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        draft = drafts.access_draft(session, row, draft_id)
        drafts.send_draft(session, auth.agent(), row, draft, text=_text())

    return _act(ticket_id, act, panels=("draft", "thread", "status"), keep="draft")


@blueprint.post("/tickets/<public_id:ticket_id>/drafts/<public_id:draft_id>/discard")
def discard_draft(ticket_id: str, draft_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        drafts.discard_draft(session, auth.agent(), row, drafts.access_draft(session, row, draft_id))

    return _act(ticket_id, act, panels=("draft",))


@blueprint.post("/tickets/<public_id:ticket_id>/triage/<name>")
def decide_field(ticket_id: str, name: str) -> Reply:
    """Accept the proposed value, or override it with ``value``."""

    def act(session: Any, row: Ticket) -> None:
        value = request.form.get("value") or None
        triage.decide_field(session, auth.agent(), row, name, taxonomy=desk().taxonomy, value=value)

    return _act(ticket_id, act, panels=("triage", "status"))


@blueprint.post("/tickets/<public_id:ticket_id>/evidence/<public_id:attachment_id>")
def correct_evidence(ticket_id: str, attachment_id: str) -> Reply:
    def act(session: Any, _row: Ticket) -> None:
        changes = {name: request.form[name] for name in evidence.FIELDS if request.form.get(name, "").strip()}
        evidence.correct_evidence(session, auth.agent(), attachment_id, changes)

    return _act(ticket_id, act, panels=("thread",))


@blueprint.get("/attachments/<public_id:attachment_id>")
def attachment(attachment_id: str) -> Response:
    with desk().db.read() as session:
        found = access.access_attachment(session, auth.agent(), attachment_id)
    return attachment_response(desk(), found, thumbnail=request.args.get("thumbnail") == "1")


@blueprint.get("/knowledge")
def knowledge_search() -> Reply:
    text = request.args.get("q", "").replace("\0", "").strip()[:500]
    hits = knowledge.search_articles(desk().index, text, internal=True, limit=12) if text else []
    with desk().db.read() as session:
        count = knowledge.count_articles(session)
    return render_template("console/knowledge.html", q=text, hits=[hit.to_json() for hit in hits], count=count)


def _act(
    ticket_id: str, action: Callable[[Any, Ticket], None], *, panels: tuple[str, ...], keep: str | None = None
) -> Reply:
    """Do something to a ticket the agent may see and answer with the panels it changes.

    The first panel is the target of the request; the others ride along. If it fails, the message and, under the name
    ``keep``, what was typed go into the first panel.
    """
    said: dict[str, Any] = {}
    try:
        with desk().db.begin() as session:
            action(session, tickets.load_ticket(session, auth.agent(), ticket_id))
    except AssistantError as error:
        if error.status == 404 and not _exists(ticket_id):
            raise
        said = {"error": error.message, f"typed_{keep}": request.form.get("text", "")}
    if not request.headers.get("HX-Request") and not said:
        return redirect(url_for("console.ticket", ticket_id=ticket_id))
    page = {**_ticket_page(ticket_id), **said}
    if not request.headers.get("HX-Request"):
        return render_template("console/ticket.html", **page), 409
    first, *others = panels
    parts = [render_template(f"console/_{first}.html", **page)]
    parts += [render_template(f"console/_{name}.html", **page, out_of_band=True) for name in others]
    return "\n".join(parts)


def _exists(ticket_id: str) -> bool:
    with desk().db.read() as session:
        try:
            access.access_ticket(session, auth.agent(), ticket_id)
        except AssistantError:
            return False
        return True


def _ticket_page(ticket_id: str) -> dict[str, Any]:
    with desk().db.read() as session:
        row = tickets.load_ticket(session, auth.agent(), ticket_id)
        shown = ticket_json(session, row)
        return {
            "ticket": shown,
            "requester_email": row.requester.email,
            "agents": access.active_agents(session),
            "place": conversations.queue_place(session, row.conversation),
            "fields": _field_choices(shown),
            "last_event_id": last_event_id(session, conversation_id=row.conversation_id),
            "error": None,
        }


def _field_choices(shown: dict[str, Any]) -> list[dict[str, Any]]:
    """The triage fields, each with every value it may have, likeliest first."""
    fields = shown["triage"]["fields"] if shown["triage"] is not None else []
    chosen = []
    for field in fields:
        likely = field["probabilities"]
        options = sorted(allowed_values(desk().taxonomy, field["name"]), key=lambda key: -likely.get(key, 0.0))
        now = field["corrected_value"] if field["state"] == "overridden" else field["value"]
        chosen.append({**field, "options": options, "now": now})
    return chosen


def _text() -> str:
    return request.form.get("text", "").replace("\r\n", "\n").replace("\0", "")


def _go(address_: str) -> BaseResponse:
    """A redirect that also works when htmx asked for a panel."""
    if request.headers.get("HX-Request"):
        return Response("", status=200, headers={"HX-Redirect": address_})
    return redirect(address_)


def _safe_next() -> str | None:
    """Where the agent wanted to go, if that is a page of the console: never another site."""
    wanted = request.args.get("next", "")
    parts = urlsplit(wanted)
    is_ours = not parts.scheme and not parts.netloc and wanted.startswith("/console/") and "\\" not in wanted
    return wanted if is_ours and not wanted.startswith("/console/sign") else None
