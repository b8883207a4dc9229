"""The widget in every state, in several languages, by keyboard and on small screens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageFilter
from playwright.sync_api import Browser, Frame, Route, expect

from assistant import sample
from assistant.runtime import build
from assistant.settings import Settings
from tests.e2e.server import Server
from tests.e2e.test_end_to_end import Witness, browser, open_chat, pictures
from tests.factories import make_agent, make_articles

__all__ = ["browser", "pictures"]

LABEL = sample.articles_dir().parent / "photos" / "robot-label.jpg"
EXCEL = "Order\tCode\n4711\tE21\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one article and one agent, which reads no photos: it starts quickly."""
    folder = tmp_path_factory.mktemp("states")
    runtime = build(Settings(data_dir=folder / "var"))
    make_articles(runtime.desk, folder / "articles")
    make_agent(runtime.desk.db, "alice", admin=True)
    runtime.close()
    server = Server(folder / "var", at_once=True, model="none", ocr="off", risky_files="refuse")
    try:
        server.start()
        yield server
    finally:
        server.close()


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
    chips.nth(2).get_by_role("button").click()

    customer.page.route("**/messages", never)
    chat.locator("#send").click()
    bar = chat.locator(".delivery progress")
    expect(bar).to_be_visible()
    customer.picture("uploading")
    chat.get_by_role("button", name="Cancel").click()
    expect(chat.locator(".delivery")).to_contain_text("Not sent: You stopped the upload.")
    expect(bar).to_have_count(0)
    customer.page.unroute("**/messages", never)
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
