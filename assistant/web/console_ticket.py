"""The console's ticket page: conversation, evidence, triage and draft, and an agent's actions on them.

An action responds with the panels it changed, or redirects to the page without scripts. Errors are shown in the panel
that was used, and typed text is kept. Actions state what the agent saw (who has the conversation, what was read): if a
colleague was faster, the agent is told before anything happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, flash, g, redirect, render_template, request, url_for

from assistant.desk import (
    access,
    actions,
    alerts,
    attention,
    comparisons,
    conversations,
    corrections,
    drafts,
    evidence,
    guardrails,
    macros,
    merging,
    photo_questions,
    related,
    sending,
    state,
    tickets,
    triage,
)
from assistant.desk.attachments import attached
from assistant.desk.events import Audience, EventKind
from assistant.desk.sending import Outgoing
from assistant.errors import AssistantError, Conflict, Gone, Invalid, NotFound
from assistant.media.files import Upload
from assistant.models import Attachment, Conversation, ConversationState, DraftStatus, Event, Ticket, TicketStatus
from assistant.text.storable import storable
from assistant.web import auth, console_panels
from assistant.web.console_evidence import changes_in
from assistant.web.console_live import news_stream
from assistant.web.context import desk
from assistant.web.responses import Reply, attachment_response

blueprint = Blueprint("ticket", __name__, url_prefix="/tickets/<public_id:ticket_id>")

# Works in the caller's transaction on a ticket that the agent may see.
Action = Callable[[Any, Ticket], None]

# Actions that are one press or one choice, with their argument.
_ARGUMENTS = {"transfer": "team", "snooze": "until", "follow": "agent", "unfollow": "agent"}
# The name under which an event reaches the page, which is the panel it mainly changes. Panels choose their names.
# In probability: what changes less is not shown as a reason.
_LEAST_INFLUENCE = 0.03

_NEWS: dict[str, str] = {
    EventKind.MESSAGE_CREATED: "thread",
    EventKind.MESSAGE_UPDATED: "thread",
    EventKind.MESSAGE_RATED: "thread",
    EventKind.NOTE_CREATED: "thread",
    EventKind.EVIDENCE_READ: "thread",
    EventKind.EVIDENCE_CORRECTED: "thread",
    EventKind.PHOTO_ASKED: "thread",
    EventKind.TICKET_TRIAGED: "triage",
    EventKind.TRIAGE_DECIDED: "triage",
    EventKind.DRAFT_UPDATED: "draft",
    EventKind.REPLY_HELD: "draft",
    EventKind.CONVERSATION_READ: "thread",
    EventKind.CONVERSATION_UPDATED: "status",
    EventKind.CONVERSATION_RATED: "status",
    EventKind.TICKET_UPDATED: "status",
    EventKind.TICKET_LINKED: "links",
    EventKind.TICKET_BREACHED: "status",
}


@blueprint.get("")
def page(ticket_id: str) -> Reply:
    return render_template("console/ticket.html", **console_panels.show_all(ticket_id))


@blueprint.get("/<any(thread, triage, draft, status, fields, similar):name>")
def panel(ticket_id: str, name: str) -> Reply:
    """One panel; of the conversation with ``before``, only the messages before that one."""
    part = "earlier" if name == "thread" and "before" in request.args else name
    return render_template(f"console/_{part}.html", **console_panels.show(name, ticket_id))


@blueprint.get("/why")
def explain(ticket_id: str) -> Reply:
    """What the proposed triage depends on most."""
    shown = triage.explain_ticket(desk(), auth.agent(), ticket_id).to_json()["fields"]
    reasons = [field for field in shown if field["status"] != "overridden"]
    return render_template("console/_why.html", reasons=reasons, least=_LEAST_INFLUENCE)


@blueprint.get("/photos/<public_id:photo_id>/comparison")
def compare_photo(ticket_id: str, photo_id: str) -> Reply:
    """A photo of the ticket beside the customer's earlier one: what has changed."""
    with desk().db.read() as session:
        _photo_of(session, access.access_ticket(session, auth.agent(), ticket_id), photo_id)
    try:
        found = comparisons.compare_with_earlier(desk(), auth.agent(), photo_id)
    except (Conflict, NotFound, Gone):  # not read yet, or lost since the page was made
        return ""
    shown = found.to_json()
    sides = [
        {
            "name": side.capitalize(),
            "at": shown[f"{side}_at"],
            "address": url_for("console.attachment", attachment_id=shown[side]),
            "changes": [one[side] for one in shown["changes"]],
        }
        for side in ("before", "after")
    ]
    return _compared(f"comparison-{photo_id}", found, sides, "the customer's earlier photo")


