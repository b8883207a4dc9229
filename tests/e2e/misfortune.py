"""Customers out of luck, in a real Chromium on the real server: python -m tests.e2e.misfortune --customers 30 --seed 7

Everything that goes wrong in the life of a widget goes wrong at random: no connection, a line that loses responses (the
request arrives), pages that are loaded again, second tabs, tabs that are closed, ``kill -9`` of the server. Meanwhile
customers write, some with photos, ask for people, leave a conversation and begin another, and an agent answers, solves
and gives back. Each customer does `--minutes` of such things, one every `EVERY` seconds, without the pauses in between.

Then everything works again, nobody does anything any more, and it is told what is wrong: messages that are missing,
there twice or out of order, conversations that nobody wanted, questions that got neither an answer nor a person,
screens that show something else than the database, and unread counts. What customers do follows from the seed alone, so
a failure can be replayed; how it meets server and browser does not.
"""

from __future__ import annotations

import argparse
import random
import shutil
import socket
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Error, Frame, Page, sync_playwright
from sqlalchemy import select, update

from assistant.db import Database, utcnow
from assistant.desk import attention, conversations, state, tickets
from assistant.desk.access import AgentPrincipal
from assistant.errors import AssistantError
from assistant.lab.real_server import Server
from assistant.models import Author, Conversation, ConversationState, Job, JobStatus, Message, Ticket
from assistant.runtime import build
from assistant.settings import Settings
from tests.e2e.conftest import BROWSERS, FLAGS, Site
from tests.e2e.test_embedding import OPEN_SHADOWS
from tests.factories import make_agent, make_articles, make_photo

EVERY = 20  # seconds of a customer's life between two things that they do
SETTLES_WITHIN = 180.0  # seconds, once everything works again and is processed; retries are at most 30 apart
PROCESSED_WITHIN = 1200.0  # seconds for all messages, on a busy machine
BUSY = "messages are being processed"
API = b"/widget/v1/"
LOST = 0.7  # of the API's responses, on a line that loses them
SOON = 3_000  # milliseconds in which a page that works does what it is told
POSSIBLE_WITHIN = 30.0  # seconds until a chat is there that nothing keeps from it, on a busy machine
QUESTIONS = (
    "What does E21 mean on the BrewMaster 300?",
    "The pump draws no water. What can I do?",
    "Do you sponsor sailing clubs?",
    "My parcel has not come.",
)
HAPPENS = {  # how often, in a hundred
    "write": 42,
    "lose connection": 10,
    "lose responses": 12,
    "reload": 11,
    "second tab": 8,
    "close tab": 5,
    "open or close chat": 10,
    "begin anew": 2,
}
# What a customer sees in one tab; null while the widget is not there.
SEEN = """() => {
    if (!document.body.classList.contains("ready")) return null;
    const shown = [...document.querySelectorAll("#log .entry, #log .notice")].map((one) => ({
        author: one.dataset.author ?? "system",
        text: (one.querySelector(".bubble") ?? one).innerText.trim(),
        delivery: one.dataset.delivery ?? null,
    }));
    return { shown, waits: !document.getElementById("writing").hidden, state: document.body.dataset.state };
}"""
WRITE = """(text) => {
    const field = document.getElementById("text");
    if (!document.body.classList.contains("ready") || field.offsetParent === null) return false;
    field.value = text;
    field.form.requestSubmit();
    return field.value === "";
}"""
PRESS = """(id) => {
    const button = document.getElementById(id);
    if (!document.body.classList.contains("ready") || button.offsetParent === null || button.disabled) return false;
    button.click();
    return true;
}"""
ANEW = """() => {
    const begun = document.querySelector("#log .entry");
    if (!document.body.classList.contains("ready") || !begun) return false;
    document.getElementById("open-earlier").click();
    document.getElementById("start-new").click();
    return true;
}"""
KEPT = "() => Object.entries({...localStorage}).filter(([key]) => key.includes('/outbox.')).map(([, value]) => value)"
BADGE = """() => {
    const root = [...document.documentElement.children].map((one) => one.shadowRoot).find(Boolean);
    const badge = root?.querySelector(".badge");
    return badge && !badge.hidden ? badge.textContent : "0";
}"""


