"""`assistant eval learning`: what is simulated, and that learning takes nothing away."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from assistant.engine.models.embeddings import SentenceEmbeddings
from assistant.errors import Invalid
from assistant.lab.evaluation.learning import Report, simulate, simulate_sample
from tests.fakes import fake_capabilities
from tests.skills.test_triage_head import TOPICS

WORDS = {**TOPICS, "account": "password login profile email locked reset username sign".split()}


def write_tickets(file: Path, per_label: int) -> Path:
    random = np.random.default_rng(0)
    rows = [
        {"text": " ".join(random.choice(words, 5, replace=False)), "label": label}
        for label, words in WORDS.items()
        for _ in range(per_label)
    ]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    file = write_tickets(tmp_path_factory.mktemp("desk") / "tickets.jsonl", 60)
    return simulate(file, fake_capabilities(), seeds=1, counts=(0, 10, 30, 100))


def test_half_of_the_categories_are_decided_and_all_are_measured(report: Report) -> None:
    assert report.everyday == ("account", "delivery")
    assert set(report.held_back) == set(WORDS)
    assert [(score.method, score.decisions) for score in report.scores[:3]] == [
        ("zero-shot", 0),
        ("triage", 10),
        ("pure head", 10),
    ]
    for score in report.scores:
        assert set(score.recall) == set(WORDS)


def test_a_head_alone_forgets_what_it_has_not_seen_and_triage_does_not(report: Report) -> None:
    before, *_, triage, pure = report.scores
    others = ["billing", "hardware"]
    assert pure.mean(others) == 0
    assert triage.mean(others) > before.mean(others) - 0.1
    assert triage.mean(report.everyday) >= before.mean(report.everyday)


def test_table_and_json_say_the_same(report: Report) -> None:
    worst = report.scores[-1]
    assert f"{worst.calibration_error:.3f}" in report.render()
    assert json.loads(json.dumps(report.to_json()))["scores"][-1]["recall"] == worst.recall


def test_too_few_tickets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="at least 4 labels"):
        simulate(write_tickets(tmp_path / "tickets.jsonl", 10), fake_capabilities())


@pytest.mark.slow
def test_everyday_decisions_take_no_category_of_the_sample_away() -> None:
    real = SentenceEmbeddings("auto", device="cpu")
    capabilities = fake_capabilities(embeddings=real, embedding_model=real.name)
    before, triage, _pure = simulate_sample(capabilities, seeds=1, counts=(0, 30)).scores
    for category, recall in before.recall.items():
        assert triage.recall[category] > recall - 0.15
    assert triage.recall["safety"] >= before.recall["safety"]
    assert max(before.calibration_error, triage.calibration_error) < 0.1
