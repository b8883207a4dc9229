"""Whose word counts about where a request comes from."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.settings import Settings
from assistant.web.proxies import Proxies

NEAR, FAR = "10.0.0.1", "10.0.0.2"
CLIENT = "203.0.113.5"


def seen(peer: str, trusted: list[str], public_url: str = "", **headers: str) -> dict[str, Any]:
    """The environment of a request from ``peer`` as the application sees it. ``x_forwarded_for=…`` are its headers."""
    given: dict[str, Any] = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "HTTP_HOST": "inside", "PATH_INFO": "/x"}
    environ = given | {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    Proxies.of(Settings(trusted_proxies=trusted, public_url=public_url)).apply(environ)
    return environ


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (CLIENT, CLIENT),
        (f"198.51.100.1, {CLIENT}", CLIENT),
        (f"{NEAR}, {CLIENT}", CLIENT),
        (f"{CLIENT}, {FAR}", CLIENT),
        (f"{CLIENT},{FAR},  {FAR}", CLIENT),
        (f"{CLIENT}:4711", CLIENT),
        ("[2001:db8::5]:4711", "2001:db8::5"),
        ("2001:db8::5", "2001:db8::5"),
        (f"::ffff:{CLIENT}", CLIENT),
        ("unknown", NEAR),
        (f"{CLIENT}, unknown", NEAR),
        (f"{CLIENT}, _hidden, {FAR}", FAR),
        (", ,", NEAR),
        ("1" * 5000, NEAR),
        (f"{FAR}, {FAR}", FAR),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_trusted_proxy(forwarded: str, client: str) -> None:
    assert seen(NEAR, ["10.0.0.0/24"], x_forwarded_for=forwarded)["REMOTE_ADDR"] == client


@pytest.mark.parametrize(
    ("forwarded", "client", "scheme", "host"),
    [
        (f"for={CLIENT};proto=https;host=shop.example", CLIENT, "https", "shop.example"),
        (f'For="{CLIENT}:99"; Proto=https', CLIENT, "https", "inside"),
        ('for="[2001:db8::5]:99"', "2001:db8::5", "http", "inside"),
        (f"for={CLIENT};proto=https, for={FAR};proto=http", CLIENT, "https", "inside"),
        ("for=unknown;proto=https", NEAR, "https", "inside"),
        ("for=_secret", NEAR, "http", "inside"),
        (";;=,=", NEAR, "http", "inside"),
    ],
)
def test_the_standard_header_says_the_same(forwarded: str, client: str, scheme: str, host: str) -> None:
    environ = seen(NEAR, ["10.0.0.0/24"], forwarded=forwarded)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == (client, scheme, host)


def test_two_headers_that_differ_are_both_not_believed() -> None:
    both = {"x_forwarded_for": CLIENT, "x_forwarded_proto": "https"}
    assert seen(NEAR, [NEAR], **both, forwarded="for=198.51.100.1")["REMOTE_ADDR"] == NEAR
    assert seen(NEAR, [NEAR], **both, forwarded="for=198.51.100.1")["wsgi.url_scheme"] == "http"
    assert seen(NEAR, [NEAR], **both, forwarded=f"for={CLIENT}")["REMOTE_ADDR"] == CLIENT


def test_nobody_is_believed_without_the_setting() -> None:
    said = {
        "x_forwarded_for": CLIENT,
        "x_forwarded_proto": "https",
        "x_forwarded_host": "evil",
        "x_forwarded_prefix": "/a",
    }
    for trusted in ([], ["10.0.0.2"], ["192.168.0.0/16"]):
        environ = seen(NEAR, trusted, **said)
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == (NEAR, "http", "inside")
        assert environ.get("SCRIPT_NAME", "") == ""
        assert not any(name.startswith("HTTP_X_FORWARDED") for name in environ)


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/x", {"x_forwarded_prefix": "/support"}, ("/support", "/x")),
        ("/x", {"x_forwarded_prefix": "/support/"}, ("/support", "/x")),
        ("/x", {}, ("/help", "/x")),
        ("/help/x", {}, ("/help", "/x")),
        ("/help", {}, ("/help", "")),
        ("/helpful", {}, ("/help", "/helpful")),
        ("/x", {"x_forwarded_prefix": "//evil.example"}, ("/help", "/x")),
        ("/x", {"x_forwarded_prefix": "evil"}, ("/help", "/x")),
        ("/x", {"x_forwarded_prefix": "/a\r\nb"}, ("/help", "/x")),
    ],
)
def test_the_path_is_the_proxys_or_that_of_the_public_address(
    path: str, headers: dict[str, str], expected: tuple[str, str]
) -> None:
    environ = {"REMOTE_ADDR": NEAR, "PATH_INFO": path} | {
        f"HTTP_{name.upper()}": said for name, said in headers.items()
    }
    Proxies.of(Settings(trusted_proxies=[NEAR], public_url="https://shop.example/help/")).apply(environ)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == expected


@pytest.mark.parametrize("wrong", [["proxy.example"], ["10.0.0.0/99"], [""], ["10.0.0.1:80"]])
def test_what_is_no_address_is_refused_at_start(wrong: list[str]) -> None:
    with pytest.raises(ValueError, match="trusted_proxies"):
        Settings(trusted_proxies=wrong)


@pytest.mark.parametrize(
    "wrong", ["", "many", "120", "120 per fortnight", "-1 per minute", "0 per minute", "1/second; x"]
)
def test_a_limit_that_is_none_is_refused_at_start(wrong: str) -> None:
    with pytest.raises(ValueError, match="rate_limit"):
        Settings(rate_limit=wrong)
