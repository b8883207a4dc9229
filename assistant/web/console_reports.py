"""The console's reports: what came in, how long it took, what the assistant did, how right triage was, who did what.

They are about all teams' tickets, and name no customer; what each agent did is for leads and admins. What is on a page
is made in `console_figures`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, render_template, request

from assistant.desk import counting, inboxes, people, reports, rollup
from assistant.desk.outbreaks import BEFORE, RECENT
from assistant.desk.reports import Asked
from assistant.errors import NotFound
from assistant.web import console_figures, console_outbreaks, console_roles
from assistant.web.console_figures import Cell, Page
from assistant.web.context import desk
from assistant.web.responses import Reply

blueprint = Blueprint("reports", __name__, url_prefix="/reports")

PAGES = {
    "console.reports.volume": "Volume",
    "console.reports.times": "Times",
    "console.reports.answers": "Answers",
    "console.reports.triage": "Triage",
    "console.reports.agents": "Agents",
    "console.reports.outbreaks": "Outbreaks",
}
PERIODS = (7, 28, 90, 365)
_LONGEST = 3 * 366  # days
_STALE = timedelta(minutes=1)


@blueprint.get("")
def volume() -> Reply:
    return _page("volume", _volume)


@blueprint.get("/times")
def times() -> Reply:
    return _page("times", console_figures.times)


@blueprint.get("/answers")
def answers() -> Reply:
    return _page("answers", console_figures.answers)


@blueprint.get("/triage")
def triage() -> Reply:
    return _page("triage", console_figures.triage)


@blueprint.get("/agents")
def agents() -> Reply:
    return _page("agents", console_figures.agents)


@blueprint.get("/outbreaks")
def outbreaks() -> Reply:
    """What comes up much more often than it used to, with its tickets."""
    with desk().db.read() as session:
        counted_at, left, _ = reports.progress(session)
        shown = console_outbreaks.shown(session)
    _count_again(counted_at)
    return render_template(
        "console/outbreaks.html",
        pages=_pages(),
        here="console.reports.outbreaks",
        outbreaks=shown,
        recent=RECENT,
        before=BEFORE,
        counted_at=counted_at,
        left=left,
    )


def _volume(session: Any, asked: Asked) -> Page:
    page = console_figures.volume(session, asked)
    if not console_roles.may("console.reports.outbreaks", "GET"):
        return page
    return replace(page, figures=(*page.figures, console_outbreaks.top(session)))


def _pages() -> dict[str, str]:
    return {endpoint: name for endpoint, name in PAGES.items() if console_roles.may(endpoint, "GET")}


def _count_again(counted_at: datetime | None) -> None:
    """Have what has changed counted, unless it was just now."""
    if counted_at is None or desk().now() - counted_at > _STALE:
        with desk().db.begin() as session:
            rollup.request(session)


def _page(here: str, made: Callable[[Any, Asked], Page]) -> Reply:
    """A page, or with ``csv`` the table of one of its figures."""
    with desk().db.read() as session:
        counted_at, left, zone = reports.progress(session)
        asked, choices = _asked(session, zone)
        page = made(session, asked)
    if key := request.args.get("csv"):
        return _csv(page, key, asked)
    _count_again(counted_at)
    return render_template(
        "console/reports.html",
        pages=_pages(),
        here=f"console.reports.{here}",
        asked=asked,
        chosen=_chosen(asked, choices),
        periods=[(days, _chosen(_last(days, zone), choices)) for days in PERIODS],
        tiles=page.tiles,
        figures=page.figures,
        counted_at=counted_at,
        left=left,
        zone=zone,
        **choices,
    )


# What is asked for


def _asked(session: Any, zone: str) -> tuple[Asked, dict[str, Any]]:
    """What the address asks for, and what can be chosen."""
    brands = {one.key: (one.id, inboxes.brand(one, desk().settings)) for one in inboxes.all_inboxes(session)}
    teams = {one.key: (one.id, one.name) for one in people.all_teams(session)}
    usual = _last(28, zone)
    since, until = _day("since", usual.since), _day("until", usual.until)
    if since > until:
        since, until = until, since
    inbox, team = request.args.get("inbox", ""), request.args.get("team", "")
    asked = Asked(
        max(since, until - timedelta(days=_LONGEST)),
        until,
        brands[inbox][0] if inbox in brands else None,
        teams[team][0] if team in teams else None,
    )
    choices = {
        "inboxes": [(key, name) for key, (_, name) in brands.items()],
        "teams": [(key, name) for key, (_, name) in teams.items()],
        "inbox": inbox if inbox in brands else "",
        "team": team if team in teams else "",
    }
    return asked, choices


def _last(days: int, zone: str) -> Asked:
    today = counting.day_of(desk().now(), zone)
    return Asked(today - timedelta(days=days - 1), today)


def _day(name: str, usual: date) -> date:
    try:
        typed = date.fromisoformat(request.args.get(name, ""))
    except ValueError:
        return usual
    return min(max(typed, date(2000, 1, 1)), date(2999, 1, 1))


def _chosen(asked: Asked, choices: Mapping[str, Any]) -> dict[str, str]:
    """As arguments of an address."""
    named = {name: choices[name] for name in ("inbox", "team") if choices[name]}
    return {"since": asked.since.isoformat(), "until": asked.until.isoformat(), **named}


def _csv(page: Page, key: str, asked: Asked) -> Response:
    figure = next((one for one in page.figures if one.key == key), None)
    if figure is None:
        raise NotFound("There is no such table.")
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(figure.columns)
    writer.writerows([_harmless(cell) for cell in row] for row in figure.rows)
    name = f"{figure.key}-{asked.since}-{asked.until}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response("\ufeff" + out.getvalue(), mimetype="text/csv", headers=headers)


def _harmless(cell: Cell) -> Cell:
    """Spreadsheets take text that begins so for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
