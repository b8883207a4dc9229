"""A reply is held back for some seconds: its customer learns nothing until then, and its agent can take it back."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from assistant import worker
from assistant.db import Database, utcnow
from assistant.desk import conversations, drafts, people, tickets
from assistant.desk.access import CustomerPrincipal
from assistant.desk.desk import Desk
from assistant.models import (
    AgentRole,
    Attachment,
    Author,
    DraftStatus,
    Event,
    HeldReply,
    Job,
    Message,
    ReplyFile,
    Ticket,
    TicketStatus,
)
from assistant.runtime import Runtime
from tests.factories import Persona, make_agent, make_articles, make_photo, make_ticket, signed_in_client
from tests.fakes import ManualClock
from tests.web.test_console import submit

SignIn = Callable[[Persona], FlaskClient]
WAIT = timedelta(seconds=10)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(utcnow() + timedelta(minutes=5))  # jobs that are due by the real clock are


@pytest.fixture
def runtime(make_runtime: Callable[..., Runtime], clock: ManualClock) -> Runtime:
    runtime = make_runtime(undo_send_seconds=10)
    return replace(runtime, desk=replace(runtime.desk, now=clock))


@pytest.fixture
def alice(db: Database) -> Persona:
    """Sees a ticket wherever triage sends it."""
    return make_agent(db, "alice", role=AgentRole.LEAD)


@pytest.fixture
def bob(db: Database) -> Persona:
    return make_agent(db, "bob", role=AgentRole.LEAD)


@pytest.fixture
def ticket(desk: Desk) -> Ticket:
    return make_ticket(desk, "It leaks.")


def page(ticket: Ticket) -> str:
    return f"/console/tickets/{ticket.public_id}"


def send(client: FlaskClient, ticket: Ticket, text: str, **more: Any) -> Any:
    return submit(client, f"{page(ticket)}/reply", at=page(ticket), text=text, **more)


def said(db: Database, ticket: Ticket) -> list[str]:
    with db.read() as session:
        query = select(Message.text).where(
            Message.conversation_id == ticket.conversation_id, Message.author != Author.CUSTOMER
        )
        return list(session.scalars(query.order_by(Message.id)))


def held(db: Database) -> HeldReply:
    with db.read() as session:
        return session.scalars(select(HeldReply)).one()


def test_nobody_but_agents_learns_of_a_reply_before_it_leaves(
    sign_in: SignIn, alice: Persona, bob: Persona, desk: Desk, ticket: Ticket, clock: ManualClock
) -> None:
    client, his = sign_in(alice), sign_in(bob)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        before = session.execute(select(func.max(Event.id))).scalar_one()
    send(client, ticket, "Close the tap.", then="solved")
    send(client, ticket, "Close the tap.", then="solved")  # the button was pressed twice
    worker.run_until_idle(desk)
    assert said(desk.db, ticket) == []
    with desk.db.read() as session:
        new = session.execute(select(Event.kind, Event.audience).where(Event.id > before)).all()
    assert [tuple(one) for one in new] == [("reply.held", "agent")]
    mine, theirs = client.get(page(ticket)).text, his.get(page(ticket)).text
    assert "Sending…" in mine
    assert "Undo" in mine
    assert "is sending a reply" in theirs
    assert "Undo" not in theirs
    refused = send(his, ticket, "Open the tap.")
    assert "Alice has just sent a reply" in refused.text
    assert "Open the tap." in refused.text, "what was typed stays"
    clock.advance(WAIT)
    worker.run_until_idle(desk)
    assert said(desk.db, ticket) == ["Close the tap."]
    with desk.db.read() as session:
        assert session.get_one(Ticket, ticket.id).status is TicketStatus.SOLVED
        assert session.scalars(select(HeldReply)).all() == []


def test_a_reply_taken_back_is_in_the_box_again_with_its_files(
    sign_in: SignIn, alice: Persona, bob: Persona, desk: Desk, ticket: Ticket, clock: ManualClock
) -> None:
    client = sign_in(alice)
    files = {"files": [(make_file(), "valve.jpg"), (make_file(b"%PDF-1.4 manual"), "manual.pdf")]}
    shown = submit(client, f"{page(ticket)}/files", at=page(ticket), **files)
    assert shown.status_code == 302
    html = client.get(page(ticket)).text
    assert "valve.jpg" in html
    assert "manual.pdf" in html
    assert "valve.jpg" not in sign_in(bob).get(page(ticket)).text, "what is not sent is the agent's own"
    send(client, ticket, "See the photo.")
    undo = f"{page(ticket)}/held/{held(desk.db).public_id}/undo"
    assert submit(sign_in(bob), undo, at=page(ticket)).status_code == 403
    back = submit(client, undo, at=page(ticket)).text
    assert "See the photo.</textarea>" in back
    assert "valve.jpg" in back
    clock.advance(WAIT)
    worker.run_until_idle(desk)
    assert said(desk.db, ticket) == []
    with desk.db.read() as session:
        assert session.scalar(select(Job.id).where(Job.name == "send_held_reply")) is None
    send(client, ticket, "See both photos.")
    send(client, ticket, "And the manual.")  # the next one sends the first
    clock.advance(WAIT)
    worker.run_until_idle(desk)
    assert said(desk.db, ticket) == ["See both photos.", "And the manual."]
    with desk.db.read() as session:
        sent = session.scalars(select(Attachment).order_by(Attachment.position)).all()
        assert [(one.filename, one.message.text) for one in sent] == [
            ("valve.jpg", "See both photos."),
            ("manual.pdf", "See both photos."),
        ]
        assert session.scalars(select(ReplyFile)).all() == []
    late = submit(client, undo, at=page(ticket))
    assert "It has been sent already." in late.text


def make_file(data: bytes | None = None) -> Any:
    return io.BytesIO(make_photo("valve") if data is None else data)


def test_what_cannot_leave_any_more_stays_with_its_reason(
    sign_in: SignIn, alice: Persona, bob: Persona, desk: Desk, ticket: Ticket, clock: ManualClock
) -> None:
    send(sign_in(alice), ticket, "Close the tap.")
    with desk.db.begin() as session:
        people.colleague(session, alice.public_id).role = AgentRole.VIEWER
    clock.advance(WAIT)
    worker.run_until_idle(desk)
    assert said(desk.db, ticket) == []
    with desk.db.begin() as session:
        people.colleague(session, alice.public_id).role = AgentRole.LEAD
    client = sign_in(alice)
    html = client.get(page(ticket)).text
    assert "Not sent." in html
    assert "may not write" in html
    send(sign_in(bob), ticket, "I am faster.")  # it holds up nobody
    clock.advance(WAIT)
    worker.run_until_idle(desk)
    submit(client, f"{page(ticket)}/held/{held(desk.db).public_id}/send", at=page(ticket))
    assert said(desk.db, ticket) == ["I am faster.", "Close the tap."]


def test_solving_sends_first_and_what_is_solved_stays_so(
    sign_in: SignIn, alice: Persona, desk: Desk, ticket: Ticket, clock: ManualClock
) -> None:
    client = sign_in(alice)
    send(client, ticket, "Close the tap.")
    submit(client, f"{page(ticket)}/solve", at=page(ticket))
    assert said(desk.db, ticket) == ["Close the tap."]
    with desk.db.read() as session:
        assert session.get_one(Ticket, ticket.id).status is TicketStatus.SOLVED
    other = make_ticket(desk, "It squeaks.")
    send(client, other, "Oil it.")
    clock.advance(timedelta(seconds=5))
    with desk.db.begin() as session:
        tickets.solve(session, session.get_one(Ticket, other.id))  # by a machine
    clock.advance(WAIT)
    worker.run_until_idle(desk)
    assert said(desk.db, other) == ["Oil it."]
    with desk.db.read() as session:
        assert session.get_one(Ticket, other.id).status is TicketStatus.SOLVED


def test_without_a_wait_a_reply_leaves_at_once_and_reopens_what_is_solved(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask], alice: Persona
) -> None:
    runtime = make_runtime(undo_send_seconds=0)
    client = signed_in_client(make_app(runtime), runtime.desk.db, alice)
    ticket = make_ticket(runtime.desk, "It leaks.")
    submit(client, f"{page(ticket)}/solve", at=page(ticket))
    send(client, ticket, "Close the tap.")
    assert said(runtime.desk.db, ticket) == ["Close the tap."]
    with runtime.desk.db.read() as read:
        assert read.get_one(Ticket, ticket.id).status is not TicketStatus.SOLVED


def test_a_draft_is_held_too_and_sent_although_the_customer_has_written_meanwhile(
    sign_in: SignIn, alice: Persona, desk: Desk, clock: ManualClock, tmp_path: Path
) -> None:
    make_articles(desk, tmp_path)
    ticket = make_ticket(desk)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        draft = drafts.proposed_draft(session, session.get_one(Ticket, ticket.id))
        assert draft is not None
    client = sign_in(alice)
    url = f"{page(ticket)}/drafts/{draft.public_id}/send"
    submit(client, url, at=page(ticket), text=draft.text)
    back = submit(client, f"{page(ticket)}/held/{held(desk.db).public_id}/undo", at=page(ticket)).text
    assert "Sending…" not in back
    submit(client, url, at=page(ticket), text=draft.text)
    customer = CustomerPrincipal(ticket.conversation_id)
    conversations.post_message(desk, customer, text="Does it still blink?", uploads=[], client_id=None)
    clock.advance(WAIT)
    worker.run_until_idle(desk)
    assert draft.text in said(desk.db, ticket)
    with desk.db.read() as session:
        assert session.scalars(select(HeldReply)).all() == []
        row = drafts.access_draft(session, session.get_one(Ticket, ticket.id), draft.public_id)
        assert row.status in (DraftStatus.WITHDRAWN, DraftStatus.SENT)
