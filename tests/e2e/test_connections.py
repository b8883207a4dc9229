"""Slow, silent, greedy and rude clients against the real server: what the others notice of them."""

from __future__ import annotations

import io
import json
import os
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from assistant.lab.real_server import Server

WITHIN = 60.0  # seconds, on a machine that may be busy
MANY = 300  # more than there are threads
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
MESSAGE = (
    b"POST /widget/v1/conversations HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n%s\r\n\r\n"
)
PHOTO = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a.png"\r\n\r\n%s\r\n--b--\r\n'
FORM = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n%s\r\n--b--\r\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("slow") / "var", at_once=True, ocr="off", model="none", workers=0)
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def token(server: Server) -> bytes:
    """Of a browser's session."""
    with urllib.request.urlopen(f"{server.url}/widget/v1/sessions", b"", timeout=WITHIN) as answer:
        return str(json.load(answer)["token"]).encode()


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., socket.socket]]:
    """``connect()`` or ``connect("127.0.1.7")``: a connection, from another address of this machine if given."""
    url = urlsplit(server.url)
    with ExitStack() as stack:

        def open_one(source: str = "127.0.0.1", *, small_buffer: bool = False) -> socket.socket:
            one = stack.enter_context(socket.socket())
            one.settimeout(WITHIN)
            if small_buffer:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            one.bind((source, 0))
            one.connect((url.hostname, url.port))
            return one

        yield open_one


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by their names in lower case, and body of the next answer with a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(1)
        assert received, data
        data += received
    first, *lines = data.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = b""
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(int(headers["content-length"]) - len(body))
    return int(first.split()[1]), headers, body


def ask(connection: socket.socket, request: bytes) -> tuple[int, dict[str, str], bytes]:
    connection.sendall(request)
    return read_answer(connection)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /li",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: a",
        MESSAGE % (b"x", b"Content-Length: 900000") + b"--b",
        MESSAGE % (b"x", b"Transfer-Encoding: chunked") + b"5\r\nab",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
    ids=["silent", "begun", "half a head", "half a body", "half a chunk", "never closed"],
)
@pytest.mark.parametrize("addresses", [1, MANY], ids=["one address", "many addresses"])
def test_however_many_clients_hold_connections_others_are_served(
    connect: Callable[..., socket.socket], token: bytes, sent: bytes, addresses: int
) -> None:
    for number in range(MANY):
        place = number % addresses
        connect(f"127.1.{place // 200}.{1 + place % 200}").sendall(sent)
    one = connect()
    form = FORM % b"It leaks"
    assert ask(one, MESSAGE % (token, b"Content-Length: %d" % len(form)) + form)[0] == 201
    assert ask(one, LIVEZ)[0] == 200


def test_clients_that_do_not_read_their_answer_hold_up_nobody(
    connect: Callable[..., socket.socket], token: bytes
) -> None:
    noise = io.BytesIO()
    Image.frombytes("RGB", (1400, 1400), os.urandom(3 * 1400 * 1400)).save(noise, "PNG")
    one, form = connect(), PHOTO % noise.getvalue()
    _, _, body = ask(one, MESSAGE % (token, b"Content-Length: %d" % len(form)) + form)
    sent = json.loads(body)
    [attachment] = sent["message"]["attachments"]
    path = f"/widget/v1/conversations/{sent['conversation']['id']}/attachments/{attachment['id']}".encode()
    fetch = b"GET %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n"
    greedy = [connect(small_buffer=True) for _ in range(200)]
    for connection in greedy:
        connection.sendall(fetch % (path, token))
    assert ask(one, LIVEZ)[0] == 200
    status, headers, content = read_answer(greedy[0])  # it gets all of it if it reads after all
    assert (status, len(content)) == (200, int(headers["content-length"]))


def test_of_too_many_connections_from_one_address_the_oldest_ends(connect: Callable[..., socket.socket]) -> None:
    first, *_, last = [connect("127.2.0.1") for _ in range(MANY)]
    assert first.recv(1) == b""
    assert ask(last, LIVEZ)[0] == 200


