"""Sessions of browsers with the widget: whose they are, where they hold, and that nothing is lost when answers are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from assistant.db import Database, utcnow
from assistant.desk import sessions
from assistant.desk.desk import Desk
from assistant.models import Conversation, Customer, Inbox, Ticket, WidgetSession
from assistant.settings import Settings
from tests.factories import Browser, make_conversation, make_customer, make_photo, make_ticket

API = "/widget/v1"
SHOP = "https://shop.example"


@pytest.fixture
def rosa(client: FlaskClient) -> Browser:
    """A browser on the shop's pages with a conversation."""
    browser = Browser(client, origin=SHOP, name="Rosa")
    assert browser.say("It leaks.", client_id="1").status_code == 201
    return browser


def listed(browser: Browser) -> list[str]:
    answer = browser.client.get(f"{API}/conversations", headers=browser.headers)
    assert answer.status_code == 200, answer.json
    return [one["id"] for one in answer.json["conversations"]]


def count(db: Database, table: type[Any]) -> int:
    with db.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def change(db: Database, **values: Any) -> None:
    """Set columns of the only session."""
    with db.begin() as session:
        row = session.scalars(select(WidgetSession)).one()
        for name, value in values.items():
            setattr(row, name, value)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"revoked_at": utcnow()}, "ended"),
        ({"expires_at": utcnow() - timedelta(seconds=1)}, "expired"),
        ({"origin": "https://evil.example"}, "another origin"),
        ({"origin": None}, "another origin"),
        ({"token_hash": "0" * 64}, "unknown"),
    ],
)
def test_a_session_that_does_not_hold_is_refused_everywhere_with_its_reason(
    client: FlaskClient, db: Database, rosa: Browser, values: dict[str, Any], reason: str
) -> None:
    change(db, **values)
    for path in ("", "/events"):
        assert client.get(rosa.path + path, headers=rosa.headers).status_code == 401
    code = "session_unknown" if reason == "unknown" else "unauthenticated"
    for path in (f"{rosa.path}/messages", f"{API}/conversations", f"{API}/sessions/current/token"):
        refused = client.post(path, headers=rosa.headers, data={"text": "x"})
        assert (refused.status_code, refused.json["code"]) == (401, code)
        assert reason in refused.json["detail"]
    if reason != "unknown":  # an unknown token may begin: its conversations are none
        assert rosa.open(token=rosa.token).status_code == 401


def test_a_stolen_token_is_of_no_use_on_other_pages_or_without_one(client: FlaskClient, rosa: Browser) -> None:
    for origin in ("https://evil.example", "http://shop.example", "https://shop.example:8443", None):
        thief = Browser(client, origin=origin)
        thief.token, thief.conversation = rosa.token, rosa.conversation
        assert thief.get().status_code == 401
        assert thief.open(token=rosa.token).status_code == 401
    assert len(rosa.messages) == 1


def test_who_logs_out_is_forgotten(client: FlaskClient, rosa: Browser) -> None:
    assert client.delete(f"{API}/sessions/current", headers=rosa.headers).status_code == 204
    assert rosa.get().status_code == 401
    assert client.delete(f"{API}/sessions/current", headers=rosa.headers).status_code == 401


def test_every_session_of_a_customer_can_be_revoked(client: FlaskClient, db: Database, rosa: Browser) -> None:
    other = Browser(client)
    other.say("Hello")
    with db.begin() as session:
        customer = session.scalars(select(Conversation.customer_id).order_by(Conversation.id)).first()
        assert sessions.revoke(session, customer_id=customer) == 1
        assert sessions.revoke(session, customer_id=customer) == 0
    assert rosa.get().status_code == 401
    assert other.get().status_code == 200


