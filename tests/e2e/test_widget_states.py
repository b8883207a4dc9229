"""The widget in every state, in several languages, by keyboard and on small screens."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageFilter
from playwright.sync_api import Browser, Frame, Route, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant import sample
from assistant.db import Database
from assistant.desk import conversations, state, tickets
from assistant.desk.access import AgentPrincipal
from assistant.lab.real_server import Server
from assistant.models import Author, Ticket
from assistant.runtime import build
from assistant.settings import Settings
from tests.e2e.conftest import WAIT
from tests.e2e.test_end_to_end import Witness, open_chat
from tests.factories import make_agent, make_articles
from tests.mail_server import Mailbox, open_mailbox

LABEL = sample.articles_dir().parent / "photos" / "robot-label.jpg"
SENT = re.compile("/widget/v1/conversations")  # to begin one, with its first message
EXCEL = "Order\tCode\n4711\tE21\n"


AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
# A phone on its side, and a laptop's page enlarged to 200 and 400 %.
SMALL = ((740, 360), (640, 400), (320, 256))
LEAST_SHARE = 0.45  # of the height for the conversation


@dataclass(frozen=True)
class Office:
    """The server, and what its only agent does without a browser."""

    server: Server
    mailbox: Mailbox
    db: Database
    alice: AgentPrincipal

    def join(self) -> None:
        with self.db.begin() as session:
            conversation = self._ticket(session).conversation
            state.take_over(session, conversation, self.alice)
            conversations.add_reply(
                session, conversation, author=Author.AGENT, agent=self.alice, text="Hello, I am looking at it."
            )

    def solve(self) -> None:
        with self.db.begin() as session:
            tickets.solve(session, self._ticket(session), self.alice)

    def code(self, email: str) -> str:
        """The code in the next mail to this address."""
        ends_at = time.monotonic() + WAIT / 1000
        while [email] not in self.mailbox.recipients:
            assert time.monotonic() < ends_at, "no code was sent"
            time.sleep(0.05)
        at = self.mailbox.recipients.index([email])
        self.mailbox.recipients[at] = []
        [code] = re.findall(rb"\b\d{6}\b", self.mailbox.mails[at].get_body(("plain",)).get_payload(decode=True))
        return str(code, "ascii")

    def _ticket(self, session: Session) -> Ticket:
        return session.scalars(select(Ticket).order_by(Ticket.id.desc()).limit(1)).one()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A server with one article and one agent, which sends mail and reads no photos: it starts quickly."""
    folder = tmp_path_factory.mktemp("states")
    settings = Settings(data_dir=folder / "var")
    runtime = build(settings)
    make_articles(runtime.desk, folder / "articles")
    alice = make_agent(runtime.desk.db, "alice", admin=True).principal
    runtime.close()
    db = Database(settings.sqlalchemy_url)
    with open_mailbox() as mailbox:
        mail = {"smtp_url": f"smtp://{mailbox.url}", "mail_from": "help@shop.example"}
        server = Server(folder / "var", at_once=True, model="none", ocr="off", risky_files="refuse", **mail)
        try:
            server.start()
            yield Office(server, mailbox, db, alice)
        finally:
            db.close()
            server.close()


@pytest.fixture(scope="module")
def server(office: Office) -> Server:
    return office.server


def faults(chat: Frame) -> list[str]:
    """What axe finds wrong in the widget, in any of its rules."""
    if not chat.evaluate("'axe' in window"):
        chat.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[str] = chat.evaluate(
        """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
            .map(one => `${one.id}: ${one.nodes.map(node => node.html).join(" ")}`)"""
    )
    return found


def never(_: Route) -> None:
    """A request that nobody answers."""


def paste(chat: Frame, *, text: str, files: dict[str, str]) -> None:
    """Paste what a program puts on the clipboard: text, and files by name and type."""
    chat.locator("#text").evaluate(
        """(field, {text, files}) => {
            const data = new DataTransfer();
            if (text) data.setData("text/plain", text);
            for (const [name, type] of Object.entries(files)) data.items.add(new File(["x".repeat(99)], name, {type}));
            const event = new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true});
            if (field.dispatchEvent(event) && text) document.execCommand("insertText", false, text);
        }""",
        {"text": text, "files": files},
    )


def speak(chat: Frame, language: str) -> None:
    """Change the language as the loader does for the embedding page."""
    chat.evaluate(
        """language => dispatchEvent(new MessageEvent("message", {
            source: parent, origin: location.origin, data: {from: "assistant-widget", type: "language", language},
        }))""",
        language,
    )