@blueprint.get("/photos/<public_id:photo_id>/reference")
def compare_with_reference(ticket_id: str, photo_id: str) -> Reply:
    """A photo of the ticket beside a reference photo of the product in it: what looks otherwise."""
    with desk().db.read() as session:
        _photo_of(session, access.access_ticket(session, auth.agent(), ticket_id), photo_id)
    try:
        found = comparisons.compare_with_reference(desk(), auth.agent(), photo_id)
    except (Conflict, NotFound, Gone):
        return ""
    sides = [
        {
            "name": "Reference photo",
            "address": url_for("console.product_photo", sha256=found.reference),
            "changes": [one.before for one in found.changes],
        },
        {
            "name": "This photo",
            "address": url_for("console.attachment", attachment_id=photo_id),
            "changes": [one.after for one in found.changes],
        },
    ]
    return _compared(f"reference-{photo_id}", found, sides, "a reference photo of the product")


def _compared(name: str, comparison: object, sides: list[dict[str, Any]], with_what: str) -> str:
    return render_template("console/_comparison.html", id=name, comparison=comparison, sides=sides, with_what=with_what)


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
def note_presence(ticket_id: str) -> dict[str, Any]:
    """The agent has the ticket before their eyes and, with ``typing``, writes to the customer. Says who else does."""
    agent, writes = auth.agent(), bool(request.form.get("typing"))
    with desk().db.begin() as session:
        row = access.access_ticket(session, agent, ticket_id)
        attention.agent_saw(session, agent, row.conversation_id)
        alerts.read(session, agent, row.id)
        attention.agent_is_here(session, agent, row.id, writes=writes)
        if writes:
            attention.agent_types(session, agent, row.conversation_id)
        others = attention.colleagues(session, agent, row.id)
    return {"colleagues": [{"name": one.name, "writes": one.writes} for one in others]}


