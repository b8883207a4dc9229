"""`assistant eval answers`: what it asks, counts and prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.lab.evaluation.answers import FOREIGN, HIDDEN, PRESENT, Asked, Report, SetReport, evaluate_answers
from assistant.lab.evaluation.confidence import fit
from assistant.lab.evaluation.retrieval_set import sample_set
from assistant.sample import articles_dir
from assistant.skills.answerability import Signals
from tests.fakes import HashEmbeddings, fake_capabilities

THINGS = ("kettle", "toaster", "mixer", "grinder")


def _write(file: Path, rows: list[dict[str, object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    kitchen, garden = (tmp_path_factory.mktemp(name) for name in ("kitchen", "garden"))
    _write(
        kitchen / "corpus.jsonl",
        [
            {"id": thing, "title": f"Cleaning the {thing}", "text": f"Wipe the {thing} with vinegar."}
            for thing in THINGS
        ],
    )
    asked = [
        {"question": f"What do I wipe the {thing} with?", "gold": thing, "answer": "Vinegar cleans it."}
        for thing in THINGS
    ]
    _write(kitchen / "queries.jsonl", asked)
    _write(garden / "corpus.jsonl", [{"id": "rose", "title": "Pruning a rose", "text": "Cut the rose in March."}])
    _write(
        garden / "queries.jsonl", [{"question": "When is a rose cut?", "gold": ["rose"], "answer": "In May, never."}]
    )
    models = fake_capabilities(embeddings=HashEmbeddings(128))
    return evaluate_answers([kitchen, garden], models=models, threshold=0.4, count=3)


def test_questions_are_asked_with_and_without_their_article_and_of_another_domain(report: Report) -> None:
    kitchen, garden = report.sets
    assert [(way, kitchen.score(way).questions) for way in kitchen.ways] == [(PRESENT, 3), (HIDDEN, 3), (FOREIGN, 1)]
    for asked in kitchen.asked:
        thing = next(thing for thing in (*THINGS, "rose") if thing in asked.question)
        assert (thing in asked.cited) == (asked.way == PRESENT)
    assert all(one.right == (one.way == PRESENT) for one in kitchen.asked)
    assert not garden.asked[0].right  # the right article, and nothing of the reference answer


def test_an_answer_counts_from_the_threshold_on() -> None:
    asked = [
        Asked(PRESENT, "a?", "A.", ("a",), 0.9, right=True, cpu=0.01),
        Asked(PRESENT, "b?", "B.", ("c",), 0.6, right=False, cpu=0.01),
        Asked(PRESENT, "c?", "", (), 0.7, right=False, cpu=0.01),
        Asked(PRESENT, "d?", "D.", ("d",), 0.3, right=True, cpu=0.01),
    ]
    report = Report(0, (SetReport("set", 0.5, tuple(asked)),))
    score = report.sets[0].score(PRESENT)
    assert (score.questions, score.answered, score.accepted) == (4, 0.5, 0.5)
    assert report.bands == [(0.3, 1.0, 1), (0.6, 0.0, 1), (0.7, 0.0, 1), (0.9, 1.0, 1)]
    assert "ECE 0.525" in report.render()
    assert "not said at 0.30, right: D." in report.examples(4)


def test_weights_are_fitted_on_all_sets_and_measured_on_the_one_left_out() -> None:
    def asked(way: str, told: float, *, right: bool) -> Asked:
        return Asked(way, "a?", "A.", ("a",), 0.5, right=right, cpu=0.01, signals=Signals(told, told, 0.0))

    right = [asked(PRESENT, 0.8 + 0.01 * n, right=True) for n in range(10)]
    wrong = [asked(HIDDEN, 0.01 * n, right=False) for n in range(10)]
    unsure = [Asked(PRESENT, "b?", "", (), 0.0, right=False, cpu=0.01)]
    fitted = fit([SetReport(name, 0.5, (*right, *wrong, *unsure)) for name in ("one", "other")], threshold=0.5)
    assert fitted.weights[0] > 0 > fitted.nothing
    for held in fitted.held_out:
        assert (held.answers, held.area, held.right, held.kept, held.unfounded) == (20, 1.0, 1.0, 1.0, 0.0)
    assert "Weights on all sets: nothing -" in fitted.render()


def test_the_samples_questions_name_articles_that_exist() -> None:
    sample = sample_set()
    (questions,) = sample.questions.values()
    assert len(questions) > 100
    assert set().union(*(one.gold for one in questions)) <= {file.stem for file in articles_dir().glob("*.md")}
