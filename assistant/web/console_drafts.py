"""The console's ticket page: what an agent does with a draft, and what they put into a reply."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request

from assistant import payloads
from assistant.desk import access, composing, drafts, sending, state
from assistant.desk.sending import Outgoing
from assistant.errors import AssistantError, Conflict, NotFound
from assistant.models import Draft, DraftStatus, Ticket
from assistant.text.clusters import beginning
from assistant.text.storable import storable
from assistant.web import auth, console_panels, console_words
from assistant.web.console_ticket import confirmed_from, perform, refuse_if_taken, typed_text
from assistant.web.context import desk
from assistant.web.responses import Reply

blueprint = Blueprint("drafts", __name__, url_prefix="/tickets/<public_id:ticket_id>")

_RATINGS = {"helpful": True, "not-helpful": False, "unrated": None}


@blueprint.post("/drafts/<public_id:draft_id>/send")
def send_draft(ticket_id: str, draft_id: str) -> Reply:
    """Send a draft, edited or not. If a colleague has sent or discarded it, send nothing and keep the text."""

    def act(session: Any, row: Ticket) -> None:
        refuse_if_taken(state.lock_conversation(session, row.conversation_id))
        draft = drafts.access_draft(session, row, draft_id)
        session.refresh(draft)
        sent_by_us = draft.agent_id == auth.agent().agent_id and draft.sent_text == typed_text().strip()
        if draft.status is not DraftStatus.PROPOSED and not sent_by_us:
            what = "discarded" if draft.status is DraftStatus.DISCARDED else "sent"
            raise Conflict(f"This draft has already been {what}. Your text was not sent; it is in the reply box.")
        if not sent_by_us:
            new = Outgoing(typed_text() or draft.text, draft=draft, confirmed_from=confirmed_from())
            sending.send(desk(), session, auth.agent(), row, new)

    return perform(ticket_id, act, panels=("draft", "thread", "status"), typed="draft")


@blueprint.post("/drafts/<public_id:draft_id>/discard")
def discard_draft(ticket_id: str, draft_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        drafts.discard_draft(session, auth.agent(), row, drafts.access_draft(session, row, draft_id))

    return perform(ticket_id, act, panels=("draft",))


@blueprint.post("/drafts/<public_id:draft_id>/as/<wish>")
def redraft(ticket_id: str, draft_id: str, wish: str) -> Reply:
    """Another draft in place of this one, made of it as it is edited. What was typed goes to the reply box."""
    problem: AssistantError | None = None
    with desk().db.read() as session:
        row = access.access_ticket(session, auth.agent(), ticket_id)
        kept = _kept(drafts.access_draft(session, row, draft_id))
    try:
        composing.redraft(desk(), auth.agent(), ticket_id, draft_id, wish, text=typed_text())
    except AssistantError as error:
        problem = error

    def act(_session: Any, _row: Ticket) -> None:
        if problem is not None:
            raise problem

    shown = kept | {"is_redrafted": True}
    return perform(ticket_id, act, panels=("draft",), typed="draft" if kept else None, shown=shown)


@blueprint.post("/drafts/<public_id:draft_id>/rate/<verdict>")
def rate_draft(ticket_id: str, draft_id: str, verdict: str) -> Reply:
    """Whether the draft helps the agent; what they have typed meanwhile stays."""
    if verdict not in _RATINGS:
        raise NotFound("A draft is rated helpful, not-helpful or unrated.")
    shown: dict[str, Any] = {}

    def act(session: Any, row: Ticket) -> None:
        draft = drafts.access_draft(session, row, draft_id)
        drafts.rate_draft(session, row, draft, _RATINGS[verdict])
        shown.update(_kept(draft))

    return perform(ticket_id, act, panels=("draft",), shown=shown)


@blueprint.get("/articles")
def find_articles(ticket_id: str) -> Reply:
    """Passages to put into the reply: for what the customer asked, or for ``q``."""
    query = beginning(storable(request.args.get("q", "")).strip(), 500)
    found = composing.passages(desk(), auth.agent(), ticket_id, query)
    shown = {"passages": [console_words.insertable(payloads.Passage.of(one)) for one in found], "q": query}
    if request.headers.get("HX-Request"):
        return render_template("console/_found_articles.html", **shown)
    return render_template("console/ticket.html", **console_panels.show_all(ticket_id) | shown)


def _kept(draft: Draft) -> dict[str, Any]:
    """What the agent has made of a draft, if anything: the page shows it in the draft's box, else in the reply's."""
    is_edited = typed_text().strip() not in ("", draft.text.strip())
    return {"typed_draft": typed_text(), "typed_draft_id": draft.public_id} if is_edited else {}