def test_files_come_by_every_way_and_an_upload_can_be_stopped(
    browser: Browser, server: Server, pictures: Path, tmp_path: Path
) -> None:
    customer = Witness(browser, pictures)
    chat = open_chat(customer, server)
    chips = chat.locator("#chips li")
    chat.locator("#text").focus()
    paste(chat, text=EXCEL, files={"image.png": "image/png"})
    expect(chat.locator("#text")).to_have_value(EXCEL)
    expect(chips).to_have_count(0)
    paste(chat, text="", files={"screenshot.txt": "text/plain"})
    expect(chips).to_have_count(1)
    assert ".pdf" in (chat.locator("#picker").get_attribute("accept") or "")
    assert chat.locator("#camera").get_attribute("capture") == "environment"
    for name, data, objection in (
        ("program.exe", b"MZ", "not accepted here"),
        ("empty.pdf", b"", "is empty"),
        ("cut.jpg", LABEL.read_bytes()[:300], "damaged"),
        ("label.jpg", LABEL.read_bytes(), ""),
    ):
        (tmp_path / name).write_bytes(data)
        chat.locator("#picker").set_input_files(tmp_path / name)
        expect(chat.locator("#composer-notice")).to_contain_text(objection)
    expect(chips).to_have_count(3)  # a damaged one is said to be so, and is the customer's to send
    customer.picture("composer")
    chips.nth(1).get_by_role("button").click()

    label = Image.open(LABEL)
    label.filter(ImageFilter.GaussianBlur(0.01 * label.width)).save(tmp_path / "blurred.jpg")
    chat.locator("#picker").set_input_files(tmp_path / "blurred.jpg")
    expect(chat.locator("#advice")).to_contain_text("blurred.jpg is blurred.")
    expect(chat.locator("#send")).to_be_enabled()
    customer.picture("coach")
    with customer.page.expect_file_chooser() as chooser:
        chat.get_by_role("button", name="Replace the photo").click()
    expect(chat.locator("#advice")).to_be_empty()
    chooser.value.set_files(LABEL)
    expect(chips).to_have_count(3)

    customer.page.route(SENT, never)
    with customer.page.expect_request(SENT):
        chat.locator("#send").click()
    bars = chat.locator(".entry.customer progress:visible")
    expect(bars).to_have_count(3)
    customer.picture("uploading")
    with customer.page.expect_request(SENT) as again:  # the upload is stopped, and begins again without it
        chat.locator(".entry.customer").get_by_role("button", name=f"Remove {LABEL.name}").click()
    assert LABEL.name.encode() not in (again.value.post_data_buffer or b"")
    expect(bars).to_have_count(2)
    chat.get_by_role("button", name="Cancel").click()
    expect(chat.locator(".delivery")).to_contain_text("Not sent: You stopped the upload.")
    expect(bars).to_have_count(0)
    customer.page.unroute(SENT, never)
    chat.get_by_role("button", name="Try again").click()
    expect(chat.locator(".entry.customer")).to_have_attribute("data-delivery", "sent")
    expect(chat.locator(".entry.customer .photo")).to_have_count(1)
    expect(chat.locator(".entry.customer .file")).to_have_count(1)
    assert customer.complaints == []
    customer.context.close()


def test_the_language_changes_in_place(browser: Browser, server: Server, pictures: Path) -> None:
    customer = Witness(browser, pictures, width=360, height=740)
    chat = open_chat(customer, server)
    chat.locator("#text").fill("What does E21 mean?")
    chat.locator("#send").click()
    expect(chat.locator(".entry.assistant .bubble").last).to_be_visible()
    chat.locator("#text").fill("and then")
    for language, direction, person in (
        ("de-AT", "ltr", "Mit einem Menschen sprechen"),
        ("ar-EG", "rtl", "التحدث مع موظف"),
    ):
        speak(chat, language)
        expect(chat.locator("#person")).to_have_text(person)
        expect(chat.locator("html")).to_have_attribute("dir", direction)
        expect(chat.locator("#text")).to_have_value("and then")
        expect(chat.locator(".entry.customer")).to_have_count(1)
    expect(chat.locator(".entry.customer time")).to_have_text(re.compile("[٠-٩]"))
    customer.picture("arabic-phone")
    assert customer.complaints == []
    customer.context.close()


def inspect(customer: Witness, chat: Frame, name: str) -> None:
    """No faults in light and dark."""
    for scheme in ("light", "dark"):
        customer.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        assert faults(chat) == [], (name, scheme)
        customer.picture(f"state-{name}-{scheme}")


