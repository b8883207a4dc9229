"""Linking, merging and splitting off on the ticket page."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant.db import Database
from assistant.desk import conversations
from assistant.desk.access import CustomerPrincipal
from assistant.desk.desk import Desk
from assistant.models import Message, Ticket, TicketStatus
from tests.factories import Persona, make_ticket
from tests.web.test_console import HTMX, SignIn, csrf_of, submit


@pytest.fixture
def two(desk: Desk) -> tuple[Ticket, Ticket]:
    first = make_ticket(desk, "It leaks.", requester_name="Rosa", requester_external_id="rosa")
    return first, make_ticket(desk, "Mine smokes.", requester_name="Karl", requester_external_id="karl")


def page_of(ticket: Ticket) -> str:
    return f"/console/tickets/{ticket.public_id}"


def press(client: FlaskClient, ticket: Ticket, what: str, **form: str) -> Any:
    token = csrf_of(client.get(page_of(ticket)).text)
    return client.post(f"{page_of(ticket)}/{what}", data={"csrf_token": token, **form}, headers=HTMX)


def test_two_customers_tickets_are_merged_once_it_is_confirmed_and_undone(
    sign_in: SignIn, alice: Persona, db: Database, two: tuple[Ticket, Ticket]
) -> None:
    client, (hers, his) = sign_in(alice), two
    refused = press(client, his, "merge", other=f"#{hers.number}")
    assert (refused.status_code, "They are two customers" in refused.text) == (409, True)
    assert 'name="confirmed"' in refused.text
    assert f'value="#{hers.number}" data-typed' in refused.text
    done = press(client, his, "merge", other=f"#{hers.number}", confirmed="on")
    assert (done.status_code, "Merged into" in done.text) == (200, True)
    thread = client.get(page_of(hers)).text
    assert "Mine smokes." in thread
    assert "Karl" in thread
    assert f">#{his.number}</a>" in thread
    link = thread.partition(f"{page_of(hers)}/links/")[2].partition("/")[0]
    assert press(client, hers, f"links/{link}/remove").status_code == 200
    with db.read() as session:
        assert session.get_one(Ticket, his.id).status is TicketStatus.NEW
    assert "Mine smokes." not in client.get(page_of(hers)).text


def test_tickets_are_linked_by_number_and_a_wrong_one_is_kept_in_its_box(
    sign_in: SignIn, alice: Persona, two: tuple[Ticket, Ticket]
) -> None:
    client, (first, second) = sign_in(alice), two
    wrong = press(client, first, "links", other="#9999999")
    assert (wrong.status_code, 'value="#9999999" data-typed' in wrong.text) == (422, True)
    press(client, first, "links", other=str(second.number))
    for one, other in ((first, second), (second, first)):
        assert f'href="{page_of(other)}" dir="auto">#{other.number}' in client.get(page_of(one)).text


def test_a_message_is_split_off_and_its_ticket_opens(
    sign_in: SignIn, alice: Persona, db: Database, desk: Desk, two: tuple[Ticket, Ticket]
) -> None:
    client, (ticket, _) = sign_in(alice), two
    customer = CustomerPrincipal(ticket.conversation_id)
    conversations.post_message(desk, customer, text="Where is my parcel?", uploads=[], client_id=None)
    with db.read() as session:
        message = session.scalars(select(Message.public_id).order_by(Message.id.desc())).first()
    opened = press(client, ticket, f"messages/{message}/split")
    there = opened.headers["HX-Redirect"]
    assert "Where is my parcel?" in client.get(there).text
    again = press(client, ticket, f"messages/{message}/split")
    assert (again.status_code, "already" in again.text) == (409, True)
    plain = submit(client, f"{page_of(ticket)}/messages/{message}/split", at=page_of(ticket))
    assert plain.status_code == 409
    assert "Split off" in client.get(page_of(ticket)).text


def test_the_api_tells_of_links(
    client: FlaskClient, key: dict[str, str], sign_in: SignIn, alice: Persona, two: tuple[Ticket, Ticket]
) -> None:
    first, second = two
    press(sign_in(alice), first, "links", other=str(second.number))
    links = client.get(f"/api/v1/tickets/{second.public_id}", headers=key).json["links"]
    assert links == [{"relation": "related", "id": first.public_id, "number": first.number, "subject": first.subject}]
