"""What Ctrl+K finds: tickets and pages, as far as one may see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from assistant import worker
from assistant.desk import people
from assistant.desk.desk import Desk
from assistant.models import AgentRole, Ticket
from assistant.web import console_palette
from tests.factories import Persona, make_agent, make_ticket

SignIn = Callable[[Persona], FlaskClient]


def found(client: FlaskClient, query: str) -> list[dict[str, Any]]:
    answer = client.get("/console/palette", query_string={"q": query})
    assert answer.status_code == 200
    listed: list[dict[str, Any]] = answer.json["found"] if answer.json else []
    return listed


def names(client: FlaskClient, query: str) -> list[str]:
    return [one["name"] for one in found(client, query)]


def test_a_ticket_is_found_by_number_words_and_filters_if_one_may_see_it(sign_in: SignIn, desk: Desk) -> None:
    ticket = make_ticket(desk, "The display blinks", subject="Blinking display", requester_name="Rosa")
    other = make_ticket(desk, "Where is my parcel?", subject="A parcel")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        session.get_one(Ticket, ticket.id).team = people.find_team(session, "technical")
        session.get_one(Ticket, other.id).team = people.find_team(session, "orders")
    alf = sign_in(make_agent(desk.db, "alf", team="technical"))
    expected = {
        "name": f"#{ticket.number} Blinking display",
        "kind": "Rosa",
        "url": f"/console/tickets/{ticket.public_id}",
    }
    for query in (str(ticket.number), f"#{ticket.number}", "blinks", "team:technical display"):
        assert expected in found(alf, query), query
    assert not [one for one in found(alf, str(other.number)) if "tickets/" in one["url"]]
    assert not [one for one in found(alf, "parcel") if "tickets/" in one["url"]]
    for half in ("team:", "status:op", "-", '"', "\x00", "x" * 5000):
        assert isinstance(found(alf, half), list)


@pytest.mark.parametrize(
    ("role", "query", "listed", "hidden"),
    [
        (AgentRole.VIEWER, "", "Tickets", "Write an article"),
        (AgentRole.AGENT, "write", "Write an article", "Settings: Agents"),
        (AgentRole.AGENT, "report", "Reports: Volume", "Reports: Agents"),
        (AgentRole.LEAD, "report agents", "Reports: Agents", "Settings: Agents"),
        (AgentRole.ADMIN, "settings KEYS", "Settings: API keys", "Settings: Agents"),
    ],
)
def test_pages_are_found_by_their_words_if_one_may_see_them(
    sign_in: SignIn, desk: Desk, role: AgentRole, query: str, listed: str, hidden: str
) -> None:
    client = sign_in(make_agent(desk.db, "one", role=role))
    shown = names(client, query)
    assert listed in shown
    assert hidden not in shown
    for one in found(client, query):
        assert client.get(one["url"], follow_redirects=True).status_code == 200, one


def test_every_page_that_it_names_is_there(sign_in: SignIn, desk: Desk) -> None:
    client = sign_in(make_agent(desk.db, "ada", admin=True))
    for name in console_palette._PAGES.values():
        assert name in names(client, name)