def test_a_head_and_a_body_that_do_not_go_on_are_given_up(connect: Callable[..., socket.socket]) -> None:
    head, body = connect(), connect()
    head.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    body.sendall(MESSAGE % (b"x", b"Content-Length: 900000"))
    for connection in (head, body):
        status, headers, content = read_answer(connection)
        assert (status, headers["connection"]) == (408, "close")
        assert json.loads(content)["status"] == 408
        assert connection.recv(1) == b""


def test_keep_alive_is_true(connect: Callable[..., socket.socket]) -> None:
    """After answers, after refusals whose body nobody read, and after a pause that proxies make."""
    one = connect()
    refused = (
        b"POST /api/v1/tickets HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    )
    for request, expected in [
        (LIVEZ, 200),
        (refused % (900_000, b"x" * 900_000), 401),
        (b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 405),
        (LIVEZ, 200),
    ]:
        status, headers, _ = ask(one, request)
        assert (status, headers["connection"]) == (expected, "keep-alive")
    time.sleep(5)
    assert ask(one, LIVEZ)[0] == 200


def test_a_body_over_the_limit_is_refused_before_it_is_sent_and_the_end_is_said(
    connect: Callable[..., socket.socket], token: bytes
) -> None:
    for kind, expect in [
        (b"application/json", b""),
        (b"text/plain", b""),
        (b"application/json", b"Expect: 100-continue\r\n"),
    ]:
        one = connect()
        head = b"POST /widget/v1/sessions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n%sContent-Type: %s\r\n"
        one.sendall(head % (token, expect, kind) + b"Content-Length: 50000000\r\n\r\n")
        status, headers, _ = read_answer(one)
        assert status in (413, 415)
        assert headers["connection"] == "close"
        assert one.recv(1) == b""


def test_a_client_that_waits_for_the_word_to_go_on_gets_it(connect: Callable[..., socket.socket], token: bytes) -> None:
    one = connect()
    form = FORM % b"It drips"
    one.sendall(MESSAGE % (token, b"Expect: 100-continue\r\nContent-Length: %d" % len(form)))
    assert read_answer(one)[0] == 100
    assert ask(one, form)[0] == 201


def test_bodies_in_chunks_and_requests_in_a_row_are_read(connect: Callable[..., socket.socket], token: bytes) -> None:
    one = connect()
    form = FORM % b"It hums"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(form[at : at + 7]), form[at : at + 7]) for at in range(0, len(form), 7))
    one.sendall(MESSAGE % (token, b"Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n" + LIVEZ + LIVEZ)
    status, _, body = read_answer(one)
    assert (status, json.loads(body)["message"]["text"]) == (201, "It hums")
    assert [read_answer(one)[0] for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nX: " + b"a" * 50_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_or_none_is_refused_at_once(
    connect: Callable[..., socket.socket], request_: bytes
) -> None:
    status, headers, _ = ask(connect(), request_)
    assert 400 <= status < 500
    assert headers["connection"] == "close"


def test_forwarded_headers_of_strangers_are_ignored(connect: Callable[..., socket.socket]) -> None:
    sign_in = b"GET /console/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Host: evil\r\n\r\n"
    _, headers, _ = ask(connect(), sign_in)
    assert headers["location"].startswith("/console/sign-in")
    _, headers, _ = ask(connect(), b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n")
    assert "strict-transport-security" not in headers


def test_it_stops_soon_while_slow_clients_hold_connections(tmp_path: Path) -> None:
    server = Server(tmp_path / "var", at_once=True, ocr="off", model="none", workers=0)
    server.start()
    url = urlsplit(server.url)
    with ExitStack() as stack:
        for sent in (b"", b"GET /li", LIVEZ, MESSAGE % (b"x", b"Content-Length: 900000")):
            for _ in range(20):
                one = stack.enter_context(socket.create_connection((url.hostname, url.port), timeout=WITHIN))
                one.sendall(sent)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 30  # ten for requests that are under way, and a busy machine
    server.close()
