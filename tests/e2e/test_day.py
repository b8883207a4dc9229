"""A day at the desk: what a company of five does in the console, in browsers that stay open while tickets arrive.

Three agents, a lead and an admin, and 300 tickets.
"""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import select

from assistant.db import Database
from assistant.lab.real_server import Server
from assistant.models import AgentRole, Author, Conversation, Message, Ticket, TicketStatus, Visibility
from assistant.runtime import Runtime, build
from assistant.settings import Settings
from tests.conftest import LONG
from tests.e2e.test_end_to_end import Witness
from tests.e2e.test_widget_states import AXE, faults
from tests.factories import EVERY_SCOPE, PASSWORD, make_agent, make_articles, make_key, make_photo
from tests.fakes import fake_capabilities

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not LONG, reason="takes a quarter of an hour: set LONG=1")]

ARRIVING = 300
PLACES = ("Ulm", "Graz", "Basel", "Gent", "Turin", "Porto")
TAKEN = re.compile("is sending a reply|has just sent a reply|has taken over this conversation")


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    runtime = build(Settings(data_dir=tmp_path / "var"), capabilities=fake_capabilities())
    for name, team in (("ann", "technical"), ("bob", "technical"), ("cy", "orders")):
        make_agent(runtime.desk.db, name, team=team)
    make_agent(runtime.desk.db, "lea", team="technical", role=AgentRole.LEAD)
    make_agent(runtime.desk.db, "ada", admin=True)
    make_articles(runtime.desk, tmp_path)
    yield runtime
    runtime.close()


@pytest.fixture
def server(runtime: Runtime) -> Iterator[Server]:
    folder = runtime.desk.settings.data_dir
    server = Server(folder, undo_send_seconds=2, rate_limit="100000 per minute", public_url="")
    server.command = [sys.executable, "-m", "tests.e2e.light"]
    try:
        server.start()
        yield server
    finally:
        server.close()


class Person(Witness):
    """Somebody at work, in a window of their own."""

    def __init__(self, browser: Browser, pictures: Path, server: Server, name: str) -> None:
        super().__init__(browser, pictures)
        self.name = name
        self.console = f"{server.url}/console"
        self.page.goto(f"{self.console}/")
        self.page.get_by_label("E-mail address").fill(f"{name}@example.org")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.locator("#rows")).to_be_visible()

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.console}{path}")
        return self.page

    def find(self, words: str, *, view: str = "all") -> Locator:
        """Search as one does, and return the rows that are found."""
        page = self.open(f"/?tab={view}")
        page.keyboard.press("/")
        page.keyboard.type(words)
        page.keyboard.press("Enter")
        expect(page.locator("#q")).to_have_value(words)
        return page.locator(".main-cell a")

    def ticket(self, words: str) -> Page:
        """Open the only ticket that has these words."""
        found = self.find(words)
        expect(found).to_have_count(1)
        found.click()
        expect(self.page.locator("#connection")).to_have_text("Live")
        expect(self.page.locator("#triage .field").first).to_be_visible()
        return self.page

    def is_accessible(self) -> None:
        if AXE.exists():
            assert faults(self.page.main_frame) == []

    def send(self, text: str) -> None:
        self.page.keyboard.press("Escape")
        self.page.locator("label:has(#mode-reply)").click()
        self.page.locator("#reply-text").fill(text)
        self.page.locator("#reply-text").press("Control+Enter")


@dataclass(frozen=True)
class Arrival:
    """What comes in through the API while people work. ``done`` once all is there."""

    url: str
    key: str
    done: threading.Event
    sent: list[str]

    def post(self, text: str, *, subject: str, photo: bytes | None = None, who: str = "rosa") -> None:
        photos = [("photos", ("display.jpg", photo, "image/jpeg"))] if photo else []
        fields = {"text": text, "subject": subject, "requester_email": f"{who}@example.org", "requester_name": who}
        response = httpx.post(
            f"{self.url}/api/v1/tickets",
            headers={"Authorization": f"Bearer {self.key}", "Idempotency-Key": text.replace(" ", "-")},
            files=[*((name, (None, value)) for name, value in fields.items()), *photos],
            timeout=120,
        )
        assert response.status_code == 201, response.text
        self.sent.append(text)

    def stream(self, count: int) -> None:
        for number in range(count):
            photo = make_photo(colour=f"rgb({number % 255}, 90, 60)") if number % 6 == 0 else None
            place = PLACES[number % len(PLACES)]
            self.post(f"Parcel {number} to {place} is late", subject=f"Parcel {number}", photo=photo, who=f"c{number}")
        self.done.set()


