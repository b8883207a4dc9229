"""How outbreaks are shown: each with its trend and its tickets, and the top ones as a figure of a report."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from assistant.desk import outbreaks
from assistant.desk.outbreaks import BEFORE, RECENT, Outbreak
from assistant.desk.reports import Asked
from assistant.desk.similar import Fault
from assistant.web import charts, console_words
from assistant.web.console_figures import Figure, over_time
from assistant.web.context import desk

_TOP = 10
_RARE = 1e-6


@dataclass(frozen=True)
class ShownOutbreak:
    """``odds``: how likely it is by chance. ``query``: finds its tickets."""

    recent: int
    usual: str
    odds: str
    query: str
    trend: Figure


def shown(session: Any) -> list[ShownOutbreak]:
    today = outbreaks.today_of(session, desk().now())
    return [_shown(found, today) for found in outbreaks.find(session, today=today)]


def top(session: Any) -> Figure:
    """What stands out now, whatever the report's period."""
    found = outbreaks.find(session, today=outbreaks.today_of(session, desk().now()))[:_TOP]
    return Figure(
        "outbreaks",
        "Top outbreaks",
        ("Fault", f"Last {RECENT} days", "Usual"),
        [(_title(one.fault), one.recent, f"{one.usual:.1f}") for one in found],
        charts.bars([one.recent for one in found]) if found else None,
        f"Now, against the {BEFORE} days before, all inboxes and teams together.",
        "Nothing comes up much more often than usual now.",
    )


def _shown(found: Outbreak, today: date) -> ShownOutbreak:
    asked = Asked(today - timedelta(days=len(found.by_day) - 1), today)
    by_day = {asked.since + timedelta(days=number): count for number, count in enumerate(found.by_day)}
    trend = over_time("days", _title(found.fault), asked, [("Tickets", by_day)])
    usual = f"about {found.usual:,.0f}" if found.usual >= 1 else "less than one"
    odds = f"1 in {round(1 / found.chance, -2):,.0f}" if found.chance > _RARE else "less than 1 in a million"
    return ShownOutbreak(found.recent, usual, odds, found.fault.query, trend)


def _title(fault: Fault) -> str:
    what = ", ".join(fault.codes or fault.shows) or console_words.label(
        desk().taxonomy, "category", fault.category or ""
    )
    return f"{console_words.label(desk().taxonomy, 'product', fault.product)}: {what}"
