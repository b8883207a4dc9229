"""The conversation stays with its customer where browsers block or partition what other sites store, in private
windows, in several tabs and without a connection, in a real Chromium."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Frame, Page, expect
from sqlalchemy import select

from assistant import sample
from assistant.db import Database
from assistant.lab.real_server import Server
from assistant.models import Author, Message, WidgetSession
from assistant.runtime import open_database
from assistant.settings import Settings
from tests.e2e.conftest import FLAGS, Site, chromium

pytestmark = pytest.mark.e2e

LABEL = sample.articles_dir().parent / "photos" / "robot-label.jpg"
PARTITION = "--enable-features=ThirdPartyStoragePartitioning"
STORES = "() => { try { localStorage.length; return true } catch { return false } }"


@pytest.fixture(scope="module")
def site(make_site: Callable[[], Site]) -> Site:
    return make_site()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage") / "var"


@pytest.fixture(scope="module")
def server(site: Site, folder: Path) -> Iterator[Server]:
    open_database(Settings(data_dir=folder)).close()
    origins = f"{site.url},{site.stranger}"
    server = Server(folder, at_once=True, ocr="off", model="none", workers=0, widget_origins=origins)
    server.start()
    for path in ("/", "/other"):
        site.add(path, "<p>A page</p>", head=f'<script src="{server.url}/widget/loader.js" async></script>')
    yield server
    server.close()


@pytest.fixture
def db(server: Server, folder: Path) -> Iterator[Database]:
    database = open_database(Settings(data_dir=folder))
    yield database
    database.close()


def said(db: Database, *, of: str) -> list[list[str]]:
    """What customers wrote that begins so, by conversation."""
    by_conversation: dict[int, list[str]] = {}
    with db.read() as session:
        query = select(Message).where(Message.author == Author.CUSTOMER, Message.text.startswith(of))
        for message in session.scalars(query.order_by(Message.id)):
            by_conversation.setdefault(message.conversation_id, []).append(message.text)
    return list(by_conversation.values())


def visit(context: BrowserContext, address: str, *, opened: bool = True) -> Page:
    page = context.new_page()
    page.goto(address)
    page.wait_for_function("window.SupportAssistant")
    if opened:
        page.evaluate("SupportAssistant.open()")
    return page


def chat_of(page: Page) -> Frame:
    for _ in range(600):
        found = next((frame for frame in page.frames if "/widget/" in frame.url), None)
        if found is not None:
            expect(found.locator("body.ready")).to_be_attached()
            return found
        page.wait_for_timeout(100)
    raise AssertionError("no frame")


def write(page: Page, text: str) -> None:
    chat = chat_of(page)
    chat.locator("#text").fill(text)
    chat.locator("#send").click()
    expect(chat.locator(".entry.customer").last).to_contain_text(text)


@contextmanager
def profile(browser: Browser, folder: Path, *, blocked: bool) -> Iterator[BrowserContext]:
    """A browser with a profile of its own, which blocks or partitions what frames of other sites store."""
    preferences = folder / "Default" / "Preferences"
    if not preferences.exists():
        preferences.parent.mkdir(parents=True)
        wanted = {"cookie_controls_mode": int(blocked), "block_third_party_cookies": blocked}
        preferences.write_text(json.dumps({"profile": wanted}))
    launch = browser.browser_type.launch_persistent_context
    context = launch(folder, executable_path=chromium(), args=[*FLAGS, PARTITION])
    yield context
    context.close()


@pytest.mark.parametrize("blocked", [True, False], ids=["blocked", "partitioned"])
def test_the_conversation_survives_pages_and_restarts_of_the_browser(
    browser: Browser, server: Server, site: Site, tmp_path: Path, blocked: bool
) -> None:
    text = f"It leaks, {blocked}"
    with profile(browser, tmp_path, blocked=blocked) as context:
        page = visit(context, f"{site.stranger}/")  # localhost, while the server is 127.0.0.1: two sites
        write(page, text)
        chat = chat_of(page)
        assert chat.evaluate(STORES) is not blocked
        expect(chat.locator(".entry.customer")).to_contain_text("Sent")
        page.goto(f"{site.stranger}/other")
        page.evaluate("SupportAssistant.open()")
        expect(chat_of(page).locator(".entry.customer")).to_contain_text(text)
        assert context.cookies() == []
    with profile(browser, tmp_path, blocked=blocked) as context:
        page = visit(context, f"{site.stranger}/")
        expect(chat_of(page).locator(".entry.customer")).to_contain_text(text)
        # What could not be sent is sent from the next page, with its photo.
        context.route("**/messages", lambda route: route.abort())
        chat_of(page).locator("#picker").set_input_files(LABEL)
        write(page, "See photo")
        page.wait_for_function("Object.keys(localStorage).some((key) => key.includes('/outbox.'))")
        page.goto(f"{site.stranger}/other")
        context.unroute_all()  # not before: the page that is left would try again itself
        page.evaluate("SupportAssistant.open()")
        last = chat_of(page).locator(".entry.customer").last
        expect(last).to_contain_text("Sent")
        expect(last).to_contain_text("See photo")
        expect(last.locator(".photo")).to_have_count(1)


def test_a_private_window_keeps_it_from_page_to_page_and_no_other_origin_gets_it(
    browser: Browser, server: Server, site: Site, db: Database
) -> None:
    context = browser.new_context()
    page = visit(context, f"{site.stranger}/")
    write(page, "private: it drips")
    page.goto(f"{site.stranger}/other")
    page.evaluate("SupportAssistant.open()")
    expect(chat_of(page).locator(".entry.customer")).to_contain_text("private: it drips")
    stolen = page.evaluate("() => JSON.stringify({...localStorage})")
    assert context.cookies() == []
    context.close()

    thief = browser.new_context()
    page = visit(thief, f"{site.url}/", opened=False)
    page.evaluate("stolen => Object.assign(localStorage, JSON.parse(stolen))", stolen)
    page.reload()
    page.wait_for_function("window.SupportAssistant")
    page.evaluate("SupportAssistant.open()")
    chat = chat_of(page)
    expect(chat.locator("#welcome")).to_be_visible()
    expect(chat.locator(".entry.customer")).to_have_count(0)
    thief.close()
    with db.read() as session:
        assert {one.origin for one in session.scalars(select(WidgetSession))} >= {site.stranger}


def test_three_tabs_that_write_while_offline_lose_nothing_and_make_one_conversation(
    browser: Browser, server: Server, site: Site, db: Database
) -> None:
    context = browser.new_context()
    tabs = [visit(context, f"{site.stranger}/") for _ in range(3)]
    for tab in tabs:
        chat_of(tab)
    context.set_offline(True)
    texts = [f"offline {number}" for number in range(3)]
    for tab, text in zip(tabs, texts, strict=True):
        write(tab, text)
    context.set_offline(False)
    for tab in tabs:
        expect(chat_of(tab).locator(".entry.customer")).to_have_count(3)
    found = said(db, of="offline")
    assert [sorted(one) for one in found] == [texts]
    context.close()


def test_a_first_message_without_a_connection_goes_out_from_any_page_even_with_the_chat_closed(
    browser: Browser, server: Server, site: Site, db: Database
) -> None:
    context = browser.new_context()
    page = visit(context, f"{site.stranger}/")
    chat_of(page)
    context.set_offline(True)
    write(page, "unsent at first")
    page.close()
    context.set_offline(False)
    page = visit(context, f"{site.stranger}/other", opened=False)
    for _ in range(600):
        if found := said(db, of="unsent"):
            break
        page.wait_for_timeout(100)
    assert found == [["unsent at first"]]
    context.close()


def test_a_tab_that_was_there_first_hears_of_what_another_begins(browser: Browser, server: Server, site: Site) -> None:
    context = browser.new_context()
    first, second = (visit(context, f"{site.stranger}/", opened=False) for _ in range(2))
    second.evaluate("SupportAssistant.open()")
    write(second, "in the second tab")
    expect(chat_of(first).locator(".entry.customer")).to_contain_text("in the second tab")
    context.close()


def test_what_a_page_learns_late_is_shown_in_its_place(browser: Browser, server: Server, site: Site) -> None:
    context = browser.new_context()
    page = visit(context, f"{site.stranger}/")
    write(page, "late: one")
    expect(chat_of(page).locator(".entry.customer")).to_contain_text("Sent")
    context.route("**/widget/v1/**", lambda route: route.abort())
    page.reload()
    page.wait_for_function("window.SupportAssistant")
    page.evaluate("SupportAssistant.open()")
    write(page, "late: two")
    expect(chat_of(page).locator(".entry.customer")).to_have_count(1)
    context.unroute_all()
    bubbles = chat_of(page).locator(".entry.customer .bubble")
    expect(bubbles).to_have_text(["late: one", "late: two"])
    expect(chat_of(page).locator("[data-delivery=sent]")).to_have_count(1)
    context.close()
