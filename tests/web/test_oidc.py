"""Signing in with an OpenID Connect provider: a small one on the loopback, which checks what it is sent."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

from assistant.db import Database
from assistant.desk import audit, credentials, people, second_factor
from assistant.models import AgentRole
from assistant.runtime import Runtime
from assistant.settings import Settings
from tests.factories import make_agent
from tests.web.test_second_factor import CODE, NOW, set_up

BEGIN = "/console/sign-in/oidc"
CLIENT, SECRET = "support-desk", "what only we and the provider know"


class SignInProvider:
    """Signs everybody in as ``claims`` say. ``forge`` changes the claims of an ID token last; ``key`` signs it."""

    def __init__(self) -> None:
        self.key = self.known_key = RSAKey.generate_key(2048, parameters={"kid": "one"}, private=True)
        self.algorithm, self.codes = "RS256", dict[str, dict[str, str]]()
        self.claims: dict[str, Any] = {"sub": "7", "email": "ada@example.org", "email_verified": True}
        self.of_user: dict[str, Any] = {"sub": "7"}
        self.forge: Callable[[dict[str, Any]], None] = lambda claims: None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
                if path == "/authorize":
                    code = f"code-{len(outer.codes)}"
                    outer.codes[code] = asked = {name: values[0] for name, values in query.items()}
                    self.send_response(302)
                    back = urlencode({"code": code, "state": asked["state"]})
                    self.send_header("Location", f"{asked['redirect_uri']}?{back}")
                    self.end_headers()
                else:
                    self.answer(*outer.look_up(path, self.headers.get("Authorization", "")))

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                given = {name: values[0] for name, values in form.items()}
                self.answer(*outer.exchange(given, self.headers.get("Authorization", "")))

            def answer(self, status: int, body: dict[str, Any]) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def look_up(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            names["userinfo_endpoint"] = "user"
            return 200, {"issuer": self.issuer, **{name: f"{self.issuer}/{page}" for name, page in names.items()}}
        if path == "/keys":
            return 200, KeySet([self.known_key]).as_dict(private=False)  # type: ignore[return-value]
        return (200, self.of_user) if authorization == "Bearer access" else (401, {})

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        asked = self.codes.pop(form.get("code", ""), None)  # each code once
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).decode()
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if (
            asked is None
            or (asked["code_challenge"], asked["code_challenge_method"]) != (challenge.rstrip("="), "S256")
            or asked["redirect_uri"] != form.get("redirect_uri")
            or authorization != f"Basic {basic}"
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 60, "nonce": asked["nonce"]} | self.claims
        self.forge(claims)
        token = jwt.encode({"alg": self.algorithm, "kid": "one"}, claims, self.key, algorithms=[self.algorithm])
        return 200, {"access_token": "access", "token_type": "Bearer", "id_token": token}


@pytest.fixture
def provider() -> Iterator[SignInProvider]:
    made = SignInProvider()
    yield made
    made.server.shutdown()
    made.server.server_close()


Start = Callable[..., tuple[FlaskClient, Database]]


@pytest.fixture
def start(
    provider: SignInProvider,
    make_runtime: Callable[..., Runtime],
    make_app: Callable[..., APIFlask],
    settings: Settings,
) -> Start:
    """A client of an application that knows the provider, and Ada, an agent there."""

    def start(**changes: Any) -> tuple[FlaskClient, Database]:
        given = {"oidc_issuer": provider.issuer, "oidc_client_id": CLIENT, "oidc_client_secret": SECRET, **changes}
        known = Settings(data_dir=settings.data_dir, workers=0, **given)
        names = given.keys() & Settings.model_fields.keys()
        runtime = make_runtime(**{name: getattr(known, name) for name in names})
        make_agent(runtime.desk.db, "ada", team="technical")
        make_agent(runtime.desk.db, "boss", admin=True)
        return make_app(runtime).test_client(), runtime.desk.db

    return start


def sent_back(client: FlaskClient, **query: str) -> str:
    """Where the provider sends the browser that begins here."""
    begun = client.get(BEGIN, query_string=query)
    assert begun.status_code == 302, begun.text
    back = urlsplit(httpx.get(begun.location).headers["Location"])
    return f"{back.path}?{back.query}"


def is_signed_in(client: FlaskClient) -> bool:
    return client.get("/console/").status_code == 200


def test_an_agent_signs_in_by_the_address_that_the_provider_has_verified(start: Start) -> None:
    client, db = start()
    assert BEGIN in client.get("/console/sign-in").text
    back = sent_back(client, next="/console/account")
    answer = client.get(back)
    assert (answer.status_code, answer.location) == (302, "/console/account")
    assert is_signed_in(client)
    assert client.get(back).status_code == 401  # once
    with db.read() as session:
        noted = [(entry.action, entry.agent) for entry in audit.entries(session)]
    assert noted == [("sign_in_oidc_done", "ada@example.org")]


def test_another_browser_and_another_state_are_refused(start: Start) -> None:
    client, _ = start()
    other = client.application.test_client()
    assert other.get(sent_back(client)).status_code == 401
    sent_back(other)
    assert other.get(sent_back(client)).status_code == 401  # somebody else's, to sign one in as them
    assert not is_signed_in(other)
    assert client.get(f"{BEGIN}/done?error=access_denied").status_code == 401


@pytest.mark.parametrize(
    "forged",
    [
        {"nonce": "another"}, {"aud": "another"}, {"iss": "https://elsewhere.example"}, {"exp": 1}, {"sub": None},
        {"azp": "another"},
    ],
)  # fmt: skip
def test_a_token_for_something_else_is_refused(start: Start, provider: SignInProvider, forged: dict[str, Any]) -> None:
    client, _ = start()

    def forge(claims: dict[str, Any]) -> None:
        claims.update(forged)
        for name in [name for name, value in claims.items() if value is None]:
            del claims[name]

    provider.forge = forge
    answer = client.get(sent_back(client))
    assert (answer.status_code, "not valid" in answer.text) == (401, True)
    assert not is_signed_in(client)


@pytest.mark.parametrize("by", ["another key", "our secret"])
def test_a_token_that_the_provider_did_not_sign_is_refused(start: Start, provider: SignInProvider, by: str) -> None:
    client, _ = start()
    if by == "another key":
        provider.key = RSAKey.generate_key(2048, parameters={"kid": "one"}, private=True)
    else:
        provider.algorithm, provider.key = "HS256", OctKey.import_key(SECRET)  # type: ignore[assignment]
    assert client.get(sent_back(client)).status_code == 401
    assert not is_signed_in(client)


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"email_verified": False}, "verified"),
        ({"email_verified": "true"}, "verified"),
        ({"email": "stranger@example.org"}, "invite"),
    ],
)
def test_who_is_no_agent_by_a_verified_address_is_refused(
    start: Start, provider: SignInProvider, claims: dict[str, Any], said: str
) -> None:
    client, _ = start()
    provider.claims |= claims
    answer = client.get(sent_back(client))
    assert (answer.status_code, said in answer.text) == (403, True)
    assert not is_signed_in(client)


def test_groups_decide_the_role_at_each_sign_in(start: Start, provider: SignInProvider) -> None:
    client, db = start(oidc_roles={"support": "agent", "it": "admin", "readers": "viewer"})
    for groups, role in ((["readers", "it"], AgentRole.ADMIN), (["support"], AgentRole.AGENT)):
        provider.of_user["groups"] = groups  # told only when asked for the user
        assert client.get(sent_back(client)).status_code == 302
        with db.read() as session:
            assert people.colleague(session, "ada@example.org").role is role
    for groups in (["kitchen"], None, "support"):
        provider.of_user["groups"] = groups
        other = client.application.test_client()
        refused = other.get(sent_back(other))
        assert (refused.status_code, "None of your groups" in refused.text) == (403, True)
    provider.claims |= {"email": "boss@example.org", "sub": "8"}
    provider.of_user |= {"groups": ["support"], "sub": "8"}
    assert client.get(sent_back(client)).status_code == 302
    with db.read() as session:
        assert people.colleague(session, "boss@example.org").role is AgentRole.ADMIN  # the only one stays one


def test_who_has_left_is_refused_and_a_second_factor_is_asked_for(
    start: Start, provider: SignInProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_factor, "utcnow", lambda: NOW)
    client, db = start()
    assert client.get(sent_back(client)).status_code == 302
    set_up(client)
    other = client.application.test_client()
    assert other.get(sent_back(other)).location.split("?")[0] == CODE
    assert not is_signed_in(other)
    with db.begin() as session:
        people.deactivate_agent(session, people.colleague(session, "ada@example.org"))
    assert other.get(sent_back(other)).status_code == 403


def test_an_agent_is_their_account_there_and_another_one_with_their_address_is_refused_until_a_reset(
    start: Start, provider: SignInProvider
) -> None:
    client, db = start()

    def comes_in(**claims: Any) -> tuple[int, bool]:
        provider.claims |= claims
        provider.of_user["sub"] = provider.claims["sub"]
        browser = client.application.test_client()
        return browser.get(sent_back(browser)).status_code, is_signed_in(browser)

    assert comes_in(sub="7", email="ada@example.org") == (302, True)
    assert comes_in(sub="7", email="married@example.org", email_verified=False) == (302, True)
    assert comes_in(sub="8", email="ada@example.org", email_verified=True) == (403, False)
    with db.begin() as session:
        credentials.reset_password(session, people.colleague(session, "ada@example.org"))
    assert comes_in(sub="8") == (302, True)
    assert comes_in(sub="7") == (403, False)


def test_a_provider_that_is_away_is_said_on_the_page(start: Start, provider: SignInProvider) -> None:
    client, _ = start()
    back = sent_back(client)
    provider.server.shutdown()
    provider.server.server_close()
    for path in (back, BEGIN):
        answer = client.get(path)
        assert (answer.status_code, "cannot be asked now" in answer.text) == (503, True)


def test_without_a_provider_there_is_no_way_to_one(client: FlaskClient) -> None:
    assert BEGIN not in client.get("/console/sign-in").text
    assert client.get(BEGIN).status_code == 503


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"oidc_issuer": "http://login.example.org", "oidc_client_id": "x"}, "https://"),
        ({"oidc_issuer": "https://login.example.org"}, "ASSISTANT_OIDC_CLIENT_ID"),
        ({"oidc_roles": {"support": "boss"}}, "oidc_roles"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(**changes)
