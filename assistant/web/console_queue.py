"""The console's queue: views, search, and what is done to several tickets at once.

What is shown is in the address: a view or a query, an order, columns, and from where on (`at`). So a page that is
renewed, gone back to or opened again is the same page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlencode

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for

from assistant.desk import (
    access,
    actions,
    conditions,
    custom_fields,
    evidence,
    inboxes,
    people,
    sending,
    tickets,
    views,
)
from assistant.desk.conditions import Asking
from assistant.desk.events import EventKind
from assistant.desk.feed import last_event_id
from assistant.desk.views import NewView, View
from assistant.errors import AssistantError, Invalid
from assistant.models import DEFAULT_INBOX, CustomField, FieldKind, Priority, Ticket, TicketStatus
from assistant.text.clusters import beginning, shorten
from assistant.text.storable import storable
from assistant.web import auth, console_words
from assistant.web.console_live import news_stream
from assistant.web.console_panels import SNOOZES
from assistant.web.context import desk
from assistant.web.responses import Reply

blueprint = Blueprint("tickets", __name__)

AT_ONCE = 100  # tickets that something is done to
_SNIPPET = 140
_NUMBER = re.compile(r"#\d+")
# Events that change nothing in the queue.
_NOT_IN_QUEUE = (EventKind.ANSWER_STARTED, EventKind.ANSWER_DELTA, EventKind.ANSWER_DROPPED, EventKind.TYPING)
_SETTABLE = (TicketStatus.OPEN, TicketStatus.PENDING, TicketStatus.ON_HOLD, TicketStatus.SOLVED)


@dataclass(frozen=True)
class Place:
    """Where in the queue an agent is, as the address says. Without a query it is a view; a query searches all."""

    tab: str = ""
    q: str = ""
    sort: str = ""
    columns: tuple[str, ...] = ()
    at: str = ""

    @classmethod
    def of_request(cls) -> Place:
        return cls.read(request.args.to_dict(flat=False))

    @classmethod
    def of_address(cls, query: str) -> Place:
        """From what `query_string` made."""
        return cls.read(parse_qs(query[:4000], max_num_fields=50))

    @classmethod
    def read(cls, given: Mapping[str, list[str]]) -> Place:
        def one(name: str) -> str:
            return beginning(storable((given.get(name) or [""])[0]).strip(), 2000)

        columns = tuple(one for one in given.get("column", ()) if one in views.COLUMNS or one.startswith(views.FIELD))
        return cls(one("tab"), one("q"), one("sort") if one("sort") in views.SORTS else "", columns, one("at"))

    @property
    def query_string(self) -> str:
        told = {"tab": self.tab, "q": self.q, "sort": self.sort, "column": self.columns, "at": self.at}
        return urlencode({name: value for name, value in told.items() if value}, doseq=True)

    def view(self, known: Sequence[View]) -> View:
        """What is shown here. An unknown view is the usual one, so that old addresses still open."""
        named = {view.key: view for view in known}
        view = named.get(self.tab, named[views.DEFAULT])
        if self.q:
            view = View("", "Search", conditions.parse(self.q), sort="newest", columns=view.columns)
        return replace(view, sort=self.sort or view.sort, columns=self.columns or view.columns)


def queue() -> Reply:
    """The whole page. A number alone leads to its ticket."""
    place = Place.of_request()
    page = _queue_page(place)
    if _NUMBER.fullmatch(place.q) and len(page["rows"]) == 1:
        return redirect(url_for("console.ticket.page", ticket_id=page["rows"][0].ticket.public_id))
    return render_template("console/queue.html", **page, **_choices())


@blueprint.get("/rows")
def rows() -> Reply:
    """The part of the queue page that changes."""
    with desk().db.read() as session:
        known = views.views_of(session, auth.agent())
        return render_template("console/_rows.html", **_shown_rows(session, known, Place.of_request()))


@blueprint.get("/tabs")
def tabs() -> Reply:
    """The views with their counts. They take longer than a page of rows, and are renewed less often."""
    with desk().db.read() as session:
        known = views.views_of(session, auth.agent())
        return render_template("console/_tabs.html", **_shown_tabs(session, known, Place.of_request()))


@blueprint.get("/events")
def events() -> Response:
    """Signals that some ticket changed, without details, as not every agent may see it. The queue reloads its rows."""
    return news_stream(None, lambda event: None if event.kind in _NOT_IN_QUEUE else "queue")


@blueprint.post("/views")
def save_view() -> Reply:
    """Save what is shown as a view, or change one."""
    form = request.form
    place = Place.of_address(form.get("place", ""))
    new = NewView(
        name=storable(form.get("name", "")),
        query=storable(form.get("query", "")),
        sort=form.get("sort", ""),
        columns=tuple(form.getlist("column")),
        shared=form.get("shared") is not None,
    )
    try:
        with desk().db.begin() as session:
            view = views.save(session, auth.agent(), _asking(), new, key=form.get("view") or None)
    except AssistantError as error:
        flash(f"The view was not saved. {error.message}")
        return redirect(f"{url_for('console.queue')}?{place.query_string}")
    return redirect(url_for("console.queue", tab=view.key))


@blueprint.post("/views/<public_id:view_id>/remove")
def remove_view(view_id: str) -> Reply:
    with desk().db.begin() as session:
        views.remove(session, auth.agent(), view_id)
    return redirect(url_for("console.queue"))


@blueprint.post("/bulk")
def bulk() -> Reply:
    """Do something to the chosen tickets, to each or, where that fails, not to it."""
    place = Place.of_address(request.form.get("place", ""))
    chosen = list(dict.fromkeys(request.form.getlist("ticket")))
    wanted = _wanted()
    if not chosen or not wanted:
        problem = "Choose tickets first." if not chosen else "Choose what is to be done."
        return _answer(place, {"problem": problem})
    if len(chosen) > AT_ONCE:
        return _answer(place, {"problem": f"At most {AT_ONCE} tickets at once."})
    done = _do(dict.fromkeys(chosen, wanted))
    return _answer(place, done)


@blueprint.post("/undo")
def undo() -> Reply:
    """Take back what was done to several tickets, except where somebody has changed the same thing since."""
    place = Place.of_address(request.form.get("place", ""))
    try:
        given = json.loads(request.form.get("undo", ""))
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or len(given) > AT_ONCE:
        raise Invalid("There is nothing to take back.", field="undo")
    return _answer(place, {**_do(given), "undo": None, "undone": True})


@blueprint.post("/tickets/<public_id:ticket_id>/solve-and-next")
def solve_and_next(ticket_id: str) -> Reply:
    """Solve a ticket and open the one after it in the view from which it was opened."""
    agent, place = auth.agent(), Place.of_address(request.form.get("place", ""))
    with desk().db.begin() as session:
        row = access.access_ticket(session, agent, ticket_id)
        view = place.view(views.views_of(session, agent))
        following = views.following(session, agent, view, _asking(), row)
        sending.send_now(session, agent, row)
        tickets.solve(session, row, agent)
    flash(f"Solved #{row.number}.")
    if following is None:
        return redirect(f"{url_for('console.queue')}?{place.query_string}")
    return redirect(url_for("console.ticket.page", ticket_id=following.public_id, place=place.query_string))


def _wanted() -> list[dict[str, Any]]:
    """What the form asks for, as `actions` stores it."""
    name, _, value = storable(request.form.get("action", "")).partition(" ")
    if name == "set_field" and "=" not in value:
        text = storable(request.form.get("tag", "")).strip()
        return [{"name": name, "arguments": {"field": f"{value}={text}"}}] if text else []
    wanted = [{"name": name, "arguments": {actions.KINDS[name].argument: value}}] if name in actions.KINDS else []
    if tag := storable(request.form.get("tag", "")).strip():
        wanted.append({"name": "add_tag", "arguments": {"tag": tag}})
    return wanted


def _do(wanted: Mapping[str, object]) -> dict[str, Any]:
    """Each ticket's actions in a transaction of its own, so that one that cannot be changed holds up no other."""
    agent = auth.agent()
    taken_back: dict[str, list[dict[str, Any]]] = {}
    failed: dict[str, str] = {}
    for ticket_id, given in wanted.items():
        try:
            with desk().db.begin() as session:
                row = access.access_ticket(session, agent, ticket_id)
                applied = actions.apply(session, row, actions.parse(session, given), agent)
        except AssistantError as error:
            failed[ticket_id] = error.message
        else:
            taken_back[ticket_id] = [one.to_json() for one in applied.undo]
    return {
        "changed": sum(1 for one in taken_back.values() if one),
        "same": sum(1 for one in taken_back.values() if not one),
        "failed": sorted(set(failed.values())),
        "failures": len(failed),
        "undo": json.dumps({ticket_id: one for ticket_id, one in taken_back.items() if one}),
    }


