"""Fetching from other sites: where it may go, what it may cost."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from assistant.errors import AssistantError, Invalid, NotReady, TooLarge
from assistant.outbound import Reply, Request, fetcher, is_public, unpack_gzip

# Self-signed, for tests alone: nobody trusts it, which is the point.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZc80dfbrobgXnKp9
Mm3E3ab4za83dcOx7GZaApL8VDuhRANCAAQi2yfC/Usm7afE7a4xxePBCjOcpeTn
5AiRHJcHrOsWR1nY1GHXf1kIi4gk6eO6adY150kwJQfOEjNjBdgqTD2d
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBfjCCASWgAwIBAgIUMDAawpSqsSiVAcXZkH9bBaFIR8owCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyODIxMDExMFoYDzIxMjYxMTA0
MjEwMTEwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQi2yfC/Usm7afE7a4xxePBCjOcpeTn5AiRHJcHrOsWR1nY1GHXf1kI
i4gk6eO6adY150kwJQfOEjNjBdgqTD2do1MwUTAdBgNVHQ4EFgQUhMjoTItUr0mC
SHf4q74NbpcVfcswHwYDVR0jBBgwFoAUhMjoTItUr0mCSHf4q74NbpcVfcswDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAqTRmKWhb+vBbXwHonpPzp
jVcU/GdPjfKHJIFwgJKOSQIgF0/HpuQGlpOOG4u5xWx9+RtmS6arfVeOK4PkFllN
3nA=
-----END CERTIFICATE-----
"""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = getattr(self, f"_{self.path.strip('/') or 'plain'}")
        answer()

    def _send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _plain(self) -> None:
        agent, host = self.headers["User-Agent"], self.headers["Host"]
        self._send(f"{agent} asks {host}".encode(), ETag='"1"')

    def _packed(self) -> None:
        self._send(gzip.compress(b"packed text"), Content_Encoding="gzip")

    def _bomb(self) -> None:
        self._send(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")

    def _broken(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"not all of it")

    def _away(self) -> None:
        self._send(b"", 302, Location="http://127.0.0.1:1/")

    def _trickling_head(self) -> None:
        for _ in range(100):
            try:
                self.wfile.write(b"H")
            except OSError:
                return
            time.sleep(0.05)

    def _trickle(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            try:
                self.wfile.write(b"x")
            except OSError:
                return
            time.sleep(0.05)

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _fetch(url: str, *, limit: int = 1_000_000, timeout: float = 5.0) -> Reply:
    return fetcher(user_agent="tests", allowed_by="PRIVATE", private=True, timeout=timeout)(Request(url, limit=limit))


def test_a_page_is_fetched_with_its_headers(site: str) -> None:
    reply = _fetch(f"{site}/plain")
    assert (reply.status, reply.headers["etag"]) == (200, '"1"')
    assert reply.body.decode() == f"tests asks {site.removeprefix('http://')}"


def test_what_is_packed_is_unpacked_up_to_the_limit(site: str) -> None:
    assert _fetch(f"{site}/packed").body == b"packed text"
    with pytest.raises(TooLarge):
        _fetch(f"{site}/bomb")


def test_a_redirect_is_a_reply_and_is_not_followed(site: str) -> None:
    assert _fetch(f"{site}/away").headers["location"] == "http://127.0.0.1:1/"


@pytest.mark.parametrize("page", ["trickle", "trickling_head"])
def test_a_reply_that_trickles_ends_at_the_deadline(site: str, page: str) -> None:
    started = time.perf_counter()
    with pytest.raises(NotReady, match="in time"):
        _fetch(f"{site}/{page}", timeout=0.5)
    assert time.perf_counter() - started < 2.5


def test_a_reply_that_breaks_off_is_none(site: str) -> None:
    with pytest.raises(NotReady, match="cannot be reached"):
        _fetch(f"{site}/broken")


def test_the_address_that_was_checked_is_the_one_connected_to(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that has another address the next time it is asked (DNS rebinding) gains nothing."""
    resolve, asked = socket.getaddrinfo, []

    def rebinding(host: str | bytes | None, *arguments: Any, **options: Any) -> Any:
        if host == "shop.test":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.9"
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    port = site.rpartition(":")[2]
    assert _fetch(f"http://shop.test:{port}/").body.decode() == f"tests asks shop.test:{port}"
    assert len(asked) == 1


def test_a_certificate_is_asked_for_by_name_and_checked(tmp_path: Path) -> None:
    asked: list[str | None] = []
    (tmp_path / "server.pem").write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.handle_error = lambda *_arguments: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(NotReady, match="no valid certificate"):
            _fetch(f"https://localhost:{server.server_port}/")
        server.shutdown()
    assert asked == ["localhost"]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "10.1.2.3", "192.168.0.1", "172.16.0.9", "169.254.169.254", "0.0.0.0", "100.64.0.1",
        "[::1]", "[fe80::1]", "[fc00::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1",
        "[64:ff9b:1::7f00:1]", "[::7f00:1]", "[::ffff:0:7f00:1]", "[fec0::1]", "[2001:0:7f00:1::]", "[ff02::1]",
        "2130706433", "0x7f000001", "127.1",
    ],
)  # fmt: skip
def test_private_addresses_are_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(AssistantError) as refused:
        fetcher(user_agent="tests", allowed_by="PRIVATE")(Request(f"http://{host}/"))
    assert "private network" in refused.value.message or "no host" in refused.value.message


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_public_addresses_are_public_however_they_are_carried(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/",
        "http://",
        "http://user:pw@example.org/",
        "gopher://x/",
        "http://x:99999/",
        "http://x:y/",
        "http://x/\r\nHost: y",
    ],
)
def test_only_plain_web_addresses_are_fetched(url: str) -> None:
    with pytest.raises(Invalid):
        _fetch(url)


def test_who_does_not_listen_cannot_be_reached() -> None:
    with pytest.raises(NotReady, match="cannot be reached"):
        _fetch("http://127.0.0.1:9/")


def test_a_gzip_file_is_unpacked_no_further_than_the_limit() -> None:
    assert unpack_gzip(gzip.compress(b"text"), limit=10) == b"text"
    with pytest.raises(TooLarge):
        unpack_gzip(gzip.compress(bytes(100_000)), limit=99_999)
    with pytest.raises(Invalid):
        unpack_gzip(b"\x1f\x8bbroken", limit=10)
