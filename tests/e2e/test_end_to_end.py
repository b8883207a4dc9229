"""A customer, an agent and a photo, through the real server in a real browser.

Set ``SCREENSHOTS`` to a folder to keep screenshots of every step.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import APIRequestContext, Browser, Error, Frame, Locator, Page, Route, expect
from sqlalchemy import select, update

from assistant import sample
from assistant.db import Database, utcnow
from assistant.desk.subscribers import MAIL_UNREAD
from assistant.knowledge.imports import import_folder
from assistant.lab.real_server import Server
from assistant.models import Job, Message
from assistant.runtime import build
from assistant.settings import Settings
from tests.e2e.conftest import WAIT, Site
from tests.factories import PASSWORD, make_agent, make_inbox
from tests.mail_server import Mailbox, open_mailbox

pytestmark = pytest.mark.e2e

PRESS_AGAIN = 15_000


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with open_mailbox() as mailbox:
        yield mailbox


@pytest.fixture(scope="module")
def site(make_site: Callable[[], Site]) -> Site:
    return make_site()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox, site: Site) -> Iterator[Server]:
    """A server with the sample company and one agent, which sends mail; its inbox "form" asks for the name first."""
    folder = tmp_path_factory.mktemp("e2e") / "var"
    runtime = build(Settings(data_dir=folder))
    embedder = runtime.desk.capabilities.embedder
    import_folder(runtime.desk.db, path=sample.articles_dir(), source="sample", embedder=embedder)
    make_agent(runtime.desk.db, "alice", admin=True)
    make_inbox(runtime.desk.db, "form", origins=[site.url], prechat={"name": "required", "email": "no"})
    runtime.close()
    server = Server(folder, smtp_url=f"smtp://{mailbox.url}", mail_from="help@shop.example")
    try:
        server.start()
        yield server
    finally:
        server.close()


class Witness:
    """A browser window of one person, which takes screenshots and collects the browser's errors."""

    def __init__(self, browser: Browser, folder: Path, *, width: int = 1280, height: int = 860) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, locale="en-GB")
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.complaints: list[str] = []
        self._folder = folder
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def picture(self, name: str) -> None:
        if "SCREENSHOTS" in os.environ:
            self.page.wait_for_timeout(600)  # for transitions and thumbnails; no assertion depends on it
        # Playwright hides the caret with an inline style, which the Content-Security-Policy forbids.
        self.page.screenshot(path=self._folder / f"{name}.png", caret="initial")


def open_chat(customer: Witness, server: Server) -> Frame:
    customer.page.goto(f"{server.url}/demo")
    with customer.page.expect_event("framenavigated", lambda frame: "/widget" in frame.url) as opened:
        customer.page.get_by_role("button", name="Describe the problem").click()
    chat: Frame = opened.value
    expect(chat.locator("#welcome")).to_be_visible()
    return chat


