"""The console's ticket page: conversation, evidence, triage and draft, and an agent's actions on them.

An action responds with the panels it changed, or redirects to the page without scripts. Errors are shown in the panel
that was used, and typed text is kept. Actions state what the agent saw (who has the conversation, what was read): if a
colleague was faster, the agent is told before anything happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, flash, g, redirect, render_template, request, url_for

from assistant.desk import (
    access,
    actions,
    attention,
    conversations,
    corrections,
    drafts,
    evidence,
    inboxes,
    people,
    state,
    tags,
    tickets,
    triage,
)
from assistant.desk.events import Audience, EventKind
from assistant.desk.feed import last_event_id
from assistant.desk.tickets import TicketFilters
from assistant.errors import AssistantError, Conflict, Invalid, NotFound
from assistant.models import Conversation, ConversationState, DraftStatus, Event, Ticket, TicketStatus
from assistant.skills.read_photo import CANNOT_TELL
from assistant.skills.triage_fields import allowed_values
from assistant.text.storable import storable
from assistant.web import auth, console_words
from assistant.web.console_evidence import changes_in, evidence_options
from assistant.web.console_live import news_stream
from assistant.web.context import desk
from assistant.web.responses import Reply

blueprint = Blueprint("ticket", __name__, url_prefix="/tickets/<public_id:ticket_id>")

# Works in the caller's transaction on a ticket that the agent may see.
Action = Callable[[Any, Ticket], None]

PANELS = ("thread", "triage", "draft", "status")
SETTABLE = (TicketStatus.OPEN, TicketStatus.PENDING, TicketStatus.ON_HOLD)
OTHER_TICKETS = 5
# The name under which an event reaches the page, which is the panel it mainly changes. Panels choose their names.
_NEWS: dict[str, str] = {
    EventKind.MESSAGE_CREATED: "thread",
    EventKind.MESSAGE_UPDATED: "thread",
    EventKind.MESSAGE_RATED: "thread",
    EventKind.NOTE_CREATED: "thread",
    EventKind.EVIDENCE_READ: "thread",
    EventKind.EVIDENCE_CORRECTED: "thread",
    EventKind.TICKET_TRIAGED: "triage",
    EventKind.TRIAGE_DECIDED: "triage",
    EventKind.DRAFT_UPDATED: "draft",
    EventKind.CONVERSATION_READ: "thread",
    EventKind.CONVERSATION_UPDATED: "status",
    EventKind.CONVERSATION_RATED: "status",
    EventKind.TICKET_UPDATED: "status",
}


@blueprint.get("")
def page(ticket_id: str) -> Reply:
    return render_template("console/ticket.html", **_ticket_page(ticket_id))


@blueprint.get("/<any(thread, triage, draft, status):name>")
def panel(ticket_id: str, name: str) -> Reply:
    return render_template(f"console/_{name}.html", **_ticket_page(ticket_id))


@blueprint.get("/events")
def events(ticket_id: str) -> Response:
    with desk().db.read() as session:
        conversation_id = access.access_ticket(session, auth.agent(), ticket_id).conversation_id
    return news_stream(conversation_id, _news)


def _news(event: Event) -> str | None:
    if event.kind == EventKind.TYPING:
        return "typing" if event.audience == Audience.AGENT else None  # only the customer's: agents know their own
    return _NEWS.get(event.kind)


@blueprint.post("/presence")
def note_presence(ticket_id: str) -> tuple[str, int]:
    """The agent has the ticket before their eyes and, with ``typing``, writes to the customer."""
    agent = auth.agent()
    with desk().db.begin() as session:
        conversation_id = access.access_ticket(session, agent, ticket_id).conversation_id
        attention.agent_saw(session, conversation_id)
        if request.form.get("typing"):
            attention.agent_types(session, agent, conversation_id)
    return "", 204


@blueprint.post("/take-over")
def take_over(ticket_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        conversation = state.lock_conversation(session, row.conversation_id)
        _refuse_if_taken(conversation)
        state.take_over(session, conversation, auth.agent())

    return _act(ticket_id, act, panels=("status", "draft"))


@blueprint.post("/give-back")
def give_back(ticket_id: str) -> Reply:
    """Let the assistant answer the customer again."""

    def act(session: Any, row: Ticket) -> None:
        conversation = state.lock_conversation(session, row.conversation_id)
        _refuse_if_taken(conversation)
        conversations.give_back(session, conversation)

    return _act(ticket_id, act, panels=("status", "draft", "thread"))


@blueprint.post("/assign")
def assign(ticket_id: str) -> Reply:
    """Give the ticket to an agent or, with an empty value, to nobody."""

    def act(session: Any, row: Ticket) -> None:
        tickets.assign(session, row, request.form.get("agent") or None)

    return _act(ticket_id, act, panels=("status",))


@blueprint.post("/set-status")
def set_status(ticket_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        wanted = request.form.get("status", "")
        if wanted not in SETTABLE:
            raise Invalid(f"The status must be open, pending or on_hold, not {wanted!r}.", field="status")
        if row.status in state.DONE:
            raise Conflict("This ticket has already been solved. Reopen it to continue.")
        tickets.set_status(session, row, TicketStatus(wanted))

    return _act(ticket_id, act, panels=("status",))


@blueprint.post("/tags")
def change_tags(ticket_id: str) -> Reply:
    """Add the tag that was typed, or take off the one whose cross was pressed."""
    name = "remove_tag" if request.form.get("remove") else "add_tag"
    given = [{"name": name, "arguments": {"tag": request.form.get("remove") or storable(request.form.get("tag", ""))}}]
    return _act(ticket_id, _acts(given), panels=("status",))


@blueprint.post("/solve")
def solve(ticket_id: str) -> Reply:
    return _act(ticket_id, lambda session, row: tickets.solve(session, row, auth.agent()), panels=("status", "draft"))


@blueprint.post("/reopen")
def reopen(ticket_id: str) -> Reply:
    return _act(ticket_id, lambda session, row: tickets.reopen(session, row, auth.agent()), panels=("status", "draft"))


@blueprint.post("/reply")
def reply(ticket_id: str) -> Reply:
    """A public reply, or a note that only agents see."""

    def act(session: Any, row: Ticket) -> None:
        if request.form.get("internal"):
            drafts.add_note(session, auth.agent(), row, _text())
            return
        _refuse_if_taken(state.lock_conversation(session, row.conversation_id))
        drafts.reply(session, auth.agent(), row, _text())

    return _act(ticket_id, act, panels=("draft", "thread", "status"), typed="reply")


@blueprint.post("/drafts/<public_id:draft_id>/send")
def send_draft(ticket_id: str, draft_id: str) -> Reply:
    """Send a draft, edited or not. If a colleague has sent or discarded it, send nothing and keep the text."""

    def act(session: Any, row: Ticket) -> None:
        _refuse_if_taken(state.lock_conversation(session, row.conversation_id))
        draft = drafts.access_draft(session, row, draft_id)
        session.refresh(draft)
        sent_by_us = draft.agent_id == auth.agent().agent_id and draft.sent_text == _text().strip()
        if draft.status is not DraftStatus.PROPOSED and not sent_by_us:
            what = "discarded" if draft.status is DraftStatus.DISCARDED else "sent"
            raise Conflict(f"This draft has already been {what}. Your text was not sent; it is in the reply box.")
        drafts.send_draft(session, auth.agent(), row, draft, text=_text())

    return _act(ticket_id, act, panels=("draft", "thread", "status"), typed="draft")


@blueprint.post("/drafts/<public_id:draft_id>/discard")
def discard_draft(ticket_id: str, draft_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        drafts.discard_draft(session, auth.agent(), row, drafts.access_draft(session, row, draft_id))

    return _act(ticket_id, act, panels=("draft",))


@blueprint.post("/triage/<name>")
def decide_field(ticket_id: str, name: str) -> Reply:
    """Accept the proposed value, or override it with ``value``."""

    def act(session: Any, row: Ticket) -> None:
        value = request.form.get("value") or None
        triage.decide_field(session, auth.agent(), row, name, taxonomy=desk().taxonomy, value=value)

    return _act(ticket_id, act, panels=("triage", "status"))


@blueprint.post("/evidence/<public_id:attachment_id>")
def correct_evidence(ticket_id: str, attachment_id: str) -> Reply:
    """Store an agent's corrections of what was read in a photo, for this ticket or everywhere."""

    def act(session: Any, row: Ticket) -> None:
        photo = access.access_attachment(session, auth.agent(), attachment_id)
        if photo.message.conversation_id != row.conversation_id:
            raise NotFound("This ticket has no such photo.")
        read = evidence.evidence_of(session, [photo]).get(photo.sha256)
        fields, lines = changes_in(request.form, read.visible_text if read is not None else [])
        everywhere = request.form.get("everywhere") is not None
        if fields or lines or everywhere:
            corrections.correct_evidence(
                session,
                auth.agent(),
                attachment_id,
                fields,
                lines=lines,
                everywhere=everywhere,
                taxonomy=desk().taxonomy,
            )

    return _act(ticket_id, act, panels=("thread", "draft"))