def test_an_open_stream_ends_with_its_session(
    client: FlaskClient, db: Database, rosa: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant.web.widget._CHECK_SESSION_EVERY", 0.0)
    stream = iter(rosa.get("/events", buffered=False).response)
    assert "retry" in str(next(stream))
    change(db, revoked_at=utcnow())
    assert list(stream) == []


def test_a_session_sees_its_own_inbox_only(client: FlaskClient, db: Database, rosa: Browser) -> None:
    with db.begin() as session:
        session.add(Inbox(key="acme"))
    assert rosa.open(token=rosa.token, inbox="acme").status_code == 401
    with db.begin() as session:  # the same customer, in the other inbox
        acme = session.scalars(select(Inbox).where(Inbox.key == "acme")).one()
        row = session.scalars(select(WidgetSession)).one()
        row.inbox = acme
    assert listed(rosa) == []
    assert rosa.get().status_code == 404
    unknown = rosa.open(inbox="none")
    assert unknown.status_code == 404
    assert "no inbox" in unknown.json["detail"]


def test_tickets_from_elsewhere_are_not_shown_in_the_widget(db: Database, desk: Desk, rosa: Browser) -> None:
    ticket = make_ticket(desk)
    with db.begin() as session:
        session.get_one(Conversation, ticket.conversation_id).customer_id = session.scalars(
            select(WidgetSession.customer_id)
        ).one()
    assert listed(rosa) == [rosa.conversation]


@pytest.mark.parametrize("token", ["x" * 42, "short", "x" * 129, "ümläut" * 10, "a b" * 20])
def test_a_token_that_could_be_guessed_is_refused(client: FlaskClient, token: str) -> None:
    refused = client.post(f"{API}/sessions", json={"token": token})
    assert (refused.status_code, refused.json["field"]) == (422, "token")


def test_a_beginning_whose_answer_is_lost_makes_one_session(client: FlaskClient, db: Database) -> None:
    token = sessions.new_token()
    assert [client.post(f"{API}/sessions", json={"token": token}).status_code for _ in range(3)] == [201, 200, 200]
    assert (count(db, WidgetSession), count(db, Customer)) == (1, 1)


def test_the_token_is_kept_as_a_hash(db: Database, rosa: Browser) -> None:
    with db.read() as session:
        row = session.scalars(select(WidgetSession)).one()
    assert rosa.token not in str(vars(row))


# Renewing


def renew(browser: Browser) -> str:
    answer = browser.client.post(f"{API}/sessions/current/token", headers=browser.headers)
    assert answer.status_code == 200, answer.json
    return str(answer.json["token"])


def test_a_renewed_token_replaces_the_old_one_once_it_is_used(db: Database, rosa: Browser) -> None:
    old, new = rosa.token, renew(rosa)
    assert new != old
    assert rosa.get().status_code == 200  # the answer may have been lost
    rosa.token = new
    assert rosa.get().status_code == 200
    rosa.token = old
    assert rosa.get().status_code == 200  # another tab still holds it
    change(db, previous_until=utcnow() - timedelta(seconds=1))
    assert rosa.get().status_code == 401
    assert rosa.open(token=old).status_code == 401
    rosa.token = new
    assert rosa.get().status_code == 200


def test_two_tabs_that_renew_at_once_end_up_with_one_token(db: Database, rosa: Browser) -> None:
    old, first = rosa.token, renew(rosa)
    assert renew(rosa) == old  # the first one's answer is on its way
    change(db, renewed_at=utcnow() - timedelta(minutes=2))
    second = renew(rosa)  # it was lost
    assert second not in (old, first)
    rosa.token = second
    assert rosa.get().status_code == 200
    rosa.token = first
    assert rosa.get().status_code == 401


def test_a_browser_is_asked_to_renew_its_token_daily(client: FlaskClient, db: Database, rosa: Browser) -> None:
    def due() -> bool:
        return bool(client.get(f"{API}/conversations", headers=rosa.headers).json["session"]["renew"])

    assert not due()
    change(db, renewed_at=utcnow() - timedelta(days=2))
    assert due()


def test_a_session_lasts_as_long_as_it_is_used(db: Database, rosa: Browser) -> None:
    change(db, last_used_at=utcnow() - timedelta(days=20), expires_at=utcnow() + timedelta(days=10))
    assert rosa.get().status_code == 200
    with db.read() as session:
        assert session.scalars(select(WidgetSession.expires_at)).one() > utcnow() + timedelta(days=29)


# Conversations


def test_tabs_that_wrote_while_offline_make_one_conversation(client: FlaskClient, db: Database) -> None:
    browser, token = Browser(client), sessions.new_token()
    begun = []
    for number in range(3):  # each begins the session and the conversation
        assert browser.open(token=token).status_code in (200, 201)
        for _ in range(2):  # and sends twice, as answers are lost
            form = {"text": f"message {number}", "client_id": str(number)}
            answer = client.post(f"{API}/conversations", headers=browser.headers, data=form)
            assert answer.status_code in (200, 201)
            begun.append(answer.json["begun"])
            browser.conversation = answer.json["conversation"]["id"]
    assert begun == [True] + [False] * 5
    assert (count(db, Conversation), count(db, Ticket)) == (1, 1)
    assert [message["text"] for message in browser.messages] == ["message 0", "message 1", "message 2"]


def test_another_conversation_begins_after_the_one_that_was_left(client: FlaskClient, rosa: Browser) -> None:
    def begin(text: str, client_id: str, after: str) -> tuple[str, bool]:
        form = {"text": text, "client_id": client_id, "after": after}
        answer = client.post(f"{API}/conversations", headers=rosa.headers, data=form).json
        return answer["conversation"]["id"], answer["begun"]

    first = rosa.conversation
    second, begun = begin("Something else", "2", first)
    assert begun
    assert second != first
    assert begin("Something else", "2", first) == (second, False)  # sent again
    assert begin("From another tab", "3", first) == (second, False)
    assert begin("It leaks.", "1", second) == (first, False)  # stored there already
    assert listed(rosa) == [second, first]


def test_a_message_whose_answer_was_lost_is_not_stored_again_in_a_newer_conversation(
    client: FlaskClient, rosa: Browser
) -> None:
    first = rosa.conversation
    form = {"text": "Something else", "client_id": "2", "after": first}
    second = client.post(f"{API}/conversations", headers=rosa.headers, data=form).json["conversation"]["id"]
    rosa.conversation = second
    assert rosa.say("It leaks.", client_id="1").status_code == 200
    assert [message["text"] for message in rosa.messages] == ["Something else"]
    assert rosa.say("It drips.", client_id="1").status_code == 409
    stranger = Browser(client)
    assert [stranger.say("It leaks.", client_id=one).status_code for one in ("1", "3", "1")] == [201, 201, 200]


def test_a_first_message_without_content_begins_nothing(client: FlaskClient, db: Database) -> None:
    browser = Browser(client)
    assert browser.say(" ").status_code == 422
    assert count(db, Conversation) == 0
    refused = browser.say("", ("empty.jpg", b""))
    assert (refused.status_code, refused.json["notice"]["code"]) == (422, "file_empty")
    assert listed(browser) == []
    assert browser.say("See", ("p.jpg", make_photo("E21"))).status_code == 201
    assert count(db, Conversation) == 1


# Old tokens


@pytest.fixture
def old_token(settings: Settings) -> Callable[[Conversation], str]:
    """As versions before sessions gave out."""

    def make(conversation: Conversation, *, days: int = 1) -> str:
        claims = {"sub": conversation.public_id, "aud": "widget", "exp": utcnow() + timedelta(days=days)}
        return jwt.encode(claims, settings.signing_key(), algorithm="HS256")

    return make


def test_an_old_token_becomes_a_session_with_its_conversation(
    client: FlaskClient, desk: Desk, old_token: Callable[..., str]
) -> None:
    conversation = make_conversation(desk, name="Rosa", email="rosa@example.org")
    browser = Browser(client, conversation_token=old_token(conversation))
    browser.conversation = conversation.public_id
    assert browser.get().status_code == 200
    assert browser.say("It leaks.").status_code == 201
    assert count(desk.db, Customer) == 1


def test_an_old_token_shows_one_conversation_even_if_strangers_were_put_together(
    client: FlaskClient, desk: Desk, old_token: Callable[..., str]
) -> None:
    known = make_customer(desk.db, email="rosa@example.org", external_id="42")
    mine, others = make_conversation(desk), make_conversation(desk)
    with desk.db.begin() as session:
        for one in (mine, others):
            session.get_one(Conversation, one.id).customer_id = known.id
    browser = Browser(client, conversation_token=old_token(mine))
    browser.conversation = mine.public_id
    assert browser.get().status_code == 200
    browser.conversation = others.public_id
    assert browser.get().status_code == 404


def test_an_old_token_that_has_expired_begins_nothing(
    client: FlaskClient, desk: Desk, old_token: Callable[..., str]
) -> None:
    conversation = make_conversation(desk)
    for token in (old_token(conversation, days=-1), "x", old_token(conversation) + "x"):
        refused = client.post(f"{API}/sessions", json={"conversation_token": token})
        assert refused.status_code == 401
    assert count(desk.db, WidgetSession) == 0


# Who customers are


def test_an_address_that_somebody_typed_makes_nobody_known(client: FlaskClient, db: Database, desk: Desk) -> None:
    known = make_customer(db, email="rosa@example.org", external_id="42")
    make_ticket(desk, requester_email="rosa@example.org", requester_external_id="42")
    poser = Browser(client, name="Rosa", email="rosa@example.org")
    poser.say("What did I buy?")
    with db.read() as session:
        asked = session.scalars(select(Conversation).where(Conversation.channel == "widget")).one()
        assert (asked.customer_id != known.id, asked.customer.verified_by) == (True, None)
    assert make_ticket(desk, requester_email="rosa@example.org").requester_id not in (known.id, asked.customer_id)


def test_customers_of_whom_nothing_is_left_are_swept(client: FlaskClient, db: Database, rosa: Browser) -> None:
    Browser(client, name="Passer-by")
    with db.begin() as session:
        for row in session.scalars(select(WidgetSession)):
            row.expires_at = utcnow() - timedelta(days=91)
    sessions.sweep(db, now=utcnow())
    with db.read() as session:
        assert [one.name for one in session.scalars(select(Customer))] == ["Rosa"]
        assert session.scalars(select(WidgetSession)).all() == []
