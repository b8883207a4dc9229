"""How long a customer on a slow line waits for the widget, in a real Chromium: python -m tests.e2e.first_paint

The line has 1.6 Mbit/s and 150 ms (emulated by Chromium, for each request). Nothing is in the browser's cache, and the
launcher stands on the page already. Times run from the click on it: until the panel with its head and close button is
painted, until the conversation is, and until a message can be written. The median of some runs, in milliseconds.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from assistant.lab.real_server import Server
from assistant.runtime import open_database
from assistant.settings import Settings
from tests.e2e.conftest import BROWSERS, FLAGS
from tests.e2e.test_embedding import OPEN_SHADOWS

LINE = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8}
# Times are of the same clock in page and frame.
WATCH = """new Promise((done) => {
    const root = [...document.documentElement.children].map((one) => one.shadowRoot).find(Boolean);
    const panel = root.querySelector(".panel");
    const now = () => performance.timeOrigin + performance.now();
    const painted = () => new Promise((seen) => requestAnimationFrame(() => setTimeout(() => seen(now()))));
    const times = { clicked: now() };
    root.querySelector(".launcher").click();
    painted().then((time) => (times.shell = time));
    const look = setInterval(() => {
        if (!panel.classList.contains("ready")) return;
        clearInterval(look);
        painted().then((time) => done({ ...times, ready: time }));
    }, 5);
})"""
PAINTED = """new Promise((done) => {
    const told = (list) => list.getEntriesByName("first-contentful-paint").forEach(
        (paint) => done(performance.timeOrigin + paint.startTime));
    new PerformanceObserver(told).observe({ type: "paint", buffered: true });
})"""


def measure(browser: Browser, url: str) -> tuple[float, float, float, int]:
    """Milliseconds until the shell, the first paint inside the frame, and a conversation one can write in; requests."""
    context = browser.new_context(viewport={"width": 390, "height": 800}, locale="en-GB")
    context.add_init_script(OPEN_SHADOWS)
    page = context.new_page()
    page.goto(f"{url}/demo")
    page.locator(".launcher").wait_for()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    line = context.new_cdp_session(page)
    line.send("Network.enable")
    line.send("Network.emulateNetworkConditions", LINE)
    times = page.evaluate(WATCH)
    frame = next(frame for frame in page.frames if "/widget/" in frame.url)
    frame.locator("#welcome").wait_for()
    painted = frame.evaluate(PAINTED)
    context.close()
    clicked = times["clicked"]
    return times["shell"] - clicked, max(painted, times["shell"]) - clicked, times["ready"] - clicked, len(requests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit("needs a Chromium browser: apt install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        open_database(Settings(data_dir=Path(folder) / "var")).close()
        server = Server(Path(folder) / "var", at_once=True, ocr="off", model="none", workers=0)
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        try:
            server.start()
            seen = [measure(browser, server.url) for _ in range(runs + 1)][1:]  # the first one warms up
        finally:
            browser.close()
            server.close()
    names = ("shell", "conversation painted", "ready to write", "requests")
    for name, values in zip(names, zip(*seen, strict=True), strict=True):
        print(f"{name:22}{statistics.median(values):8.0f}   ({min(values):.0f} to {max(values):.0f})")  # noqa: T201


if __name__ == "__main__":
    main()