def _refuse_if_taken(conversation: Conversation) -> None:
    """Raise `Conflict` if another agent has taken the conversation since this page was loaded. A repeat then counts."""
    seen = request.form.get("taken_by")
    if seen is None or conversation.state is not ConversationState.AGENT or conversation.agent is None:
        return
    if conversation.agent.public_id not in (seen, auth.agent().public_id):
        raise Conflict(
            f"{conversation.agent.name} has taken over this conversation. "
            "Nothing was changed; repeat the action to take it over from them."
        )


def _act(ticket_id: str, action: Action, *, panels: tuple[str, ...], typed: str | None = None) -> Reply:
    """Perform an action on a ticket and respond with the panels it changes.

    The first panel is the request's target; the others are swapped out of band. On failure the first panel shows the
    error, and the text box named ``typed`` (draft or reply) keeps its text.
    """
    failed: AssistantError | None = None
    try:
        with desk().db.begin() as session:
            row = tickets.load_ticket(session, auth.agent(), ticket_id)
            action(session, row)
    except AssistantError as error:
        failed = error
    is_script = bool(request.headers.get("HX-Request"))
    if failed is None and not is_script:
        return redirect(url_for("console.ticket.page", ticket_id=ticket_id))
    try:
        shown = _ticket_page(ticket_id)
    except NotFound:
        if failed is not None:
            raise
        flash("Done. The ticket now belongs to another team, so you can no longer see it.")
        return Response("", headers={"HX-Redirect": url_for("console.queue")})
    if failed is not None:
        shown |= {"error": failed.message, "error_in": panels[0], **_typed_text(typed, shown["draft"])}
    status = failed.status if failed is not None else 200
    if not is_script:
        return render_template("console/ticket.html", **shown), status
    g.has_panels = True
    first, *others = panels
    parts = [render_template(f"console/_{first}.html", **shown)]
    parts += [render_template(f"console/_{name}.html", **shown, out_of_band=True) for name in others]
    return "\n".join(parts), status


