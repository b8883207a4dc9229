"""Signing in with a second factor: what it asks, whom it keeps out, and how one gets in who has lost it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant.cli import main
from assistant.db import Database, utcnow
from assistant.desk import audit, credentials, links, sealing, second_factor
from assistant.desk.links import Purpose
from assistant.models import Agent, RecoveryCode
from assistant.runtime import Runtime
from assistant.settings import Settings
from tests.factories import PASSWORD, Persona, make_agent
from tests.web.test_console import submit

SignIn = Callable[[Persona], FlaskClient]
NOW = utcnow()
PAGE, CODE = "/console/second-factor", "/console/sign-in/code"


class App:
    """An agent's phone: its codes, of the time steps before, now and after, each once."""

    def __init__(self, key: str) -> None:
        self.totp, self.drifts = pyotp.TOTP(key.replace(" ", "")), iter((-1, 0, 1))

    def code(self) -> str:
        return self.at(next(self.drifts))

    def at(self, drift: int) -> str:
        return str(self.totp.at(NOW + timedelta(seconds=drift * 30)))


@pytest.fixture(autouse=True)
def _no_step_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_factor, "utcnow", lambda: NOW)


def set_up(client: FlaskClient) -> tuple[App, list[str]]:
    """The app, and the recovery codes."""
    assert submit(client, f"{PAGE}/begin", at=PAGE).status_code == 302
    page = client.get(PAGE).text
    key = re.search(r'id="key">([A-Z2-7 ]+)<', page)
    assert key is not None
    app = App(key[1])
    assert app.totp.secret in page  # in the address that opens the app
    shown = submit(client, f"{PAGE}/confirm", at=PAGE, code=app.code())
    assert shown.status_code == 200, shown.text
    return app, re.findall(r"<code>([a-z2-7-]{19})</code>", shown.text)


def begin_signing_in(client: FlaskClient, who: Persona, **options: Any) -> None:
    answer = submit(client, "/console/sign-in", email=who.email, password=PASSWORD, **options)
    assert (answer.status_code, answer.location.split("?")[0]) == (302, CODE)


def is_signed_in(client: FlaskClient) -> bool:
    return client.get("/console/").status_code == 200


@pytest.fixture
def phone(sign_in: SignIn, alice: Persona) -> tuple[App, list[str]]:
    """Alice's, which is set up."""
    return set_up(sign_in(alice))


def test_the_second_step_lets_in_and_the_first_alone_to_nothing(
    client: FlaskClient, alice: Persona, phone: tuple[App, list[str]], db: Database
) -> None:
    begin_signing_in(client, alice, query={"next": "/console/account"})
    for rule in client.application.url_map.iter_rules():
        if rule.endpoint.startswith("console.") and "GET" in (rule.methods or ()) and not rule.arguments:
            answer = client.get(rule.rule)
            open_to_all = rule.endpoint in ("console.sign_in", "console.sign_in_code")
            assert (answer.status_code == 200) is open_to_all, rule
    wrong = submit(client, CODE, code="000000")
    assert (wrong.status_code, "wrong" in wrong.text) == (401, True)
    right = submit(client, CODE, at=CODE, query={"next": "/console/account"}, code=f" {phone[0].code()} ")
    assert (right.status_code, right.location) == (302, "/console/account")
    assert is_signed_in(client)
    with db.read() as session:
        noted = [entry.action for entry in audit.entries(session)]
    assert noted == ["sign_in_code", "sign_in_code_refused", "second_factor.confirm", "second_factor.begin"]


def test_a_code_counts_once_and_within_one_step(
    client: FlaskClient, alice: Persona, phone: tuple[App, list[str]]
) -> None:
    app = phone[0]  # whose step before now was used for setting it up
    for drift, status in ((-1, 401), (2, 401), (-2, 401), (1, 302)):
        begin_signing_in(client, alice)
        assert submit(client, CODE, code=app.at(drift)).status_code == status, drift
    begin_signing_in(client, alice)
    assert submit(client, CODE, code=app.at(1)).status_code == 401
    assert submit(client, CODE, code=app.at(0)).status_code == 401  # an older one than the last one used


