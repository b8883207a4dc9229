"""Trusted proxies: whose word counts for a client's address, and for the scheme, host and path that it sees."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Self
from urllib.parse import urlsplit

from werkzeug.http import parse_options_header

from assistant.settings import Settings

Address = IPv4Address | IPv6Address

# In the environment of a request: whether it came through a proxy, trusted or not, as far as its headers tell.
THROUGH_PROXY = "assistant.through_proxy"
_HEADERS = (
    "HTTP_FORWARDED",
    "HTTP_VIA",
    "HTTP_X_REAL_IP",
    *(f"HTTP_X_FORWARDED_{name}" for name in ("FOR", "PROTO", "HOST", "PREFIX", "PORT", "SERVER", "SSL")),
)
_HOST = re.compile(r"[A-Za-z0-9._\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~\-]+)+")


@dataclass(frozen=True)
class Said:
    """What proxies say of a request. Lists: what each proxy said, the nearest last; shorter if one replaced them."""

    addresses: Sequence[str] = ()
    schemes: Sequence[str] = ()
    hosts: Sequence[str] = ()
    prefixes: Sequence[str] = ()

    @classmethod
    def of(cls, environ: dict[str, Any]) -> Self:
        """From ``X-Forwarded-*``, or from ``Forwarded`` (RFC 7239).

        A proxy sets one kind and passes on what a client invents in the other: if they differ, neither is believed.
        """
        kinds = ("FOR", "PROTO", "HOST", "PREFIX")
        lists = (environ.get(f"HTTP_X_FORWARDED_{kind}", "").split(",") for kind in kinds)
        plain = cls(*([part.strip() for part in parts if part.strip()] for parts in lists))
        if "HTTP_FORWARDED" not in environ:
            return plain
        hops = [parse_options_header(f"_; {hop}")[1] for hop in environ["HTTP_FORWARDED"].split(",")]
        standard = cls(*([hop[name] for hop in hops if name in hop] for name in ("for", "proto", "host")))
        if not any(vars(plain).values()):
            return standard
        agree = [*map(_parse, plain.addresses)] == [*map(_parse, standard.addresses)]
        return plain if agree else cls()


@dataclass(frozen=True)
class Proxies:
    """Proxies by address. ``prefix``: the path under which they show this product, unless they say another."""

    networks: tuple[Any, ...] = field(default_factory=tuple)
    prefix: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        path = urlsplit(settings.public_url or "").path.rstrip("/")
        return cls(tuple(ip_network(one, strict=False) for one in settings.trusted_proxies), path)

    def trusts(self, address: str | Address) -> bool:
        parsed = _parse(address) if isinstance(address, str) else address
        return parsed is not None and any(parsed in network for network in self.networks)

    def apply(self, environ: dict[str, Any]) -> None:
        """Make the request look as if its client had sent it here; drop what others than trusted proxies forward."""
        peer = str(environ.get("REMOTE_ADDR", ""))
        environ[THROUGH_PROXY] = self.trusts(peer) or any(name in environ for name in _HEADERS)
        said = Said.of(environ) if self.trusts(peer) else Said()
        for name in _HEADERS:
            environ.pop(name, None)
        if not self.trusts(peer):
            return
        client, hops = self._client(peer, said.addresses)
        environ["REMOTE_ADDR"] = client
        scheme = _said(said.schemes, hops).lower()
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        host = _said(said.hosts, hops)
        if _HOST.fullmatch(host):
            environ["HTTP_HOST"] = host
        self._apply_prefix(environ, _said(said.prefixes, hops).rstrip("/"))

    def _client(self, peer: str, addresses: Sequence[str]) -> tuple[str, int]:
        """The nearest address that is no trusted proxy, and how many proxies there were."""
        client, hops = peer, 0
        for address in reversed(addresses):
            parsed = _parse(address)
            if not self.trusts(client) or parsed is None:
                break
            client, hops = str(parsed), hops + 1
        return client, max(1, hops)

    def _apply_prefix(self, environ: dict[str, Any], said: str) -> None:
        if _PREFIX.fullmatch(said):  # which the proxy has taken away
            environ["SCRIPT_NAME"] = said
        elif self.prefix:
            environ["SCRIPT_NAME"] = self.prefix
            path = environ.get("PATH_INFO", "")
            if path == self.prefix or path.startswith(f"{self.prefix}/"):
                environ["PATH_INFO"] = path.removeprefix(self.prefix)


def _said(values: Sequence[str], hops: int) -> str:
    """What the proxy farthest from us said, of those that are trusted."""
    return values[-min(hops, len(values))] if values else ""


def _parse(text: str) -> Address | None:
    """With or without a port, in brackets or not; an IPv4 address written as an IPv6 one is IPv4."""
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
