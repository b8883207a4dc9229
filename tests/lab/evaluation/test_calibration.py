"""`assistant eval calibration`: every field of what sets there are, before and after decisions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from assistant.errors import Invalid
from assistant.lab.evaluation.calibration import measure
from tests.fakes import fake_capabilities
from tests.skills.test_triage_head import TOPICS


def write_set(folder: Path, name: str, rows: list[dict[str, str]]) -> None:
    (folder / name).mkdir()
    (folder / name / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def test_every_field_is_measured_on_the_sets_that_there_are(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [
        {"text": " ".join(random.choice(words, 5, replace=False)), "label": label}
        for label, words in TOPICS.items()
        for _ in range(60)
    ]
    write_set(tmp_path, "bitext_customer", [*rows, {"text": "once", "label": "rare"}])
    urgent = [
        {"title": "", "text": text, "type": kind, "urgency": urgency}
        for text, kind, urgency in (("all is down", "incident", "1"), ("new account please", "request", "3"))
        for _ in range(40)
    ]
    write_set(tmp_path, "it_urgency", [*urgent, {"title": "", "text": "x", "type": "other", "urgency": "9"}])

    report = measure(tmp_path, fake_capabilities(), decisions=(0, 30), held_back=40)

    measured = {(one.field, one.of, one.decisions): one for one in report.scores}
    assert set(measured) == {
        (field, of, count)
        for field, of in (("category", "bitext_customer"), ("type", "it_urgency"), ("priority", "it_urgency"))
        for count in (0, 30)
    }
    for one in report.scores:
        assert 0 <= one.calibration_error <= 1
        assert sum(count for *_, count in one.reliability) == one.tickets <= 40
    assert measured["type", "it_urgency", 30].accuracy > 0.9
    assert "airline_tweets" in report.missing
    assert "category" in report.render()
    report.plot(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_any_of_the_sets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="none of the sets"):
        measure(tmp_path, fake_capabilities())