def _answer(place: Place, done: dict[str, Any]) -> Reply:
    """What was done, and the way back; the rows renew themselves. Without scripts, the whole page."""
    if request.headers.get("HX-Request"):
        return render_template("console/_done.html", place=place, done=done)
    return render_template("console/queue.html", **_queue_page(place) | {"done": done}, **_choices())


def _queue_page(place: Place) -> dict[str, Any]:
    with desk().db.read() as session:
        known = views.views_of(session, auth.agent())
        return _shown_tabs(session, known, place) | _shown_rows(session, known, place)


def _shown_tabs(session: Any, known: Sequence[View], place: Place) -> dict[str, Any]:
    counts = views.count(session, auth.agent(), known, _asking())
    here = "" if place.q else place.tab if place.tab in {view.key for view in known} else views.DEFAULT
    return {"place": place, "here": here, "views": list(zip(known, counts, strict=True)), "counted": views.COUNTED}


def _shown_rows(session: Any, known: Sequence[View], place: Place) -> dict[str, Any]:
    page, view, error = views.Page(), known[0], None
    columns = views.columns(session)
    try:
        view = place.view(known)
        view = replace(view, columns=tuple(one for one in columns if one in view.columns))
        page = views.page(session, auth.agent(), view, _asking(), cursor=place.at or None)
    except Invalid as invalid:
        if invalid.fields.get("field") == "cursor":
            raise
        error = invalid.message
    photos = evidence.first_photos(session, [row.ticket.conversation_id for row in page.rows])
    last_id = last_event_id(session)
    return {
        "place": place,
        "view": view,
        "rows": page.rows,
        "page": page,
        "photos": photos,
        "error": error,
        "sorts": {key: name for key, (name, _) in views.SORTS.items()},
        "all_columns": columns,
        "at": lambda cursor: replace(place, at=cursor).query_string,
        "snippet": _snippet,
        "brand_of": _brand_of,
        "last_event_id": last_id,
        "done": None,
    }


