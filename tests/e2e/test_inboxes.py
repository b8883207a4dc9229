"""The widget of an inbox on its own site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Frame, expect

from assistant.desk.inboxes import find, keep_logo
from assistant.lab.real_server import Server
from assistant.runtime import build
from assistant.settings import Settings
from tests.e2e.conftest import Site
from tests.e2e.test_end_to_end import Witness
from tests.factories import make_agent, make_articles, make_inbox, make_photo
from tests.web.test_widget_identity import SECRET, sign

pytestmark = pytest.mark.e2e

QUESTION = "What does error E21 mean?"
MEANS = {"acme": "the pump draws no water from the tank", "bolt": "the door of the oven is open"}


@pytest.fixture(scope="module")
def sites(make_site: Callable[[], Site]) -> dict[str, Site]:
    return {key: make_site() for key in MEANS}


@pytest.fixture(scope="module")
def server(sites: dict[str, Site], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("inboxes")
    settings = Settings(data_dir=folder / "var")
    runtime = build(settings)
    db = runtime.desk.db
    look = {"language": "de", "greeting": "Willkommen bei Acme.", "quick_replies": [QUESTION], "accent": "#8a1c7c"}
    make_inbox(db, "acme", name="Acme", origins=[sites["acme"].url], **look)
    questions = [
        {"key": "order", "text": "Order number", "required": True},
        {"key": "topic", "text": "What is it about?", "choices": ["Delivery", "Repair"]},
    ]
    form = {"name": "required", "email": "optional", "questions": questions}
    make_inbox(db, "bolt", name="Bolt", origins=[sites["bolt"].url], prechat=form)
    with db.begin() as session:
        find(session, "bolt").secret = SECRET
        keep_logo(find(session, "acme"), settings, "logo.png", make_photo(kind="PNG", colour="orange"))
    page = "---\ninbox: {key}\n---\n# Error codes of {key}\n\n## E21\n\nError E21 means that {means}.\n"
    make_articles(
        runtime.desk, folder / "kb", {f"{key}.md": page.format(key=key, means=text) for key, text in MEANS.items()}
    )
    make_agent(db, "alice", admin=True)
    runtime.close()
    # Whose articles it answers from is tested, not how sure it is.
    server = Server(folder / "var", at_once=True, model="none", ocr="off", answer_threshold=0)
    try:
        server.start()
        yield server
    finally:
        server.close()


def open_site(customer: Witness, server: Server, sites: dict[str, Site], key: str) -> Frame:
    """A page of the inbox's site that does not say its language, with its chat open."""
    head = f'<script src="{server.url}/widget/loader.js" data-inbox="{key}" async></script>'
    sites[key].add("/", "<button data-support-open>Help</button>", head=head)
    page, policy = sites[key].pages["/"]
    sites[key].pages["/"] = (page.replace(' lang="en"', ""), policy)
    customer.page.goto(f"{sites[key].url}/")
    customer.page.wait_for_function("window.SupportAssistant")
    with customer.page.expect_event("framenavigated", lambda frame: "/widget/?" in frame.url) as opened:
        customer.page.get_by_role("button", name="Help", exact=True).click()
    chat: Frame = opened.value
    expect(chat.locator("#welcome")).to_be_visible()
    return chat


def test_a_site_has_the_brand_and_language_of_its_inbox(
    browser: Browser, server: Server, sites: dict[str, Site], pictures: Path
) -> None:
    customer = Witness(browser, pictures, width=1000, height=900)
    chat = open_site(customer, server, sites, "acme")
    expect(chat.locator("h1")).to_have_text("Acme")
    expect(chat.locator("html")).to_have_attribute("lang", "de")
    expect(chat.locator(".greeting")).to_have_text("Willkommen bei Acme.")
    assert chat.locator(".mark img").evaluate("image => image.complete && image.naturalWidth > 0")
    assert chat.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--accent')") == "#8a1c7c"
    expect(chat.locator("#prechat")).to_be_hidden()
    customer.picture("inbox-acme")


def test_who_writes_answers_the_inbox_s_questions_first_and_only_once(
    browser: Browser, server: Server, sites: dict[str, Site], pictures: Path
) -> None:
    customer = Witness(browser, pictures, width=1000, height=900)
    chat = open_site(customer, server, sites, "bolt")
    expect(chat.get_by_label("Order number")).to_be_visible()
    expect(chat.locator("#composer")).to_be_hidden()
    customer.picture("inbox-bolt-form")
    chat.get_by_label("Your name").fill("Rosa")
    chat.get_by_label("Order number").fill("4711")
    chat.get_by_label("What is it about?").select_option("Repair")
    chat.locator("#prechat button").click()
    chat.locator("#text").fill(QUESTION)
    chat.locator("#text").press("Enter")
    expect(chat.locator(".entry.assistant").first).to_contain_text(MEANS["bolt"])
    with customer.page.expect_event("framenavigated", lambda frame: "/widget/?" in frame.url) as opened:
        customer.page.reload()
    chat = opened.value
    customer.page.get_by_role("button", name="Help", exact=True).click()
    expect(chat.locator(".entry.assistant").first).to_contain_text(MEANS["bolt"])
    chat.locator("#open-earlier").click()
    chat.locator("#start-new").click()
    expect(chat.locator("#composer")).to_be_visible()
    customer.page.evaluate("window.SupportAssistant.logout()")
    expect(chat.locator("#composer")).to_be_hidden()
    expect(chat.get_by_label("Your name")).to_have_value("")
    assert customer.complaints == []


def test_who_is_signed_in_is_asked_for_neither_name_nor_address(
    browser: Browser, server: Server, sites: dict[str, Site], pictures: Path
) -> None:
    customer = Witness(browser, pictures, width=1000, height=900)
    chat = open_site(customer, server, sites, "bolt")
    chat.get_by_label("Order number").fill("4711")
    customer.page.evaluate("token => window.SupportAssistant.identify(token)", sign(name="Rosa"))
    expect(chat.get_by_label("Your name")).to_have_count(0)
    expect(chat.get_by_label("Your e-mail address")).to_have_count(0)
    expect(chat.get_by_label("Order number")).to_have_value("4711")
    customer.picture("inbox-bolt-signed-in")
    chat.locator("#prechat button").click()
    chat.locator("#text").fill(QUESTION)
    chat.locator("#text").press("Enter")
    expect(chat.locator(".entry.assistant").first).to_contain_text(MEANS["bolt"])
    customer.page.evaluate("window.SupportAssistant.logout()")
    expect(chat.get_by_label("Your name")).to_be_visible()
    assert customer.complaints == []


def test_a_page_that_names_no_inbox_of_ours_is_told_in_its_console(
    browser: Browser, server: Server, sites: dict[str, Site], pictures: Path
) -> None:
    customer = Witness(browser, pictures)
    head = f'<script src="{server.url}/widget/loader.js" data-inbox="acne" async></script>'
    sites["acme"].add("/wrong", "Shop", head=head)
    with customer.page.expect_console_message(lambda said: "inboxes list" in said.text) as said:
        customer.page.goto(f"{sites['acme'].url}/wrong")
    assert "There is no inbox 'acne'" in said.value.text
