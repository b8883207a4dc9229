"""Requests to other sites for what an operator asked to be fetched: bounded, and never into the private network.

The check sits where connections are opened: a name is resolved, every address it has is checked, and the connection
goes to a checked address, so a name that changes its address in between (DNS rebinding) gains nothing. Redirects are
not followed; the caller decides whether the new address may be fetched. Sizes count unpacked bytes, so a small reply
cannot unpack to gigabytes.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial

import httpcore
import httpx

from assistant.errors import Invalid, NotReady, TooLarge

# Everything else in IPv6 is private, reserved, or a way to reach IPv4 addresses; `ipaddress` calls some of it global.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True)
class Request:
    """``headers`` in addition to those that every request has; ``limit``: most bytes of the reply's unpacked body,
    None: it is not read. ``body``: is posted; None: the address is got."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = 10_000_000
    body: bytes | None = None


@dataclass(frozen=True)
class Reply:
    """``headers`` have lower-case names. A redirect is a reply like any other, with its ``location``."""

    status: int
    headers: Mapping[str, str]
    body: bytes


# The seam: tests pass a function of their own. Raises an `AssistantError` that says why there is no reply.
Fetch = Callable[[Request], Reply]


def fetcher(*, user_agent: str, allowed_by: str, private: bool = False, timeout: float = 30.0) -> Fetch:
    """``private``: also ask addresses of the private network and this machine; ``allowed_by``: the setting that says
    so. ``timeout``: seconds for a whole request."""
    return partial(_fetch, user_agent=user_agent, private=private, allowed_by=allowed_by, timeout=timeout)


def _fetch(request: Request, *, user_agent: str, private: bool, allowed_by: str, timeout: float) -> Reply:
    url = _parse(request.url)
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    headers = {
        "Host": url.netloc.decode(),
        "User-Agent": user_agent,
        "Accept-Encoding": "gzip",
        "Connection": "close",
        **request.headers,
    }
    method = "GET"
    if request.body is not None:
        method, headers["Content-Length"] = "POST", str(len(request.body))
    network = _CheckedNetwork(private=private, allowed_by=allowed_by, ends_at=time.monotonic() + timeout)
    try:
        with (
            httpcore.ConnectionPool(_tls(), network_backend=network) as pool,
            pool.stream(method, target, headers=list(headers.items()), content=request.body) as response,
        ):
            named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            if request.limit is None:
                return Reply(response.status, named, b"")
            chunks = response.iter_stream()
            return Reply(response.status, named, _body(chunks, named.get("content-encoding", ""), limit=request.limit))
    except httpcore.TimeoutException as error:
        raise NotReady("does not respond in time") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise NotReady(f"cannot be reached: {type(error).__name__}") from error


def check_address(address: str) -> None:
    """Raises `Invalid`, which says what is wrong with it, unless it can be an address of another site."""
    _parse(address)


def _parse(address: str) -> httpx.URL:
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise Invalid("is not a valid address") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise Invalid("is not an http:// or https:// address")
    if url.port is not None and not 0 < url.port < 65_536:
        raise Invalid("has an invalid port")
    if url.userinfo:
        raise Invalid("has a user name or password in it; remove them")
    return url


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _body(chunks: Iterable[bytes], encoding: str, *, limit: int) -> bytes:
    unpack = zlib.decompressobj(wbits=47) if encoding.lower() == "gzip" else None
    body = bytearray()
    for chunk in chunks:
        body += chunk if unpack is None else _unpack(unpack, chunk, limit - len(body))
        if len(body) > limit:
            raise TooLarge(f"is larger than {limit / 1e6:.0f} MB", limit=limit)
    return bytes(body)


class _CheckedNetwork(httpcore.NetworkBackend):
    """Connects to public addresses only, unless ``private``, and lets no read or write go on after ``ends_at``."""

    def __init__(self, *, private: bool, allowed_by: str, ends_at: float) -> None:
        self._check = partial(_checked_addresses, private=private, allowed_by=allowed_by)
        self._ends_at = ends_at
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """The certificate is still checked against the name: only the socket knows the address."""
        refusal = httpcore.ConnectError("the name has no address")
        for address in self._check(host, port):
            try:
                stream = self._sockets.connect_tcp(address, port, _remaining(self._ends_at), None, socket_options)
                return _TimedStream(stream, self._ends_at)
            except httpcore.ConnectError as error:
                refusal = error  # e.g. an IPv6 address, from a machine without IPv6
        raise refusal


class _TimedStream(httpcore.NetworkStream):
    """A timeout for each read would let a reply trickle for ever: this one is for all of them together."""

    def __init__(self, stream: httpcore.NetworkStream, ends_at: float) -> None:
        self._stream = stream
        self._ends_at = ends_at

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _remaining(self._ends_at))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _remaining(self._ends_at))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            secured = self._stream.start_tls(ssl_context, server_hostname, _remaining(self._ends_at))
        except httpcore.ConnectError as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise NotReady("has no valid certificate") from error
            raise
        return _TimedStream(secured, self._ends_at)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _remaining(ends_at: float) -> float:
    """Seconds until then."""
    left = ends_at - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the deadline passed")
    return left


def _checked_addresses(host: str, port: int, *, private: bool, allowed_by: str) -> list[str]:
    """The addresses of the host. None of its addresses may be private: whoever controls a name controls all of them."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotReady(f"cannot be reached: there is no host {host[:100]}") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not private and not all(is_public(address) for address in addresses):
        raise Invalid(f"is not asked: {host[:100]} is in a private network. If that is intended, set {allowed_by}=true")
    return addresses


def is_public(address: str) -> bool:
    """Whether the address is one of the public internet. An IPv6 address that embeds an IPv4 address (mapped, 6to4,
    NAT64) reaches the same machine, so that one counts; Teredo addresses, which embed a client's, are not public."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        embedded = ip.ipv4_mapped or ip.sixtofour or translated
        if embedded is None:
            return ip in _GLOBAL_UNICAST and ip.is_global and ip.teredo is None
        ip = embedded
    return ip.is_global and not ip.is_multicast


def unpack_gzip(data: bytes, *, limit: int) -> bytes:
    """A gzip file, e.g. ``sitemap.xml.gz``. Raises `TooLarge` before it unpacks more than ``limit`` bytes."""
    unpacked = _unpack(zlib.decompressobj(wbits=31), data, limit)
    if len(unpacked) > limit:
        raise TooLarge(f"unpacks to more than {limit / 1e6:.0f} MB", limit=limit)
    return unpacked


def _unpack(unpack: zlib._Decompress, data: bytes, room: int) -> bytes:
    """At most one byte more than there is room for."""
    try:
        return unpack.decompress(data, max(room, 0) + 1)
    except zlib.error as error:
        raise Invalid("is damaged: it cannot be unpacked") from error
