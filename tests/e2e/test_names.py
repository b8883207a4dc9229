"""File names in every script, through the real server: a test client accepts headers that it refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from werkzeug.http import parse_options_header

from assistant.lab.real_server import Server
from assistant.runtime import build
from assistant.settings import Settings
from tests.factories import PASSWORD, bearer, make_agent, make_key, make_photo

NAMES = {
    "plain.jpg": "plain.jpg",
    "指示灯.jpg": "指示灯.jpg",
    "Rückseite – links.jpg": "Rückseite – links.jpg",
    "👍🏽 Familie 👨‍👩‍👧‍👦.jpg": "👍🏽 Familie 👨‍👩‍👧‍👦.jpg",
    "صورة الجهاز.jpg": "صورة الجهاز.jpg",
    "צילום.jpg": "צילום.jpg",
    "รูปภาพ.jpg": "รูปภาพ.jpg",
    "фото.JPG": "фото.JPG",
    "caf\u0065\u0301.jpg": "café.jpg",
    "invoice\u202egpj.exe.jpg": "invoicegpj.exe.jpg",
    "100%25 sure; filename=x.jpg": "100%25 sure; filename=x.jpg",
    "it's (1) [2] {3} ~ ^ `.jpg": "it's (1) [2] {3} ~ ^ `.jpg",
    "照" * 120 + ".jpg": "照" * 78 + ".jpg",
    "NUL.jpg": "_NUL.jpg",
    "C:\\fakepath\\фото.jpg": "фото.jpg",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names") / "var"


@pytest.fixture(scope="module")
def key(folder: Path) -> dict[str, str]:
    runtime = build(Settings(data_dir=folder))
    make_agent(runtime.desk.db, "alice", admin=True)
    secret = make_key(runtime.desk.db)
    runtime.close()
    return bearer(secret)


@pytest.fixture(scope="module")
def server(folder: Path, key: dict[str, str]) -> Iterator[Server]:
    server = Server(folder, at_once=True, workers=0)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def console(server: Server) -> Iterator[httpx.Client]:
    """Alice, signed in."""
    with httpx.Client(base_url=f"{server.url}/console", timeout=120, follow_redirects=True) as client:
        token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/sign-in").text)
        assert token is not None
        form = {"csrf_token": token[1], "email": "alice@example.org", "password": PASSWORD}
        headers = {"Referer": server.url}
        assert client.post("/sign-in", data=form, headers=headers).status_code == 200
        yield client


@pytest.fixture(scope="module")
def customer(server: Server) -> dict[str, str]:
    """Headers of a customer in the widget."""
    begun = httpx.post(f"{server.url}/widget/v1/sessions", json={"name": "Rosa"}, timeout=120)
    return bearer(begun.json()["token"])


def assert_named(answer: httpx.Response, name: str) -> None:
    assert answer.status_code == 200, answer.text[:300]
    header = answer.headers["Content-Disposition"]
    assert header.isascii()
    _, options = parse_options_header(header)
    encoded = re.search(r"filename\*=UTF-8''(\S+)$", header)
    assert (unquote(encoded[1]) if encoded else options["filename"]) == name
    plain = re.search(r'filename="([^"]+)"', header)
    assert plain is not None
    assert plain[1].endswith((".jpg", ".JPG", ".txt"))
    assert not set(plain[1]) & set('%\\"')


@pytest.mark.parametrize("name", NAMES)
def test_a_file_opens_and_downloads_everywhere_whatever_its_name(
    server: Server, key: dict[str, str], console: httpx.Client, customer: dict[str, str], name: str
) -> None:
    photo = make_photo(name[:3])
    files = [("photos", (name, photo, "image/jpeg")), ("photos", (name.lower()[:-3] + "txt", b"log", "text/plain"))]
    with httpx.Client(base_url=server.url, timeout=120) as client:
        opened = client.post("/api/v1/tickets", headers=key, data={"text": "x"}, files=files)
        assert opened.status_code == 201
        for attachment in opened.json()["messages"][0]["attachments"]:
            expected = attachment["filename"]
            assert attachment["kind"] != "photo" or expected == NAMES[name]
            for query in ("", "?thumbnail=true"):
                path = f"attachments/{attachment['id']}{query}"
                assert_named(client.get(f"/api/v1/{path}", headers=key), expected)
                assert_named(console.get(f"/{path}"), expected)

        sent = client.post("/widget/v1/conversations", headers=customer, data={"text": "x"}, files=files)
        assert sent.status_code == 201
        for attachment in sent.json()["message"]["attachments"]:
            path = f"{sent.json()['conversation']['id']}/attachments/{attachment['id']}"
            got = client.get(f"/widget/v1/conversations/{path}", headers=customer)
            assert_named(got, attachment["filename"])
