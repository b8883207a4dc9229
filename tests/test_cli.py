"""The command line: what is wrong is said in one line, and nothing that was written is passed over."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assistant import server
from assistant.cli import common, main
from assistant.cli.common import migrated, one_line, progress_bar
from assistant.desk.access import Scope
from assistant.desk.inboxes import default, valid_secrets
from assistant.models import HeadState, TriageHead
from assistant.settings import CONFIG_VARIABLE, PREFIX, Settings


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path / "var"))


def run(*arguments: str, standard_input: str | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=standard_input)


def test_a_settings_file_that_is_named_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, "missing.toml")
    result = run("kb", "status")
    assert result.exit_code == 2
    assert "no settings file missing.toml" in result.output


def test_a_settings_file_that_is_not_toml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('company = "x\n', encoding="utf-8")
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    result = run("kb", "status")
    assert result.exit_code == 2
    assert f"{file} is not valid TOML" in result.output


def test_a_name_in_the_settings_file_that_is_no_setting_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('compny = "Lumora"\nport = 8001\n', encoding="utf-8")
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    result = run("kb", "status")
    assert result.exit_code == 0
    assert f"compny in {file} is not a setting" in result.output
    assert "port in" not in result.output


def test_the_demo_says_that_the_port_is_in_use_before_it_works_for_a_minute() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = run("demo", "--port", str(other.getsockname()[1]))
    assert result.exit_code == 1
    assert "Choose another port with --port" in result.output


def test_help_names_every_scope_that_a_key_may_have() -> None:
    shown = " ".join(run("keys", "add", "--help").output.split())
    assert all(scope.value in shown for scope in Scope)


def test_a_password_may_come_on_standard_input_and_its_lack_is_said() -> None:
    missing = run("agents", "add", "rosa@example.org", standard_input="")
    assert missing.exit_code == 2
    assert "Use --password" in missing.output
    added = run("agents", "add", "rosa@example.org", standard_input="four plain words here\n")
    assert added.exit_code == 0, added.output


def test_heads_are_shown_rolled_back_and_promoted() -> None:
    assert "No field has learned" in run("heads").output
    refused = run("heads", "rollback", "category")
    assert refused.exit_code == 1
    assert "No learned head serves the field 'category'" in refused.output
    figures = {"accuracy": 0.875, "calibration_error": 0.04}
    with migrated() as database, database.begin() as session:
        head = TriageHead(
            field="category",
            embedding_model="hash-512",
            label_count=40,
            labels={"delivery": 30, "how_to": 10},
            payload=b"",
            state=HeadState.SERVED,
            trial={"decisions": 40, "head": figures, "before": figures, "worse": False},
        )
        session.add(head)
    shown = run("heads").output
    assert all(part in shown for part in ("category", "served", "40", "0.88"))
    assert "no learned head" in run("heads", "rollback", "category").output
    (listed,) = json.loads(run("heads", "--json").output)
    assert (listed["state"], listed["labels"]) == ("rolled_back", {"delivery": 30, "how_to": 10})
    assert "of 40 decisions" in run("heads", "promote", "category").output


def test_a_file_that_may_not_be_written_is_named_with_what_to_do() -> None:
    said = one_line(PermissionError(13, "Permission denied", "/srv/var"))
    assert said == "No permission to read or write /srv/var. Check its owner, or set ASSISTANT_DATA_DIR."


def test_where_there_is_no_terminal_a_line_now_and_then_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress_bar(quiet=False) as progress:
        progress(1, 1_000_000, "Storing passages")
        monkeypatch.setattr(common, "PROGRESS_SECONDS", 0.0)
        progress(5000, 1_000_000, "Storing passages")
    printed = capsys.readouterr()
    assert printed.err == "Storing passages: 5,000 of 1,000,000\n"
    assert printed.out == ""


def test_a_tower_that_has_learned_nothing_cannot_be_frozen() -> None:
    result = run("train", "--freeze-tower")
    assert result.exit_code == 2
    assert "--resume" in result.output


def test_a_secret_of_identities_is_renewed_while_the_previous_one_stays_valid() -> None:
    def valid() -> tuple[str, ...]:
        with migrated() as database, database.read() as session:
            return valid_secrets(default(session), Settings())

    first, second = (run("inboxes", "secret").output.splitlines()[0] for _ in range(2))
    assert valid() == (second, first)
    assert run("inboxes", "secret", "--withdraw-previous").exit_code == 0
    assert valid() == (second,)
    assert "no inbox 'acne'" in run("inboxes", "secret", "acne").output


def test_the_server_takes_no_module_of_the_working_directory_for_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(server.os, "execv", lambda _program, command: started.append(command))
    monkeypatch.setattr(server.wiring, "preflight", lambda _settings: None)
    for name in ("HOST", "PORT", "COMPANY"):
        monkeypatch.setenv(f"{PREFIX}{name}", "")  # which it sets for what it becomes
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server.serve(Settings(data_dir=tmp_path / "var", port=port))
    [command] = started
    (tmp_path / "limits.py").write_text("raise SystemExit(3)")
    flags = command[: command.index("-m")]
    done = subprocess.run([*flags, "-c", "import limits"], cwd=tmp_path, check=False)
    assert done.returncode == 0
