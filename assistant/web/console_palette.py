"""What Ctrl+K finds beside what the page offers itself: the console's pages, and tickets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, jsonify, request, url_for

from assistant.desk import conditions, views
from assistant.desk.conditions import Asking
from assistant.desk.views import View
from assistant.errors import Invalid
from assistant.text.folding import fold
from assistant.text.storable import storable
from assistant.web import auth, console_pages, console_reports, console_roles
from assistant.web.context import desk
from assistant.web.responses import Reply

blueprint = Blueprint("palette", __name__)

_MOST = 8  # of each kind
_LONGEST = 200
_PAGES = {
    "console.queue": "Tickets",
    "console.customers.customer_list": "Customers",
    "console.knowledge.search": "Search articles",
    "console.articles.article_list": "All articles",
    "console.articles.begin": "Write an article",
    "console.knowledge.source_list": "Sources",
    "console.knowledge.gap_list": "Gaps",
    "console.knowledge.answer_list": "Answers to approve",
    "console.macros.page": "Macros",
    "console.alerts.page": "Notifications",
    "console.account": "Your account",
}
_WRITING = ("console.articles.begin",)


@blueprint.get("/palette")
def palette() -> Reply:
    query = storable(request.args.get("q", ""))[:_LONGEST].strip()
    return jsonify({"found": [*_tickets(query), *_pages(query)]})


def _pages(query: str) -> Iterator[dict[str, Any]]:
    """Those whose name has all words of the query, and that the agent may see."""
    groups = (("", _PAGES), ("Reports: ", console_reports.PAGES), ("Settings: ", console_pages.PAGES))
    words, left = fold(query).split(), _MOST
    for group, pages in groups:
        for endpoint, name in pages.items():
            shown = f"{group}{name}"
            method = "POST" if endpoint in _WRITING else "GET"
            if left and all(word in fold(shown) for word in words) and console_roles.may(endpoint, method):
                left -= 1
                yield {"name": shown, "kind": "Page", "url": url_for(endpoint)}


def _tickets(query: str) -> list[dict[str, Any]]:
    """As the search box finds them; a number alone is a ticket's."""
    if not query:
        return []
    try:
        chosen = conditions.parse(f"#{query}" if query.isascii() and query.isdigit() else query)
        asking = Asking(auth.agent(), desk().taxonomy, desk().now())
        with desk().db.read() as session:
            page = views.page(session, auth.agent(), View("", "Search", chosen, sort="newest"), asking)
    except Invalid:  # a filter that is being typed
        return []
    return [
        {
            "name": f"#{row.ticket.number} {row.ticket.subject}",
            "kind": row.ticket.requester.display_name,
            "url": url_for("console.ticket.page", ticket_id=row.ticket.public_id),
        }
        for row in page.rows[:_MOST]
    ]
