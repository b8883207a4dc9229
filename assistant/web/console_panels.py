"""What the panels of the console's ticket page show. Each loads what it shows and no more."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import request

from assistant import payloads
from assistant.desk import (
    actions,
    attention,
    comparisons,
    composing,
    conversations,
    custom_fields,
    drafts,
    inboxes,
    macros,
    people,
    products,
    related,
    sending,
    similar,
    state,
    tags,
    tickets,
)
from assistant.desk.conditions import Asking
from assistant.desk.feed import last_event_id
from assistant.desk.similar import Compared
from assistant.desk.tickets import TicketFilters
from assistant.models import ConversationState, Ticket, TicketStatus
from assistant.skills.read_photo import CANNOT_TELL
from assistant.skills.triage_fields import allowed_values
from assistant.web import auth, console_words
from assistant.web.console_evidence import caption_of, evidence_options
from assistant.web.context import desk
from assistant.wording import ENGLISH, choose, language_of

SETTABLE = (TicketStatus.OPEN, TicketStatus.PENDING, TicketStatus.ON_HOLD)
# Messages shown at first, and how many a renewed conversation shows at most: those loaded so far.
SHOWN, SHOWN_AT_MOST = 25, 200
OTHER_TICKETS = 5
# How long a ticket is put out of sight: as `desk.actions` takes it, and in words.
SNOOZES = {"+3h": "3 hours", "+1d": "a day", "+3d": "3 days", "+7d": "a week"}

Shown = dict[str, Any]


def show(name: str, ticket_id: str) -> Shown:
    """One panel."""
    with desk().db.read() as session:
        row = tickets.load_summary(session, auth.agent(), ticket_id)
        return _every_panel(session, row) | (_PANELS | _LATER)[name](session, row)


def show_all(ticket_id: str) -> Shown:
    """The whole page."""
    with desk().db.read() as session:
        row = tickets.load_summary(session, auth.agent(), ticket_id)
        shown = _every_panel(session, row)
        for panel in _PANELS.values():
            shown |= panel(session, row)
        shown["last_event_id"] = last_event_id(session, conversation_id=row.conversation_id)
        return shown


def _every_panel(session: Any, row: Ticket) -> Shown:
    taker = row.conversation.agent if row.conversation.state is ConversationState.AGENT else None
    return {
        "ticket": payloads.TicketSummary.of(row).to_json(),
        "taker": {"id": taker.public_id, "name": taker.name} if taker is not None else None,
        "cited": console_words.cited,
        "error": None,
    }


def _thread(session: Any, row: Ticket) -> Shown:
    merged = related.merged_from(related.shown(session, auth.agent(), row))
    window = conversations.message_window(
        session,
        [row.conversation_id, *merged],
        since=request.values.get("from"),
        before=request.args.get("before"),
        limit=min(max(request.args.get("shown", SHOWN, type=int), 1), SHOWN_AT_MOST),
    )
    messages = window.messages[-SHOWN_AT_MOST:]
    shown = tickets.show_messages(session, auth.agent(), messages, desk().taxonomy)
    return {
        "messages": [message.to_json() for message in shown],
        "earlier": window.earlier + len(window.messages) - len(messages),
        "show_earlier": SHOWN,
        "elsewhere": {one.public_id: merged[one.conversation_id] for one in messages if one.conversation_id in merged},
        "receipt": attention.receipt(session, row.conversation_id),
        "evidence_options": evidence_options(desk().taxonomy, products.conditions(session)),
        "cannot_tell": CANNOT_TELL,
        "caption_of": partial(caption_of, products=desk().taxonomy.names_by_key, language=_language()),
        "product_names": desk().taxonomy.names_by_key,
        "silences": console_words.SILENCE,
        "later_photos": comparisons.later_photos(session, [row.conversation_id, *merged]),
    }


def _language() -> str:
    """Of those that the agent writes the one that their browser likes best; of one who has none set, the browser's."""
    writes, likes = auth.agent().languages, list(request.accept_languages.values())
    both = [tag for tag in likes if language_of(tag) in writes]
    return language_of(choose([*both, *writes, *likes]) or ENGLISH)


