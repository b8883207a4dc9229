"""The widget on other people's pages: what they forbid, what they do to themselves, and what becomes of it when the
support host cannot be reached.

Set ``SCREENSHOTS`` to a folder to keep screenshots of every state.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Frame, Page, expect

from assistant.lab.real_server import Server
from assistant.runtime import open_database
from assistant.settings import Settings
from tests.e2e.conftest import Site

pytestmark = pytest.mark.e2e

# Tests see into the shadow root, which is closed to everybody else.
OPEN_SHADOWS = """
    const attach = Element.prototype.attachShadow;
    Element.prototype.attachShadow = function (init) { return attach.call(this, { ...init, mode: "open" }); };
"""
DESKTOP, PHONE = {"width": 1200, "height": 800}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def site(make_site: Callable[[], Site]) -> Site:
    return make_site()


@pytest.fixture(scope="module")
def server(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("embedded") / "var"
    open_database(Settings(data_dir=folder)).close()
    given = {"widget_origins": site.url, "contact": "help@shop.example", "company": "Lumora"}
    server = Server(folder, at_once=True, ocr="off", model="none", workers=0, **given)
    server.start()
    yield server
    server.close()


class Visit:
    """A browser window on the site, and what it says in its console."""

    def __init__(self, context: BrowserContext, pictures: Path) -> None:
        context.add_init_script(OPEN_SHADOWS)
        self.context = context
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self._pictures = pictures
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    @property
    def launcher(self) -> Any:
        return self.page.locator(".launcher")

    @property
    def trouble(self) -> Any:
        return self.page.locator(".trouble")

    def chat(self) -> Frame:
        """The frame, once it shows the conversation."""
        self.page.locator(".panel.ready").wait_for()
        while not (found := [frame for frame in self.page.frames if "/widget/" in frame.url]):
            self.page.wait_for_timeout(50)  # a moved frame is listed again a moment later
        return found[0]

    def picture(self, name: str) -> None:
        if "SCREENSHOTS" in os.environ:
            self.page.wait_for_timeout(500)  # for transitions; no assertion depends on it
            self.page.screenshot(path=self._pictures / f"shell-{name}.png", caret="initial")


@pytest.fixture
def visit(browser: Browser, pictures: Path) -> Iterator[Callable[..., Visit]]:
    contexts: list[BrowserContext] = []

    def begin(size: Any = DESKTOP, **options: Any) -> Visit:
        contexts.append(browser.new_context(viewport=size, locale="en-GB", **options))
        return Visit(contexts[-1], pictures)

    yield begin
    for context in contexts:
        context.close()


def loader(server: Server, attributes: str = "") -> str:
    return f'<script src="{server.url}/widget/loader.js" {attributes} async></script>'


def focus_is_on_launcher(page: Page) -> bool:
    return bool(
        page.evaluate("document.activeElement?.shadowRoot?.activeElement?.classList.contains('launcher') ?? false")
    )


def test_a_site_that_forbids_everything_else_and_replaces_its_body(
    site: Site, server: Server, visit: Callable[..., Visit]
) -> None:
    policy = (
        f"default-src 'none'; script-src {server.url} 'nonce-own'; frame-src {server.url}; img-src data:; "
        "base-uri 'none'; require-trusted-types-for 'script'"
    )
    early = """<script nonce="own">
        window.heard = [];
        window.SupportAssistant = ["ready", "open"].map((event) => ["on", event, () => heard.push(event)]);
    </script>"""
    site.add("/strict", "<main>Shop</main>", head=early + loader(server), policy=policy)
    customer = visit()
    page = customer.page
    page.goto(f"{site.url}/strict")
    customer.launcher.click()
    chat = customer.chat()
    expect(chat.locator("#text")).to_be_focused()
    customer.picture("open")
    chat.locator("#text").fill("a draft")
    assert page.evaluate("heard") == ["ready", "open"]

    # As sites do that change pages without loading them.
    page.evaluate("document.body.replaceWith(document.createElement('body'))")
    assert chat.locator("#text").input_value() == "a draft"  # not even the frame was loaded anew
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement !== document.body")
    assert focus_is_on_launcher(page)
    page.keyboard.press("Enter")
    expect(chat.locator("#text")).to_be_focused()
    page.evaluate("document.documentElement.replaceChildren(document.createElement('body'))")
    expect(customer.launcher).to_have_count(1)
    page.evaluate("SupportAssistant.close(); SupportAssistant.open()")
    customer.chat()

    # Loading it twice is harmless, and it can be taken away and brought back.
    again = f"""new Promise((done) => {{
        const script = document.createElement("script");
        const policy = trustedTypes.createPolicy("own" + Math.random(), {{ createScriptURL: (url) => url }});
        script.src = policy.createScriptURL("{server.url}/widget/loader.js");
        script.onload = done;
        document.documentElement.append(script);
    }})"""
    page.evaluate(again)
    expect(customer.launcher).to_have_count(1)
    page.evaluate("SupportAssistant.destroy()")
    expect(customer.launcher).to_have_count(0)
    assert page.evaluate("typeof SupportAssistant") == "undefined"
    page.evaluate(again)
    page.evaluate("SupportAssistant.open('It leaks')")
    chat = customer.chat()
    expect(chat.locator("#text")).to_have_value("a draft")  # what was written is not overwritten
    page.evaluate("SupportAssistant.setContext({ order_number: '1042' })")
    written = "({ author: new Promise((done) => SupportAssistant.on('message', (said) => done(said.author))) })"
    heard = page.evaluate_handle(written)
    with page.expect_request(lambda asked: asked.method == "POST" and asked.url.endswith("/conversations")) as begun:
        chat.locator("#send").click()
    assert '{"order_number":"1042"}' in (begun.value.post_data or "")
    assert page.evaluate("(heard) => heard.author", heard) == "customer"
    assert customer.complaints == []


def test_a_phone_is_never_trapped_and_the_chat_comes_back(
    site: Site, server: Server, visit: Callable[..., Visit]
) -> None:
    site.add("/", "<main>Shop</main>", head=loader(server))
    customer = visit(PHONE)
    page = customer.page
    page.clock.install()
    page.goto(site.url)
    customer.launcher.wait_for()
    server.pause()
    try:
        customer.launcher.click()
        expect(page.locator(".progress")).to_be_visible()
        customer.picture("phone-waiting")
        page.clock.run_for(10_500)
        expect(customer.trouble).to_contain_text("The chat cannot be reached at the moment.")
        assert customer.trouble.locator("a").get_attribute("href") == "mailto:help@shop.example"
        customer.picture("phone-unreachable")
        page.get_by_label("Close the chat").click()
        expect(customer.launcher).to_be_visible()
        expect(customer.trouble).not_to_be_visible()
        customer.launcher.click()
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".progress")).to_be_visible()
    finally:
        server.resume()
    expect(customer.chat().locator("#welcome")).to_be_visible()
    expect(customer.trouble).not_to_be_visible()
    customer.picture("phone-back")


def test_offline_it_says_so_in_the_customers_language_and_comes_by_itself(
    site: Site, server: Server, visit: Callable[..., Visit]
) -> None:
    site.add("/arabic", "<main>متجر</main>", head=loader(server, 'data-language="ar"'))
    customer = visit(color_scheme="dark")
    page = customer.page
    page.clock.install()
    page.goto(f"{site.url}/arabic")
    customer.launcher.wait_for()
    customer.context.set_offline(True)
    customer.launcher.click()
    page.wait_for_function("document.querySelector('div').shadowRoot.querySelector('iframe')")
    page.wait_for_timeout(300)
    page.clock.run_for(2_100)
    expect(customer.trouble).to_contain_text("تعذّر الوصول إلى الدردشة")
    expect(customer.trouble).to_have_css("direction", "rtl")
    customer.picture("dark-arabic-offline")
    customer.context.set_offline(False)
    expect(customer.chat().locator("html")).to_have_attribute("lang", "ar")
    page.evaluate("SupportAssistant.setLanguage('de')")
    expect(customer.chat().locator("html")).to_have_attribute("lang", "de")
    page.evaluate("SupportAssistant.setTheme('light')")
    expect(customer.chat().locator("body")).to_have_css("background-color", "rgb(246, 247, 249)")
    customer.picture("light-german")


def test_a_site_that_is_not_allowed_is_told_which_setting_to_change(
    site: Site, server: Server, visit: Callable[..., Visit]
) -> None:
    site.add("/", "<main>Shop</main>", head=loader(server))
    developer = visit()
    developer.page.goto(site.stranger)
    developer.launcher.click()
    expect(developer.trouble.locator("a")).to_be_visible()
    [line] = [said for said in developer.complaints if "SupportAssistant" in said]
    assert site.stranger in line
    assert "ASSISTANT_WIDGET_ORIGINS" in line
    developer.picture("not-allowed")
    developer.page.keyboard.press("Escape")
    expect(developer.trouble).not_to_be_visible()


def test_a_support_host_that_hangs_holds_no_page_back(site: Site, server: Server, visit: Callable[..., Visit]) -> None:
    snippet = f"""<script>
        addEventListener("load", () => {{
            const script = document.createElement("script");
            script.src = "{server.url}/widget/loader.js";
            document.head.append(script);
        }});
    </script>"""
    site.add("/later", "<main>Shop</main>", head=snippet)
    site.add("/opens", "<main>Shop</main><img src='/slow'>", head=loader(server))
    customer = visit()
    page = customer.page
    page.goto(f"{site.url}/opens")
    customer.launcher.click()
    customer.chat()
    server.pause()
    try:
        page.goto(f"{site.url}/later", wait_until="load", timeout=60_000)
        # With the scripts in the browser's cache, the conversation that was open is opened again.
        page.goto(f"{site.url}/opens", wait_until="load", timeout=60_000)
        expect(page.locator(".progress")).to_be_visible()
        assert page.evaluate("document.activeElement === document.body")  # nobody asked for it on this page
        page.get_by_label("Close the chat").click()
    finally:
        server.resume()
