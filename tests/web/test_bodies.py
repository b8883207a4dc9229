"""Bodies as clients really send them: JSON that readers differ about, forms of old clients, and what is neither."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.factories import Browser

TICKETS = "/api/v1/tickets"
START = "/widget/v1/sessions"
RATE = "messages/msg_00000000000000000000/helpful"

BAD_JSON = [
    b"{",
    b'{"name": NaN}',
    b'{"name": Infinity}',
    b'{"name": "a", "name": "b"}',
    b'{"helpful": true, "helpful": false}',
    b'{"text": {"a": 1, "a": 2}}',
    b'{"name": ' + b"[" * 100_000,
    b'{"name": ' * 20_000,
    b'{"name": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"name": ' + b"9" * 5000 + b"}",
    b'{"name": 1e400}',
    b'{"name": -1e400, "helpful": 1e400, "text": 1e400}',
    b'{"name": "\\ud800", "text": "\\udfff", "helpful": "\\ud800"}',
    b'{"\\ud800": 1, "name": 0, "helpful": 0}',
    b'{"name": "\\u0000", "text": "\\u0000", "helpful": 1}',
    b'{"name": "\xff", "text": "\xff"}',
    b"[]",
    b"null",
    b'"text"',
    b"\xef\xbb\xbf[]",
    b"\x1f\x8b\x08\x00",
    b'{"name": 1, "text": 1, "helpful": 1} trailing',
    b'{"name": ["a"], "text": ["a"], "helpful": ["a"]}',
    b'{"text": "' + b"x" * 2_000_000 + b'", "name": 1}',
]


@pytest.fixture
def rosa(client: FlaskClient) -> Browser:
    browser = Browser(client)
    browser.say("It leaks.")
    return browser


@pytest.mark.parametrize("body", BAD_JSON, ids=range(len(BAD_JSON)))
def test_bad_json_is_a_problem_on_every_route(
    client: FlaskClient, key: dict[str, str], rosa: Browser, body: bytes
) -> None:
    sent: dict[str, Any] = {"data": body, "content_type": "application/json"}
    for response in (
        client.post(START, **sent),
        client.post(TICKETS, **sent, headers=key),
        client.post("/api/v1/triage", **sent, headers=key),
        client.put(f"{rosa.path}/{RATE}", **sent, headers=rosa.headers),
    ):
        assert response.status_code in (400, 413, 422), (response.request.path, response.text)
        assert response.content_type == "application/problem+json"
        assert response.json["detail"]
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_in_any_unicode_encoding_is_read(client: FlaskClient, key: dict[str, str], encoding: str) -> None:
    body = json.dumps({"text": "Gerät 🔥 leckt"}, ensure_ascii=False).encode(encoding)
    opened = client.post(TICKETS, data=body, content_type="application/json; charset=utf-8", headers=key)
    assert opened.status_code == 201
    assert opened.json["messages"][0]["text"] == "Gerät 🔥 leckt"  # type: ignore[index]


# Forms


def part(head: bytes, content: bytes) -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


TEXT = part(b'Content-Disposition: form-data; name="text"', b"It leaks")
Post = Callable[[bytes], Any]


@pytest.fixture
def post(client: FlaskClient, key: dict[str, str]) -> Post:
    """Posts a form with the boundary ``b`` as a ticket."""

    def send(body: bytes) -> Any:
        return client.post(TICKETS, data=body, content_type="multipart/form-data; boundary=b", headers=key)

    return send


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ('form-data; name="photos"; filename="Gerät.txt"'.encode(), "Gerät.txt"),
        ('form-data; name="photos"; filename="Gerät.txt"'.encode("latin-1"), "Gerät.txt"),
        ('form-data; name="photos"; filename="Café – menu.txt"'.encode("cp1252"), "Café – menu.txt"),
        (b"form-data; name=photos; filename*=UTF-8''Ger%C3%A4t.txt", "Gerät.txt"),
        (b'form-data; name="photos"; filename="a \\"b\\".txt"', None),
        (b'form-data; name="photos"; filename="C:\\\\photos\\\\a.txt"', None),
        (b"FORM-DATA; NAME=photos; FILENAME=a.txt", "a.txt"),
        (b'form-data;\r\n name="photos";\r\n filename="a.txt"', "a.txt"),
        ('form-data; name="Anhänge"; filename="a.txt"'.encode("latin-1"), "a.txt"),
        ('form-data; name="photos"; filename="說明.txt"'.encode("big5"), None),
        ('form-data; name="photos"; filename="файл.txt"'.encode("cp1251"), None),
    ],
)
def test_a_file_arrives_however_its_name_is_written(post: Post, head: bytes, name: str | None) -> None:
    opened = post(TEXT + part(b"Content-Disposition: " + head + b"\r\nContent-Type: text/plain", b"abc") + b"--b--\r\n")
    assert opened.status_code == 201, opened.text
    [message] = opened.json["messages"]
    assert message["text"] == "It leaks"
    [stored] = message["attachments"]
    assert name is None or stored["filename"] == name


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        ("Gerät".encode(), b"", "Gerät"),
        ("Gerät".encode("latin-1"), b"", "Gerät"),
        ("5 € – teuer".encode("cp1252"), b"", "5 € – teuer"),
        ("Привет".encode("koi8-r"), b"\r\nContent-Type: text/plain; charset=koi8-r", "Привет"),
        ("Gerät".encode(), b"\r\nContent-Type: text/plain; charset=no-such-charset", "Gerät"),
    ],
)
def test_a_text_arrives_in_whatever_charset_it_is(post: Post, content: bytes, kind: bytes, text: str) -> None:
    opened = post(part(b'Content-Disposition: form-data; name="text"' + kind, content) + b"--b--\r\n")
    assert opened.status_code == 201, opened.text
    assert opened.json["messages"][0]["text"] == text


@pytest.mark.parametrize(
    "body",
    [
        b"--b",
        TEXT,
        TEXT + b"--b",
        TEXT[:20],
        part(b"Content-Type: text/plain", b"no name at all") + b"--b--\r\n",
        part(b"Content-Disposition: form-data", b"no name") + b"--b--\r\n",
        b"--other\r\n" + TEXT[5:] + b"--other--\r\n",
        b"--b\r\nContent-Disposition",
        b"\x00" * 1000,
        TEXT.replace(b"\r\n\r\n", b""),
        TEXT * 2000 + b"--b--\r\n",
    ],
    ids=range(11),
)
def test_a_malformed_form_is_told_apart_from_an_empty_one(post: Post, body: bytes) -> None:
    refused = post(body)
    assert refused.status_code in (400, 413, 422), refused.text
    assert "is empty" not in refused.json["detail"]


@pytest.mark.parametrize("kind", ["", "; boundary=", "; boundary=ü", "; boundary"])
def test_a_form_without_a_boundary_says_so(client: FlaskClient, key: dict[str, str], kind: str) -> None:
    headers = {**key, "Content-Type": f"multipart/form-data{kind}"}
    refused = client.post(TICKETS, data=TEXT + b"--b--\r\n", headers=headers)
    assert refused.status_code == 400
    assert "boundary" in refused.json["detail"]  # type: ignore[index]
