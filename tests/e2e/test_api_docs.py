"""The API's documentation in a browser: words are searched in it, and commands are copied."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiflask import APIFlask
from playwright.sync_api import Browser, expect
from werkzeug.serving import make_server


@pytest.fixture
def url(app: APIFlask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_words_are_searched_and_commands_copied(browser: Browser, url: str, pictures: Path) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page, wrong = context.new_page(), list[str]()
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{url}/api/v1/docs")
    page.screenshot(path=pictures / "api-docs.png")
    cards = page.locator(".api-docs .card:visible")
    assert cards.count() > 60

    page.get_by_label("Search").fill("give Back")
    expect(cards.filter(has_text="/give-back")).to_have_count(1)
    assert cards.count() < 10
    expect(page.get_by_role("status")).to_contain_text("found")
    expect(page.get_by_role("heading", name="Health")).to_be_hidden()
    expect(page.get_by_role("heading", name="Tickets", exact=True)).to_be_visible()
    page.screenshot(path=pictures / "api-docs-search.png")
    page.get_by_label("Search").fill("")
    assert cards.count() > 60

    operation = page.locator(".card", has_text="/api/v1/tickets/{ticket_id}/give-back").first
    operation.get_by_role("button", name="Copy").click()
    expect(operation.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith('curl -X POST "$URL/api/v1/tickets/$TICKET_ID/give-back"')
    assert wrong == []


def test_without_scripts_it_is_all_there(browser: Browser, url: str) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{url}/api/v1/docs")
    assert page.locator(".api-docs .card:visible").count() > 60
    expect(page.get_by_label("Search")).to_be_hidden()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)
