"""E-mail addresses that customers prove with a code: over HTTP, the codes through a real mail server."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import select
from werkzeug.test import TestResponse

from assistant import worker
from assistant.db import Database, utcnow
from assistant.desk import inboxes, links, proofs
from assistant.desk.desk import Desk
from assistant.desk.links import Purpose
from assistant.desk.sessions import new_token
from assistant.models import AddressCode, Customer, Mail, VerifiedBy
from assistant.runtime import Runtime
from assistant.wording import LANGUAGES, catalogue
from tests.factories import Browser, Persona, bearer, make_conversation, make_ticket
from tests.fakes import ManualClock
from tests.mail_server import Mailbox, open_mailbox
from tests.web.test_widget_identity import SECRET, sign

ROSA = "rosa@example.org"
API = "/widget/v1"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with open_mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def runtime(mailbox: Mailbox, make_runtime: Callable[..., Runtime]) -> Runtime:
    runtime = make_runtime(smtp_url=SecretStr(f"smtp://{mailbox.url}"), mail_from="help@shop.example", company="Lumora")
    object.__setattr__(runtime.desk, "now", ManualClock(utcnow() + timedelta(minutes=1)))
    with runtime.desk.db.begin() as session:
        inboxes.default(session).secret = SECRET
    return runtime


@pytest.fixture
def clock(desk: Desk) -> ManualClock:
    assert isinstance(desk.now, ManualClock)
    return desk.now


class Visitor(Browser):
    """A browser whose customer has a mailbox."""

    def __init__(self, client: FlaskClient, desk: Desk, mailbox: Mailbox, **session: Any) -> None:
        super().__init__(client, **session)
        self._desk, self._mailbox = desk, mailbox

    def ask(self, email: str = ROSA, **more: Any) -> TestResponse:
        """Have a code sent, and deliver it."""
        request = {"headers": self.headers, **more, "json": {"email": email, **more.get("json", {})}}
        answer = self.client.post(f"{API}/sessions/current/code", **request)
        worker.run_until_idle(self._desk)
        return answer

    @property
    def code(self) -> str:
        """In the newest mail."""
        [code] = re.findall(r"^    (\d{6})\s*$", self._text, re.M)
        return str(code)

    @property
    def _text(self) -> str:
        body = self._mailbox.mails[-1].get_body(("plain",))
        assert body is not None
        return str(body.get_content())

    def prove(self, code: str, token: str = "") -> TestResponse:
        proof = {"code": code, "token": token or new_token()}
        answer = self.client.post(f"{API}/sessions/current/proof", headers=self.headers, json=proof)
        if answer.status_code == 200:
            self.token = answer.json["token"]
        return answer

    @property
    def conversations(self) -> set[str]:
        answer = self.client.get(f"{API}/conversations", headers=self.headers)
        return {one["id"] for one in answer.json["conversations"]}


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


def told(answer: TestResponse) -> tuple[int, str, dict[str, Any]]:
    return answer.status_code, answer.json["notice"]["code"], answer.json["notice"]["params"]


@pytest.fixture
def visit(client: FlaskClient, desk: Desk, mailbox: Mailbox) -> Callable[..., Visitor]:
    """``visit("It leaks.", …)``: a new browser, which has said that. The rest is the body of its session."""

    def visit(text: str = "", **session: Any) -> Visitor:
        visitor = Visitor(client, desk, mailbox, **session)
        if text:
            visitor.say(text)
        return visitor

    return visit


def test_a_customer_proves_their_address_and_everybody_is_told(
    visit: Callable[..., Visitor],
    client: FlaskClient,
    mailbox: Mailbox,
    key: dict[str, str],
    sign_in: Callable[[Persona], FlaskClient],
    dora: Persona,
) -> None:
    visit("It drips.", email=ROSA)  # typed the address, too
    rosa = visit("It leaks.", name="Rosa", email="somebody@example.org")
    client.put(f"{rosa.path}/address", headers=rosa.headers, json={"email": ROSA})
    assert (rosa.ask().status_code, mailbox.recipients[-1]) == (202, [ROSA])
    assert rosa.get().json["by_mail"]["code_to"] == ROSA
    drawn, before = new_token(), rosa.token
    proved = rosa.prove(rosa.code, token=drawn)
    assert (proved.status_code, proved.json["token"]) == (200, drawn)
    customer = proved.json["customer"]
    assert (customer["name"], customer["email"], customer["verified_by"]) == ("Rosa", ROSA, "code")
    by_mail = rosa.get().json["by_mail"]
    assert (by_mail["email"], by_mail["proved"], by_mail["provable"], by_mail["code_to"]) == (ROSA, True, False, None)
    assert client.get(f"{API}/conversations", headers=bearer(before)).status_code == 401
    assert rosa.conversations == {rosa.conversation}
    assert client.post(f"{rosa.path}/transcript", headers=rosa.headers).status_code == 202
    shown = {one["requester"]["name"]: one for one in client.get("/api/v1/tickets", headers=key).json["tickets"]}
    assert {name: one["requester"]["verified_by"] for name, one in shown.items()} == {"Rosa": "code", ROSA: None}
    for name, words in (("Rosa", "Confirmed by e-mail"), (ROSA, "Unverified")):
        assert f">{words}<" in sign_in(dora).get(f"/console/tickets/{shown[name]['id']}").get_data(as_text=True)
    again = rosa.ask("another@example.org")
    assert (again.status_code, "known already" in again.json["detail"]) == (409, True)


def test_whoever_proves_the_same_address_has_its_conversations_and_nobody_elses(
    visit: Callable[..., Visitor], desk: Desk, db: Database
) -> None:
    signed = visit("I am signed in.", identity=sign(email=ROSA))
    typed = visit("I only say that I am Rosa.", email=ROSA)
    make_ticket(desk, requester_email=ROSA)
    laptop, phone = visit("It leaks.", name="Rosa"), visit("It still leaks.")
    for browser in (laptop, phone):
        browser.ask()
        assert browser.prove(browser.code).status_code == 200
    assert laptop.conversations == phone.conversations == {laptop.conversation, phone.conversation}
    assert len(phone.messages) >= 1
    assert (signed.conversations, typed.conversations) == ({signed.conversation}, {typed.conversation})
    with db.read() as session:
        of_rosa = session.scalars(select(Customer).where(Customer.email == ROSA)).all()
    assert sorted(str(one.verified_by) for one in of_rosa) == ["None", "code", "site"]  # the API's is the proved one
    assert {one.name for one in of_rosa if one.verified_by is VerifiedBy.CODE} == {"Rosa"}


def test_a_signed_customer_stays_theirs(visit: Callable[..., Visitor], db: Database) -> None:
    visit("It leaks.").ask()  # a stranger's code is no obstacle
    signed = visit("It leaks.", identity=sign())
    signed.ask()
    assert signed.prove(signed.code).json["customer"]["verified_by"] == "site"
    assert signed.get().json["by_mail"]["proved"]
    other = visit("It drips.")
    other.ask()
    other.prove(other.code)
    assert other.conversations == {other.conversation}
    with db.read() as session:
        assert session.scalars(select(Customer.external_id).where(Customer.email == ROSA)).all() == ["42", None]


def test_the_answer_is_the_same_whosever_the_address_is(
    visit: Callable[..., Visitor], desk: Desk, mailbox: Mailbox
) -> None:
    visit("It leaks.", identity=sign(email="signed@example.org"))
    visit("It leaks.", email="typed@example.org")
    make_ticket(desk, requester_email="api@example.org")
    proved = visit("It leaks.")
    proved.ask("proved@example.org")
    proved.prove(proved.code)
    for _ in range(proofs.A_MAILBOX[0][0]):
        visit().ask("flooded@example.org")
    sent = len(mailbox.raw)
    answers = set()
    for name in ("signed", "typed", "api", "proved", "unknown", "flooded"):
        asked = visit("Hello").ask(f"{name}@example.org")
        answers.add((asked.status_code, asked.get_data(as_text=True).replace(name, "…"), *sorted(asked.headers.keys())))
    assert len(answers) == 1
    assert [one[0] for one in mailbox.recipients[sent:]] == [
        f"{name}@example.org" for name in ("signed", "typed", "api", "proved", "unknown")
    ]


def test_a_code_is_good_for_a_while_for_one_session_once(
    visit: Callable[..., Visitor], client: FlaskClient, clock: ManualClock
) -> None:
    rosa, thief = visit("It leaks."), visit("It drips.")
    assert told(rosa.prove("123456")) == (422, "code_expired", {})  # there is none
    rosa.ask()
    first = rosa.code
    assert told(thief.prove(first))[1] == "code_expired"
    rosa.ask()
    assert told(rosa.prove(first))[1] == "code_wrong"  # a new one withdraws it
    clock.advance(proofs.LASTS)
    assert rosa.get().json["by_mail"]["code_to"] is None
    assert told(rosa.prove(rosa.code))[1] == "code_expired"
    rosa.ask()
    clock.advance(proofs.LASTS - timedelta(seconds=1))
    code = rosa.code
    for refused in ("short", rosa.token):  # could be guessed, or is in use
        assert (
            client.post(
                f"{API}/sessions/current/proof", headers=rosa.headers, json={"code": code, "token": refused}
            ).status_code
            == 422
        )
    assert rosa.prove(code).status_code == 200
    assert told(rosa.prove(code))[1] == "code_expired"


def test_a_code_may_be_wrong_five_times(visit: Callable[..., Visitor], db: Database) -> None:
    rosa = visit("It leaks.")
    rosa.ask()
    code = rosa.code
    for incomplete in ("", "12345", "1234567", "abcdef", "²34567", "1" * 99):
        assert told(rosa.prove(incomplete)) == (422, "code_incomplete", {})  # costs no try
    tries = [told(rosa.prove(other_than(code))) for _ in range(proofs.TRIES + 1)]
    assert [params.get("n") for _, _, params in tries] == [4, 3, 2, 1, None, None]
    assert [name for _, name, _ in tries[4:]] == ["code_used_up"] * 2
    assert told(rosa.prove(code))[1] == "code_used_up"
    rosa.ask()
    spaced = f"{rosa.code[:3]} {rosa.code[3:]}".translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))
    assert rosa.prove(spaced).status_code == 200
    with db.read() as session:
        assert not any(code in (one.code_hash, one.email) for one in session.scalars(select(AddressCode)))
        assert [one.text for one in session.scalars(select(Mail))] == ["", ""]


def test_nobody_can_have_a_mailbox_flooded(
    visit: Callable[..., Visitor], mailbox: Mailbox, clock: ManualClock, db: Database
) -> None:
    rosa = visit("It leaks.")
    rosa.ask("r.osa@example.org")
    mine = rosa.code
    spelled = ["rosa@example.org", "rosa+a@example.org", "R.O.S.A+b@Example.ORG", "rosa+c@example.org"]
    for address in spelled * 2:
        assert visit().ask(address).status_code == 202
    assert len(mailbox.raw) == 4
    rosa.ask("r.osa@example.org")
    assert rosa.get().json["by_mail"]["code_to"] == "r.osa@example.org"
    held = visit("It drips.")
    held.ask()
    assert told(held.prove(mine))[1] == "code_wrong"  # it has a code that nobody knows
    assert visit().ask("other@example.org").status_code == 202
    assert len(mailbox.raw) == 5  # other mailboxes get theirs
    assert rosa.prove(mine).status_code == 200  # what was sent holds
    for _ in range(2):
        clock.advance(timedelta(hours=1, seconds=1))
        for _ in range(6):
            visit().ask()
    assert len(mailbox.raw) == 5 + 4  # a day has an end, too
    clock.advance(timedelta(days=1, seconds=1))
    proofs.sweep(db, now=clock())
    with db.read() as session:
        assert session.scalars(select(AddressCode)).all() == []
    visit().ask()
    assert len(mailbox.raw) == 10


def test_a_session_and_a_network_ask_for_a_few_codes(
    runtime: Runtime, make_app: Callable[..., APIFlask], desk: Desk, mailbox: Mailbox
) -> None:
    client = make_app(runtime, limited=True).test_client()
    rosa = Visitor(client, desk, mailbox)
    assert [rosa.ask("no address").status_code for _ in range(4)] == [422] * 4  # which counts as nothing
    asked = [rosa.ask(f"{number}@example.org") for number in range(4)]
    assert [one.status_code for one in asked] == [202, 202, 202, 429]
    assert 0 < asked[-1].json["retry_after"] <= 3600
    origin: dict[str, Any] = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    statuses = []
    for number in range(8):
        token = client.post(f"{API}/sessions", json={}, **origin).json["token"]
        for _ in range(3):
            where, email = f"{API}/sessions/current/code", {"email": f"{len(statuses)}@n{number}.example"}
            statuses.append(client.post(where, headers=bearer(token), json=email, **origin).status_code)
    assert (statuses[:20], set(statuses[20:])) == ([202] * 20, {429})


def test_without_a_mail_server_no_code_is_promised(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    client = make_app(make_runtime()).test_client()
    rosa = Browser(client)
    rosa.say("It leaks.")
    asked = client.post(f"{API}/sessions/current/code", headers=rosa.headers, json={"email": ROSA})
    assert (asked.status_code, asked.json["notice"]["code"]) == (503, "no_mail_now")
    assert rosa.get().json["by_mail"] is None


def test_the_mail_is_in_the_language_that_is_spoken(visit: Callable[..., Visitor], mailbox: Mailbox) -> None:
    for language in LANGUAGES:
        rosa = visit()
        rosa.ask(f"{language}@example.org", json={"language": f"{language}-XX"})
        mail = mailbox.mails[-1]
        subject = str(catalogue(language)["mail_code_subject"])
        assert re.sub("[\u2068\u2069]", "", str(mail["Subject"])) == subject.replace("{company}", "Lumora")
        assert (mail["Content-Language"], mail["List-Unsubscribe"]) == (language, None)
        assert rosa.prove(rosa.code).status_code == 200
    rosa = visit()
    rosa.ask("browser@example.org", headers={**rosa.headers, "Accept-Language": "tr, en;q=.5"})
    assert mailbox.mails[-1]["Content-Language"] == "tr"


def test_who_only_opened_a_link_proves_nothing_for_whose_conversation_it_is(
    visit: Callable[..., Visitor], desk: Desk
) -> None:
    rosa = visit("It leaks.")
    phone = visit(link=links.sign(desk.settings, Purpose.OPEN, rosa.conversation))
    phone.conversation = rosa.conversation
    assert not phone.get().json["by_mail"]["provable"]
    phone.ask()
    assert phone.prove(phone.code).status_code == 200
    assert not rosa.get().json["by_mail"]["proved"]
    assert rosa.conversations == phone.conversations == {rosa.conversation}


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_of_many_at_once_no_more_are_sent_and_one_customer_comes_out(
    request: pytest.FixtureRequest,
    database: str,
    mailbox: Mailbox,
    make_runtime: Callable[..., Runtime],
    make_app: Callable[..., APIFlask],
) -> None:
    where = {"database_url": request.getfixturevalue("postgres_url")} if database == "postgresql" else {}
    runtime = make_runtime(smtp_url=SecretStr(f"smtp://{mailbox.url}"), mail_from="help@shop.example", **where)
    app, desk = make_app(runtime), runtime.desk
    make_conversation(desk, email=ROSA)
    two = [Visitor(app.test_client(), desk, mailbox) for _ in range(2)]
    codes = []
    for visitor in two:
        visitor.say("It leaks.")
        visitor.ask()
        codes.append(visitor.code)
    together([lambda visitor=visitor, code=code: visitor.prove(code) for visitor, code in zip(two, codes, strict=True)])
    assert two[0].conversations == two[1].conversations == {one.conversation for one in two}
    many = [Visitor(app.test_client(), desk, mailbox) for _ in range(6)]
    code, wanted = f"{API}/sessions/current/code", {"email": ROSA}
    together([lambda one=one: one.client.post(code, headers=one.headers, json=wanted) for one in many])
    worker.run_until_idle(desk)
    assert len(mailbox.raw) == proofs.A_MAILBOX[0][0]


def together(actions: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
