"""Setting up a second factor with a phone: what its camera sees is what it needs."""

from __future__ import annotations

from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import Browser, expect

from assistant.lab.real_server import Server
from assistant.runtime import open_database
from assistant.settings import Settings
from tests.e2e.test_end_to_end import Witness
from tests.factories import PASSWORD, make_agent

pytestmark = pytest.mark.e2e


def test_the_code_on_the_page_is_scanned_and_lets_in(browser: Browser, pictures: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")  # comes with OCR
    database = open_database(Settings(data_dir=tmp_path / "var"))
    make_agent(database, "ada")
    database.close()
    server = Server(tmp_path / "var", at_once=True, model="none", ocr="off", workers=0)
    try:
        server.start()
        agent = Witness(browser, pictures)
        page = agent.page
        page.goto(f"{server.url}/console/second-factor")
        page.get_by_label("E-mail address").fill("ada@example.org")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Set it up").click()
        code = page.get_by_role("img", name="QR code")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            expect(code).to_be_visible()
            agent.picture(f"second-factor-{scheme}")
            seen = pictures / f"second-factor-code-{scheme}.png"
            code.screenshot(path=seen, caret="initial")
            scanned, *_ = cv2.QRCodeDetector().detectAndDecode(cv2.imread(str(seen)))
            app = pyotp.parse_uri(scanned)
            assert (app.name, app.secret) == ("ada@example.org", page.locator("#key").inner_text().replace(" ", ""))
        page.get_by_role("textbox", name="Code").fill(app.now())
        page.get_by_role("button", name="Turn it on").click()
        expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
        assert agent.complaints == []
    finally:
        server.close()
