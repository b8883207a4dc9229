"""Agents are told that a colleague mentions them and what is said in their tickets, as each of them likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant import worker
from assistant.db import Database
from assistant.desk import actions, alerts, conversations, drafts, tickets
from assistant.desk.access import CustomerPrincipal
from assistant.desk.desk import Desk
from assistant.models import Agent, AgentRole, Alert, Mail, Ticket
from assistant.runtime import Runtime
from tests.factories import Persona, make_agent, make_ticket
from tests.web.test_console import HTMX, submit

SignIn = Callable[[Persona], FlaskClient]
PAGE = "/console/alerts"


class Taken:
    """A mail server that would take anything."""

    def send(self, message: object) -> None: ...


@pytest.fixture
def runtime(make_runtime: Callable[..., Runtime]) -> Runtime:
    runtime = make_runtime()
    return replace(runtime, desk=replace(runtime.desk, mailer=Taken()))


@pytest.fixture
def alice(db: Database) -> Persona:
    return make_agent(db, "alice", role=AgentRole.LEAD)


@pytest.fixture
def bob(db: Database) -> Persona:
    return make_agent(db, "bob", role=AgentRole.LEAD)


def told(db: Database) -> list[tuple[str, str]]:
    with db.read() as session:
        rows = session.execute(select(Agent.name, Alert.kind).join(Alert).order_by(Alert.id))
        return [(name, kind.value) for name, kind in rows]


def test_who_is_mentioned_is_told_in_the_console_and_by_mail(
    sign_in: SignIn, alice: Persona, bob: Persona, charlie: Persona, desk: Desk
) -> None:
    ticket = make_ticket(desk, "It blinks.")
    worker.run_until_idle(desk)
    client, page = sign_in(alice), f"/console/tickets/{ticket.public_id}"
    submit(client, f"{page}/note", at=page, text="@bob, @Alice and @Charlie: who knows this? mail@bobby.example")
    worker.run_until_idle(desk)
    worker.HANDLERS["alert"](desk, {"message_id": newest_message(desk)})
    assert told(desk.db) == [("Bob", "mention")], "not whoever wrote it, nor who may not see the ticket; once"
    with desk.db.read() as session:
        letter = session.scalars(select(Mail)).one()
    assert letter.recipient == "bob@example.org"
    assert f"[#{ticket.number}] Alice mentioned you" in letter.subject
    his = sign_in(bob)
    assert "1<span" in his.get(f"{PAGE}/badge").text
    html = his.get(PAGE).text
    assert "Alice mentioned you" in html
    assert "who knows this?" in html
    assert "Alice mentioned you" not in client.get(PAGE).text
    submit(his, f"{page}/presence", at=page)
    assert "<span" not in his.get(f"{PAGE}/badge").text.partition("Notifications")[2], "opened is read"


def test_followers_and_owners_are_told_unless_they_like_it_otherwise(
    sign_in: SignIn, alice: Persona, bob: Persona, desk: Desk
) -> None:
    ticket = make_ticket(desk, "It blinks.")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        tickets.assign(session, row, alice.public_id)
        follow = actions.parse(session, [{"name": "follow", "arguments": {"agent": bob.public_id}}])
        actions.apply(session, row, follow, bob.principal)
    customer = CustomerPrincipal(ticket.conversation_id)
    conversations.post_message(desk, customer, text="Now it smokes, too", uploads=[], client_id=None)
    worker.run_until_idle(desk)
    assert sorted(told(desk.db)) == [("Alice", "written"), ("Bob", "written")]
    with desk.db.begin() as session:
        drafts.reply(session, alice.principal, session.get_one(Ticket, ticket.id), "Unplug it.")
    worker.run_until_idle(desk)
    assert told(desk.db)[2:] == [("Bob", "followed")]
    his = sign_in(bob)
    chosen = {"mention": "console", "written": "off", "followed": "mail", "woken": "off"}
    assert submit(his, f"{PAGE}/ways", at=PAGE, **chosen).status_code == 302
    assert submit(his, f"{PAGE}/ways", at=PAGE, **chosen | {"written": "pigeon"}).status_code == 422
    conversations.post_message(desk, customer, text="It stopped", uploads=[], client_id=None)
    with desk.db.begin() as session:
        drafts.add_note(session, alice.principal, session.get_one(Ticket, ticket.id), "Done, I think")
    worker.run_until_idle(desk)
    assert told(desk.db)[3:] == [("Alice", "written"), ("Bob", "followed")]
    with desk.db.read() as session:
        assert [one.recipient for one in session.scalars(select(Mail))] == ["bob@example.org"]
    submit(his, f"{PAGE}/read", at=PAGE)
    assert "Mark all as read" not in his.get(PAGE).text


def test_owners_and_followers_are_told_that_a_snoozed_ticket_is_back(
    sign_in: SignIn, alice: Persona, bob: Persona, charlie: Persona, desk: Desk
) -> None:
    ticket = make_ticket(desk, "It blinks.", subject="Blinking")
    worker.run_until_idle(desk)
    client, page = sign_in(alice), f"/console/tickets/{ticket.public_id}"
    with desk.db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        tickets.assign(session, row, alice.public_id)
        for who in (alice, bob, charlie):
            follow = actions.parse(session, [{"name": "follow", "arguments": {"agent": who.public_id}}])
            actions.apply(session, row, follow, alice.principal)
    ways = {"mention": "console", "written": "console", "followed": "off", "woken": "mail"}
    submit(sign_in(bob), f"{PAGE}/ways", at=PAGE, **ways)
    past = submit(client, f"{page}/actions/snooze", at=page, headers=HTMX, value="2020-01-01T09:00", zone="+05:30")
    assert (past.status_code, 'value="2020-01-01T09:00" data-typed' in past.text) == (422, True)
    submit(client, f"{page}/actions/snooze", at=page, value="2099-01-01T09:00", zone="+05:30")
    with desk.db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        assert row.snoozed_until == datetime(2099, 1, 1, 3, 30, tzinfo=UTC)
        row.snoozed_until = datetime.now(UTC) - timedelta(seconds=1)  # as if it were then
    for _ in range(2):
        worker.HANDLERS["wake"](desk, {"ticket_id": ticket.id})
    assert sorted(told(desk.db)) == [("Alice", "woken"), ("Bob", "woken")], "once, and nobody who may not see it"
    with desk.db.read() as session:
        letter = session.scalars(select(Mail)).one()
    assert (letter.recipient, letter.subject) == (bob.email, f"[#{ticket.number}] Back from its snooze: Blinking")
    assert "Back from its snooze" in client.get(PAGE).text
    submit(client, f"{page}/presence", at=page)
    assert "<span" not in client.get(f"{PAGE}/badge").text.partition("Notifications")[2]


def test_a_mention_is_a_whole_name() -> None:
    people = [Agent(name="Ann Lee", email="ann@x.example"), Agent(name="Ann Li", email="li@x.example")]
    people.append(Agent(name="Zoë Ann", email="zoe@x.example"))

    def names(text: str) -> list[str]:
        return [one.name for one in alerts.mentioned(text, people)]

    assert names("@ann lee and @zoe") == ["Ann Lee", "Zoë Ann"]
    assert names("@Ann: which of you?") == []
    assert names("@Ann Leeds, @zoella") == []
    assert names("ask @li@x.example.") == ["Ann Li"]


def newest_message(desk: Desk) -> int:
    with desk.db.read() as session:
        return session.scalars(select(Alert.message_id).order_by(Alert.id.desc())).first() or 0
