"""The console by keys: Ctrl+K finds actions, tickets and pages, single keys do what is done all day."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from assistant import worker
from assistant.lab.real_server import Server
from assistant.models import AgentRole
from assistant.runtime import build
from assistant.settings import Settings
from tests.e2e.test_end_to_end import Witness
from tests.e2e.test_widget_states import AXE, faults
from tests.factories import PASSWORD, make_agent, make_ticket
from tests.fakes import fake_capabilities

pytestmark = pytest.mark.e2e

BOX = "Find an action, a ticket or a page"


@dataclass(frozen=True)
class Office:
    server: Server
    first: str  # of two tickets, the one that waits longer
    second: str


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    folder = tmp_path / "var"
    runtime = build(Settings(data_dir=folder), capabilities=fake_capabilities())
    make_agent(runtime.desk.db, "lea", role=AgentRole.LEAD)
    make_agent(runtime.desk.db, "vera", role=AgentRole.VIEWER)
    first, second = (make_ticket(runtime.desk, f"It is the {word} one", subject=word) for word in ("First", "Second"))
    worker.run_until_idle(runtime.desk)
    runtime.close()
    server = Server(folder, at_once=True, model="none", ocr="off", workers=0)
    try:
        server.start()
        yield Office(server, first.public_id, second.public_id)
    finally:
        server.close()


def sign_in(browser: Browser, office: Office, pictures: Path, name: str, **window: int) -> Witness:
    agent = Witness(browser, pictures, **window)
    agent.page.goto(f"{office.server.url}/console/")
    agent.page.get_by_label("E-mail address").fill(f"{name}@example.org")
    agent.page.get_by_label("Password").fill(PASSWORD)
    agent.page.get_by_role("button", name="Sign in").click()
    expect(agent.page.locator("#rows")).to_be_visible()
    return agent


def find(page: Page, words: str, shown: str) -> None:
    """Open it, type, and wait until it proposes ``shown`` first."""
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name=BOX)).to_be_focused()
    page.keyboard.type(words)
    expect(page.locator("#palette [aria-selected=true]")).to_have_text(re.compile(f"^{re.escape(shown)}"))


def test_ctrl_k_does_and_finds_what_the_page_and_the_desk_offer(
    browser: Browser, office: Office, pictures: Path
) -> None:
    lead = sign_in(browser, office, pictures, "lea")
    page = lead.page
    find(page, "first", "#1001 First")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/tickets/{office.first}**")
    page.locator("#reply-text").fill("Half a sentence")
    page.locator("#reply-text").focus()
    find(page, "take", "Take over")
    page.keyboard.press("Enter")
    expect(page.locator("#status .state-agent")).to_have_text("With Lea")
    expect(page.locator("#reply-text")).to_have_value("Half a sentence")
    page.locator("#reply-text").fill("")
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name=BOX)
    page.keyboard.type("reports tri")
    expect(page.locator("#palette [role=option]")).to_have_count(1)
    assert box.get_attribute("aria-activedescendant") == "palette-0"
    if AXE.exists():
        assert faults(page.main_frame) == []
    page.keyboard.press("Enter")
    page.wait_for_url("**/reports/triage")
    page.keyboard.press("Control+k")
    page.keyboard.type("no such thing")
    expect(page.locator("#palette .nothing")).to_be_visible()
    expect(box).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_contain_text("Ctrl K")
    assert not lead.complaints


def test_arrows_choose_and_one_key_does_what_is_done_all_day(browser: Browser, office: Office, pictures: Path) -> None:
    page = sign_in(browser, office, pictures, "lea").page
    page.keyboard.press("Control+k")
    options = page.locator("#palette [role=option]")
    expect(options.nth(9)).to_be_attached()
    chosen = page.locator("#palette [aria-selected=true]")
    for key, place in (("ArrowDown", 1), ("ArrowUp", 0), ("ArrowUp", options.count() - 1)):
        page.keyboard.press(key)
        expect(chosen).to_have_attribute("id", f"palette-{place}")
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_hidden()
    page.locator(".main-cell a").first.click()
    page.wait_for_url(f"**/tickets/{office.first}**")
    page.locator("body").click(position={"x": 2, "y": 400})
    page.keyboard.press("t")
    expect(page.locator("#status .state-agent")).to_have_text("With Lea")
    page.keyboard.press("s")
    expect(page.locator("#notice")).to_have_text("Solved #1001.")
    page.wait_for_url(f"**/tickets/{office.second}**")
    page.keyboard.press("a")
    expect(page.locator("#set-agent")).to_have_value(re.compile("agt_"))
    page.keyboard.press("u")
    expect(page.locator("#rows")).to_be_visible()


def test_a_viewer_is_offered_nothing_that_changes_anything_and_it_fits_a_phone(
    browser: Browser, office: Office, pictures: Path
) -> None:
    viewer = sign_in(browser, office, pictures, "vera", width=320, height=640)
    page = viewer.page
    page.goto(f"{office.server.url}/console/tickets/{office.first}")
    page.keyboard.press("Control+k")
    page.keyboard.type("e")
    expect(page.locator("#palette [role=option]").first).to_be_visible()
    offered = " ".join(page.locator("#palette [role=option]").all_inner_texts())
    for word in ("Take over", "Solve", "Follow", "Assign", "Note"):
        assert word not in offered
    viewer.picture("palette-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.keyboard.press("Escape")
    for key in ("t", "s", "a"):
        page.keyboard.press(key)
    expect(page.locator("#status .state-agent")).to_have_count(0)
    assert not viewer.complaints


def test_a_phone_shows_the_way_to_ones_account_and_words_of_buttons_whole(
    browser: Browser, office: Office, pictures: Path
) -> None:
    page = sign_in(browser, office, pictures, "vera", width=320, height=640).page
    page.goto(f"{office.server.url}/console/customers")
    search = page.get_by_role("button", name="Search", exact=True)
    words = "const words = document.createRange(); words.selectNodeContents(one); return words.getClientRects().length"
    assert search.evaluate(f"(one) => {{ {words} }}") == 1  # line
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.get_by_role("banner").get_by_role("link", name="Vera").click()
    page.wait_for_url("**/console/account")