def sign_in(agent: Witness, server: Server) -> None:
    page = agent.page
    page.goto(f"{server.url}/console/")
    page.get_by_label("E-mail address").fill("alice@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def wait_for_ticket(page: Page) -> None:
    """Until a ticket's page is live: the queue's, from which it is opened, was so before."""
    page.locator("#status").wait_for()
    expect(page.locator("#connection")).to_have_text("Live")


def press(page: Page, button: str, *, until: str) -> None:
    """Press Enter on a button. If its panel refreshes between focus and key, the key is lost: press again."""
    for _ in range(WAIT // PRESS_AGAIN):
        if page.locator(button).count():
            with suppress(Error):
                page.locator(button).press("Enter", timeout=PRESS_AGAIN)
        with suppress(AssertionError):
            expect(page.locator(until)).to_have_count(1, timeout=PRESS_AGAIN)
            return
    expect(page.locator(until)).to_have_count(1)


def wait_for_focus(frame: Frame, *, gained: bool) -> None:
    kind, wanted = ("focus", "document.hasFocus()") if gained else ("blur", "!document.hasFocus()")
    frame.evaluate(
        f"""{wanted} || new Promise((done, fail) => {{
            addEventListener("{kind}", () => done(), {{ once: true }});
            setTimeout(() => fail(new Error("no {kind}")), {WAIT});
        }})"""
    )


def ask(machine: APIRequestContext, server: Server, text: str) -> None:
    """Send a customer's first message without the widget."""
    token = machine.post(f"{server.url}/widget/v1/sessions", data={"name": "Rosa"}).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    asked = machine.post(f"{server.url}/widget/v1/conversations", headers=headers, multipart={"text": text})
    assert asked.status == 201


def test_customer_sends_a_photo_gets_an_answer_then_a_persons_reply(
    browser: Browser, server: Server, pictures: Path
) -> None:
    customer, agent = Witness(browser, pictures), Witness(browser, pictures)
    chat = open_chat(customer, server)
    chat.locator("#picker").set_input_files(sample.articles_dir().parent / "photos" / "coffee-machine-e21.jpg")
    expect(chat.locator("#chips li")).to_have_count(1)
    chat.locator("#text").fill("My coffee machine blinks red, see the photo. What can I do?")
    customer.picture("1-widget-composed")
    chat.locator("#send").click()
    answer = chat.locator("#log .entry.assistant").last
    expect(answer).to_contain_text(re.compile("tank|pump|E21", re.I))
    expect(answer.locator("button, a, sup, .cite").first).to_be_visible()
    expect(answer.locator(".byline")).to_be_in_viewport()  # a long answer is shown from its beginning
    customer.picture("2-widget-answered")

    chat.locator("#person").click()
    expect(chat.locator("body")).to_have_attribute("data-state", "handed_off")
    customer.picture("3-widget-handed-off")

    page = agent.page
    sign_in(agent, server)
    expect(page.locator("#connection")).to_have_text("Live")
    agent.picture("4-console-queue")
    page.locator(".queue .main-cell a").first.click()
    wait_for_ticket(page)
    expect(page.locator(".photo img").first).to_be_visible()
    expect(page.locator('.evidence input[aria-label][value*="E21"]').first).to_be_attached()
    expect(page.locator("#triage .field")).to_have_count(8)
    agent.picture("5-console-ticket")

    page.locator("#status").get_by_role("button", name="Take over").click()
    expect(chat.locator("body")).to_have_attribute("data-state", "agent")
    expect(page.locator("#draft .waiting")).to_have_count(0)  # there is a draft, or none
    text = page.locator("#draft textarea[data-draft]")
    if text.count():
        page.locator("#draft .edit > summary").click()
        text.fill(text.input_value() + "\nIf it still blinks, send it to us. Alice")
        page.locator("#draft").get_by_role("button", name=re.compile("^Send to")).click()
    else:
        page.locator("#reply-text").fill("If it still blinks, send it to us. Alice")
        page.get_by_role("button", name="Send reply").click()
    expect(chat.locator("#log")).to_contain_text("send it to us. Alice")
    customer.picture("6-widget-replied")

    chat.locator("#text").fill("Thank you, Alice!")
    chat.locator("#send").click()
    expect(page.locator("#thread")).to_contain_text("Thank you, Alice!")  # without a reload

    press(page, "#accept-language", until="#triage .field.is-accepted")
    expect(page.locator("#field-language")).to_be_focused()  # keyboard focus survives the refresh
    page.locator("#field-priority").select_option("low")
    expect(page.locator("#triage .field.is-overridden")).to_have_count(1)
    page.locator("#status").get_by_role("button", name="Solve").click()
    expect(page.locator("#status")).to_contain_text("Solved")
    agent.picture("7-console-solved")
    assert customer.complaints == []
    assert agent.complaints == []


def test_by_keyboard_a_customer_searches_reads_asks_and_says_what_is_missing(
    browser: Browser, server: Server, pictures: Path
) -> None:
    customer = Witness(browser, pictures)
    keyboard = customer.page.keyboard
    chat = open_chat(customer, server)
    chat.locator(".search-instead").press("Enter")
    keyboard.type("E21 coffee machine")
    keyboard.press("Enter")
    expect(chat.locator("#help-status")).to_have_text(re.compile(r"^\d+ articles? found$"))
    chat.locator("#help-results .result", has_text="BrewMaster 300: error codes").press("Enter")
    expect(chat.locator("#article-title")).to_be_focused()
    expect(chat.locator("#article-body th").first).to_have_text("Code")
    expect(chat.locator("#article-body ol li")).not_to_have_count(0)
    expect(chat.locator("#article-body")).not_to_contain_text("|")
    customer.picture("article")
    keyboard.press("Escape")
    expect(chat.locator("#help-results .result", has_text="BrewMaster 300: error codes")).to_be_focused()
    chat.locator("#help .write-instead").press("Enter")
    expect(chat.locator("#text")).to_be_focused()
    expect(chat.locator("#text")).to_have_value("E21 coffee machine")

    chat.locator("#text").fill("What does E21 mean on the BrewMaster 300?")
    keyboard.press("Enter")
    answer = chat.locator("#log .entry.assistant").last
    expect(answer.locator(".source")).to_have_count(1)
    answer.locator(".chip").first.press("Enter")
    expect(answer.locator(".passage").first).to_be_visible()
    expect(answer.locator(".passages")).not_to_contain_text("|")
    answer.get_by_role("button", name="No, this did not help").press("Enter")
    answer.get_by_label("What is missing").fill("My machine has no steam knob.")
    answer.get_by_role("button", name="Send").press("Enter")
    expect(answer.get_by_text("We will look at it")).to_be_visible()
    answer.get_by_role("button", name="Talk to a person").press("Enter")
    expect(chat.locator("body")).to_have_attribute("data-state", "handed_off")
    assert customer.complaints == []


class Keyboard:
    """A customer without a mouse, who knows where the focus is after every key."""

    def __init__(self, page: Page, chat: Frame) -> None:
        self._page = page
        self.chat = chat

    def press(self, key: str, *, focus: Locator) -> None:
        self._page.keyboard.press(key)
        expect(focus).to_be_focused()

    def type(self, text: str) -> None:
        self._page.keyboard.type(text)

    def go(self, target: Locator, key: str = "Enter", *, back: bool = False, focus: Locator | None = None) -> None:
        """Tab to it and press it. ``focus``: where the focus is then, if not there."""
        for _ in range(40):
            self._page.keyboard.press("Shift+Tab" if back else "Tab")
            if target.evaluate("(one) => one === document.activeElement"):
                return self.press(key, focus=focus or target)
        raise AssertionError(f"the keyboard does not get to {target}")

    def attach(self, photo: Path) -> None:
        with self._page.expect_file_chooser() as choosing:
            self.go(self.chat.locator("#attach"), back=True)
        choosing.value.set_files(photo)
        expect(self.chat.locator("#chips li")).to_have_count(1)
        expect(self.chat.locator("#text")).to_be_focused()


def ask_by_keyboard(keys: Keyboard) -> None:
    chat, text = keys.chat, keys.chat.locator("#text")
    expect(chat.get_by_label("Your name")).to_be_focused()
    keys.type("Rosa")
    keys.press("Enter", focus=text)
    keys.attach(sample.articles_dir().parent / "photos" / "coffee-machine-e21.jpg")
    keys.go(chat.locator("#chips button"), back=True, focus=text)
    expect(chat.locator("#chips li")).to_have_count(0)
    keys.type("What does E21 mean on the BrewMaster 300?")
    keys.press("Enter", focus=text)
    answer = chat.locator("#log .entry.assistant").last
    expect(answer.locator(".source")).to_have_count(1)
    keys.go(answer.locator(".source"), back=True)
    expect(answer.locator(".passage").first).to_be_visible()
    helped = answer.get_by_role("button", name="Yes, this helped")
    keys.go(helped, "Space")
    expect(helped).to_have_attribute("aria-pressed", "true")


def end_by_keyboard(keys: Keyboard) -> None:
    chat = keys.chat
    worst, good = (chat.get_by_role("radio", name=name, exact=True) for name in ("Very bad", "Good"))
    keys.go(chat.locator("#person"), focus=chat.locator("#text"))
    expect(chat.locator("body")).to_have_attribute("data-state", "handed_off")
    keys.go(chat.locator("#end"), focus=chat.get_by_role("button", name="End", exact=True))
    keys.press("Enter", focus=worst)
    for _ in range(2):
        chat.page.keyboard.press("ArrowRight")
    keys.press("ArrowRight", focus=good)
    keys.go(chat.get_by_label("What should we know?"), "Q")
    keys.go(chat.get_by_role("button", name="Send rating"), focus=chat.locator("#csat button"))
    expect(chat.locator("#csat")).to_contain_text("Good (4/5)")


def look_around_by_keyboard(keys: Keyboard) -> None:
    chat, text = keys.chat, keys.chat.locator("#text")
    earlier, search = chat.locator("#open-earlier"), chat.locator(".head .open-help")
    keys.go(earlier, back=True, focus=chat.locator("#earlier-title"))
    keys.press("Escape", focus=earlier)
    keys.press("Enter", focus=chat.locator("#earlier-title"))
    keys.go(chat.locator("#earlier-list .result"), focus=text)
    keys.go(search, back=True, focus=chat.locator("#help-query"))
    keys.type("E21 coffee machine")
    keys.press("Enter", focus=chat.locator("#help-query"))
    result = chat.locator("#help-results .result").first
    result.wait_for()
    keys.go(result, focus=chat.locator("#article-title"))
    keys.press("Escape", focus=result)
    keys.press("Escape", focus=search)


def test_the_keyboard_alone_does_everything(browser: Browser, server: Server, site: Site, pictures: Path) -> None:
    customer = Witness(browser, pictures)
    page = customer.page
    loader = f'<script src="{server.url}/widget/loader.js" data-inbox="form" async></script>'
    site.add("/form", "<main>A shop</main>", head=loader)
    page.goto(f"{site.url}/form")
    page.wait_for_function("window.SupportAssistant")
    page.evaluate("new Promise((done) => SupportAssistant.on('ready', done))")
    page.keyboard.press("Tab")  # the launcher is all there is on the page
    with page.expect_event("framenavigated", lambda frame: "/widget" in frame.url) as opened:
        page.keyboard.press("Enter")
    keys = Keyboard(page, opened.value)
    ask_by_keyboard(keys)
    end_by_keyboard(keys)
    look_around_by_keyboard(keys)
    page.keyboard.press("Escape")
    wait_for_focus(keys.chat, gained=False)  # the focus is back on the launcher
    keys.press("Enter", focus=keys.chat.locator("#text"))
    assert customer.complaints == []


def hold(page: Page, address: str) -> list[Callable[[], None]]:
    """From now on the server gets what is sent there, and its answers arrive when these are called."""
    answered: list[Callable[[], None]] = []

    def keep(route: Route) -> None:
        response = route.fetch()
        answered.append(lambda: route.fulfill(response=response))

    page.route(re.compile(address), keep)
    return answered


def rate(customer: Witness, chat: Frame) -> None:
    """Four of five, which an event tells before the answer does; then the same again."""
    chat.get_by_role("radio", name="Good", exact=True).check()
    chat.get_by_label("What should we know?").fill("Quick!")
    customer.picture("rating")
    answered = hold(customer.page, "/rating$")
    send, change = (chat.get_by_role("button", name=name) for name in ("Send rating", "Change"))
    send.press("Enter")
    expect(chat.locator("#csat")).to_contain_text("Good (4/5)")  # told by an event, before the answer
    expect(change).to_be_focused()
    answered.pop()()
    customer.page.unroute_all()
    change.press("Enter")
    send.press("Enter")  # the same again
    expect(change).to_be_focused()


def test_a_conversation_is_given_back_ended_rated_and_found_again(
    browser: Browser, server: Server, pictures: Path
) -> None:
    customer, agent = Witness(browser, pictures), Witness(browser, pictures)
    keyboard = customer.page.keyboard
    chat = open_chat(customer, server)
    chat.locator("#person").click()
    chat.locator("#text").fill("Do you sponsor sailing clubs?")
    chat.locator("#send").click()
    expect(chat.locator("body")).to_have_attribute("data-state", "handed_off")
    sign_in(agent, server)
    page = agent.page
    page.locator(".queue .main-cell a", has_text="sailing clubs").first.click()
    wait_for_ticket(page)
    page.locator("label", has=page.locator("#mode-reply")).click()
    page.locator("#reply-text").fill("We do. Write to us in spring.")
    page.get_by_role("button", name="Send reply").click()
    expect(chat.locator("#log")).to_contain_text("in spring")
    press(page, "#status button:has-text('Give back')", until="#status .state-assistant")
    expect(chat.locator("body")).to_have_attribute("data-state", "assistant")
    expect(chat.locator("#log")).to_contain_text("The assistant answers you again from here.")

    chat.locator("#end").press("Enter")
    expect(chat.get_by_role("button", name="End", exact=True)).to_be_focused()
    keyboard.press("Enter")
    expect(chat.locator("body")).to_have_attribute("data-state", "closed")
    rate(customer, chat)
    expect(page.locator("#status")).to_contain_text("4 of 5")
    agent.picture("console-rated")

    chat.locator("#open-earlier").press("Enter")
    chat.locator("#start-new").press("Enter")
    expect(chat.locator("#welcome")).to_be_visible()

    # A reply in a conversation that the customer has left is not missed.
    page.locator("#reply-text").fill("The form for clubs is online now.")
    page.get_by_role("button", name="Send reply").click()
    earlier = chat.get_by_role("button", name="Your conversations (New messages: 1)")
    earlier.wait_for()
    customer.picture("unread-elsewhere")
    chat.locator("#close").click()
    expect(customer.page).to_have_title(re.compile(r"^\(1\) "))
    customer.page.get_by_role("button", name="Describe the problem").click()
    earlier.press("Enter")
    [row] = chat.locator("#earlier-list .result").all()
    expect(row.locator(".unread")).to_have_text("1")
    customer.picture("earlier")
    row.press("Enter")
    expect(chat.locator("#log")).to_contain_text("online now")
    expect(chat.get_by_role("button", name="Your conversations", exact=True)).to_be_visible()
    assert customer.complaints == []
    assert agent.complaints == []


def test_a_change_while_a_panel_is_renewed_is_shown_too(browser: Browser, server: Server, pictures: Path) -> None:
    agent = Witness(browser, pictures)
    page = agent.page
    ask(agent.context.request, server, "My kayak has a hole")
    sign_in(agent, server)
    page.goto(f"{server.url}/console/?tab=all")
    page.locator(".queue .main-cell a", has_text="kayak").first.click()
    wait_for_ticket(page)
    expect(page.locator("#status .state-handed_off")).to_have_count(1)  # nothing more happens by itself
    held: list[Route] = []

    def answer(route: Route) -> None:
        if not held:
            held.append(route)
            return
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace("kayak", "canoe"))

    page.route(re.compile(r"/thread\b"), answer)
    change = "document.querySelector('#live').dispatchEvent(new Event('thread'))"
    with page.expect_request(re.compile(r"/thread\b")):
        page.evaluate(change)
    page.evaluate(change)
    held[0].continue_()
    expect(page.locator("#thread")).to_contain_text("My canoe has a hole")

    # What was sent is gone from the box, and what was typed since is not, though a renewal came before the answer.
    page.unroute_all()
    answered = hold(page, "/reply$")
    page.locator("label", has=page.locator("#mode-reply")).click()
    page.locator("#reply-text").fill("Patch it.")
    with page.expect_response(re.compile(r"/draft\b")):
        page.get_by_role("button", name="Send reply").click()
    expect(page.locator("#thread")).to_contain_text("Patch it.")
    page.locator("#note-text").evaluate("(note) => { note.value = 'With tar'; }")
    answered.pop()()
    expect(page.locator("#reply-text")).to_have_value("")
    expect(page.locator("#note-text")).to_have_value("With tar")
    assert agent.complaints == []
    agent.context.close()


def test_what_is_selected_in_the_queue_stays_so_while_tickets_come(
    browser: Browser, server: Server, pictures: Path
) -> None:
    agent = Witness(browser, pictures)
    page = agent.page
    ask(agent.context.request, server, "My sledge squeaks")
    sign_in(agent, server)
    page.goto(f"{server.url}/console/?tab=all")
    expect(page.locator("#connection")).to_have_text("Live")
    squeaks = page.locator("tr", has_text="sledge squeaks")
    squeaks.locator("td.pick input").check()
    ask(agent.context.request, server, "My sledge rattles")
    expect(page.locator("tr.is-unread", has_text="sledge rattles")).to_have_count(1)
    expect(page.locator("#picked")).to_have_text("1 selected")
    expect(squeaks.locator("td.pick input")).to_be_checked()
    expect(squeaks).to_contain_text("Waiting")  # for a person: its priority does not change by itself any more
    wanted = "low" if squeaks.locator(".priority-urgent").count() else "urgent"
    page.locator("#bulk-action").select_option(label=f"Set priority {wanted.title()}")
    page.locator("#bulk-apply").click()
    expect(page.locator("#done")).to_contain_text("Changed 1 ticket.")
    expect(squeaks.locator(f".priority-{wanted}")).to_have_count(1)
    expect(page.locator("#bulk")).to_be_hidden()
    page.locator("#undo").click()
    expect(page.locator("#done")).to_contain_text("Taken back on 1 ticket.")
    expect(squeaks.locator(f".priority-{wanted}")).to_have_count(0)
    squeaks.locator("a").click()
    page.locator("#to-queue").click()
    expect(page.locator("#tab-all")).to_have_attribute("aria-current", "page")
    expect(page.locator("tr.is-unread", has_text="sledge squeaks")).to_have_count(0)
    assert agent.complaints == []
    agent.context.close()


def test_escape_closes_the_chat_and_enter_opens_it_again(browser: Browser, server: Server, pictures: Path) -> None:
    customer = Witness(browser, pictures)
    page = customer.page
    page.goto(f"{server.url}/demo", wait_until="load")
    page.evaluate("new Promise((done) => SupportAssistant.on('ready', done))")
    with page.expect_event("framenavigated", lambda frame: "/widget" in frame.url) as opened:
        page.mouse.click(1230, 810)  # the launcher is in a closed shadow root, in the corner
    chat: Frame = opened.value
    expect(chat.locator("#text")).to_be_focused()
    page.keyboard.press("Escape")
    wait_for_focus(chat, gained=False)
    page.keyboard.press("Enter")  # the focus is back on the launcher
    wait_for_focus(chat, gained=True)
    assert customer.complaints == []


@pytest.mark.parametrize("path", ["/demo", "/console/sign-in", "/api/v1/docs"])
def test_pages_fit_a_phone(browser: Browser, server: Server, pictures: Path, path: str) -> None:
    phone = Witness(browser, pictures, width=390, height=800)
    phone.page.goto(server.url + path)
    phone.picture(f"phone{path.replace('/', '-')}")
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.complaints == []


def test_an_agent_can_work_on_a_phone(browser: Browser, server: Server, pictures: Path) -> None:
    phone = Witness(browser, pictures, width=390, height=800)
    question = (
        "My coffee machine BrewMaster 300 shows E21, although I have done all that is in its manual. What can I do?"
    )
    for _ in range(2):
        ask(phone.context.request, server, question)
    sign_in(phone, server)
    page = phone.page
    page.goto(f"{server.url}/console/?tab=all")
    expect(page.locator(".queue .main-cell a").first).to_be_visible()
    phone.picture("phone-console-queue")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(".queue .main-cell a").first.click()
    expect(page.locator("#triage .field")).to_have_count(8)
    expect(page.locator("#similar .other").first).to_be_visible()
    phone.picture("phone-console-ticket")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.complaints == []


def wait_until(is_so: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + WAIT / 1000
    while not is_so():
        assert time.monotonic() < ends_at
        time.sleep(0.1)


def hurry_mail(server: Server) -> None:
    """Let what has been said, and what is to be done about it, be an hour old."""
    database = Database(f"sqlite:///{server.folder / 'assistant.db'}")
    hour = timedelta(hours=1)
    with database.begin() as session:
        for message in session.scalars(select(Message)):
            message.created_at -= hour
        session.execute(update(Job).where(Job.name == MAIL_UNREAD).values(run_at=utcnow() - hour))
    database.close()


def test_a_reply_reaches_a_customer_who_has_left(
    browser: Browser, server: Server, pictures: Path, mailbox: Mailbox
) -> None:
    customer, agent = Witness(browser, pictures), Witness(browser, pictures)
    chat = open_chat(customer, server)
    chat.locator("#text").fill("My lamp blinks.")
    chat.locator("#send").click()
    expect(chat.locator(".delivery")).to_contain_text("Sent")
    chat.locator("#person").click()
    expect(chat.locator("#banner")).to_contain_text("A colleague will take over")
    chat.locator("#followup button").click()
    chat.locator("#followup input").fill("kim@example.org")
    customer.picture("replies-by-mail")
    chat.locator("#followup input").press("Enter")
    expect(chat.locator("#followup")).to_contain_text("kim@example.org")

    sign_in(agent, server)
    agent.page.goto(f"{server.url}/console/?tab=all")
    agent.page.locator(".queue .main-cell a").first.click()
    expect(chat.locator(".delivery").last).to_contain_text("Seen")
    reply = agent.page.locator("#reply-text")
    agent.page.locator("label", has=agent.page.locator("#mode-reply")).click()
    reply.press_sequentially("Which lamp", delay=20)
    expect(chat.locator("#agent-writing")).to_contain_text("Alice is writing")
    customer.picture("agent-writing")
    chat.locator("#text").press_sequentially("Th")
    expect(agent.page.locator("#typing")).to_be_visible()
    agent.picture("customer-writing")
    chat.locator("#text").fill("")
    chat.locator("#close").click()

    reply.fill("Which lamp is it?")
    reply.press("Control+Enter")
    expect(agent.page.locator("#thread .receipt")).to_contain_text("Delivered")
    second = customer.context.new_page()
    for page in (customer.page, second):
        page.goto(f"{server.url}/demo")  # opened anew, and the chat stays closed
        expect(page).to_have_title(re.compile(r"^\(1\) "))
    customer.picture("badge")

    hurry_mail(server)
    wait_until(lambda: len(mailbox.raw) > 1)
    [_, received] = mailbox.mails  # the first one has the code that would prove the address
    assert received["To"] == "kim@example.org"
    body = received.get_body(("plain",))
    assert body is not None
    assert "> Which lamp is it?" in body.get_content()
    [link] = re.findall(r"http\S+/widget/#link=\S+", body.get_content())
    phone = Witness(browser, pictures, width=360, height=740)
    phone.page.goto(link)
    expect(phone.page.locator("#log")).to_contain_text("Which lamp is it?")
    assert "link" not in phone.page.url
    phone.picture("opened-by-link")
    for page in (customer.page, second):
        expect(page).to_have_title(re.compile(r"^[^(]"))
    expect(agent.page.locator("#thread .receipt")).to_contain_text("Seen")
    for witness in (customer, agent, phone):
        assert witness.complaints == []
        witness.context.close()


def test_a_customer_who_waits_sees_how_many_are_before_them(browser: Browser, tmp_path: Path, pictures: Path) -> None:
    server = Server(tmp_path / "var", at_once=True, workers=0)  # without workers everybody waits
    customer = Witness(browser, pictures)
    try:
        server.start()
        for _ in range(2):
            ask(customer.context.request, server, "It leaks")
        chat = open_chat(customer, server)
        chat.locator("#text").fill("What does E21 mean?")
        chat.locator("#send").click()
        expect(chat.locator(".status", has_text="In the queue: 2 messages ahead of yours")).to_be_visible()
        customer.picture("waiting")
        assert customer.complaints == []
    finally:
        customer.context.close()
        server.close()