@pytest.fixture
def arrival(runtime: Runtime, server: Server) -> Arrival:
    key = make_key(runtime.desk.db, *EVERY_SCOPE)
    return Arrival(server.url, key, threading.Event(), [])


def test_a_day_at_the_desk(
    browser: Browser, server: Server, runtime: Runtime, arrival: Arrival, pictures: Path
) -> None:
    ann, bob, cy, lea, ada = (Person(browser, pictures, server, name) for name in ("ann", "bob", "cy", "lea", "ada"))
    admin_prepares(ada)
    lead_prepares(lea)
    special_tickets(arrival)
    streaming = threading.Thread(target=arrival.stream, args=(ARRIVING,), daemon=True)
    streaming.start()
    two_answer_the_same_ticket(ann, bob)
    a_ticket_is_worked(ann, bob)
    tickets_are_related(bob)
    a_photo_is_read_and_corrected(ann)
    customers_are_merged(lea)
    an_article_is_written(cy, lea)
    streaming.join(600)
    assert arrival.done.is_set()
    all_are_answered([ann, bob, cy], runtime.desk.db)
    the_lead_looks(lea)
    the_admin_looks(ada, bob)
    nothing_is_lost_or_doubled(runtime.desk.db, arrival)
    complaints = {one.name: [said for said in one.complaints if "409" not in said] for one in (ann, bob, cy, lea, ada)}
    assert not any(complaints.values()), complaints


def admin_prepares(ada: Person) -> None:
    page = ada.open("/settings/fields/add")
    fill(page, {"Name": "Order", "Key": "order"}, "Add")
    page = ada.open("/settings/deadlines/add")
    fill(page, {"Name": "All", "First response": "8h", "Resolution": "3d"}, "Add")
    page = ada.open("/settings/automations/add")
    fill(page, {"Name": "Late parcels", "If": "late", "Add tags": "late"}, "Add")
    for link, button in (("Dry run", ""), ("Switch on…", "Switch on")):
        page.goto(f"{ada.console}/settings/automations")
        page.get_by_role("link", name="Late parcels").first.click()
        page.get_by_role("link", name=link, exact=True).click()
        if button:
            page.get_by_role("button", name=button).click()
    expect(page.locator("main")).to_contain_text("Late parcels")


def fill(page: Page, values: dict[str, str], button: str) -> None:
    for label, value in values.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name=button, exact=True).click()


def lead_prepares(lea: Person) -> None:
    page = lea.open("/macros")
    page.get_by_label("Name", exact=True).fill("Thanks")
    page.get_by_label("Reply", exact=True).fill("Hello {{customer.first_name|there}}, thank you.")
    page.get_by_label("Add tags").fill("thanked")
    page.locator("[name=scope]").select_option("team")
    page.get_by_role("button", name="Add macro").click()
    expect(page.locator(".hits")).to_contain_text("Thanks")


def special_tickets(arrival: Arrival) -> None:
    arrival.post("The zebra kettle hums", subject="Humming", who="zoe")
    arrival.post("The walrus kettle drips", subject="Dripping", who="wim")
    arrival.post("The walrus again, it still drips", subject="Dripping again", who="wim")
    arrival.post("See the display, octopus", subject="Display", photo=make_photo(), who="ola")
    arrival.post("The lemur lamp is broken", subject="Lamp", who="lou")


def two_answer_the_same_ticket(ann: Person, bob: Person) -> None:
    for one in (ann, bob):
        one.ticket("zebra")
    ann.page.locator("#reply-text").fill("Ann is here")
    expect(bob.page.locator("#colleagues")).to_contain_text("Ann")
    bob.send("Bob answers")
    expect(ann.page.locator("#draft")).to_contain_text(re.compile("Bob is sending a reply"))
    ann.page.locator("#reply-text").press("Control+Enter")
    expect(ann.page.locator("#draft [role=alert]:visible").first).to_contain_text(TAKEN)
    expect(ann.page.locator("#reply-text")).to_have_value("Ann is here")
    expect(ann.page.locator("#thread")).to_contain_text("Bob answers")
    ann.page.locator("#reply-text").fill("")


