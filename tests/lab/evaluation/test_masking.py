"""What `assistant eval masking` counts: names found whole or in part, and messages in which something is masked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from assistant.cli import main
from assistant.errors import Invalid
from assistant.lab.evaluation.masking import evaluate_masking


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_recall_precision_and_false_alarms_are_told_apart(tmp_path: Path) -> None:
    name = {"type": "PERSON", "start": 11, "end": 22}
    known = write(
        tmp_path / "known.jsonl", {"text": "My name is Rosa Miller.", "spans": [name]}, {"text": "E21", "spans": []}
    )
    talk = write(
        tmp_path / "talk.jsonl", {"text": "It leaks", "lang": "en"}, {"text": "My name is Rosa.", "lang": "en"}
    )
    result = CliRunner().invoke(main, ["eval", "masking", str(known), str(talk), "--json"])
    assert result.exit_code == 0, result.output
    found, alarmed, english = json.loads(result.stdout)
    assert found["recall"]["name"] == {"whole": 1, "half": 1, "of": 1}
    assert found["precision"]["name"] == {"right": 1, "of": 1}
    assert alarmed["alarmed_rows"] == {"name": 1, "address": 0, "either": 1}
    assert (english["set"], english["rows"]) == ("en", 2)
    assert "0.500" in evaluate_masking([talk]).render(show=1)


def test_rows_that_name_somebody_by_a_first_name_are_counted_apart(tmp_path: Path) -> None:
    talk = write(tmp_path / "talk.jsonl", *({"text": f"My name is {one}."} for one in ("Rosa", "Rosa Lumo", "Lumo")))
    [counts] = evaluate_masking([talk], first_names=frozenset({"rosa"})).sets
    assert (counts.alarmed_rows, counts.nameless_rows) == (3, 1)
    [counts] = evaluate_masking([talk]).sets
    assert counts.nameless_rows is None


def test_rows_without_any_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no rows with any of these fields"):
        evaluate_masking([write(tmp_path / "empty.jsonl", {"label": "x"})])
