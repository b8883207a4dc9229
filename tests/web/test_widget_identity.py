"""Signed identity: who is signed in, whose conversations those are, and what a wrong token says."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant.cli import main
from assistant.db import Database, utcnow
from assistant.desk import inboxes, sessions
from assistant.desk.desk import Desk
from assistant.models import Conversation, Customer, Inbox, Ticket, VerifiedBy, WidgetSession
from assistant.settings import PREFIX, Settings
from tests.factories import Browser, Persona, make_customer, make_ticket

API = "/widget/v1"
SECRET, OLD_SECRET = "a secret of the inbox, long enough", "the secret before, long enough, too"


@pytest.fixture(autouse=True)
def _secrets(db: Database) -> None:
    with db.begin() as session:
        inbox = inboxes.default(session)
        inbox.secret, inbox.previous_secret = SECRET, OLD_SECRET


def sign(
    subject: Any = "42", *, secret: str = SECRET, minutes: float = 5, algorithm: str = "HS256", **claims: Any
) -> str:
    all_claims = {"sub": subject, "exp": utcnow() + timedelta(minutes=minutes), **claims}
    return jwt.encode({name: value for name, value in all_claims.items() if value is not None}, secret, algorithm)


def listed(browser: Browser) -> list[str]:
    answer = browser.client.get(f"{API}/conversations", headers=browser.headers)
    assert answer.status_code == 200, answer.json
    return [one["id"] for one in answer.json["conversations"]]


def identify(browser: Browser, token: str) -> dict[str, Any]:
    answer = browser.open(token=browser.token, identity=token)
    assert answer.status_code == 200, answer.json
    customer: dict[str, Any] = answer.json["customer"]
    return customer


def test_a_signed_customer_has_their_conversations_on_every_device(client: FlaskClient, db: Database) -> None:
    phone = Browser(client, identity=sign(name="Rosa", email="Rosa@Example.org"))
    phone.say("It leaks.")
    laptop = Browser(client)
    customer = identify(laptop, sign(secret=OLD_SECRET))
    assert (customer["name"], customer["email"], customer["verified_by"]) == ("Rosa", "rosa@example.org", "site")
    assert listed(laptop) == [phone.conversation]
    laptop.conversation = phone.conversation
    assert laptop.say("Still.").status_code == 201
    assert len(phone.messages) == 2
    assert listed(Browser(client, identity=sign("43"))) == []


def test_what_was_asked_before_signing_in_becomes_the_signed_customers(
    client: FlaskClient, db: Database, sign_in: Callable[[Persona], FlaskClient], dora: Persona
) -> None:
    known = make_customer(db, external_id="42", name="Rosa")
    browser = Browser(client, name="Somebody", email="typed@example.org")
    browser.say("It leaks.")
    queue = sign_in(dora).get("/console/?tab=all").get_data(as_text=True)
    assert "(unverified)" in queue
    before = browser.token
    identify(browser, sign())
    assert browser.token != before
    assert listed(browser) == [browser.conversation]
    with db.read() as session:
        ticket = session.scalars(select(Ticket)).one()
        assert (ticket.requester_id, ticket.conversation.customer_id) == (known.id, known.id)
        assert ticket.requester.email is None  # what was typed proves nothing
    assert "(unverified)" not in sign_in(dora).get("/console/?tab=all").get_data(as_text=True)
    browser.token = before  # whoever knew it must not become the signed customer
    assert browser.get().status_code == 401


def test_another_browser_of_the_visitor_does_not_become_the_signed_customers(client: FlaskClient, db: Database) -> None:
    browser, other = Browser(client), Browser(client)
    browser.say("It leaks.")
    with db.begin() as session:  # as by a link
        rows = session.scalars(select(WidgetSession).order_by(WidgetSession.id)).all()
        rows[1].customer = rows[0].customer
    identify(browser, sign())
    assert client.get(f"{API}/conversations", headers=other.headers).status_code == 401


def test_another_customer_in_the_same_browser_sees_nothing_of_the_first(client: FlaskClient) -> None:
    browser = Browser(client, identity=sign("42"))
    browser.say("It leaks.")
    first, rosas = browser.token, browser.conversation
    identify(browser, sign("43"))
    assert listed(browser) == []
    assert browser.get().status_code == 404
    browser.token = first
    assert client.get(f"{API}/conversations", headers=browser.headers).status_code == 401
    assert listed(Browser(client, identity=sign("42"))) == [rosas]


def test_identifying_again_changes_nothing_but_what_the_site_says(client: FlaskClient, db: Database) -> None:
    browser = Browser(client, identity=sign(name="Rosa"))
    browser.say("It leaks.")
    before = browser.token
    assert identify(browser, sign(name="Rosa Diaz"))["name"] == "Rosa Diaz"
    assert browser.token == before
    assert identify(browser, sign())["name"] == "Rosa Diaz"
    with db.read() as session:
        row = session.scalars(select(WidgetSession)).one()
    assert row.expires_at < utcnow() + sessions.SIGNED_IN_LASTS + timedelta(minutes=1)
    assert browser.open(token=browser.token, name="Mallory").json["customer"]["name"] == "Rosa Diaz"


def test_only_the_site_prolongs_what_it_has_signed(client: FlaskClient, db: Database) -> None:
    browser = Browser(client, identity=sign())
    with db.begin() as session:
        row = session.scalars(select(WidgetSession)).one()
        row.last_used_at, row.expires_at = utcnow() - timedelta(hours=1), utcnow() + timedelta(days=1)
    listed(browser)
    with db.read() as session:
        assert session.scalars(select(WidgetSession.expires_at)).one() < utcnow() + timedelta(days=2)


@pytest.mark.parametrize(
    ("token", "reason"),
    [  # signed when they are tried: a run of all tests takes longer than they last
        (lambda: sign(minutes=-5), "expired"),
        (lambda: sign(minutes=60 * 25), "more than 24 hours"),
        (lambda: sign(exp=None), "no exp"),
        (lambda: sign(None), "no sub"),
        (lambda: sign(""), "sub must be"),
        (lambda: sign(42), "sub must be"),
        (lambda: sign("x" * 201), "sub must be"),
        (lambda: sign(secret="somebody else's secret, long enough"), "not signed with the secret"),
        (lambda: sign(algorithm="HS512", secret=SECRET * 2), "HS256"),
        (lambda: sign(email="nobody"), "email is not"),
        (lambda: sign(name=7), "name must be"),
        (lambda: jwt.encode({"sub": "42", "exp": 9999999999}, None, "none"), "HS256"),
        (lambda: "eyJ.x.y", "no valid JWT"),
    ],
)
def test_a_wrong_token_says_what_is_wrong_and_signs_nobody_in(
    client: FlaskClient, db: Database, token: Callable[[], str], reason: str
) -> None:
    refused = client.post(f"{API}/sessions", json={"identity": token()})
    assert (refused.status_code, refused.json["field"]) == (422, "identity")
    assert reason in refused.json["detail"]
    with db.read() as session:
        assert session.scalars(select(WidgetSession)).all() == []
        assert session.scalars(select(Customer)).all() == []


def test_an_inbox_has_secrets_of_its_own(client: FlaskClient, db: Database) -> None:
    with db.begin() as session:
        session.add(Inbox(key="acme"))
    refused = client.post(f"{API}/sessions", json={"inbox": "acme", "identity": sign()})
    assert "has no secret" in refused.json["detail"]
    with db.begin() as session:
        session.scalars(select(Inbox).where(Inbox.key == "acme")).one().secret = "another secret, also long enough"
    refused = client.post(f"{API}/sessions", json={"inbox": "acme", "identity": sign()})
    assert "inbox 'acme'" in refused.json["detail"]
    first = Browser(client, identity=sign())
    first.say("It leaks.")
    assert listed(Browser(client, inbox="acme", identity=sign(secret="another secret, also long enough"))) == []


def snippet(client: FlaskClient, language: str) -> str:
    page = client.get("/widget/docs").get_data(as_text=True)
    found = re.search(f'id="sign-{language}">(.*?)</code>', page, re.S)
    assert found is not None
    return html.unescape(found[1])


# How each language runs the snippet with a customer and prints the token.
RUN = {
    "node": (
        ["node", "--input-type=module", "--eval"],
        '%s; process.stdout.write(supportIdentity({ id: 43, name: "Rosa", email: "rosa@example.org" }));',
    ),
    "php": (["php", "-r"], '%s echo support_identity(["id" => 44, "name" => "Rosa", "email" => "rosa@example.org"]);'),
    "ruby": (
        ["ruby", "-e"],
        '%s; print support_identity(Struct.new(:id, :name, :email).new(45, "Rosa", "rosa@example.org"))',
    ),
}


def accept(client: FlaskClient, token: str) -> None:
    customer = client.post(f"{API}/sessions", json={"identity": token}).json["customer"]
    assert (customer["name"], customer["email"], customer["verified_by"]) == ("Rosa", "rosa@example.org", "site")


def test_the_documented_python_signs_what_is_accepted(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPPORT_SECRET", SECRET)
    python: dict[str, Any] = {}
    exec(snippet(client, "python"), python)
    accept(client, python["support_identity"](SimpleNamespace(id=42, name="Rosa", email="rosa@example.org")))


@pytest.mark.parametrize("language", RUN)
def test_the_documented_snippets_sign_what_is_accepted(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    command, script = RUN[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    monkeypatch.setenv("SUPPORT_SECRET", SECRET)
    said = subprocess.run(
        [*command, script % snippet(client, language)], check=True, capture_output=True, text=True, timeout=60
    )
    accept(client, said.stdout)


# Who customers are


def test_two_ids_are_two_customers_even_with_one_address(desk: Desk, db: Database) -> None:
    first = make_ticket(desk, requester_external_id="1", requester_email="family@example.org")
    second = make_ticket(desk, requester_external_id="2", requester_email="family@example.org")
    by_address = [make_ticket(desk, requester_email="family@example.org") for _ in range(2)]
    assert len({ticket.requester_id for ticket in (first, second, *by_address)}) == 3
    with db.read() as session:
        assert {one.verified_by for one in session.scalars(select(Customer))} == {VerifiedBy.API}


def test_agents_and_machines_are_told_who_is_unverified(
    client: FlaskClient, db: Database, key: dict[str, str], sign_in: Callable[[Persona], FlaskClient], dora: Persona
) -> None:
    Browser(client, name="Rosa").say("It leaks.")
    Browser(client, identity=sign(name="Ines")).say("It drips.")
    shown = client.get("/api/v1/tickets", headers=key).json["tickets"]
    assert {one["requester"]["name"]: one["requester"]["verified_by"] for one in shown} == {
        "Rosa": None,
        "Ines": "site",
    }
    for one in shown:
        page = sign_in(dora).get(f"/console/tickets/{one['id']}").get_data(as_text=True)
        assert (">Unverified<" in page) == (one["requester"]["name"] == "Rosa")


def test_an_operator_ends_the_sessions_of_a_customer(
    client: FlaskClient, db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(client, origin="https://shop.example", identity=sign(name="Rosa", email="rosa@example.org"))
    typed = Browser(client, email="rosa@example.org")
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(settings.data_dir))
    shown = CliRunner().invoke(main, ["customers", "show", "rosa@example.org"]).output
    assert re.search(r"Rosa, rosa@example.org, your id 42  verified by site\n  wse_\w+  https://shop.example ", shown)
    assert "unverified" in shown
    unclear = CliRunner().invoke(main, ["customers", "revoke", "rosa@example.org"])
    assert "Name one of them" in unclear.output
    ended = CliRunner().invoke(main, ["customers", "revoke", "42"])
    assert re.fullmatch(r"Ended 1 session of cus_\w+\.\n", ended.output)
    assert client.get(f"{API}/conversations", headers=browser.headers).status_code == 401
    assert listed(typed) == []
    assert "no customer 'x'" in CliRunner().invoke(main, ["customers", "revoke", "x"]).output


def test_conversations_are_moved_by_the_one_writer_and_told(client: FlaskClient, db: Database) -> None:
    browser = Browser(client)
    browser.say("It leaks.")
    identify(browser, sign(name="Rosa"))
    with db.read() as session:
        [conversation] = session.scalars(select(Conversation))
        told = [event.payload for event in _events(session, conversation.id) if event.kind == "ticket.updated"]
    assert told[-1]["changed"] == ["requester"]
    assert told[-1]["ticket"]["requester"]["name"] == "Rosa"


def _events(session: Any, conversation_id: int) -> Any:
    from assistant.desk import feed
    from assistant.desk.events import Audience

    return feed.after(session, 0, conversation_id=conversation_id, audience=Audience.AGENT)
