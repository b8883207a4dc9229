"""Requests to other sites, for what an operator asked to be fetched: bounded, and never into the private network.

A name is resolved first, every address it has is checked, and the connection goes to a checked address: a name that
changes its address in between (DNS rebinding) gains nothing. Redirects are not followed here: who asks decides whether
the new address may be asked at all. Sizes count what is unpacked, so that a small answer cannot unpack to gigabytes.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from assistant.errors import Invalid, NotReady, TooLarge

_CHUNK = 65_536
_MOST_HEADER_LINES = 100


@dataclass(frozen=True)
class Request:
    """``headers`` beside those that every request carries; ``limit``: bytes of the unpacked body at most."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    limit: int = 10_000_000


@dataclass(frozen=True)
class Reply:
    """``headers`` have lower-case names. A redirect is a reply like any other, with its ``location``."""

    status: int
    headers: Mapping[str, str]
    body: bytes


# The seam: tests pass a function of their own. Raises an `AssistantError` that says why there is no reply.
Fetch = Callable[[Request], Reply]


def fetcher(*, user_agent: str, private: bool = False, timeout: float = 30.0) -> Fetch:
    """``private``: also fetch from addresses of the private network and this machine. ``timeout``: seconds for a whole
    request."""
    return partial(_fetch, user_agent=user_agent, private=private, timeout=timeout)


def _fetch(request: Request, *, user_agent: str, private: bool, timeout: float) -> Reply:
    parts = urlsplit(request.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise Invalid("is no http:// or https:// address without a password in it")
    ends_at = time.monotonic() + timeout
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = _checked_address(parts.hostname, port, private=private)
        connection = _connection(parts.scheme, parts.hostname, port, address, timeout=timeout)
    except ValueError as error:
        raise Invalid("has a port that is none") from error
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"User-Agent": user_agent, "Accept-Encoding": "gzip", "Connection": "close", **request.headers}
    # The socket's own timeout counts from byte to byte: this one ends a reply that trickles.
    watch = threading.Timer(timeout, partial(_cut_off, connection))
    watch.daemon = True
    watch.start()
    try:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()[:_MOST_HEADER_LINES]}
        return Reply(response.status, named, _body(response, named, limit=request.limit, ends_at=ends_at))
    except (TimeoutError, ssl.SSLError) as error:
        reason = "does not answer in time" if isinstance(error, TimeoutError) else "has no valid certificate"
        raise NotReady(reason) from error
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise NotReady(f"cannot be reached: {type(error).__name__}") from error
    finally:
        watch.cancel()
        connection.close()


def _cut_off(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _checked_address(host: str, port: int, *, private: bool) -> str:
    """An address of the host. None of its addresses may be private: who controls a name controls all of them."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotReady(f"cannot be reached: there is no host {host[:100]}") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not private and not all(_is_public(address) for address in addresses):
        raise Invalid(
            f"is not fetched: {host[:100]} lies in a private network. "
            "If that is meant, set ASSISTANT_KB_PRIVATE_ADDRESSES=true"
        )
    return addresses[0]


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    # Addresses of the old kind inside ones of the new kind reach the same machines.
    mapped = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if mapped is not None:
        ip = mapped
    teredo = getattr(ip, "teredo", None)
    return ip.is_global and not ip.is_multicast and teredo is None and not _is_nat64(ip)


def _is_nat64(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return ip.version == 6 and ip in ipaddress.ip_network("64:ff9b::/96")


def _connection(scheme: str, host: str, port: int, address: str, *, timeout: float) -> http.client.HTTPConnection:
    if scheme == "https":
        return _PinnedHTTPS(host, port, address, timeout=timeout)
    return _Pinned(host, port, address, timeout=timeout)


class _Pinned(http.client.HTTPConnection):
    """Speaks to ``host`` at the address that was checked, and at no other."""

    def __init__(self, host: str, port: int, address: str, *, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)


class _PinnedHTTPS(http.client.HTTPSConnection):
    def __init__(self, host: str, port: int, address: str, *, timeout: float) -> None:
        self._tls = ssl.create_default_context()
        super().__init__(host, port, timeout=timeout, context=self._tls)
        self._address = address

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


def _body(response: http.client.HTTPResponse, headers: Mapping[str, str], *, limit: int, ends_at: float) -> bytes:
    unpack = zlib.decompressobj(wbits=47) if headers.get("content-encoding", "").lower() == "gzip" else None
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        if time.monotonic() > ends_at:
            raise NotReady("does not answer in time")
        body += chunk if unpack is None else _unpacked(unpack, chunk, limit - len(body))
        if len(body) > limit:
            raise TooLarge(f"is larger than {limit / 1e6:.0f} MB", limit=limit)
    return bytes(body)


def _unpacked(unpack: zlib._Decompress, data: bytes, room: int) -> bytes:
    """At most one byte more than there is room for."""
    try:
        return unpack.decompress(data, max(room, 0) + 1)
    except zlib.error as error:
        raise Invalid("is packed in a damaged way") from error


def unpack_gzip(data: bytes, *, limit: int) -> bytes:
    """A gzip file, e.g. ``sitemap.xml.gz``. Raises `TooLarge` before it unpacks more than ``limit`` bytes."""
    unpacked = _unpacked(zlib.decompressobj(wbits=31), data, limit)
    if len(unpacked) > limit:
        raise TooLarge(f"unpacks to more than {limit / 1e6:.0f} MB", limit=limit)
    return unpacked