def test_every_state_is_accessible_and_leaves_room_for_the_conversation(
    browser: Browser, office: Office, pictures: Path, tmp_path: Path
) -> None:
    if not AXE.exists():
        pytest.skip("needs axe-core: npm ci")
    customer = Witness(browser, pictures, width=390, height=800)
    page = customer.page
    page.goto(f"{office.server.url}/widget/")
    chat = page.main_frame
    expect(chat.locator("#welcome")).to_be_visible()

    def check(name: str) -> None:
        inspect(customer, chat, name)
        for width, height in SMALL:
            page.set_viewport_size({"width": width, "height": height})
            share = chat.evaluate("document.querySelector('#scroller').clientHeight / innerHeight")
            customer.picture(f"state-{name}-{width}")
            assert share >= LEAST_SHARE, (name, width, height, share)
            assert chat.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
        page.set_viewport_size({"width": 390, "height": 800})

    check("welcome")
    Image.open(LABEL).resize((160, 120)).save(tmp_path / "small.jpg")
    chat.locator("#picker").set_input_files(tmp_path / "small.jpg")
    expect(chat.locator("#advice")).to_contain_text("very small")
    check("advice")
    chat.locator("#chips button").click()
    chat.locator("#text").fill("What does E21 mean?")
    chat.locator("#send").click()
    chat.locator(".source").first.click()
    check("answered")
    customer.context.set_offline(True)
    chat.locator("#text").fill("I want to talk to a person.")
    chat.locator("#send").click()
    expect(chat.locator("[data-delivery=waiting]")).to_be_visible()
    check("offline")
    customer.context.set_offline(False)
    expect(chat.locator("[data-delivery=waiting]")).to_have_count(0)
    (tmp_path / "cut.jpg").write_bytes(LABEL.read_bytes()[:3000])
    chat.locator("#picker").set_input_files(tmp_path / "cut.jpg")
    chat.locator("#send").click()
    expect(chat.locator("[data-delivery=failed]")).to_contain_text("cut.jpg is")
    check("refused")
    chat.get_by_role("button", name="Discard").click()
    expect(chat.locator("body")).to_have_attribute("data-state", "handed_off")
    check("handed-off")
    office.join()
    expect(chat.locator("#log")).to_contain_text("I am looking at it.")
    check("agent")
    office.solve()
    expect(chat.locator("body")).to_have_attribute("data-state", "closed")
    check("closed")
    assert [said for said in customer.complaints if "ERR_INTERNET_DISCONNECTED" not in said and "422" not in said] == []
    customer.context.close()


def test_what_follows_and_stands_beside_a_conversation_is_accessible(
    browser: Browser, office: Office, pictures: Path
) -> None:
    if not AXE.exists():
        pytest.skip("needs axe-core: npm ci")
    customer = Witness(browser, pictures, width=390, height=800)
    customer.page.goto(f"{office.server.url}/widget/")
    chat = customer.page.main_frame
    chat.locator("#text").fill("What does E21 mean?")
    chat.locator("#send").click()
    chat.get_by_role("button", name="No, this did not help").click()
    chat.locator(".feedback textarea").fill("It has no tank.")
    inspect(customer, chat, "feedback")
    office.solve()
    chat.get_by_role("radio", name="Good", exact=True).check()
    inspect(customer, chat, "rating")
    chat.get_by_role("button", name="Send rating").click()
    expect(chat.locator("#csat")).to_contain_text("Good (4/5)")
    inspect(customer, chat, "rated")
    chat.locator("#open-earlier").click()
    expect(chat.locator("#earlier-list .result")).to_have_count(1)
    inspect(customer, chat, "earlier")
    chat.locator(".open-help").first.click()
    chat.locator("#help-query").fill("E21")
    expect(chat.locator("#help-results .result")).to_have_count(1)
    inspect(customer, chat, "help")
    chat.locator("#help-results .result").click()
    expect(chat.locator("#article-body p").first).to_be_visible()
    inspect(customer, chat, "article")
    assert customer.complaints == []
    customer.context.close()