@blueprint.post("/take-over")
def take_over(ticket_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        conversation = state.lock_conversation(session, row.conversation_id)
        refuse_if_taken(conversation)
        state.take_over(session, conversation, auth.agent())

    return perform(ticket_id, act, panels=("status", "draft"))


@blueprint.post("/give-back")
def give_back(ticket_id: str) -> Reply:
    """Let the assistant answer the customer again."""

    def act(session: Any, row: Ticket) -> None:
        conversation = state.lock_conversation(session, row.conversation_id)
        refuse_if_taken(conversation)
        conversations.give_back(session, conversation)

    return perform(ticket_id, act, panels=("status", "draft", "thread"))


@blueprint.post("/assign")
def assign(ticket_id: str) -> Reply:
    """Give the ticket to an agent or, with an empty value, to nobody."""

    def act(session: Any, row: Ticket) -> None:
        tickets.assign(session, row, request.form.get("agent") or None)

    return perform(ticket_id, act, panels=("status",))


@blueprint.post("/set-status")
def set_status(ticket_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        wanted = request.form.get("status", "")
        if wanted not in console_panels.SETTABLE:
            raise Invalid(f"The status must be open, pending or on_hold, not {wanted!r}.", field="status")
        if row.status in state.DONE:
            raise Conflict("This ticket has already been solved. Reopen it to continue.")
        tickets.set_status(session, row, TicketStatus(wanted))

    return perform(ticket_id, act, panels=("status",))


@blueprint.post("/tags")
def change_tags(ticket_id: str) -> Reply:
    """Add the tag that was typed, or take off the one whose cross was pressed."""
    name = "remove_tag" if request.form.get("remove") else "add_tag"
    given = [{"name": name, "arguments": {"tag": request.form.get("remove") or storable(request.form.get("tag", ""))}}]
    return perform(ticket_id, _acts(given), panels=("status",))


@blueprint.post("/fields/<field_key>")
def set_field(ticket_id: str, field_key: str) -> Reply:
    """Set a custom field, unless it is no longer what the agent ``saw``. Once more is fine."""

    def act(session: Any, row: Ticket) -> None:
        arguments = {"field": f"{field_key}={typed_text()}"}
        given = [{"name": "set_field", "arguments": arguments, "expects": request.form.get("saw")}]
        parsed = actions.parse(session, given)
        skipped = actions.apply(session, row, parsed, auth.agent()).skipped
        now = row.fields.get(field_key, "")
        if skipped and parsed[0].arguments["field"] != f"{field_key}={now}":
            is_now = f"it is “{now}” now" if now else "it is empty now"
            raise Conflict(f"A colleague has changed this meanwhile: {is_now}. Save again to replace it.")

    return perform(ticket_id, act, panels=("fields",), typed="field")


@blueprint.post("/actions/<name>")
def do_action(ticket_id: str, name: str) -> Reply:
    """One of `_ARGUMENTS`, with the ``value`` that was pressed or chosen. A time is in the page's ``zone``: +01:00."""
    if name not in _ARGUMENTS:
        raise NotFound("There is no such action.")
    value = request.form.get("value", "") + request.form.get("zone", "")
    given = [{"name": name, "arguments": {_ARGUMENTS[name]: value}}]
    return perform(ticket_id, _acts(given), panels=("status",))


@blueprint.post("/solve")
def solve(ticket_id: str) -> Reply:
    """What the agent has just sent leaves first."""

    def act(session: Any, row: Ticket) -> None:
        sending.send_now(session, auth.agent(), row)
        tickets.solve(session, row, auth.agent())

    return perform(ticket_id, act, panels=("status", "draft"))


@blueprint.post("/reopen")
def reopen(ticket_id: str) -> Reply:
    return perform(
        ticket_id, lambda session, row: tickets.reopen(session, row, auth.agent()), panels=("status", "draft")
    )


@blueprint.post("/reply")
def reply(ticket_id: str) -> Reply:
    """A reply to the customer, with what the chosen macro does; with ``then``, the ticket gets that status."""
    if request.form.get("internal"):  # the page is older than notes' own form: this was meant for colleagues
        return add_note(ticket_id)

    def act(session: Any, row: Ticket) -> None:
        refuse_if_taken(state.lock_conversation(session, row.conversation_id))
        form = request.form
        macro, then = form.get("macro") or None, form.get("then") or None
        new = Outgoing(typed_text(), macro=macro, then=then, confirmed_from=confirmed_from())
        sending.send(desk(), session, auth.agent(), row, new)

    return perform(ticket_id, act, panels=("draft", "thread", "status"), typed="reply")


@blueprint.post("/held/<public_id:held_id>/undo")
def take_back(ticket_id: str, held_id: str) -> Reply:
    """Stop a reply that has not left. Its text is back where it was written."""
    shown: dict[str, Any] = {}

    def act(session: Any, row: Ticket) -> None:
        held = sending.take_back(session, auth.agent(), row, held_id)
        if held.draft is not None and held.draft.status is DraftStatus.PROPOSED:
            shown.update(typed_draft=held.said, typed_draft_id=held.draft.public_id)
        else:
            macro = held.macro.public_id if held.macro is not None else None
            shown.update(typed_reply=held.said, chosen_macro=macro)

    return perform(ticket_id, act, panels=("draft", "thread", "status"), shown=shown)


@blueprint.post("/held/<public_id:held_id>/send")
def send_now(ticket_id: str, held_id: str) -> Reply:
    """Send without waiting: the agent does not want to, or the wait is over and the workers are busy."""

    def act(session: Any, row: Ticket) -> None:
        sending.send_now(session, auth.agent(), row, held_id)

    return perform(ticket_id, act, panels=("draft", "thread", "status"))


@blueprint.post("/files")
def add_files(ticket_id: str) -> Reply:
    """Put files beside the reply that is being written."""
    refused: list[str] = []

    def act(_session: Any, _row: Ticket) -> None:
        if refused:
            raise Invalid(" ".join(refused), field="files")

    with desk().db.read() as session:
        row = access.access_ticket(session, auth.agent(), ticket_id)
    try:
        files = [file for file in request.files.getlist("files") if file.filename]
        uploads = [Upload(storable(file.filename or ""), file.mimetype, file.read()) for file in files]
        prepared = sending.add_files(desk(), auth.agent(), row, uploads)
        refused += [f"{one.filename}: {one.error.message}" for one in prepared.rejected]
    except AssistantError as error:
        refused.append(error.message)
    return perform(ticket_id, act, panels=("draft",))


@blueprint.get("/files/<public_id:file_id>")
def file(ticket_id: str, file_id: str) -> Response:
    with desk().db.read() as session:
        row = access.access_ticket(session, auth.agent(), ticket_id)
        found = sending.file_of(session, auth.agent(), row, file_id)
    is_small = request.args.get("thumbnail") == "1"
    return attachment_response(desk(), attached(found), thumbnail=is_small, is_kept=is_small)


@blueprint.post("/files/<public_id:file_id>/remove")
def remove_file(ticket_id: str, file_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        sending.remove_file(session, auth.agent(), row, file_id)

    return perform(ticket_id, act, panels=("draft",))


@blueprint.post("/note")
def add_note(ticket_id: str) -> Reply:
    """A note that only agents see. It has a form and an address of its own: no slip makes a reply of it."""

    def act(session: Any, row: Ticket) -> None:
        drafts.add_note(session, auth.agent(), row, typed_text())

    return perform(ticket_id, act, panels=("draft", "thread"), typed="note")


@blueprint.post("/macros/<public_id:macro_id>")
def use_macro(ticket_id: str, macro_id: str) -> Reply:
    """Put a macro's text below what is in the reply box. What it does is done when that is sent, or now if it has no
    text."""
    shown: dict[str, Any] = {"typed_reply": typed_text()}

    def act(session: Any, row: Ticket) -> None:
        macro = macros.find(session, auth.agent(), macro_id)
        if not macro.text:
            macros.perform(session, auth.agent(), row, macro)
            return
        texts = (typed_text().strip(), macros.text_for(macro, row, auth.agent()))
        shown.update(typed_reply="\n\n".join(filter(None, texts)), chosen_macro=macro_id)

    return perform(ticket_id, act, panels=("draft", "status"), typed="reply", shown=shown)


@blueprint.post("/triage/<name>")
def decide_field(ticket_id: str, name: str) -> Reply:
    """Accept the proposed value, or override it with ``value``."""

    def act(session: Any, row: Ticket) -> None:
        value = request.form.get("value") or None
        triage.decide_field(session, auth.agent(), row, name, taxonomy=desk().taxonomy, value=value)

    return perform(ticket_id, act, panels=("triage", "status"))


@blueprint.post("/evidence/<public_id:attachment_id>")
def correct_evidence(ticket_id: str, attachment_id: str) -> Reply:
    """Store an agent's corrections of what was read in a photo, for this ticket or everywhere."""

    def act(session: Any, row: Ticket) -> None:
        photo = _photo_of(session, row, attachment_id)
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

    return perform(ticket_id, act, panels=("thread", "draft"))


@blueprint.post("/photos/<public_id:attachment_id>/questions")
def ask_photo(ticket_id: str, attachment_id: str) -> Reply:
    """Ask something about a photo: answer and question stand on its card."""
    failed: list[AssistantError] = []
    try:
        with desk().db.read() as session:
            row = access.access_ticket(session, auth.agent(), ticket_id)
            _photo_of(session, row, attachment_id)
        photo_questions.ask(desk(), auth.agent(), attachment_id, storable(request.form.get("question", "")))
    except AssistantError as error:
        failed.append(error)

    def act(_session: Any, _row: Ticket) -> None:
        if failed:
            raise failed[0]

    return perform(ticket_id, act, panels=("thread",))


def _photo_of(session: Any, row: Ticket, attachment_id: str) -> Attachment:
    """A photo of the ticket, or of one that was merged into it."""
    photo = access.access_attachment(session, auth.agent(), attachment_id)
    shown = related.merged_from(related.shown(session, auth.agent(), row))
    if photo.message.conversation_id not in (row.conversation_id, *shown):
        raise NotFound("This ticket has no such photo.")
    return photo


def refuse_if_taken(conversation: Conversation) -> None:
    """Raise `Conflict` if another agent has taken the conversation since this page was loaded. A repeat then counts."""
    seen = request.form.get("taken_by")
    if seen is None or conversation.state is not ConversationState.AGENT or conversation.agent is None:
        return
    if conversation.agent.public_id not in (seen, auth.agent().public_id):
        raise Conflict(
            f"{conversation.agent.name} has taken over this conversation. "
            "Nothing was changed; repeat the action to take it over from them."
        )


def perform(
    ticket_id: str,
    action: Action,
    *,
    panels: tuple[str, ...],
    typed: str | None = None,
    shown: Mapping[str, Any] | None = None,
) -> Reply:
    """Perform an action on a ticket and respond with the panels it changes.

    The first panel is the request's target; the others are swapped out of band. On failure the first panel shows the
    error, and the text box named ``typed`` (draft, reply or note) keeps its text. ``shown``: what else is shown once it
    is done. Of what a page sends that its agent is ``leaving``, a failure is told on the next page.
    """
    failed: AssistantError | None = None
    where = ""
    try:
        with desk().db.begin() as session:
            row = tickets.load_ticket(session, auth.agent(), ticket_id)
            where = f" in #{row.number}"
            action(session, row)
    except AssistantError as error:
        failed = error
    if request.form.get("leaving"):
        if failed is not None:
            flash(f"Not saved{where}: {failed.message}")
        return "", failed.status if failed is not None else 200
    is_script = bool(request.headers.get("HX-Request"))
    if failed is None and not is_script and shown is None:
        return redirect(url_for("console.ticket.page", ticket_id=ticket_id))
    more = _refusal(failed, panels[0], typed) if failed is not None else dict(shown or {})
    try:
        if not is_script:
            context = console_panels.show_all(ticket_id) | more
            return render_template("console/ticket.html", **context), failed.status if failed is not None else 200
        g.has_panels = True
        return _panels(ticket_id, panels, more), failed.status if failed is not None else 200
    except NotFound:
        if failed is not None:
            raise
        flash("Done. The ticket now belongs to another team, so you can no longer see it.")
        return Response("", headers={"HX-Redirect": url_for("console.queue")})


def _panels(ticket_id: str, panels: tuple[str, ...], more: dict[str, Any]) -> str:
    parts = []
    for number, name in enumerate(panels):
        context = console_panels.show(name, ticket_id) | more
        parts.append(render_template(f"console/_{name}.html", **context, out_of_band=number > 0))
    return "\n".join(parts)


def _refusal(failed: AssistantError, panel: str, typed: str | None) -> dict[str, Any]:
    """What a panel shows of a refusal: the message, and the text that was typed, in the box that it came from."""
    refusal: dict[str, Any] = {"error": failed.message, "error_in": panel}
    if typed is not None:
        refusal |= {f"typed_{typed}": typed_text(), "chosen_macro": request.form.get("macro")}
    if request.view_args is not None:  # which of several boxes
        refusal |= {
            "typed_draft_id": request.view_args.get("draft_id"),
            "typed_key": request.view_args.get("field_key"),
        }
    if "zone" in request.form:
        refusal["typed_until"] = storable(request.form.get("value", ""))
    if isinstance(failed, guardrails.NeverSaid):
        refusal["asks_all_the_same"] = True
    if "other" in request.form:
        asks = isinstance(failed, merging.Unreachable)
        refusal |= {"typed_other": storable(request.form["other"]), "asks": asks}
    return refusal


def _acts(given: object) -> Action:
    """What performs these actions."""

    def act(session: Any, row: Ticket) -> None:
        actions.apply(session, row, actions.parse(session, given), auth.agent())

    return act


def confirmed_from() -> str | None:
    """The agent's address, if they confirmed what the inbox never says."""
    return (request.remote_addr or "unknown") if request.form.get("all_the_same") else None


def typed_text() -> str:
    return storable(request.form.get("text", "")).replace("\r\n", "\n")
