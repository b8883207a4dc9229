"""``assistant agents`` and ``assistant keys``: people and machines, as in the console's settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assistant.cli import main
from assistant.db import Database
from assistant.desk import api_keys, audit, credentials
from assistant.errors import NotFound, Unauthenticated
from assistant.settings import Settings
from tests.factories import PASSWORD, Persona, make_customer

Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the desk's own database."""
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("ASSISTANT_SECRET_KEY", "a secret key that is long enough for tests")
    return lambda *arguments: CliRunner().invoke(main, list(arguments))


def listed(run: Run, what: str = "agents") -> dict[str, dict[str, object]]:
    return {one.get("email", one["name"]): one for one in json.loads(run(what, "list", "--json").stdout)}


def test_an_agent_is_invited_changed_deactivated_and_comes_back(run: Run, db: Database, settings: Settings) -> None:
    email = "nora@example.org"
    invited = run("agents", "invite", email, "--role", "lead", "--team", "orders", "--language", "de")
    token = invited.stdout.strip().rpartition("/")[2]
    assert listed(run)[email] | {"id": ""} == {
        "id": "", "email": email, "name": email, "role": "lead", "team": "orders", "languages": ["de"],
        "second_factor": False, "state": "invited",
    }  # fmt: skip
    credentials.choose_password(db, settings, token, password=PASSWORD)
    with pytest.raises(NotFound):
        credentials.choose_password(db, settings, token, password=PASSWORD)
    assert run("agents", "set", email, "--name", "Nora", "--team", "", "--role", "viewer").exit_code == 0
    changed = listed(run)[email]
    assert (changed["name"], changed["role"], changed["team"], changed["languages"]) == ("Nora", "viewer", None, ["de"])
    assert run("agents", "deactivate", email).exit_code == 0
    assert listed(run)[email]["state"] == "deactivated"
    with pytest.raises(Unauthenticated):
        credentials.sign_in(db, email=email, password=PASSWORD)
    assert run("agents", "reset", email).exit_code == 1
    link = run("agents", "reactivate", email).stdout.strip()
    credentials.choose_password(db, settings, link.rpartition("/")[2], password=PASSWORD)
    assert credentials.sign_in(db, email=email, password=PASSWORD).name == "Nora"


def test_a_reset_ends_the_password_and_what_is_wrong_is_said(run: Run, db: Database, dora: Persona) -> None:
    assert "/console/join/" in run("agents", "reset", dora.email).stdout
    with pytest.raises(Unauthenticated):
        credentials.sign_in(db, email=dora.email, password=PASSWORD)
    for refused, said in (
        (("agents", "deactivate", dora.email), "only admin"),
        (("agents", "set", "nobody@example.org", "--role", "lead"), "no agent"),
        (("agents", "invite", dora.email), "already an agent"),
        (("keys", "revoke", "key_nonsense"), "no API key"),
    ):
        ran = run(*refused)
        assert (ran.exit_code, said in ran.output) == (1, True), ran.output


def test_keys_are_listed_and_revoked(run: Run, db: Database) -> None:
    secret = run("keys", "add", "shop", "--scope", "tickets:read").stdout.strip()
    assert api_keys.authenticate(db, secret).name == "shop"
    key = listed(run, "keys")["shop"]
    assert (key["scopes"], key["revoked"]) == ("tickets:read", False)
    assert run("keys", "revoke", str(key["id"])).exit_code == 0
    assert listed(run, "keys")["shop"]["revoked"] is True
    with pytest.raises(Unauthenticated):
        api_keys.authenticate(db, secret)


def test_keys_are_limited_and_replaced(run: Run, db: Database) -> None:
    limits = (
        "--expires",
        "2099-01-31",
        "--inbox",
        "default",
        "--network",
        "10.0.0.7/8",
        "--rate-limit",
        "600 per minute",
    )
    secret = run("keys", "add", "shop", "--scope", "tickets:read", *limits).stdout.strip()
    key = listed(run, "keys")["shop"]
    assert (key["inboxes"], key["networks"], str(key["expires_at"])[:10]) == (["default"], ["10.0.0.0/8"], "2099-01-31")
    assert key["rate_limit"] == "600 per minute"
    assert "inbox default, from 10.0.0.0/8, until 2099-01-31, 600 per minute" in run("keys", "list").stdout
    new = run("keys", "rotate", str(key["id"]), "--grace", "1").stdout.strip()
    for one in (secret, new):
        assert api_keys.authenticate(db, one, address="10.1.2.3").name == "shop"
    assert run("keys", "set", str(key["id"]), "--unlimited", "--network", "192.0.2.1").exit_code == 0
    key = listed(run, "keys")["shop"]
    assert (key["inboxes"], key["networks"], key["expires_at"]) == ([], ["192.0.2.1/32"], None)
    assert key["rate_limit"] is None
    for wrong in (
        ("--expires", "soon"), ("--expires", "2020-01-01"), ("--inbox", "nowhere"), ("--network", "office"),
        ("--rate-limit", "lots"), ("--rate-limit", "0 per minute"),
    ):  # fmt: skip
        assert run("keys", "set", str(key["id"]), *wrong).exit_code != 0, wrong


def test_what_commands_change_is_in_the_audit_log_and_what_they_read_is_not(
    run: Run, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    customer = make_customer(db, email="kim@example.org").public_id
    for arguments in (
        ("agents", "add", "nora@example.org", "--password", PASSWORD, "--role", "lead"),
        ("agents", "list"),
        ("agents", "add", "nora@example.org", "--password", PASSWORD),  # refused: there is one
        ("keys", "add", "shop", "--scope", "triage"),
        ("keys", "list", "--json"),
        ("customers", "show", "kim@example.org"),
        ("customers", "export", "kim@example.org", str(tmp_path / "kim.zip")),
        ("customers", "erase", "kim@example.org", "--yes"),
    ):
        run(*arguments)
    with db.read() as session:
        entries = list(reversed(audit.entries(session)))
    assert {(one.agent, one.address) for one in entries} == {("root", "command line")}
    assert [(one.action, one.subject, one.fields) for one in entries] == [
        ("command agents add", "nora@example.org", ["password", "role"]),
        ("command keys add", "shop", ["scopes"]),
        ("command customers export", customer, []),
        ("command customers erase", customer, ["yes"]),
    ]
