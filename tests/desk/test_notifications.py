"""Replies that customers have not seen: counted on the server, and told by mail to those whom they concern."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import select, update

from assistant import worker
from assistant.db import utcnow
from assistant.desk import attention, feed, inboxes, links, notifications, state
from assistant.desk.access import CustomerPrincipal
from assistant.desk.attention import Unread
from assistant.desk.desk import Desk
from assistant.desk.events import Audience, EventKind
from assistant.desk.links import Purpose
from assistant.errors import Conflict, Invalid, NotFound, NotReady
from assistant.models import Author, Customer, Event, Message, MessageVisibility, VerifiedBy
from assistant.runtime import Runtime
from tests.factories import Persona
from tests.fakes import ManualClock
from tests.mail_server import Mailbox, open_mailbox

FIVE_MINUTES = timedelta(minutes=5, seconds=30)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with open_mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def runtime(mailbox: Mailbox, make_runtime: Callable[..., Runtime]) -> Runtime:
    runtime = make_runtime(
        smtp_url=SecretStr(f"smtp://{mailbox.url}"),
        mail_from="help@shop.example",
        public_url="https://help.shop.example",
        company="Lumora",
    )
    object.__setattr__(runtime.desk, "now", ManualClock(utcnow()))
    return runtime


@dataclass
class Chat:
    """A conversation in the widget, driven from both sides."""

    desk: Desk
    id: int
    public_id: str
    agent: Persona

    @property
    def customer(self) -> CustomerPrincipal:
        return CustomerPrincipal(self.id)

    def ask(self, text: str = "My lamp blinks.") -> Message:
        return self._say(Message(author=Author.CUSTOMER, text=text))

    def reply(self, text: str, *, author: Author = Author.AGENT, internal: bool = False) -> Message:
        visibility = MessageVisibility.INTERNAL if internal else MessageVisibility.PUBLIC
        agent_id = self.agent.principal.agent_id if author is Author.AGENT else None
        return self._say(Message(author=author, agent_id=agent_id, text=text, visibility=visibility))

    def _say(self, message: Message) -> Message:
        with self.desk.db.begin() as session:
            conversation = state.lock_conversation(session, self.id)
            if message.author is Author.CUSTOMER:
                return state.receive(session, conversation, message, subject="Lamp")
            return state.add_message(session, conversation, message)

    def see(self, message: Message, *, seen: bool = True) -> None:
        with self.desk.db.begin() as session:
            attention.receive(session, self.customer, message.public_id, seen=seen)

    def unread(self) -> Unread:
        with self.desk.db.read() as session:
            return attention.unread(session, [self.id]).get(self.id, Unread())

    def give_address(self, typed: str) -> None:
        with self.desk.db.begin() as session:
            notifications.set_address(session, self.customer, typed)

    def wait(self, by: timedelta = FIVE_MINUTES) -> None:
        assert isinstance(self.desk.now, ManualClock)
        self.desk.now.advance(by)
        worker.run_until_idle(self.desk)


@pytest.fixture
def make_chat(desk: Desk, alice: Persona) -> Callable[..., Chat]:
    def make(*, verified: str | None = None, claimed: str | None = None, language: str | None = None) -> Chat:
        with desk.db.begin() as session:
            customer = Customer(email=verified or claimed)
            if verified:
                customer.verified_at, customer.verified_by = utcnow(), VerifiedBy.CODE
            session.add(customer)
            inbox = inboxes.default(session)
            begun = state.begin_conversation(session, customer, channel="widget", inbox=inbox, language=language)
            return Chat(desk, begun.id, begun.public_id, alice)

    return make


def plain(mailbox: Mailbox, at: int = -1) -> str:
    body = mailbox.mails[at].get_body(("plain",))
    assert body is not None
    return "\n".join(body.get_content().splitlines())


# Unread


def test_replies_are_unread_until_any_browser_has_shown_them(make_chat: Callable[..., Chat]) -> None:
    chat = make_chat()
    chat.ask()
    first = chat.reply("Which lamp?", author=Author.ASSISTANT)
    chat.reply("for us", internal=True)
    chat.reply("handed off", author=Author.SYSTEM)
    second = chat.reply("I am Alice.")
    unread = chat.unread()
    assert unread.count == 2
    assert unread.newest is not None
    assert unread.newest.text == "I am Alice."
    chat.see(second, seen=False)
    assert chat.unread().count == 2
    chat.see(second)
    chat.see(first)  # an older tab is slower
    assert chat.unread() == Unread()


def test_both_sides_learn_what_the_other_has_seen(make_chat: Callable[..., Chat], desk: Desk) -> None:
    chat = make_chat()
    asked, answered = chat.ask(), chat.reply("Which lamp?")
    chat.see(answered, seen=False)
    chat.see(answered)
    chat.see(answered)  # again: nothing new
    with desk.db.begin() as session:
        attention.agent_saw(session, chat.agent.principal, chat.id)
        attention.agent_saw(session, chat.agent.principal, chat.id)
    with desk.db.read() as session:
        told = [event.payload for event in feed.after(session, 0, conversation_id=chat.id, audience=Audience.CUSTOMER)
                if event.kind == EventKind.CONVERSATION_READ]  # fmt: skip
        receipt = attention.receipt(session, chat.id)
    assert [(one["delivered"], one["seen"], one["seen_by_agents"]) for one in told] == [
        (answered.public_id, None, None),
        (answered.public_id, answered.public_id, None),
        (answered.public_id, answered.public_id, asked.public_id),
    ]
    assert receipt is not None
    assert (receipt.message.id, receipt.how) == (answered.id, "seen")


def test_what_is_not_the_customers_cannot_be_seen_by_them(make_chat: Callable[..., Chat]) -> None:
    chat, other = make_chat(), make_chat()
    chat.ask()
    for message in (chat.reply("for us", internal=True), other.ask()):
        with pytest.raises(NotFound):
            chat.see(message)


def test_that_somebody_types_is_told_at_once_and_soon_forgotten(
    make_chat: Callable[..., Chat], desk: Desk, alice: Persona
) -> None:
    chat = make_chat()
    chat.ask()

    def heard(audience: Audience) -> list[Any]:
        with desk.db.read() as session:
            events = feed.after(session, 0, conversation_id=chat.id, audience=audience)
            return [event.payload["name"] for event in events if event.kind == EventKind.TYPING]

    for _ in range(3):
        with desk.db.begin() as session:
            attention.customer_types(session, chat.customer)
            attention.agent_types(session, alice.principal, chat.id)
    assert heard(Audience.CUSTOMER) == ["Alice"]
    assert heard(Audience.AGENT) == [None, "Alice"]
    with desk.db.begin() as session:
        session.execute(update(Event).values(created_at=utcnow() - timedelta(seconds=30)))
    assert heard(Audience.AGENT) == []
    feed.sweep(desk.db, now=utcnow())
    with desk.db.read() as session:
        kinds = set(session.scalars(select(Event.kind)))
    assert EventKind.TYPING.value not in kinds
    assert EventKind.MESSAGE_CREATED.value in kinds


# Mail


def test_one_mail_tells_of_several_replies_once_they_have_stayed_unseen(
    make_chat: Callable[..., Chat], mailbox: Mailbox, desk: Desk
) -> None:
    chat = make_chat(verified="kim@example.org", language="de-AT")
    chat.ask("Meine Lampe blinkt.")
    chat.reply("Welche Lampe?")
    chat.wait(timedelta(minutes=2))
    chat.reply("Ein Foto hilft.")
    chat.reply("intern", internal=True)
    chat.wait(timedelta(minutes=2))
    assert mailbox.raw == []
    chat.wait(timedelta(minutes=2))
    [received] = mailbox.mails
    assert (received["Subject"], received["To"]) == ("Antwort von Lumora [#1001]", "kim@example.org")
    said = plain(mailbox)
    assert "Sie haben 2 neue Antworten von Lumora:" in said
    assert said.index("> Meine Lampe blinkt.") < said.index("> Welche Lampe?") < said.index("> Ein Foto hilft.")
    assert "Alice (" in said
    assert "intern" not in said
    assert received["In-Reply-To"] == f"<{chat.public_id}@shop.example>"
    token = re.findall(r"https://help.shop.example/widget/#link=(\S+)", said)[0]
    assert links.read(desk.settings, Purpose.OPEN, token) == chat.public_id
    chat.wait(timedelta(days=1))
    assert len(mailbox.raw) == 1
    chat.reply("Sind Sie noch da?")
    chat.wait(timedelta(minutes=2))
    chat.wait()
    assert "> Sind Sie noch da?" in plain(mailbox)
    assert "> Welche Lampe?" not in plain(mailbox)
    with desk.db.read() as session:
        receipt = attention.receipt(session, chat.id)
    assert receipt is not None
    assert receipt.how == "mailed"


def test_whoever_has_seen_a_reply_gets_no_mail(make_chat: Callable[..., Chat], mailbox: Mailbox) -> None:
    chat = make_chat(verified="kim@example.org")
    chat.ask()
    first = chat.reply("Which lamp?")
    chat.wait(timedelta(minutes=2))
    chat.see(first)
    chat.wait()
    assert mailbox.raw == []


@pytest.mark.parametrize(("minutes", "claimed"), [(5, "kim@example.org"), (5, None), (0, None)])
def test_nobody_is_sent_mail_whom_only_a_page_named_or_whom_it_is_not_to_be_sent(
    make_chat: Callable[..., Chat], mailbox: Mailbox, desk: Desk, minutes: int, claimed: str | None
) -> None:
    object.__setattr__(desk, "settings", desk.settings.model_copy(update={"reply_mail_minutes": minutes}))
    chat = make_chat(claimed=claimed) if claimed or minutes else make_chat(verified="kim@example.org")
    chat.ask()
    chat.reply("Which lamp?")
    chat.wait(timedelta(minutes=2))
    chat.wait()
    assert mailbox.raw == []


def test_an_address_typed_in_the_conversation_gets_our_words_alone(
    make_chat: Callable[..., Chat], mailbox: Mailbox
) -> None:
    chat = make_chat(claimed="somebody@example.org")
    chat.give_address(" Kim@Example.org ")
    chat.ask("Buy cheap pills at https://pills.example")
    chat.reply("Which lamp?")
    chat.wait(timedelta(minutes=2))
    chat.wait()
    assert mailbox.recipients == [["kim@example.org"]]
    assert "> Which lamp?" in plain(mailbox)
    assert b"pills" not in mailbox.raw[0]
    with pytest.raises(Invalid, match="not an e-mail address"):
        chat.give_address("kim@example.org, everybody@example.org")


def test_one_click_stops_mail_to_an_address_and_another_resumes_it(
    make_chat: Callable[..., Chat], mailbox: Mailbox, client: FlaskClient
) -> None:
    chat = make_chat(verified="kim@example.org")

    def mails_after_a_reply() -> int:
        chat.ask()
        chat.reply("Which lamp?")
        chat.wait(timedelta(minutes=2))
        chat.wait()
        return len(mailbox.raw)

    assert mails_after_a_reply() == 1
    stop = str(mailbox.mails[0]["List-Unsubscribe"]).strip("<>").removeprefix("https://help.shop.example")
    assert mailbox.mails[0]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    asked = client.get(stop, headers={"Accept-Language": "de"})  # as scanners of links do
    assert "keine E-Mails über Antworten mehr" in asked.text
    assert mails_after_a_reply() == 2
    assert "kim@example.org" in client.post(stop, data={"List-Unsubscribe": "One-Click"}).text
    assert mails_after_a_reply() == 2
    assert "again" in client.post(stop, data={"again": "1"}).text
    assert mails_after_a_reply() == 3
    for wrong in (stop[:-3], "/mail/unsubscribe", stop.replace("token=", "token=x")):
        refused = client.post(wrong)
        assert refused.status_code == 404
        assert "expired" in refused.text


def test_links_are_good_for_one_thing_and_not_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    token = links.sign(desk.settings, Purpose.OPEN, "cnv_1")
    assert links.read(desk.settings, Purpose.OPEN, token) == "cnv_1"
    with pytest.raises(NotFound):
        links.read(desk.settings, Purpose.UNSUBSCRIBE, token)
    monkeypatch.setattr(links, "utcnow", lambda: utcnow() - timedelta(days=15))
    with pytest.raises(NotFound, match="expired"):
        links.read(desk.settings, Purpose.OPEN, links.sign(desk.settings, Purpose.OPEN, "cnv_1"))


def test_a_transcript_goes_to_a_proved_address_only(
    make_chat: Callable[..., Chat], mailbox: Mailbox, make_runtime: Callable[..., Runtime]
) -> None:
    chat = make_chat(verified="kim@example.org")
    chat.ask("My lamp blinks.")
    chat.reply("Which lamp?")
    assert notifications.send_transcript(chat.desk, chat.customer) == "kim@example.org"
    chat.wait(timedelta(minutes=1))
    assert mailbox.mails[0]["Subject"] == "Your conversation with Lumora [#1001]"
    assert plain(mailbox).index("> My lamp blinks.") < plain(mailbox).index("> Which lamp?")
    typed = make_chat(claimed="sam@example.org")
    typed.give_address("sam@example.org")
    typed.ask()
    with pytest.raises(Conflict, match="confirm"):
        notifications.send_transcript(typed.desk, typed.customer)
    with pytest.raises(NotReady):
        notifications.send_transcript(make_runtime(smtp_url=None).desk, chat.customer)


def test_times_in_mails_are_those_of_the_inbox_as_the_customer_writes_them(
    make_chat: Callable[..., Chat], mailbox: Mailbox, desk: Desk
) -> None:
    assert isinstance(desk.now, ManualClock)
    with desk.db.begin() as session:
        hours = {"zone": "Asia/Tokyo", "week": {"mon": ["09:00-17:00"]}}
        inboxes.change(inboxes.default(session), {"hours": hours})
    chat = make_chat(verified="kim@example.org", language="en-GB")
    chat.ask()
    with desk.db.begin() as session:
        session.execute(update(Message).values(created_at=datetime(2026, 7, 31, 23, 30, tzinfo=UTC)))
    notifications.send_transcript(desk, chat.customer)
    chat.wait(timedelta(minutes=1))
    assert "You (1 Aug 2026, 08:30 GMT+09:00):" in plain(mailbox)