def a_ticket_is_worked(ann: Person, bob: Person) -> None:
    page = ann.ticket("lemur")
    page.keyboard.press("t")
    expect(page.locator("#status .state-agent")).to_have_text("With Ann")
    bob.open("/")  # whose list is live, and tells him soon that he is mentioned
    page.keyboard.press("n")
    page.locator("#note-text").fill("@Bob have you seen this?")
    page.locator("#note-text").press("Control+Enter")
    expect(page.locator("#thread")).to_contain_text("have you seen this?")
    expect(bob.page.locator("#alerts .count")).to_be_visible()
    bob.page.locator("#alerts").click()
    expect(bob.page.locator("main")).to_contain_text("have you seen this?")
    page.locator("#new-tag").fill("fragile")
    page.locator("#new-tag").press("Enter")
    expect(page.locator("#status .tags")).to_contain_text("fragile")
    page.locator("#custom-order").fill("A-17")
    page.locator("#custom-order").press("Enter")
    page.locator("#set-snooze").select_option(index=1)
    expect(page.locator("#status")).to_contain_text("Snoozed until")
    page.get_by_role("button", name="Follow", exact=True).click()
    expect(page.get_by_role("button", name="Unfollow", exact=True)).to_be_visible()
    page.locator("label:has(#mode-reply)").click()
    page.locator("#draft").get_by_role("button", name="Macros").click()
    page.locator("#macros").get_by_role("button", name=re.compile("Thanks")).click()
    expect(page.locator("#reply-text")).to_have_value(re.compile("Hello lou, thank you", re.I))
    page.locator("#reply-text").press("Control+Enter")
    page.locator("#undo-send").click()
    expect(page.locator("#reply-text")).to_have_value(re.compile("thank you"))
    page.locator("#reply-text").fill("Hello, which lamp is it? Please send a photo.")
    page.locator("#reply-text").press("Control+Enter")
    expect(page.locator("#thread")).to_contain_text("which lamp is it?")
    expect(page.locator("#status .tags")).to_contain_text("thanked")
    ann.picture("day-ticket")
    ann.is_accessible()
    expect(ann.find("field.order:A-17 tag:fragile lemur")).to_have_count(1)


def tickets_are_related(bob: Person) -> None:
    page = bob.page
    bob.find("walrus")
    number = page.locator("tr", has_not_text="again", has_text="Dripping").locator(".id").inner_text()
    bob.ticket("walrus still")
    page.get_by_text("Link or merge…").click()
    page.locator("#other-ticket").fill(number)
    page.get_by_role("button", name="Merge this one into it").click()
    expect(page.locator("#status .links")).to_contain_text(number)
    expect(page.locator("#status")).to_contain_text("Solved")


def a_photo_is_read_and_corrected(ann: Person) -> None:
    page = ann.ticket("octopus")
    page.locator(".photo-frame").click()
    expect(page.locator("#viewer")).to_be_visible()
    for key in ("+", "r", "b", "Escape"):
        page.keyboard.press(key)
    expect(page.locator("#viewer")).to_be_hidden()
    page.locator("details.read > summary").click()
    line = page.locator('input[aria-label="Visible text, line 2"]')
    expect(line).to_have_value("E21")
    line.fill("E27")
    page.get_by_role("button", name="Save corrections").click()
    expect(page.locator(".photo")).to_contain_text("corrected")
    expect(ann.find("code:E27")).to_have_count(1)


def customers_are_merged(lea: Person) -> None:
    page = lea.open("/customers?q=wim")
    page.get_by_role("link", name="wim").first.click()
    page.get_by_role("link", name="Merge…").click()
    page.get_by_label("With whom?").fill("zoe@example.org")
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("button", name="Merge", exact=True).click()
    expect(page.locator("main")).to_contain_text("zoe")


def an_article_is_written(cy: Person, lea: Person) -> None:
    page = cy.open("/knowledge/articles/write")
    page.get_by_label("Title").fill("Lamps of the Lemur line")
    page.get_by_label("Text", exact=True).fill("## A dark lamp\n\nTurn the Lemur lamp's collar until it clicks.")
    page.get_by_role("button", name="Save draft").click()
    expect(page.locator(".queue-head")).to_contain_text("Draft")
    address = page.url
    lea.page.goto(address)
    lea.page.locator("#questions").fill("What do I do if my Lemur lamp is dark?")
    lea.page.get_by_role("button", name="Save and try").click()
    expect(lea.page.locator(".tried")).to_contain_text("answer", ignore_case=True)
    lea.page.get_by_role("button", name="Save and publish").click()
    expect(lea.page.locator("main")).to_contain_text("published")


