"""A real browser, and a site of somebody else's with the widget on its pages."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WAIT = 240_000  # milliseconds, far longer than anything takes, as the machine may be busy


def chromium() -> str:
    """The path of the browser; without one the test is skipped."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("needs a Chromium browser: apt install chromium")
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = chromium()
    expect.set_options(timeout=WAIT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _no_page_stays_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Pages are live: one that is left open goes on asking, also a server that is gone, while other tests run."""
    yield
    if "browser" in request.fixturenames:
        for context in request.getfixturevalue("browser").contexts:
            context.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: a folder that ``SCREENSHOTS`` names, to keep them."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Site:
    """Pages on an origin of their own: ``url``, and ``stranger``, by which it is another one."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, str]] = {}  # by path: HTML, Content-Security-Policy
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page, policy = site.pages.get(self.path, ("", ""))
                body = page.encode()
                self.send_response(200 if page else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                if policy:
                    self.send_header("Content-Security-Policy", policy)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.stranger = f"http://localhost:{self._server.server_port}"

    def add(self, path: str, body: str, *, head: str = "", policy: str = "") -> None:
        head = f'<title>A shop</title><link rel="icon" href="data:,">{head}'
        page = f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'
        self.pages[path] = (page, policy)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def make_site() -> Iterator[Callable[[], Site]]:
    made: list[Site] = []

    def make() -> Site:
        made.append(Site())
        return made[-1]

    yield make
    for site in made:
        site.close()