def test_each_recovery_code_lets_in_once(
    client: FlaskClient, alice: Persona, phone: tuple[App, list[str]], db: Database
) -> None:
    codes = phone[1]
    assert (len(codes), len(set(codes))) == (10, 10)
    with db.read() as session:
        stored = session.scalars(select(RecoveryCode.code_hash)).all()
        secret = session.scalars(select(Agent.totp_secret).where(Agent.email == alice.email)).one()
    assert secret is not None
    assert phone[0].totp.secret not in secret
    assert not set(codes) & set(stored)
    begin_signing_in(client, alice)
    assert submit(client, CODE, code=codes[3].upper().replace("-", " ")).status_code == 302
    assert "Recovery codes left: 9" in client.get(PAGE).text
    submit(client, "/console/sign-out", at="/console/")
    begin_signing_in(client, alice)
    assert submit(client, CODE, code=codes[3]).status_code == 401
    assert submit(client, CODE, code=codes[4]).status_code == 302
    renewed = submit(client, f"{PAGE}/codes", at=PAGE, code=codes[5])
    new = re.findall(r"<code>([a-z2-7-]{19})</code>", renewed.text)
    assert (len(new), bool(set(new) & set(codes))) == (10, False)
    assert submit(client, f"{PAGE}/turn-off", at=PAGE, code=codes[6]).status_code == 422
    assert submit(client, f"{PAGE}/turn-off", at=PAGE, code=new[0]).status_code == 302
    assert submit(client, "/console/sign-in", email=alice.email, password=PASSWORD).location == "/console/"


def test_the_first_step_expires_and_ends_with_the_password(
    client: FlaskClient, alice: Persona, phone: tuple[App, list[str]], db: Database, settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(links, "utcnow", lambda: utcnow() - timedelta(minutes=6))
        submit(client, "/console/sign-in", email=alice.email, password=PASSWORD)
    assert client.get(CODE).location == "/console/sign-in"
    begin_signing_in(client, alice)
    with db.begin() as session:
        agent = session.scalars(select(Agent).where(Agent.email == alice.email)).one()
        link = credentials.password_link(settings, agent)
        halfway = credentials.halfway_token(session, settings, alice.principal)
    join = f"/console/join/{link.rpartition('/')[2]}"
    assert client.get(f"/console/join/{halfway}").status_code == 404  # is no link to a password
    # A link to another password is one factor, too.
    other = client.application.test_client()
    answer = submit(other, join, new="five rusty anchors sing", again="five rusty anchors sing")
    assert answer.location.split("?")[0] == CODE
    assert not is_signed_in(other)
    assert client.get(CODE).location == "/console/sign-in"


def test_wrong_codes_count_with_wrong_passwords(
    runtime: Runtime, make_app: Callable[..., Any], alice: Persona, phone: tuple[App, list[str]]
) -> None:
    client = make_app(runtime, limited=True).test_client()
    wrong = [submit(client, "/console/sign-in", email=alice.email, password="guess").status_code for _ in range(3)]
    begin_signing_in(client, alice)
    wrong += [submit(client, CODE, code="000000", email=f"{n}@example.org").status_code for n in range(3)]
    assert wrong == [401] * 5 + [429]
    assert submit(client, CODE, code=phone[0].code()).status_code == 429


def test_roles_that_need_one_set_it_up_before_anything_else(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., Any]
) -> None:
    runtime = make_runtime(second_factor_roles=["lead", "admin"])
    db = runtime.desk.db
    client = make_app(runtime).test_client()
    boss, agent = make_agent(db, "boss", admin=True), make_agent(db, "agent")
    assert submit(client, "/console/sign-in", email=agent.email, password=PASSWORD).location == "/console/"
    assert is_signed_in(client)
    submit(client, "/console/sign-in", email=boss.email, password=PASSWORD)
    for path in ("/console/", "/console/settings/agents", "/console/account"):
        assert client.get(path).location == PAGE, path
    assert client.get("/console/", headers={"HX-Request": "true"}).headers["HX-Redirect"] == PAGE
    page = client.get(PAGE).text
    assert "Your role needs one" in page
    assert [what for what in ("hx-get", "hx-trigger", "data-from") if what in page] == []  # would be led back here
    set_up(client)
    assert is_signed_in(client)


