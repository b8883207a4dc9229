"""The console's pages of customers: who may see whom, what is known of one, notes, and two who are one person."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, select

from assistant import worker
from assistant.db import utcnow
from assistant.desk import customers, people, sessions
from assistant.desk.desk import Desk
from assistant.errors import Conflict, NotFound
from assistant.models import AgentRole, Conversation, Customer, CustomerNote, Rating, Ticket, VerifiedBy, WidgetSession
from assistant.runtime import Runtime
from tests.factories import (
    Browser,
    Persona,
    make_agent,
    make_articles,
    make_noise,
    make_photo,
    make_ticket,
    make_upload,
)
from tests.fakes import FakeOCR, fake_capabilities
from tests.web.test_console import submit

SignIn = Callable[[Persona], FlaskClient]


@pytest.fixture
def runtime(make_runtime: Callable[..., Runtime]) -> Runtime:
    return make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("BrewMaster 300", "SN BM3-204-88171")))


def of(desk: Desk, ticket: Ticket) -> Customer:
    with desk.db.read() as session:
        return session.get_one(Customer, session.get_one(Ticket, ticket.id).requester_id)


def test_customers_are_found_by_their_own_words_in_any_case_and_no_others(sign_in: SignIn, desk: Desk) -> None:
    rosa = make_ticket(desk, "It leaks", requester_name="Rósa Älvarez", requester_email="rosa@example.org")
    make_ticket(desk, "Tell rosa that it leaks", requester_name="Bert", requester_email="bert@example.org")
    make_noise(desk.db, 3)
    client = sign_in(make_agent(desk.db, "ada", admin=True))
    for query in ("rosa", "ÄLVAR", "alvarez rosa", "ROSA@example.org"):
        shown = client.get("/console/customers", query_string={"q": query}).text
        assert "Älvarez" in shown, query
        assert "Bert" not in shown, query
    assert "No customer is called so" in client.get("/console/customers?q=leaks").text
    whole = client.get("/console/customers").text
    assert whole.index("Noise") < whole.index("Bert") < whole.index("Älvarez")
    assert of(desk, rosa).public_id in whole
    assert "No further customers" in client.get(f"/console/customers?before={of(desk, rosa).public_id}").text


def test_an_agent_sees_of_customers_what_they_may_see_of_tickets(sign_in: SignIn, desk: Desk) -> None:
    mine = make_ticket(desk, "The pump is loud", team="technical", requester_email="rosa@example.org")
    theirs = make_ticket(desk, "Where is my secret parcel?", team="orders", requester_email="rosa@example.org")
    other = make_ticket(desk, "Refund me", team="orders", requester_email="carl@example.org")
    client = sign_in(make_agent(desk.db, "eve", team="technical"))
    assert "carl@example.org" not in client.get("/console/customers").text
    assert client.get(f"/console/customers/{of(desk, other).public_id}").status_code == 404
    page = client.get(f"/console/customers/{of(desk, mine).public_id}").text
    assert mine.public_id in page
    assert theirs.public_id not in page
    assert "secret" not in page
    assert "Merge" not in page
    lead = sign_in(make_agent(desk.db, "lea", role=AgentRole.LEAD))
    assert theirs.public_id in lead.get(f"/console/customers/{of(desk, mine).public_id}").text


def test_a_customers_page_has_all_that_is_known_of_them(sign_in: SignIn, desk: Desk, tmp_path: Path) -> None:
    make_articles(desk, tmp_path / "articles")
    known = {"requester_name": "Rosa", "requester_email": "rosa@example.org"}
    first = make_ticket(desk, "My BrewMaster 300 leaks. Order 4711-0815-99.", uploads=[make_upload()], **known)
    make_ticket(desk, "Meine Kaffeemaschine ist undicht, was soll ich tun?", **known)
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        conversation = session.get_one(Conversation, first.conversation_id)
        conversation.site_context = {"plan": "gold"}
        session.add(Rating(conversation=conversation, score=2, comment="Too slow"))
    client = sign_in(make_agent(desk.db, "ada", admin=True))
    page = client.get(f"/console/customers/{of(desk, first).public_id}").text
    for told in ("Rosa", "rosa@example.org", "Named by your system", "BrewMaster 300", "4711-0815-99", "BM3-204-88171",
                 "plan", "gold", "2 of 5", "Too slow", "photo.jpg, in #"):  # fmt: skip
        assert told in page, told
    executed: list[str] = []
    event.listen(desk.db.engine, "before_cursor_execute", lambda *call: executed.append(call[2]))
    client.get(f"/console/customers/{of(desk, first).public_id}")
    assert len(executed) <= 20, executed


def test_notes_on_customers_are_kept_and_removed_by_whoever_wrote_them(sign_in: SignIn, desk: Desk) -> None:
    ticket = make_ticket(desk, team="technical")
    eve, bob = (make_agent(desk.db, name, team="technical") for name in ("eve", "bob"))
    address = f"/console/customers/{of(desk, ticket).public_id}"
    client = sign_in(eve)
    assert submit(client, f"{address}/notes", at=address, text="  ").status_code == 422
    long = submit(client, f"{address}/notes", at=address, text="x" * 5000)
    assert (long.status_code, "x" * 5000 in long.text) == (422, True)  # nothing typed is lost
    submit(client, f"{address}/notes", at=address, text="Call <b>before</b> noon")
    assert "Call &lt;b&gt;before&lt;/b&gt; noon" in client.get(address).text
    with desk.db.read() as session:
        note = session.scalars(select(CustomerNote)).one().public_id
    colleague = sign_in(bob)
    assert "Remove the note" not in colleague.get(address).text
    assert submit(colleague, f"{address}/notes/{note}/remove", at=address).status_code == 403
    assert submit(client, f"{address}/notes/{note}/remove", at=address).status_code == 302
    assert "before" not in client.get(address).text


def test_two_customers_become_one_and_two_again(sign_in: SignIn, desk: Desk, client: FlaskClient) -> None:
    known = make_ticket(desk, "It leaks", requester_name="Rosa", requester_email="rosa@example.org")
    guest = Browser(client)
    guest.say("My coffee machine is loud", ("a.jpg", make_photo()))
    with desk.db.read() as session:
        conversation = session.scalars(select(Conversation).where(Conversation.public_id == guest.conversation)).one()
        visitor = session.get_one(Customer, conversation.customer_id)
    rosa = of(desk, known)
    lead = sign_in(make_agent(desk.db, "lea", role=AgentRole.LEAD))
    address = f"/console/customers/{visitor.public_id}"
    assert "no other customer" in lead.get(f"{address}/merge?who=nobody@example.org").text
    asked = lead.get(f"{address}/merge?who=ROSA@example.org")
    assert re.search(r"Stays:\s*<strong dir=\"auto\">Rosa", asked.text)  # whose identity is known stays
    assert "Be sure that it was them" in asked.text
    done = submit(lead, f"{address}/merge", who=rosa.public_id)
    assert done.headers["Location"].endswith(rosa.public_id)
    page = lead.get(f"/console/customers/{rosa.public_id}").text
    assert page.count("/console/tickets/tck_") >= 2
    assert "Merged into" in lead.get(address).text
    # The browser that wrote as a visitor sees nothing of Rosa's.
    assert guest.get().status_code == 401
    assert submit(lead, f"{address}/merge", who=rosa.public_id).status_code == 409

    undone = submit(lead, f"{address}/undo-merge", at=address)
    assert undone.status_code == 302
    with desk.db.read() as session:
        assert session.get_one(Conversation, conversation.id).customer_id == visitor.id
        assert session.get_one(Ticket, known.id).requester_id == rosa.id
    assert lead.get("/console/customers?q=rosa").text.count("rosa@example.org") == 1
    assert submit(lead, f"{address}/undo-merge", at=address).status_code == 404


def test_whom_a_site_knows_is_never_merged_into_another_and_a_merged_address_is_nobodys_in_a_browser(
    desk: Desk,
) -> None:
    ada = make_agent(desk.db, "ada", admin=True).principal
    with desk.db.begin() as session:
        signed, other = (
            Customer(external_id=f"shop-{n}", verified_at=utcnow(), verified_by=VerifiedBy.SITE) for n in "12"
        )
        mailed = Customer(email="rosa@example.org", verified_at=utcnow(), verified_by=VerifiedBy.CODE)
        session.add_all([signed, other, mailed])
        session.flush()
        with pytest.raises(Conflict, match="Your site knows these as two"):
            customers.merge(session, ada, signed, other)
        assert customers.stays(mailed, signed) == (signed, mailed)
        customers.merge(session, ada, mailed, signed)
        with pytest.raises(Conflict, match="merged already"):
            customers.merge(session, ada, mailed, signed)
        # Whoever proves the mailbox is not thereby whom the site knows; a machine may say so.
        assert people.find_by_address(session, "rosa@example.org") is None
        assert people.find_or_add_customer(session, email="rosa@example.org").id == signed.id
        sessions.remove_if_empty(session, mailed.id)  # kept, to be told apart again
        assert session.get(Customer, mailed.id) is not None
        assert customers.undo_merge(session, ada, mailed).id == signed.id
        assert people.find_by_address(session, "rosa@example.org") is mailed
        assert session.scalars(select(WidgetSession)).all() == []
        with pytest.raises(NotFound):
            customers.undo_merge(session, ada, mailed)