def all_are_answered(agents: list[Person], db: Database) -> None:
    """In turns, each takes what waits longest of what they may see, and answers it."""
    idle: set[str] = set()
    while len(idle) < len(agents):
        for agent in agents:
            if answer_one(agent):
                idle.discard(agent.name)
            else:
                idle.add(agent.name)
    assert open_parcels(db) == 0


def answer_one(agent: Person) -> bool:
    page = agent.open("/?q=parcel+assignee:none+is:unsolved")
    expect(page.locator("#connection")).to_have_text("Live")
    row = page.locator(".main-cell a").first
    if not row.count():
        return False
    row.click()
    page.wait_for_url("**/tickets/**")
    gone = page.get_by_text("There is no such ticket")  # triage has given it to another team since it was listed
    expect(page.locator("#connection").or_(gone)).to_be_visible()
    if gone.is_visible():
        return True
    expect(page.locator("#connection")).to_have_text("Live")
    page.keyboard.press("a")
    expect(page.locator("#set-agent")).to_have_value(re.compile("agt_"))
    page.locator("label:has(#mode-reply)").click()
    page.locator("#reply-text").fill(f"It will be there soon. {agent.name}")
    page.get_by_role("button", name="Send and solve").click()
    page.locator("#send-now").click()
    expect(page.locator("#status")).to_contain_text("Solved")
    return True


def open_parcels(db: Database) -> int:
    with db.read() as session:
        rows = session.scalars(select(Ticket).where(Ticket.subject.startswith("Parcel"))).all()
        return sum(one.status is not TicketStatus.SOLVED for one in rows)


def the_lead_looks(lea: Person) -> None:
    found = lea.find("tag:late parcel created:<7d has:photo")
    expect(found.first).to_be_visible()
    page = lea.page
    lea.picture("day-queue")
    lea.is_accessible()
    page.locator("#view-menu summary").click()
    page.locator("#view-name").fill("Late with photo")
    page.get_by_role("button", name="Save view").click()
    expect(page.locator("#tabs")).to_contain_text("Late with photo")
    page.locator("#pick-all").check()
    page.locator("#bulk-tag").fill("checked")
    page.locator("#bulk-apply").click()
    expect(page.locator("#done")).to_contain_text("Changed")
    page.locator("#undo").click()
    expect(page.locator("#done")).to_contain_text("Taken back")
    for name in ("", "/times", "/answers", "/triage", "/agents", "/outbreaks"):
        page.goto(f"{lea.console}/reports{name}")
        expect(page.get_by_role("navigation", name="Reports")).to_be_visible()
        lea.is_accessible()
    lea.picture("day-reports")


def the_admin_looks(ada: Person, bob: Person) -> None:
    page = ada.open("/settings/audit")
    expect(page.locator("main")).to_contain_text("ada@example.org")
    expect(page.locator("main")).to_contain_text("lea@example.org")
    ada.is_accessible()
    page = ada.open("/settings/agents")
    page.get_by_role("link", name=re.compile("^Bob")).first.click()
    page.get_by_role("link", name=re.compile("^Deactivate")).click()
    told_before = list(bob.complaints)
    page.get_by_role("button", name=re.compile("^Deactivate")).click()
    expect(bob.page.get_by_label("Password")).to_be_visible()
    bob.complaints[:] = told_before  # his open page was refused, as it should be


def nothing_is_lost_or_doubled(db: Database, arrival: Arrival) -> None:
    with db.read() as session:
        said = session.execute(
            select(Message.conversation_id, Message.author, Message.text).where(
                Message.visibility == Visibility.PUBLIC, Message.author.in_((Author.CUSTOMER, Author.AGENT))
            )
        ).all()
        conversations = session.scalars(select(Conversation.id)).all()
    asked = [text for _, author, text in said if author is Author.CUSTOMER]
    assert sorted(asked) == sorted(arrival.sent)
    assert len(conversations) == len(arrival.sent)
    replies = Counter(conversation for conversation, author, _ in said if author is Author.AGENT)
    assert set(replies.values()) == {1}
    assert len(replies) >= ARRIVING
