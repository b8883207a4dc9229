"""Around replies, over HTTP: receipts, typing, addresses, transcripts, links, and what may be expected."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import event, select, update

from assistant.db import Database, utcnow
from assistant.desk import attention, conversations, expectations, inboxes, links, state
from assistant.desk.desk import Desk
from assistant.desk.hours import Hours
from assistant.desk.links import Purpose
from assistant.models import (
    Attachment,
    Author,
    Conversation,
    Customer,
    Mail,
    Message,
    Ticket,
    VerifiedBy,
    WidgetSession,
)
from assistant.ports import HandoffReason
from assistant.runtime import Runtime
from tests.factories import Browser, Persona, make_conversation, make_photo
from tests.fakes import ManualClock

# Fridays, nine to noon, in Berlin.
FRIDAYS = Hours(zone="Europe/Berlin", week={"fri": ("09:00-12:00",)})


@pytest.fixture
def runtime(make_runtime: Callable[..., Runtime]) -> Runtime:
    return make_runtime(smtp_url=SecretStr("console:"))


@pytest.fixture
def rosa(client: FlaskClient) -> Browser:
    browser = Browser(client, email="rosa@example.org")
    browser.say("It leaks.")
    return browser


def answer(db: Database, browser: Browser, agent: Persona, text: str = "Which machine?") -> Message:
    with db.begin() as session:
        conversation = session.scalars(select(Conversation).filter_by(public_id=browser.conversation)).one()
        reply = Message(author=Author.AGENT, agent_id=agent.principal.agent_id, text=text)
        return state.add_message(session, conversation, reply)


def test_a_browser_says_what_it_has_shown_and_every_browser_learns_it(
    client: FlaskClient, rosa: Browser, db: Database, alice: Persona, sign_in: Callable[[Persona], FlaskClient]
) -> None:
    said = answer(db, rosa, alice)
    assert rosa.get().json["attention"]["seen"] is None
    done = client.put(f"{rosa.path}/read", headers=rosa.headers, json={"message": said.public_id, "seen": True})
    assert done.status_code == 204
    assert rosa.get().json["attention"]["seen"] == said.public_id
    with db.read() as session:
        ticket = session.scalars(select(Conversation)).one()
        receipt = attention.receipt(session, ticket.id)
    assert receipt is not None
    assert receipt.how == "seen"
    for wrong in ({}, {"message": said.public_id}, {"message": 7, "seen": True}):
        assert client.put(f"{rosa.path}/read", headers=rosa.headers, json=wrong).status_code == 422
    other = Browser(client)
    assert client.put(f"{rosa.path}/read", headers=other.headers, json={}).status_code == 404


def test_unread_replies_are_counted_in_every_conversation(
    client: FlaskClient, rosa: Browser, db: Database, alice: Persona
) -> None:
    def listed() -> tuple[list[int], int]:
        """Of the newest conversation first, and how many statements it took."""
        ran: list[str] = []
        note = lambda *arguments: ran.append(arguments[2])  # noqa: E731
        event.listen(db.engine, "before_cursor_execute", note)
        found = client.get("/widget/v1/conversations", headers=rosa.headers).json["conversations"]
        event.remove(db.engine, "before_cursor_execute", note)
        return [one["unread"] for one in found], len(ran)

    def begin_another(text: str) -> None:
        form = {"text": text, "after": rosa.conversation}
        rosa.conversation = client.post("/widget/v1/conversations", headers=rosa.headers, data=form).json[
            "conversation"
        ]["id"]

    answer(db, rosa, alice)
    newest, first = answer(db, rosa, alice), rosa.path
    begin_another("It leaks again.")
    unread, few = listed()
    assert unread == [0, 2]
    for _ in range(3):
        begin_another("And again.")
        answer(db, rosa, alice)
    stranger = Browser(client)
    stranger.say("Hello")
    answer(db, stranger, alice)
    assert listed() == ([1, 1, 1, 0, 2], few)
    client.put(f"{first}/read", headers=rosa.headers, json={"message": newest.public_id, "seen": True})
    assert listed() == ([1, 1, 1, 0, 0], few)


def test_agents_see_receipts_and_their_customers_see_theirs(
    rosa: Browser, db: Database, alice: Persona, sign_in: Callable[[Persona], FlaskClient], app: APIFlask
) -> None:
    said = answer(db, rosa, alice)
    with db.begin() as session:
        conversation = session.scalars(select(Conversation)).one()
        customer = attention.CustomerPrincipal(conversation.id)
        attention.receive(session, customer, said.public_id, seen=False)
    console = sign_in(alice)
    with db.read() as session:
        ticket = f"/console/tickets/{session.scalars(select(Ticket.public_id)).one()}"
    assert "Delivered" in console.get(ticket).text
    app.config["WTF_CSRF_ENABLED"] = False
    assert console.post(f"{ticket}/presence", data={"typing": "1"}).status_code == 200
    [asked, _] = rosa.messages
    assert rosa.get().json["attention"]["seen_by_agents"] == asked["id"]
    with db.begin() as session:
        attention.receive(session, customer, said.public_id, seen=True)
    assert "Seen" in console.get(ticket).text
    assert sign_in(alice).post("/console/tickets/tck_00000000000000000000/presence").status_code == 404


def test_replies_go_to_an_address_that_the_customer_types(client: FlaskClient, rosa: Browser) -> None:
    unknown = {"email": None, "proved": False, "provable": True, "code_to": None, "code_minutes": 15}
    assert rosa.get().json["by_mail"] == unknown  # what the page says is not enough
    wrong = client.put(f"{rosa.path}/address", headers=rosa.headers, json={"email": "rosa"})
    assert (wrong.status_code, wrong.json["notice"]["code"]) == (422, "address_wrong")
    given = client.put(f"{rosa.path}/address", headers=rosa.headers, json={"email": "Rosa@example.org"})
    assert given.json == {**unknown, "email": "rosa@example.org"}
    refused = client.post(f"{rosa.path}/transcript", headers=rosa.headers)
    assert (refused.status_code, refused.json["notice"]["code"]) == (409, "transcript_needs_proof")


def test_a_transcript_is_mailed_a_few_times(runtime: Runtime, make_app: Callable[..., APIFlask], db: Database) -> None:
    client = make_app(runtime, limited=True).test_client()
    rosa = Browser(client, email="rosa@example.org")
    rosa.say("It leaks.")
    with db.begin() as session:
        session.execute(update(Customer).values(verified_at=utcnow(), verified_by=VerifiedBy.CODE))
    asked = [client.post(f"{rosa.path}/transcript", headers=rosa.headers) for _ in range(4)]
    assert [one.status_code for one in asked] == [202, 202, 202, 429]
    assert asked[0].json == {"email": "rosa@example.org"}
    with db.read() as session:
        assert len(session.scalars(select(Mail)).all()) == 3


def test_a_link_from_a_mail_opens_its_conversation_and_no_other(
    client: FlaskClient, rosa: Browser, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_conversation(desk)
    link = links.sign(desk.settings, Purpose.OPEN, rosa.conversation)
    phone = Browser(client, link=link)
    listed = client.get("/widget/v1/conversations", headers=phone.headers).json["conversations"]
    assert [one["id"] for one in listed] == [rosa.conversation]
    phone.conversation = rosa.conversation
    assert phone.say("It still leaks.").status_code == 201
    assert len(rosa.messages) == 2
    stale = links.sign(desk.settings, Purpose.UNSUBSCRIBE, rosa.conversation)
    for wrong in (stale, link[:-2], "x"):
        refused = client.post("/widget/v1/sessions", json={"link": wrong})
        assert (refused.status_code, refused.json["notice"]["code"]) == (404, "link_expired")
    with desk.db.read() as session:
        assert len(session.scalars(select(WidgetSession)).all()) == 2  # a bad link begins none


# What may be expected


@pytest.fixture
def waiting(rosa: Browser, desk: Desk) -> Callable[[timedelta | None], None]:
    """``waiting(after)``: somebody was handed off a day ago and answered ``after`` that, or never."""
    began = utcnow() - timedelta(days=1)

    def make(after: timedelta | None) -> None:
        begun = make_conversation(desk)
        with desk.db.begin() as session:
            conversation = state.lock_conversation(session, begun.id)
            state.receive(session, conversation, Message(author=Author.CUSTOMER, text="Hm"), subject="Hm")
            conversations.hand_off(session, conversation, HandoffReason.CUSTOMER_ASKED)
            if after is not None:
                state.add_message(session, conversation, Message(author=Author.AGENT, text="Yes?"))
            for message in session.scalars(select(Message).filter_by(conversation_id=begun.id)):
                message.created_at = began + (after if after and message.author is Author.AGENT else timedelta(0))

    return make


def median(desk: Desk, hours: Hours | None = None) -> int | None:
    with desk.db.read() as session:
        return expectations.median_minutes(session, inboxes.default(session).id, hours, utcnow())


def test_a_figure_is_given_only_where_enough_were_answered(
    waiting: Callable[[timedelta | None], None], desk: Desk
) -> None:
    for minutes in (1, 2, 3, 4, 7, 8, 9, 10, 11):
        waiting(timedelta(minutes=minutes))
    assert median(desk) is None
    waiting(timedelta(minutes=12))
    assert median(desk) == 8
    for _ in range(11):  # and now most have been waiting for a day
        waiting(None)
    assert median(desk) is None


def test_waits_are_counted_in_business_hours(waiting: Callable[[timedelta | None], None], desk: Desk) -> None:
    for _ in range(10):
        waiting(timedelta(hours=20))
    assert median(desk) == 20 * 60
    never = Hours(zone="UTC", week={})
    assert median(desk, never) == 1


def test_outside_business_hours_the_widget_says_when_people_are_back(rosa: Browser, desk: Desk, db: Database) -> None:
    def opens_at(at: str) -> Any:
        object.__setattr__(desk, "now", ManualClock(datetime.fromisoformat(at)))
        return rosa.get().json["opens_at"]

    assert opens_at("2026-11-26T10:00+00:00") is None  # without hours, always
    with db.begin() as session:
        inboxes.default(session).settings = {"hours": FRIDAYS.model_dump(mode="json")}
    assert opens_at("2026-11-26T10:00+00:00") == "2026-11-27T08:00:00+00:00"
    assert opens_at("2026-11-27T10:00+00:00") is None


def test_whoever_has_left_stands_before_nobody(client: FlaskClient, rosa: Browser, db: Database) -> None:
    earlier = Browser(client)
    earlier.say("It leaks.")
    for browser in (earlier, rosa):
        client.post(f"{browser.path}/handoff", headers=browser.headers)
    assert rosa.get().json["queue_position"] == 2
    with db.begin() as session:
        session.execute(
            update(Conversation)
            .where(Conversation.public_id == earlier.conversation)
            .values(updated_at=utcnow() - timedelta(days=4))
        )
    assert rosa.get().json["queue_position"] == 1
    assert earlier.get().json["queue_position"] == 1


# Who writes


def send_picture(console: FlaskClient, data: bytes | None, name: str = "me.png", **fields: str) -> Any:
    token = re.search('name="csrf_token" value="([^"]+)"', console.get("/console/account").text)
    assert token is not None
    files = {} if data is None else {"picture": (io.BytesIO(data), name)}
    return console.post("/console/account", data={"csrf_token": token[1], **fields, **files})


def test_customers_see_the_picture_of_who_writes_to_them(
    client: FlaskClient,
    rosa: Browser,
    db: Database,
    alice: Persona,
    bob: Persona,
    sign_in: Callable[[Persona], FlaskClient],
) -> None:
    console = sign_in(alice)
    answer(db, rosa, alice)
    answer(db, rosa, bob)

    def pictures() -> list[str | None]:
        return [one["author_picture"] for one in rosa.get().json["messages"] if one["author"] == "agent"]

    assert pictures() == [None, None]
    assert send_picture(console, make_photo(kind="PNG")).status_code == 302
    shown, none = pictures()
    assert none is None
    picture = client.get(f"/widget/v1/pictures/{shown}")
    assert (picture.status_code, picture.mimetype) == (200, "image/jpeg")
    assert f"/widget/v1/pictures/{shown}" in console.get("/console/account").text

    refused = [send_picture(console, b"%PDF-1.7 no picture", "me.pdf"), send_picture(console, None)]
    assert [one.status_code for one in refused] == [415, 422]
    assert pictures() == [shown, None]
    assert send_picture(console, None, remove="1").status_code == 302
    assert pictures() == [None, None]
    assert client.get(f"/widget/v1/pictures/{shown}").status_code == 404


def test_only_pictures_of_agents_are_served_as_such(client: FlaskClient, rosa: Browser, db: Database) -> None:
    rosa.say("See the photo", ("private.jpg", make_photo("a private one")))
    with db.read() as session:
        digest = session.scalars(select(Attachment.sha256)).one()
    assert client.get(f"/widget/v1/pictures/{digest}").status_code == 404
