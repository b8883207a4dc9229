"""What every kind of answer tells the browser to forbid: one table."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from apiflask import APIFlask
from werkzeug.test import TestResponse

from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.runtime import Runtime
from tests.factories import Persona, bearer, make_key, make_photo, make_ticket, make_upload, signed_in_client

EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": r"camera=\(\), microphone=\(\), geolocation=\(\)",
    "X-Request-ID": "[0-9a-f]{16}",
}
HTML = {"Content-Type": "text/html; charset=utf-8"}
JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}
PROBLEM = {"Content-Type": r"application/problem\+json", "Cache-Control": "no-store"}
# Kind: how it is asked for, and what its answer has beside all that.
KINDS = {
    "page of the console": ("agent", "/console/", HTML),
    "page to sign in": ("anonymous", "/console/sign-in", HTML),
    "the widget": ("anonymous", "/widget/", HTML),
    "documentation": ("anonymous", "/api/v1/docs", HTML),
    "an answer of the API": ("machine", "/api/v1/tickets", JSON),
    "a refusal of the API": ("anonymous", "/api/v1/tickets", PROBLEM),
    "no such address": ("anonymous", "/nothing", PROBLEM),
    "a customer's photo": (
        "machine",
        "photo",
        {"Content-Type": "image/(jpeg|png)", "Content-Disposition": "inline.*"},
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
    ticket = make_ticket(desk, uploads=[make_upload(data=make_photo())])
    clients = {
        "anonymous": app.test_client(),
        "machine": app.test_client(),
        "agent": signed_in_client(app, desk.db, alice),
    }

    def get(who: str, path: str) -> TestResponse:
        headers = key if who == "machine" else {}
        if path == "photo":
            told = clients["machine"].get(f"/api/v1/tickets/{ticket.public_id}", headers=key).text
            path = f"/api/v1/attachments/{re.findall('att_[0-9a-z]{20}', told)[0]}"
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


def test_each_answer_has_a_nonce_of_its_own(ask: Callable[[str, str], TestResponse]) -> None:
    assert len({directives(ask("anonymous", "/console/sign-in"))["script-src"] for _ in range(3)}) == 3