def _typed_text(typed: str | None, draft: dict[str, Any] | None) -> dict[str, str]:
    """The submitted text for the box it came from; for the reply box if that draft is gone."""
    if typed is None:
        return {}
    is_same = draft is not None and request.view_args is not None and draft["id"] == request.view_args.get("draft_id")
    return {"typed_draft" if typed == "draft" and is_same else "typed_reply": _text()}


def _acts(given: object) -> Action:
    """What performs these actions."""

    def act(session: Any, row: Ticket) -> None:
        actions.apply(session, row, actions.parse(session, given), auth.agent())

    return act


def _text() -> str:
    return storable(request.form.get("text", "")).replace("\r\n", "\n")


# What the page shows


def _ticket_page(ticket_id: str) -> dict[str, Any]:
    agent = auth.agent()
    with desk().db.read() as session:
        row = tickets.load_ticket(session, agent, ticket_id)
        shown = tickets.show_ticket(session, row, desk().taxonomy).to_json()
        proposed = [draft for draft in shown["drafts"] if draft["status"] == DraftStatus.PROPOSED]
        taker = row.conversation.agent if row.conversation.state is ConversationState.AGENT else None
        return {
            "ticket": shown,
            "draft": proposed[-1] if proposed else None,
            "requester": {"email": row.requester.email, "external_id": row.requester.external_id},
            "site_context": row.conversation.site_context,
            "inbox": inboxes.brand(row.conversation.inbox, desk().settings),
            "other_tickets": _other_tickets(session, row),
            "known_tags": tags.known(session),
            "agents": [{"id": one.public_id, "name": one.name} for one in people.active_agents(session)],
            "taker": {"id": taker.public_id, "name": taker.name} if taker is not None else None,
            "receipt": attention.receipt(session, row.conversation_id),
            "can_give_back": state.can_give_back(row.conversation),
            "queue_position": state.queue_position(session, row.conversation),
            "fields": _triage_fields(shown),
            "settable": [status.value for status in SETTABLE],
            "evidence_options": evidence_options(desk().taxonomy),
            "cannot_tell": CANNOT_TELL,
            "cited": console_words.cited,
            "last_event_id": last_event_id(session, conversation_id=row.conversation_id),
            "error": None,
        }


def _other_tickets(session: Any, row: Ticket) -> list[Ticket]:
    """The customer's newest other tickets that the agent may see."""
    filters = TicketFilters(requester=row.requester.public_id)
    found = tickets.list_tickets(session, auth.agent(), filters, limit=OTHER_TICKETS + 1).tickets
    return [ticket for ticket in found if ticket.id != row.id][:OTHER_TICKETS]


def _triage_fields(shown: dict[str, Any]) -> list[dict[str, Any]]:
    """The triage fields, each with all its allowed values, likeliest first."""
    chosen = []
    for field in shown["triage"] or []:
        likely = {one["value"]: one["probability"] for one in field["alternatives"]}
        options = sorted(allowed_values(desk().taxonomy, field["name"]), key=lambda key: -likely.get(key, 0.0))
        now = field["corrected_value"] if field["status"] == "overridden" else field["value"]
        chosen.append({**field, "options": options, "probabilities": likely, "now": now})
    return chosen
