"""What a site's page says of the visit: kept within limits, shown to agents, and a hint for triage."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant.desk import conversations, site_context, state
from assistant.desk.attachments import PreparedFiles
from assistant.desk.context import context_of
from assistant.desk.desk import Desk
from assistant.models import Conversation, Customer, Message, Ticket
from tests.factories import Persona


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"order_number": "1042", "page": " /cart\n"}, {"order_number": "1042", "page": "/cart"}),
        ({"total": 19.5, "items": 3, "member": True}, {"total": "19.5", "items": "3", "member": "yes"}),
        ({"nothing": None, "list": [1], "object": {}, "empty": " "}, {}),
        ({"bad name": "x", "<b>": "x", "1st": "x", "x" * 41: "x", "ok": "x\0"}, {"ok": "x"}),
        ({"long": "x" * 1000}, {"long": "x" * 200}),
        ([1], {}),
    ],
)
def test_what_is_no_hint_is_left_out(given: Any, read: dict[str, str]) -> None:
    assert site_context.read(json.dumps(given)) == read


@pytest.mark.parametrize("text", [None, "", "{", "[" * 5000, '{"a": NaN}', '{"a": 1e999}', '"text"'])
def test_what_is_no_json_is_no_hint(text: str | None) -> None:
    assert site_context.read(text) == {}


def test_of_very_many_names_the_first_count() -> None:
    assert list(site_context.read(json.dumps({f"n{n}": n for n in range(100)}))) == [f"n{n}" for n in range(20)]


def write(desk: Desk, text: str, site: dict[str, str], conversation: Conversation | None = None) -> Message:
    with desk.db.begin() as session:
        if conversation is None:
            customer = Customer()
            session.add(customer)
            conversation = state.begin_conversation(session, customer, channel="widget")
        conversation = session.merge(conversation)
        files = PreparedFiles()
        return conversations.add_customer_message(session, conversation, text=text, files=files, site_context=site)


def test_triage_takes_the_product_from_the_page_unless_one_is_named(desk: Desk) -> None:
    key, other = desk.taxonomy.products[:2]
    message = write(desk, "How do I return it?", {"product": key.name, "order_number": "1042"})
    with desk.db.read() as session:
        context = context_of(session, session.get_one(Message, message.id), desk.taxonomy)
        assert context.products == (key.key,)
        assert context.text == f"How do I return it?\nproduct: {key.name}\norder number: 1042"
        conversation = session.get_one(Conversation, message.conversation_id)
    named = write(desk, f"And the {other.name}?", {}, conversation)
    with desk.db.read() as session:
        context = context_of(session, session.get_one(Message, named.id), desk.taxonomy)
        assert context.products == (other.key,)
        assert context.site["order_number"] == "1042"  # a page that says nothing takes nothing back


def test_agents_see_what_the_page_says(desk: Desk, dora: Persona, sign_in: Callable[[Persona], FlaskClient]) -> None:
    message = write(desk, "Where is it?", {"order_number": "<b>1042", "page": "/cart"})
    with desk.db.read() as session:
        ticket = session.scalars(select(Ticket).where(Ticket.conversation_id == message.conversation_id)).one()
    page = sign_in(dora).get(f"/console/tickets/{ticket.public_id}").get_data(as_text=True)
    assert "order number: <bdi>&lt;b&gt;1042</bdi>" in page