def test_an_address_is_proved_by_the_code_that_is_sent_to_it(browser: Browser, office: Office, pictures: Path) -> None:
    if not AXE.exists():
        pytest.skip("needs axe-core: npm ci")
    laptop = Witness(browser, pictures, width=390, height=800)
    chat = begin_to_wait(laptop, office, "My lamp blinks.")
    followup = chat.locator("#followup")
    followup.get_by_role("button", name="Get replies by e-mail, too").click()
    field = followup.get_by_label("E-mail address for replies")
    expect(field).to_be_focused()
    inspect(laptop, chat, "address")
    field.fill("Rosa@example.org")
    field.press("Enter")
    field = followup.get_by_label("Six-digit code")
    expect(field).to_be_focused()
    expect(followup).to_contain_text("Replies that you miss here are sent to rosa@example.org.")
    expect(followup).to_contain_text("We have sent a six-digit code to rosa@example.org.")
    inspect(laptop, chat, "code")
    assert (field.get_attribute("inputmode"), field.get_attribute("autocomplete")) == ("numeric", "one-time-code")
    code = office.code("rosa@example.org")
    for typed, said in ((code[:5], "all six digits"), (other_than(code), "you have 4 more tries")):
        field.fill(typed)
        field.press("Enter")
        expect(followup.get_by_role("status")).to_contain_text(said)
        expect(field).to_be_focused()
    inspect(laptop, chat, "code-wrong")

    other = laptop.context.new_page()  # another tab knows of the code, too
    other.goto(f"{office.server.url}/widget/")
    second = other.main_frame.locator("#followup").get_by_label("Six-digit code")
    second.evaluate(
        """(field, text) => {
            field.focus();
            document.execCommand("insertText", false, text);
        }""",
        f"{code[:3]} {code[3:]}",
    )
    second.press("Enter")
    expect(other.locator("#followup")).to_contain_text("Thank you, rosa@example.org is confirmed.")
    expect(other.locator("#followup").get_by_role("button", name="Send me this conversation")).to_be_visible()
    other.close()
    field.fill(code)  # the first tab finds that out by itself
    field.press("Enter")
    expect(followup.get_by_role("button", name="Send me this conversation")).to_be_visible()
    expect(chat.locator(".entry.customer")).to_have_count(1)
    inspect(laptop, chat, "proved")
    assert [said for said in laptop.complaints if "422" not in said and "401" not in said] == []
    laptop.context.close()


def test_a_proved_address_brings_the_conversations_of_other_devices_even_if_its_answer_is_lost(
    browser: Browser, office: Office, pictures: Path
) -> None:
    laptop, phone = (Witness(browser, pictures, width=390, height=800) for _ in range(2))
    for device, text, loses in ((laptop, "My lamp blinks.", False), (phone, "My hub is hot.", True)):
        chat = begin_to_wait(device, office, text)
        followup = chat.locator("#followup")
        followup.get_by_role("button", name="Get replies by e-mail, too").click()
        followup.locator("input").fill("kim@example.org")
        followup.locator("input").press("Enter")
        field = followup.get_by_label("Six-digit code")
        field.fill(office.code("kim@example.org"))
        if loses:
            device.page.route("**/sessions/current/proof", lose_answer)
            field.press("Enter")
            expect(followup).to_contain_text("This does not work right now. Please try again.")
            device.page.unroute("**/sessions/current/proof", lose_answer)
        field.press("Enter")
        expect(followup.get_by_role("button", name="Send me this conversation")).to_be_visible()
    chat.locator("#open-earlier").click()
    expect(chat.locator("#earlier-list .result")).to_have_count(2)
    chat.locator("#earlier-list .result:not([aria-current])").click()
    expect(chat.locator(".entry.customer")).to_contain_text("My lamp blinks.")

    tablet = Witness(browser, pictures, width=390, height=800)  # where nothing has been written yet
    tablet.page.goto(f"{office.server.url}/widget/")
    chat = tablet.page.main_frame
    chat.locator("#open-earlier").click()
    finder = chat.locator("#find-earlier")
    finder.get_by_role("button", name="Find conversations from another device").click()
    tablet.picture("find-earlier")
    finder.get_by_label("Your e-mail address").fill("kim@example.org")
    finder.locator("input").press("Enter")
    field = finder.get_by_label("Six-digit code")
    expect(finder).not_to_contain_text("Replies")
    field.fill(office.code("kim@example.org"))
    tablet.picture("find-earlier-code")
    field.press("Enter")
    expect(chat.locator("#earlier-list .result")).to_have_count(2)
    expect(finder).to_be_hidden()
    assert tablet.complaints == []
    for device in (laptop, phone, tablet):
        device.context.close()


def begin_to_wait(customer: Witness, office: Office, text: str) -> Frame:
    """A customer who has asked for a person with these words."""
    customer.page.goto(f"{office.server.url}/widget/")
    chat: Frame = customer.page.main_frame
    chat.locator("#person").click()
    chat.locator("#text").fill(text)
    chat.locator("#text").press("Enter")
    expect(chat.locator("body")).to_have_attribute("data-state", "handed_off")
    return chat


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


def lose_answer(route: Route) -> None:
    """The server gets the request, and its answer gets nobody."""
    route.fetch()
    route.abort()