def test_an_admin_and_the_command_line_reset_one_that_is_lost(
    sign_in: SignIn, client: FlaskClient, alice: Persona, dora: Persona, phone: tuple[App, list[str]], db: Database,
    settings: Settings, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    inside = sign_in(alice)
    page = f"/console/settings/agents/{alice.public_id}/second-factor"
    assert sign_in(alice).get(page).status_code == 403
    assert submit(sign_in(dora), page, at=page).status_code == 302
    assert not is_signed_in(inside)
    assert submit(client, "/console/sign-in", email=alice.email, password=PASSWORD).location == "/console/"
    with db.read() as session:
        assert session.scalars(select(RecoveryCode)).all() == []
        assert ("admin.reset_second_factor", alice.public_id) in [
            (entry.action, entry.subject) for entry in audit.entries(session)
        ]
    set_up(client)
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("ASSISTANT_SECRET_KEY", settings.signing_key())
    for code, said in ((0, "signed out"), (1, "no second factor")):
        ran = CliRunner().invoke(main, ["agents", "reset", alice.email, "--second-factor"])
        assert (ran.exit_code, said in ran.output) == (code, True), ran.output
    assert not is_signed_in(client)


def test_the_secret_outlasts_the_key_that_encrypted_it(
    client: FlaskClient, alice: Persona, phone: tuple[App, list[str]], db: Database, settings: Settings
) -> None:
    keys = {"secret_key": "another secret key, long enough", "previous_secret_keys": [settings.signing_key()]}
    other = Settings(data_dir=settings.data_dir, **keys)  # type: ignore[arg-type]
    with db.begin() as session:
        assert sealing.renew(session, other) == 1
        stored = session.scalars(select(Agent.totp_secret).where(Agent.email == alice.email)).one()
    assert stored is not None
    assert sealing.unseal(other, stored) == phone[0].totp.secret


def test_no_signed_text_is_good_for_another_purpose(settings: Settings) -> None:
    for purpose in Purpose:
        token = links.sign(settings, purpose, "agt_1")
        good_for = [one for one in Purpose if links.signed_subject(settings, token, audience=f"link:{one.value}")]
        assert good_for == [purpose]


def test_neighbours_and_strangers_keep_nobody_out_of_their_own_browser(
    runtime: Runtime, make_app: Callable[..., Any], alice: Persona, bob: Persona
) -> None:
    app = make_app(runtime, limited=True)
    own, other = app.test_client(), app.test_client()
    assert submit(own, "/console/sign-in", email=alice.email, password=PASSWORD).status_code == 302
    for number in range(30):  # from the same address
        submit(other, "/console/sign-in", email=f"{number}@example.org", password="guess")
    for client, status in ((other, 429), (own, 302)):
        assert submit(client, "/console/sign-in", email=alice.email, password=PASSWORD).status_code == status
    assert submit(own, "/console/sign-in", email=bob.email, password=PASSWORD).status_code == 429  # not known for him


def test_one_account_is_not_guessed_from_many_addresses(
    runtime: Runtime, make_app: Callable[..., Any], alice: Persona
) -> None:
    app = make_app(runtime, limited=True)
    own = app.test_client()
    assert submit(own, "/console/sign-in", email=alice.email, password=PASSWORD).status_code == 302
    statuses = []
    for number in range(51):
        stranger = app.test_client()
        stranger.environ_base["REMOTE_ADDR"] = f"192.0.2.{number}"
        wrong = submit(stranger, "/console/sign-in", email=alice.email, password="guess")
        statuses.append(wrong.status_code)
    assert statuses == [401] * 50 + [429]
    assert submit(own, "/console/sign-in", email=alice.email, password=PASSWORD).status_code == 302
    wrong_here = [submit(own, "/console/sign-in", email=alice.email, password="guess").status_code for _ in range(6)]
    assert wrong_here == [401] * 5 + [429]
