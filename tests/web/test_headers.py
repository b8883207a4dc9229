"""What every kind of answer tells the browser to forbid: one table."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from apiflask import APIFlask
from flask.sessions import SecureCookieSessionInterface
from werkzeug.test import TestResponse

from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.runtime import Runtime
from tests.factories import (
    PASSWORD,
    Persona,
    bearer,
    make_agent,
    make_key,
    make_photo,
    make_ticket,
    make_upload,
    signed_in_client,
)
from tests.web.test_console import submit

EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": r"camera=\(\), microphone=\(\), geolocation=\(\)",
    "X-Request-ID": "[0-9a-f]{16}",
}
HTML = {"Content-Type": "text/html; charset=utf-8"}
PRIVATE = HTML | {"Cache-Control": "no-store"}
JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}
PROBLEM = {"Content-Type": r"application/problem\+json", "Cache-Control": "no-store"}
# Kind: how it is asked for, and what its answer has beside all that.
KINDS = {
    "page of the console": ("agent", "/console/", PRIVATE),
    "page to sign in": ("anonymous", "/console/sign-in", PRIVATE),
    "no such page of the console": ("agent", "/console/nonsense", PRIVATE),
    "the widget": ("anonymous", "/widget/", HTML),
    "documentation": ("anonymous", "/api/v1/docs", HTML),
    "an answer of the API": ("machine", "/api/v1/tickets", JSON),
    "a refusal of the API": ("anonymous", "/api/v1/tickets", PROBLEM),
    "no such address": ("anonymous", "/nothing", PROBLEM),
    "a customer's photo": (
        "machine",
        "photo",
        {"Content-Type": "image/(jpeg|png)", "Content-Disposition": "inline.*", "Cache-Control": "no-store"},
    ),
    "a customer's photo in the console": ("agent", "photo", {"Content-Type": "image/.*", "Cache-Control": "no-store"}),
    "its small version there": ("agent", "photo?thumbnail=1", {"Cache-Control": "private, max-age=86400, immutable"}),
    "a style of the console": (
        "agent",
        "style",
        {"Content-Type": "text/css.*", "Cache-Control": "public, .*immutable"},
    ),
    "health": ("anonymous", "/readyz", JSON),
    "metrics": ("anonymous", "/metrics", {"Content-Type": "text/plain.*"}),
}


def directives(answer: TestResponse) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in answer.headers["Content-Security-Policy"].split(";"))
    return {name: value for name, _, value in parts if name}


@pytest.fixture
def ask(
    runtime: Runtime, desk: Desk, alice: Persona, make_app: Callable[..., APIFlask]
) -> Callable[[str, str], TestResponse]:
    app = make_app(runtime)
    key = bearer(make_key(desk.db, Scope.TICKETS_READ))
    ticket = make_ticket(desk, team="technical", uploads=[make_upload(data=make_photo())])
    clients = {
        "anonymous": app.test_client(),
        "machine": app.test_client(),
        "agent": signed_in_client(app, desk.db, alice),
    }

    def get(who: str, path: str) -> TestResponse:
        headers = key if who == "machine" else {}
        if path.startswith("photo"):
            told = clients["machine"].get(f"/api/v1/tickets/{ticket.public_id}", headers=key).text
            place = "/console" if who == "agent" else "/api/v1"
            path = f"{place}/attachments/{re.findall('att_[0-9a-z]{20}', told)[0]}{path.removeprefix('photo')}"
        if path == "style":
            [path] = re.findall(r'href="(/static/[^"]+console\.css)"', clients["agent"].get("/console/").text)
        return clients[who].get(path, headers=headers)

    return get


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_of_each_kind_forbids_what_it_does_not_need(
    kind: str, ask: Callable[[str, str], TestResponse]
) -> None:
    who, path, own = KINDS[kind]
    answer = ask(who, path)
    for name, expected in (EVERYWHERE | own).items():
        assert re.fullmatch(expected, answer.headers.get(name, "")), f"{kind}: {name}: {answer.headers.get(name)}"
    policy = directives(answer)
    assert policy["default-src"] == "'none'"
    assert not {"unsafe-inline", "unsafe-eval", "*", "http:", "https:"} & set(
        re.split(r"[ ']+", " ".join(policy.values()))
    )
    if "sandbox" in policy:  # a file: nothing at all may run
        assert (policy["frame-ancestors"], "script-src" in policy) == ("'none'", False)
    else:
        assert policy["base-uri"] == "'none'"
        assert policy["form-action"] == "'self'"
        assert policy["frame-ancestors"] == ("'self'" if kind == "the widget" else "'none'")
        assert re.fullmatch(r"'self' 'nonce-[\w-]{20,}'", policy["script-src"])
    assert "Strict-Transport-Security" not in answer.headers, "over plain HTTP it means nothing"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert not re.search(r"\d", answer.headers.get("Server", "")), "no versions"


def test_over_https_browsers_are_told_to_stay_there_and_cookies_to_keep_to_it(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask], alice: Persona
) -> None:
    app = make_app(make_runtime(public_url="https://shop.example"))
    answer = app.test_client().get("/console/sign-in", base_url="https://shop.example")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    cookie = answer.headers["Set-Cookie"]
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))


@pytest.mark.parametrize(
    ("public", "path", "prefix"),
    [
        ("https://shop.example", "", "__Host-"),
        ("https://shop.example/support", "/support", "__Secure-"),
        ("http://127.0.0.1:8000", "", ""),
    ],
)
def test_cookies_are_named_so_that_no_neighbour_can_set_them(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask], public: str, path: str, prefix: str
) -> None:
    runtime = make_runtime(public_url=public, trusted_proxies=("127.0.0.1",))
    make_agent(runtime.desk.db, "ada")
    app = make_app(runtime)
    app.config["PREFERRED_URL_SCHEME"] = public.partition(":")[0]  # the client's
    client = app.test_client()
    page = f"{path}/console/sign-in"
    from_here = {"Referer": f"{public.partition(':')[0]}://localhost{page}"}  # which Flask-WTF asks for over https
    entered = submit(client, page, headers=from_here, email="ada@example.org", password=PASSWORD)
    assert (entered.status_code, entered.location) == (302, f"{path}/console/")
    cookies = {name: rest for name, _, rest in (one.partition("=") for one in entered.headers.getlist("Set-Cookie"))}
    known = "__Secure-known_browser" if prefix else "known_browser"
    assert set(cookies) == {f"{prefix}session", known}
    for cookie in cookies.values():
        assert {"HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
        assert ("; Secure" in cookie) is bool(prefix)
        assert "Domain" not in cookie
    assert f"; Path={path or '/'}" in f"{cookies[f'{prefix}session']};".replace("Path=/;", "Path=/")
    assert f"Path={path}/console/sign-in" in cookies[known]
    assert client.get(f"{path}/console/").status_code == 200


def test_who_was_signed_in_before_cookies_had_other_names_stays_signed_in(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    runtime = make_runtime(public_url="https://shop.example")
    ada = make_agent(runtime.desk.db, "ada")
    app = make_app(runtime)
    app.config["PREFERRED_URL_SCHEME"] = "https"
    client = signed_in_client(app, runtime.desk.db, ada)
    with client.session_transaction() as now:
        kept = dict(now)
    renamed = client.get_cookie("__Host-session")
    assert renamed is not None
    before = SecureCookieSessionInterface().get_signing_serializer(app)
    assert before is not None
    for value, is_in in ((before.dumps(kept), True), (renamed.value, False)):  # the second by somebody who renames it
        old = app.test_client()
        old.set_cookie("session", value, secure=True)
        asset = re.findall(r'href="(/static/[^"]+)"', old.get("/console/sign-in").text)[0]
        old = app.test_client()
        old.set_cookie("session", value, secure=True)
        assert "Set-Cookie" not in old.get(asset).headers  # which caches keep
        for _ in range(2):
            assert (old.get("/console/").status_code == 200) is is_in
        if is_in:
            assert old.get_cookie("session") is None
            assert old.get_cookie("__Host-session") is not None


def test_each_answer_has_a_nonce_of_its_own(ask: Callable[[str, str], TestResponse]) -> None:
    assert len({directives(ask("anonymous", "/console/sign-in"))["script-src"] for _ in range(3)}) == 3