def _triage(session: Any, row: Ticket) -> Shown:
    """The triage fields, each with all its allowed values, likeliest first."""
    shown = payloads.Triage.of(row.current_triage).to_json()["fields"] if row.current_triage is not None else []
    chosen = []
    for field in shown:
        likely = {one["value"]: one["probability"] for one in field["alternatives"]}
        options = sorted(allowed_values(desk().taxonomy, field["name"]), key=lambda key: -likely.get(key, 0.0))
        now = field["corrected_value"] if field["status"] == "overridden" else field["value"]
        chosen.append({**field, "options": options, "probabilities": likely, "now": now})
    return {"fields": chosen}


def _draft(session: Any, row: Ticket) -> Shown:
    draft, agent = drafts.proposed_draft(session, row), auth.agent()
    is_offered = draft is not None and bool(draft.text)
    held = sending.held_reply(session, row)
    return {
        "held": held,
        "is_mine": held is not None and held.agent_id == agent.agent_id,
        "failed": sending.failed_reply(session, agent, row),
        "files": sending.files_of(session, agent, row),
        "draft": payloads.Draft.of(draft).to_json() if draft is not None else None,
        "macros": [
            {"id": one.public_id, "name": one.name, "has_text": bool(one.text), "actions": one.actions}
            for one in macros.usable(session, auth.agent())
        ],
        "chosen_macro": request.args.get("macro"),
        "is_drafting": draft is None and drafts.is_being_drafted(session, row.conversation),
        "wishes": composing.wishes(desk(), draft) if draft is not None and is_offered else (),
        "replaceable": None if is_offered else drafts.replaceable_draft(session, row.conversation),
        "earlier_drafts": drafts.earlier_drafts(session, row),
    }


def _status(session: Any, row: Ticket) -> Shown:
    rating = row.conversation.rating
    return {
        "requester": {
            "public_id": row.requester.public_id,
            "email": row.requester.email,
            "external_id": row.requester.external_id,
        },
        "site_context": row.conversation.site_context,
        "prechat": row.conversation.prechat or (),
        "rating": rating,
        "sla": [one.to_json() for one in tickets.show_sla(session, row)],
        "inbox": inboxes.brand(row.conversation.inbox, desk().settings),
        "other_tickets": _other_tickets(session, row),
        "known_tags": tags.known(session),
        "agents": [{"id": one.public_id, "name": one.name} for one in people.active_agents(session)],
        "teams": [{"key": one.key, "name": one.name} for one in people.all_teams(session)],
        "followers": [{"id": one.public_id, "name": one.name} for one in actions.followers(session, row)],
        "can_give_back": state.can_give_back(row.conversation),
        "queue_position": state.queue_position(session, row.conversation),
        "snoozes": SNOOZES,
        "links": related.shown(session, auth.agent(), row),
        "relation_words": console_words.RELATION,
        "settable": [status.value for status in SETTABLE],
    }


def _fields(session: Any, row: Ticket) -> Shown:
    """The custom fields, each with its value and what is chosen from; one that is no choice any more as well."""
    values, shown = row.fields, []
    for one in custom_fields.in_use(session):
        value = values.get(one.key, "")
        gone = [value] if value and value not in one.choices else []
        shown.append(
            {"key": one.key, "name": one.name, "kind": one.kind.value, "value": value, "options": one.choices + gone}
        )
    return {"custom_fields": shown}


def _similar(session: Any, row: Ticket) -> Shown:
    asking = Asking(auth.agent(), desk().taxonomy, desk().now())
    return {
        "similar": similar.similar_to(session, Compared.of(session, row), asking),
        "within_days": similar.WITHIN.days,
    }


def _other_tickets(session: Any, row: Ticket) -> list[Ticket]:
    """The customer's newest other tickets that the agent may see."""
    filters = TicketFilters(requester=row.requester.public_id)
    page = tickets.list_tickets(session, auth.agent(), filters, limit=OTHER_TICKETS + 1, with_fields=False)
    return [ticket for ticket in page.tickets if ticket.id != row.id][:OTHER_TICKETS]


_PANELS: dict[str, Callable[[Any, Ticket], Shown]] = {
    "thread": _thread,
    "triage": _triage,
    "draft": _draft,
    "status": _status,
    "fields": _fields,
}
# What takes longer than all the others: the page asks for it once it is there.
_LATER: dict[str, Callable[[Any, Ticket], Shown]] = {"similar": _similar}
PANELS = (*_PANELS, *_LATER)
