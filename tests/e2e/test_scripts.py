"""Texts from right to left, without blanks, and of one endless word, in a real browser.

Set ``SCREENSHOTS`` to a folder to keep screenshots.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from assistant.lab.real_server import Server
from assistant.runtime import build
from assistant.settings import Settings
from tests.e2e.test_end_to_end import Witness, open_chat, sign_in
from tests.factories import make_agent, make_ticket, make_upload

ARABIC = "مرحبا، جهاز HomeLink X1 لا يعمل. الضوء الثالث أحمر!"
# In one step: what a panel renews between finding and asking has no style any more.
ROWS = """[...document.querySelectorAll(".queue .main-cell a")].map(
  one => [one.textContent, getComputedStyle(one).direction, one.href])"""
# What a customer writes, and the direction in which it is read.
WRITTEN = {
    ARABIC: "rtl",
    "שלום, המכשיר HomeLink X1 לא נדלק (קוד E21).": "rtl",
    "دستگاه روشن نمی‌شود! https://a.example/x_(y)": "rtl",
    "اردو میں: مشین E21 دکھاتی ہے": "rtl",
    "コーヒーマシンのランプが赤く点滅しています。": "ltr",
    "เครื่องชงกาแฟไฟสีแดงกะพริบ": "ltr",
    "👨‍👩‍👧‍👦🇩🇪👍🏽 it blinks": "ltr",
    "… E21": "ltr",
    "W" * 1_500: "ltr",
    "https://a.example/" + "x" * 900: "ltr",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without workers, with one agent and a ticket for each text."""
    folder = tmp_path_factory.mktemp("scripts") / "var"
    runtime = build(Settings(data_dir=folder))
    make_agent(runtime.desk.db, "alice", admin=True)
    for text in WRITTEN:
        make_ticket(runtime.desk, text, requester_name="محمد", uploads=[make_upload(f"{text[:20]}.txt", b"log")])
    runtime.close()
    server = Server(folder, at_once=True, workers=0)
    try:
        server.start()
        yield server
    finally:
        server.close()


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_customers_read_and_write_in_their_direction(browser: Browser, server: Server, pictures: Path) -> None:
    customer = Witness(browser, pictures)
    chat = open_chat(customer, server)
    for number, (text, direction) in enumerate(WRITTEN.items()):
        chat.locator("#text").fill(text)
        expect(chat.locator("#text")).to_have_css("direction", direction)
        chat.locator("#send").click()
        bubbles = chat.locator(".entry.customer .bubble")
        expect(bubbles).to_have_count(number + 1)
        expect(bubbles.last).to_have_css("direction", direction)
        assert chat.evaluate("document.documentElement.scrollWidth <= innerWidth"), text
    links = chat.locator(".bubble a")
    for link, href in zip(
        (links.first, links.last), ("https://a.example/x_(y)", "https://a.example/" + "x" * 900), strict=True
    ):
        expect(link).to_have_attribute("href", href)
        expect(link).to_have_css("direction", "ltr")
    customer.picture("scripts-widget")
    assert customer.complaints == []
    customer.context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_agents_read_every_text_in_its_direction(browser: Browser, server: Server, pictures: Path, width: int) -> None:
    agent = Witness(browser, pictures, width=width)
    page = agent.page
    sign_in(agent, server)
    page.goto(f"{server.url}/console/?tab=all")
    page.locator(".queue .main-cell a").first.wait_for()
    assert fits(page)
    agent.picture(f"scripts-queue-{width}")
    found = page.evaluate(ROWS)
    assert len(found) >= len(WRITTEN)  # what the customer's test writes, too, if it came before
    directions = {text[:60]: direction for text, direction in WRITTEN.items()}
    for number, (subject, direction, address) in enumerate(found):
        expected = directions.get(subject[:60], "ltr" if subject.startswith(("W", "https")) else None)
        assert expected in (direction, None), subject
        page.goto(address)
        expect(page.locator("h1")).to_have_text(subject)
        expect(page.locator("h1")).to_have_css("direction", direction)
        expect(page.locator(".message.by-customer .text").first).to_have_css("direction", direction)
        expect(page.locator(".message.by-customer strong").first).to_have_css(
            "direction", "rtl" if "محمد" in page.locator("#status").inner_text() else "ltr"
        )
        page.locator("label", has=page.locator("#mode-reply")).click()
        page.locator("#reply-text").fill(ARABIC)
        expect(page.locator("#reply-text")).to_have_css("direction", "rtl")
        assert fits(page), subject
        if "SCREENSHOTS" in os.environ and number in (0, 1, len(found) - 1):
            agent.picture(f"scripts-ticket-{width}-{number}")
    assert agent.complaints == []
    agent.context.close()