def _asking() -> Asking:
    return Asking(auth.agent(), desk().taxonomy, desk().now())


def _snippet(text: str) -> str:
    return shorten(" ".join(text.split()), _SNIPPET)


def _brand_of(ticket: Ticket) -> str | None:
    """What the ticket's inbox is called; None for the default one."""
    inbox = ticket.conversation.inbox
    return None if inbox.key == DEFAULT_INBOX else inboxes.brand(inbox, desk().settings)


def _choices() -> dict[str, Any]:
    """What can be done to several tickets: groups of (value, name)."""
    with desk().db.read() as session:
        agents = [(f"assign {agent.public_id}", agent.name) for agent in people.active_agents(session)]
        custom = custom_fields.in_use(session)
    return {
        "takes_text": any(one.kind is not FieldKind.CHOICE for one in custom),
        "doings": {
            "Assign to": [("assign me", "me"), ("assign ", "nobody"), *agents],
            "Set status": [(f"set_status {one.value}", console_words.words(one.value)) for one in _SETTABLE],
            "Set priority": [
                (f"set_priority {one.value}", console_words.words(one.value)) for one in reversed(Priority)
            ],
            "Transfer to": [(f"transfer {one.key}", one.name) for one in desk().taxonomy.teams],
            "Snooze for": [(f"snooze {value}", name) for value, name in SNOOZES.items()],
            **{one.name: [*_values_of(one), (f"set_field {one.key}=", "to nothing")] for one in custom},
        },
    }


def _values_of(field: CustomField) -> list[tuple[str, str]]:
    """What a custom field can be set to; of one that is no choice, what stands in the box beside."""
    chosen = [(f"set_field {field.key}={choice}", choice) for choice in field.choices]
    return chosen or [(f"set_field {field.key}", "to the text beside")]
