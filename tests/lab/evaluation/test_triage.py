"""`assistant eval triage`: what it reads, measures and prints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from assistant.errors import Invalid
from assistant.lab.evaluation.triage import OUTSIDE, Report, calibration_error, evaluate_triage, read_tickets
from assistant.lab.statistics import error_by_chance
from assistant.ports import Embedder
from tests.fakes import HashEmbeddings
from tests.skills.test_triage_head import tickets


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("desk")
    texts, labels = tickets(30, seed=1)
    rows = [{"subject": "Help", "text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    rows += [{"text": f"sing about {word} sailors", "label": OUTSIDE} for word in ("seven", "sleepy", "silly")]
    (folder / "tickets.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return evaluate_triage(folder, embedder=Embedder(HashEmbeddings(64), "hash-64"), per_class=5)


def test_ours_is_measured_beside_the_usual_classifiers_on_the_same_tickets(report: Report) -> None:
    assert {score.measured_on for score in report.scores} == {90}
    few = [(score.method, score.examples, score.learned_from) for score in report.scores[:2]]
    assert few == [("triage", "10 in all", 10), ("triage", "50 in all", 50)]
    for examples, learned_from in (("5 per label", 15), ("all", 72)):
        ours, *others = [score for score in report.scores if score.examples == examples]
        assert (ours.method, len(others), ours.learned_from) == ("triage", 3, learned_from)
        assert 0.5 < ours.accuracy <= 1
        assert ours.brier is not None
        assert ours.outside_auroc is not None


def test_table_json_and_diagram_say_the_same(report: Report, tmp_path: Path) -> None:
    ours = report.scores[-4]
    assert f"{ours.accuracy:.3f}" in report.render()
    assert json.loads(json.dumps(report.to_json()))["scores"][-4]["accuracy"] == ours.accuracy
    report.plot(tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")


def test_calibration_error_is_how_far_words_and_deeds_are_apart() -> None:
    sure = np.tile([0.8, 0.2], (10, 1))
    assert calibration_error(sure, np.array([0] * 8 + [1] * 2)) == pytest.approx(0.0)
    assert calibration_error(sure, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3)


def test_even_probabilities_that_hold_err_by_chance_on_few_tickets() -> None:
    few, many = (error_by_chance(np.full(count, 0.7), bins=15) for count in (10, 1000))
    assert few == pytest.approx(0.8 * (0.7 * 0.3 / 10) ** 0.5, abs=0.02)  # a mean deviation is 0.8 standard ones
    assert many < few / 5
    assert error_by_chance(np.ones(5), bins=15) == 0.0
    repeated = error_by_chance(np.full(1000, 0.7), bins=15, tickets=np.arange(1000) % 10)
    assert repeated == pytest.approx(few, abs=0.02)


@pytest.mark.parametrize("line", ["{", "[]", '{"text": "x"}', '"text"'])
def test_a_line_that_is_no_ticket_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "tickets.jsonl"
    file.write_text('{"text": "a", "label": "b"}\n' + line, encoding="utf-8")
    with pytest.raises(Invalid, match=r"tickets\.jsonl, line 2"):
        read_tickets(file, "label")


def test_a_folder_without_tickets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="holds no tickets"):
        read_tickets(tmp_path, "label")