class Line:
    """A customer's way to the server: a port and, for the server, an address of their own."""

    def __init__(self, server: Server, number: int) -> None:
        self.loses = False  # responses, while requests arrive
        self.losses = 0
        self._port = urlsplit(server.url).port or 0
        self._address = f"127.0.1.{number + 1}"
        self._luck = random.Random(number)
        self._entrance = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        self.url = f"http://127.0.0.1:{self._entrance.getsockname()[1]}"

    def cut(self) -> None:
        """End every connection."""
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._entrance.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        while any(thread.is_alive() for thread in self._threads):
            self.cut()
            time.sleep(0.01)
        self._entrance.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._entrance.accept()
            except OSError:  # closed
                return
            self._threads.append(threading.Thread(target=self._connect, args=(client,), daemon=True))
            self._threads[-1].start()

    def _connect(self, client: socket.socket) -> None:
        to_server = {"address": ("127.0.0.1", self._port), "source_address": (self._address, 0)}
        with client, suppress(OSError), socket.create_connection(**to_server) as server:  # else it is down
            self._open |= {client, server}
            asked = bytearray()
            carrying = threading.Thread(target=self._carry, args=(client, server, asked), daemon=True)
            carrying.start()
            self._answer(server, client, asked)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            carrying.join()
            self._open -= {client, server}

    def _carry(self, client: socket.socket, server: socket.socket, asked: bytearray) -> None:
        with suppress(OSError):
            while said := client.recv(65_536):
                if said[:1].isupper():  # the line that says what for
                    asked[:] = said[:100]
                server.sendall(said)
            server.shutdown(socket.SHUT_WR)

    def _answer(self, server: socket.socket, client: socket.socket, asked: bytearray) -> None:
        with suppress(OSError):
            while said := server.recv(65_536):
                if self.loses and API in asked and self._luck.random() < LOST:
                    self.losses += 1
                    client.sendall(said[: self._luck.choice((0, 0, len(said) // 2))])
                    return
                client.sendall(said)


@dataclass(frozen=True)
class Step:
    """Something that happens to a customer. ``chances``: what decides in which tab and how, each from 0 to 1."""

    what: str
    chances: tuple[float, float, float]


def plan(chance: random.Random, steps: int) -> deque[Step]:
    drawn = chance.choices(list(HAPPENS), weights=list(HAPPENS.values()), k=steps)
    return deque(Step(what, (chance.random(), chance.random(), chance.random())) for what in drawn)


@dataclass(eq=False)
class Tab:
    page: Page
    number: int
    is_open: bool = False  # whether the customer has the chat open there

    def chat(self) -> Frame | None:
        return next((one for one in self.page.frames if "/widget/" in one.url), None)

    def ask(self, script: str, argument: Any = None) -> Any:
        """What a script in the frame of the widget says; None where there is none that works."""
        chat = self.chat()
        try:
            return chat.evaluate(script, argument) if chat is not None else None
        except Error:
            return None


@dataclass(eq=False)
class Customer:
    number: int
    address: str  # of the page that they are on
    line: Line
    context: BrowserContext
    tabs: list[Tab] = field(default_factory=list)
    written: list[tuple[int, str]] = field(default_factory=list)  # by which tab, in order
    steps: deque[Step] = field(default_factory=deque)
    tried_until: float | None = None  # when the next step is given up
    trouble: dict[str, int] = field(default_factory=dict)  # how many steps are left when it ends
    begins: int = 1  # conversations that the customer wanted
    closed_at: datetime | None = None  # the chat, in the last tab where it was open
    unread: int | None = None  # replies, where it is known for certain
    _opened: int = 0

    @property
    def mark(self) -> str:
        return f"[{self.number:02}-"

    def text(self, question: str) -> str:
        return f"{question} {self.mark}{len(self.written):03}]"

    def tab(self, which: float) -> Tab:
        return self.tabs[int(which * len(self.tabs))]

    def open_tab(self) -> Tab:
        self._opened += 1
        tab = Tab(self.context.new_page(), self._opened)
        self.tabs.append(tab)
        self.load(tab)
        return tab

    def load(self, tab: Tab) -> None:
        was_open, tab.is_open = tab.is_open, False
        with suppress(Error):  # no connection: the browser shows its own page
            tab.page.goto(self.address, wait_until="domcontentloaded")
            tab.page.wait_for_function("window.SupportAssistant || window.isWithout")
        if was_open and not self.open_chat(tab):
            self.leave(tab)

    def has_widget(self, tab: Tab) -> bool:
        try:
            return bool(tab.page.evaluate("Boolean(window.SupportAssistant)"))
        except Error:
            return False

    def open_chat(self, tab: Tab) -> bool:
        tab.is_open = self._call(tab, "open")
        return tab.is_open

    def close_chat(self, tab: Tab) -> None:
        self._call(tab, "close")
        self.leave(tab)

    def leave(self, tab: Tab) -> None:
        tab.is_open = False
        if not any(one.is_open for one in self.tabs):
            self.closed_at = utcnow()

    def _call(self, tab: Tab, method: str) -> bool:
        try:
            tab.page.evaluate(f"SupportAssistant.{method}()")
        except Error:
            return False
        return True


class Misfortune:
    """Customers, what happens to them, and what is wrong afterwards."""

    def __init__(self, browser: Browser, folder: Path, *, customers: int, seed: int) -> None:
        self.did: Counter[str] = Counter()
        self._seed = seed
        self._chance = random.Random(seed)
        settings = Settings(data_dir=folder / "var")
        runtime = build(settings)
        make_articles(runtime.desk, folder / "articles")
        self._agent: AgentPrincipal = make_agent(runtime.desk.db, "alice", admin=True).principal
        runtime.close()
        self.db = Database(settings.sqlalchemy_url)
        self._photo = folder / "photo.jpg"
        self._photo.write_bytes(make_photo("E21", size=(640, 480)))
        self._site = Site()
        limits = {"rate_limit": "100000 per minute"}  # ten minutes' requests come in less
        self._server = Server(
            folder / "var", at_once=True, model="none", ocr="off", widget_origins=self._site.url, **limits
        )
        self._is_up = True
        self._server.start()
        self.customers = [self._invite(browser, number) for number in range(customers)]

    def _invite(self, browser: Browser, number: int) -> Customer:
        line = Line(self._server, number)
        path = f"/{number}"
        loader = f'<script src="{line.url}/widget/loader.js" onerror="isWithout = true" async></script>'
        self._site.add(path, "<main>Shop</main>", head=loader)
        look = {"viewport": {"width": 700, "height": 600}, "locale": "en-GB", "reduced_motion": "reduce"}
        context = browser.new_context(**look)
        context.add_init_script(OPEN_SHADOWS)
        context.set_default_timeout(SOON)
        customer = Customer(number, self._site.url + path, line, context)
        customer.open_tab()
        return customer

    def close(self) -> None:
        for customer in self.customers:
            customer.context.close()
            customer.line.close()
        self._server.close()
        self._site.close()
        self.db.close()

    # What happens

    def happen(self, minutes: float) -> None:
        """Each customer lives for so long, and the server is killed about once a minute."""
        steps = round(minutes * 60 / EVERY)
        for customer in self.customers:
            customer.steps = plan(random.Random(f"{self._seed} {customer.number}"), steps)
        done, minute = 0, max(len(self.customers) * 60 // EVERY, 6)
        while alive := [customer for customer in self.customers if customer.steps]:
            self._chance.shuffle(alive)
            before = done
            for customer in alive:
                if self._step(customer):
                    done += 1
                    self._intervene(done % minute, minute)
            if done == before:
                alive[0].tabs[0].page.wait_for_timeout(50)

    def _intervene(self, at: int, minute: int) -> None:
        """Kill the server in the middle of each minute, for a twelfth of it, and let the agent work."""
        if at == minute // 2:
            self._kill()
        elif at == minute // 2 + max(minute // 12, 2):
            self._restart()
        if self._chance.random() < 0.15:
            self._work()

    def _step(self, customer: Customer) -> bool:
        """Try the next step. Returns whether it is over: done, or given up because it was not possible for so long."""
        step, now = customer.steps[0], time.monotonic()
        if customer.tried_until is None:
            customer.tried_until = now + POSSIBLE_WITHIN
        is_done = getattr(self, f"_{step.what.replace(' ', '_')}")(customer, *step.chances)
        if not is_done and now < customer.tried_until and self._may_change(customer):
            return False
        self.did[step.what if is_done else f"could not {step.what}"] += 1
        customer.steps.popleft()
        customer.tried_until = None
        self._mend(customer)
        return True

    def _may_change(self, customer: Customer) -> bool:
        """Whether what is not possible now may be so in a moment: a page is loading."""
        return self._is_up and "connection" not in customer.trouble

    def _mend(self, customer: Customer) -> None:
        """End the troubles that have lasted long enough."""
        for what in [what for what, ends in customer.trouble.items() if len(customer.steps) <= ends]:
            del customer.trouble[what]
        customer.line.loses = "responses" in customer.trouble
        customer.context.set_offline("connection" in customer.trouble)

    def _write(self, customer: Customer, which: float, about: float, photo: float) -> bool:
        tab = customer.tab(which)
        if not customer.has_widget(tab):
            customer.load(tab)
        if not (tab.is_open or customer.open_chat(tab)) or tab.ask(SEEN) is None:
            return False
        if about > 0.9 and tab.ask(PRESS, "person"):
            self.did["ask for a person"] += 1
        text = customer.text(QUESTIONS[int(about * len(QUESTIONS))])
        if (photo < 0.15 and not self._attach(tab)) or not tab.ask(WRITE, text):
            return False
        # Nobody closes a tab within milliseconds of sending.
        ends_at = time.monotonic() + SOON / 1000
        while time.monotonic() < ends_at and not self._has(tab, text):
            tab.page.wait_for_timeout(20)
        customer.written.append((tab.number, text))
        return True

    def _attach(self, tab: Tab) -> bool:
        chat = tab.chat()
        try:
            if chat is None or not chat.evaluate("document.body.classList.contains('ready')"):
                return False
            chat.locator("#picker").set_input_files(self._photo)
            chat.locator("#chips li").first.wait_for()
        except Error:
            return False
        return True

    def _has(self, tab: Tab, text: str) -> bool:
        """Whether the browser has a message so that it would survive closing the page, or the server has it."""
        try:
            if any(text in kept for kept in tab.page.evaluate(KEPT)):
                return True
        except Error:
            return True
        seen = tab.ask(SEEN) or {"shown": []}
        return any(text in one["text"] and one["delivery"] == "sent" for one in seen["shown"])

    def _lose_connection(self, customer: Customer, lasts: float, *_: float) -> bool:
        customer.trouble["connection"] = len(customer.steps) - 2 - int(3 * lasts)
        customer.context.set_offline(True)
        customer.line.cut()
        return True

    def _lose_responses(self, customer: Customer, lasts: float, *_: float) -> bool:
        customer.trouble["responses"] = len(customer.steps) - 2 - int(4 * lasts)
        customer.line.loses = True
        return True

    def _reload(self, customer: Customer, which: float, *_: float) -> bool:
        customer.load(customer.tab(which))
        return True

    def _second_tab(self, customer: Customer, *_: float) -> bool:
        if len(customer.tabs) > 1:
            return False
        customer.open_tab()
        return True

    def _close_tab(self, customer: Customer, which: float, *_: float) -> bool:
        if len(customer.tabs) < 2:
            return False
        tab = customer.tab(which)
        customer.tabs.remove(tab)
        customer.leave(tab)
        tab.page.close()
        return True

    def _open_or_close_chat(self, customer: Customer, which: float, *_: float) -> bool:
        tab = customer.tab(which)
        if tab.is_open:
            customer.close_chat(tab)
            return True
        return customer.open_chat(tab)

    def _begin_anew(self, customer: Customer, which: float, *_: float) -> bool:
        tab = customer.tab(which)
        if not tab.ask(ANEW):
            return False
        customer.begins += 1
        return True

    def _work(self) -> None:
        """The agent answers somebody, solves what they ask or gives them back to the assistant."""
        with self.db.begin() as session:
            found = session.scalars(select(Ticket).order_by(Ticket.id)).all()
            if not found:
                return
            ticket = self._chance.choice(found)
            conversation = ticket.conversation
            with suppress(AssistantError):  # it is closed, or the assistant has it
                self._reply(session, conversation)
                if self._chance.random() < 0.2:
                    tickets.solve(session, ticket, self._agent)
                elif self._chance.random() < 0.5:
                    conversations.give_back(session, conversation)
                self.did["work of the agent"] += 1

    def _reply(self, session: Any, conversation: Conversation) -> None:
        state.take_over(session, conversation, self._agent)
        text = f"Alice here, for the {self.did['replies'] + 1}th time."
        conversations.add_reply(session, conversation, author=Author.AGENT, agent=self._agent, text=text)
        self.did["replies"] += 1

    def _kill(self) -> None:
        if self._is_up:
            self._server.kill()
            self._is_up = False
            self.did["kill -9"] += 1

    def _restart(self) -> None:
        if self._is_up:
            return
        # The leases of the process that died run out: half a minute of waiting, compressed.
        with self.db.begin() as session:
            session.execute(update(Job).where(Job.status == JobStatus.RUNNING).values(leased_until=utcnow()))
        self._server.start()
        self._is_up = True

    # What is wrong

    def calm(self) -> list[str]:
        """Everything works again. What is still wrong after a while, or at once if nothing is."""
        self._restart()
        for customer in self.customers:
            customer.trouble.clear()
            self._mend(customer)
        return self._settled(self.wrong) or self._wrong_about_replies()

    def _wrong_about_replies(self) -> list[str]:
        """Everybody closes the chat, some get replies, and everybody opens it again in one tab."""
        for customer in self.customers:
            for tab in customer.tabs:
                customer.close_chat(tab)
        with self.db.begin() as session:
            for customer in self.customers:
                talks = [one.conversation for one in self._written(session, customer)]
                before = sum(one.count for one in attention.unread(session, [one.id for one in talks]).values())
                for _ in range(customer.number % 3 if talks else 0):
                    self._reply(session, talks[customer.number % len(talks)])
                    before += 1
                customer.unread = before
        if found := self._settled(self.wrong):
            return found
        for customer in self.customers:
            customer.unread = None
            customer.open_chat(customer.tabs[0])
        return self._settled(self.wrong)

    def _settled(self, faults: Callable[[], list[str]]) -> list[str]:
        begun = settles_from = time.monotonic()
        while (found := faults()) and time.monotonic() < settles_from + SETTLES_WITHIN:
            if found == [BUSY] and time.monotonic() < begun + PROCESSED_WITHIN:
                settles_from = time.monotonic()
            for customer in self.customers:
                for tab in customer.tabs:
                    if not customer.has_widget(tab):  # the customer goes on to another page
                        customer.load(tab)
            self.customers[0].tabs[0].page.wait_for_timeout(500)
        return found

    def wrong(self) -> list[str]:
        with self.db.read() as session:
            busy = session.scalars(select(Job.name).where(Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING)))).all()
            if "process_message" in busy:
                return [BUSY]
            return [fault for customer in self.customers for fault in self._wrong_with(session, customer)]

    def _wrong_with(self, session: Any, customer: Customer) -> Iterator[str]:
        name = f"customer {customer.number}"
        stored = self._written(session, customer)
        texts = Counter(one.text for one in stored)
        for number, text in customer.written:
            if texts[text] != 1:
                yield f"{name}: {text!r} of tab {number} is there {texts[text]} times"
        for number in {number for number, _ in customer.written}:
            own = [text for written_by, text in customer.written if written_by == number]
            if [one.text for one in stored if one.text in own] != own and all(texts[text] == 1 for text in own):
                yield f"{name}: the messages of tab {number} are out of order"
        talks = sorted({one.conversation_id for one in stored})
        if len(talks) > customer.begins:
            yield f"{name}: {len(talks)} conversations instead of {customer.begins}"
        for talk in talks:
            yield from (f"{name}: {fault}" for fault in silence(session, talk))
        if talks:
            yield from (f"{name}: {fault}" for fault in self._wrong_on_screen(session, customer, talks))

    def _written(self, session: Any, customer: Customer) -> Sequence[Message]:
        query = select(Message).where(Message.author == Author.CUSTOMER, Message.text.contains(customer.mark))
        return session.scalars(query.order_by(Message.id)).all()

    def _wrong_on_screen(self, session: Any, customer: Customer, talks: list[int]) -> Iterator[str]:
        unread = {talk: one.count for talk, one in attention.unread(session, talks).items()}
        total = sum(unread.values())
        said = {talk: conversations.public_messages(session, talk) for talk in talks}
        if customer.unread not in (None, total):
            yield f"{total} unread instead of {customer.unread}"
        if not any(tab.is_open for tab in customer.tabs) and customer.closed_at is not None:
            everything = [one for messages in said.values() for one in messages if one.author in attention.REPLIES]
            since = [one for one in everything if one.created_at > customer.closed_at]
            if total < len(since):
                yield f"{total} unread, although {len(since)} replies have come since the chat was closed"
        shown = [Shown(messages, unread.get(talk, 0)) for talk, messages in said.items()]
        if customer.begins > 1:
            shown.append(Shown((), 0))  # nothing has been written there yet
        for tab in customer.tabs:
            yield from (f"tab {tab.number}: {fault}" for fault in wrong_in_tab(tab, shown, total))


@dataclass(frozen=True)
class Shown:
    """What a tab may show: a conversation's messages, and how many of them are unread."""

    messages: Sequence[Message]
    unread: int

    @property
    def customers(self) -> list[str]:
        return [mark_of(one.text) for one in self.messages if one.author is Author.CUSTOMER]

    @property
    def authors(self) -> list[str]:
        return [one.author.value for one in self.messages if one.author is not Author.SYSTEM]


def wrong_in_tab(tab: Tab, possible: Sequence[Shown], unread: int) -> Iterator[str]:
    seen = tab.ask(SEEN)
    if seen is None:
        yield "no chat"
        return
    entries = [one for one in seen["shown"] if one["author"] != "system"]
    mine = [mark_of(one["text"]) for one in entries if one["author"] == "customer"]
    shown = next((one for one in possible if one.customers == mine), None)
    if shown is None:
        yield f"the customer's messages are {mine}, not {' or '.join(str(one.customers) for one in possible)}"
        return
    if [one["author"] for one in entries] != shown.authors:
        yield f"{len(entries)} messages are not, or in another order than, the {len(shown.authors)} of the database"
    if unsent := [one["delivery"] for one in entries if one["delivery"] not in (None, "sent")]:
        yield f"messages are {', '.join(unsent)}"
    if seen["waits"]:
        yield "an answer is awaited"
    if tab.is_open and shown.unread:
        yield f"{shown.unread} unread, although the chat is open"
    try:
        badge, kept = tab.page.evaluate(BADGE), tab.page.evaluate(KEPT)
    except Error as error:
        yield f"no page: {error}"
        return
    expected = 0 if tab.is_open else unread
    if badge != ("9+" if expected > 9 else str(expected)):
        yield f"the badge says {badge}, unread are {expected}"
    if kept:
        yield f"unsent messages are kept: {kept}"


def mark_of(text: str) -> str:
    return text[text.rfind("[") : text.rfind("]") + 1]


def silence(session: Any, conversation_id: int) -> Iterator[str]:
    """Nobody answers the customer's last message: no reply, no word that a person will, and no person has it."""
    conversation = session.get_one(Conversation, conversation_id)
    messages = conversations.public_messages(session, conversation_id)
    last = max(place for place, one in enumerate(messages) if one.author is Author.CUSTOMER)
    if any(one.author in attention.REPLIES for one in messages[last:]):
        return
    is_told = any(notice["code"].startswith("handoff_") for one in messages for notice in one.notices or ())
    has_person = conversation.state is ConversationState.AGENT
    if not (has_person or (conversation.state is ConversationState.HANDED_OFF and is_told)):
        yield f"{messages[last].text!r} is met with silence ({conversation.state.value})"


@contextmanager
def misfortune(browser: Browser, folder: Path, *, customers: int, seed: int) -> Iterator[Misfortune]:
    run = Misfortune(browser, folder, customers=customers, seed=seed)
    try:
        yield run
    finally:
        run.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit("needs a Chromium browser: apt install chromium")
    print(f"seed {given.seed}")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        started = time.monotonic()
        with misfortune(browser, Path(folder), customers=given.customers, seed=given.seed) as run:
            run.happen(given.minutes)
            over = time.monotonic()
            faults = run.calm()
            calm = time.monotonic()
            run.did["messages written"] = sum(len(one.written) for one in run.customers)
            run.did["responses lost"] = sum(one.line.losses for one in run.customers)
        browser.close()
    for what, times in sorted(run.did.items()):
        print(f"{what:28}{times:8}")  # noqa: T201
    print(f"{'seconds of misfortune':28}{over - started:8.0f}\n{'seconds until calm':28}{calm - over:8.0f}")  # noqa: T201
    print("\n".join(faults) or "nothing is wrong")  # noqa: T201
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
