"""``assistant inboxes`` and what `doctor` says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from assistant.cli import main
from assistant.cli.common import migrated
from assistant.desk.inboxes import find, valid_secrets
from assistant.settings import PREFIX, Settings
from tests.factories import make_photo


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv(f"{PREFIX}PUBLIC_URL", "http://support.example")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["inboxes", *arguments])


def shown(key: str = "acme") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("show", key, "--json").output)
    return found


def secrets() -> tuple[str, ...]:
    with migrated() as database, database.read() as session:
        return valid_secrets(find(session, "acme"), Settings())


def test_an_inbox_is_added_changed_shown_and_archived(tmp_path: Path) -> None:
    line = '<script src="http://support.example/widget/loader.js" data-inbox="acme" async></script>'
    assert line in run("add", "acme", "--name", "Acme", "--origin", "https://acme.example").output
    assert run("add", "acme").exit_code == 1, "twice"
    for key in ("all", "Acme", "../x"):
        assert "is no key" in run("add", key).output
    hours = '{"zone": "Europe/Berlin", "week": {"mon": ["09:00-17:00"]}}'
    logo = tmp_path / "logo.png"
    logo.write_bytes(make_photo(kind="PNG"))
    assert run("set", "acme", "--language", "de", "--hours", hours, "--logo", str(logo)).exit_code == 0
    assert run("set", "acme", "--quick-reply", "Hello?", "--quick-reply", "Where?").exit_code == 0
    now = shown()
    assert (now["name"], now["language"], now["quick_replies"]) == ("Acme", "de", ["Hello?", "Where?"])
    assert (now["origins"], now["hours"]["zone"], now["logo"]) == (["https://acme.example"], "Europe/Berlin", True)
    run("set", "acme", "--answer-threshold", "0.7", "--never-answer", "category:safety", "--tone", "Short.")
    run("set", "acme", "--never-say", "full refund", "--never-say", "Nordwind")
    now = shown()
    assert (now["answer_threshold"], now["never_answer"], now["tone"]) == (0.7, ["category:safety"], "Short.")
    assert now["never_say"] == ["full refund", "Nordwind"]
    run("set", "acme", "--clear", "hours", "--clear", "logo", "--clear", "name")
    assert (shown()["hours"], shown()["logo"], shown()["name"]) == (None, False, "Our shop")
    for wrong, told in (
        (("--accent", "red"), "accent"),
        (("--hours", "{"), "is not JSON"),
        (("--hours", '{"zone": "Berlin", "week": {}}'), "is no time zone"),
        (("--team", "nobody"), "There is no team 'nobody'"),
        (("--clear", "colour"), "cannot be cleared"),
        (("--never-answer", "colour:red"), "colour:red"),
        (("--answer-threshold", "2"), "not in the range"),
        (("--origin", "acme.example"), "write https:// and the host"),
    ):
        result = run("set", "acme", *wrong)
        assert result.exit_code != 0
        assert told in result.output, wrong
    assert "default inbox cannot be archived" in run("archive", "default").output
    run("archive", "acme")
    assert shown()["archived"]
    assert "archived" in run("list").output
    run("archive", "acme", "--restore")
    assert not shown()["archived"]


def test_a_secret_is_renewed_while_the_previous_one_stays_valid() -> None:
    run("add", "acme")
    first = run("secret", "acme").output.splitlines()[0]
    second = run("secret", "acme").output.splitlines()[0]
    assert secrets() == (second, first)
    third = run("secret", "acme").output.splitlines()[0]
    assert secrets() == (third, second)
    run("secret", "acme", "--withdraw-previous")
    assert secrets() == (third,)
    assert third not in run("show", "acme").output


def test_doctor_says_what_is_wrong_with_inboxes() -> None:
    run("add", "acme")
    run("add", "bolt", "--origin", "https://bolt.example")
    checks = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).output)
    found = {one["detail"]: one["advice"] for one in checks if one["name"] == "inboxes"}
    assert found == {
        "acme: no site may embed it": "assistant inboxes set acme --origin https://…",
        "bolt: https://bolt.example is HTTPS, but this server is not: browsers refuse that": (
            "Set ASSISTANT_PUBLIC_URL to an address with https://"
        ),
    }
