"""`assistant eval retrieval`: what it reads, measures and prints."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from assistant.errors import Invalid
from assistant.lab.evaluation.misspelling import CONFUSED, questions
from assistant.lab.evaluation.retrieval import CODES, OTHERS, OURS, Report, evaluate_retrieval, judge
from assistant.lab.evaluation.retrieval_set import naming, read_set
from tests.fakes import HashEmbeddings, fake_capabilities

THINGS = ("kettle", "toaster", "mixer", "grinder", "oven", "fridge", "freezer", "blender")


def _write(file: Path, rows: list[dict[str, object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kitchen")
    articles = [
        {"id": f"{thing}/{what}", "title": f"{what.title()} the {thing}", "text": f"How {what} is done: {thing} {n}."}
        for n, thing in enumerate(THINGS)
        for what in ("cleaning", "repairing")
    ]
    _write(folder / "corpus.jsonl", articles)
    asked = [{"question": f"how do I clean the {thing}?", "gold": [f"{thing}/cleaning"]} for thing in THINGS]
    _write(folder / "queries.en.jsonl", asked)
    _write(folder / "queries.de.jsonl", [{"question": "Wie putze ich den Toaster?", "gold": ["toaster/cleaning"]}])
    _write(folder / "unlabelled.jsonl", [{"question": "Is it loud?", "answer": "No."}])
    return folder


@pytest.fixture(scope="module")
def report(labelled: Path) -> Report:
    return evaluate_retrieval([labelled], models=fake_capabilities(embeddings=HashEmbeddings(128)))


def test_ours_is_measured_beside_the_usual_methods_on_the_same_questions(report: Report) -> None:
    (kitchen,) = report.sets
    assert (kitchen.articles, [asked.name for asked in kitchen.asked]) == (16, ["queries.de", "queries.en"])
    english = kitchen.asked[1]
    assert [score.method for score in english.scores] == [OURS, *OTHERS]
    ours = english.scores[0]
    assert ours.ndcg_10.low <= ours.ndcg_10.value <= ours.ndcg_10.high
    assert ours.recall_5.value == 1.0
    assert 0 < ours.p50_ms <= ours.p95_ms
    assert kitchen.embedding_ms > 0
    assert report.means()[OURS]["ndcg_10"] == pytest.approx(
        sum(asked.scores[0].ndcg_10.value for asked in kitchen.asked) / 2
    )


def test_every_question_may_name_the_product_that_every_article_is_about(labelled: Path, report: Report) -> None:
    models = fake_capabilities(embeddings=HashEmbeddings(128))
    named = evaluate_retrieval([labelled], models=models, product="Nordwind X10")
    ours = {asked.name: asked.scores[0].ndcg_10.value for asked in named.sets[0].asked}
    assert ours["queries.en"] == 1.0
    assert ours.keys() == {asked.name for asked in report.sets[0].asked}


def test_names_are_put_into_a_question_in_five_wordings() -> None:
    made = {naming("Is it loud?", "Nordwind X10", number) for number in range(20)}
    assert len(made) == 5
    assert all("Is it loud?" in question and "x10" in question.lower() for question in made)


def test_tables_json_and_chart_say_the_same(report: Report, tmp_path: Path) -> None:
    ours = report.sets[0].asked[1].scores[0]
    assert f"{ours.ndcg_10.value:.3f} [" in report.render()
    written = json.loads(json.dumps(report.to_json()))
    assert written["sets"][0]["asked"][1]["scores"][0]["ndcg_10"]["value"] == ours.ndcg_10.value
    assert written["means"][OURS] == report.means()[OURS]
    report.plot(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_measures_are_those_of_the_books() -> None:
    recall, mrr, ndcg, first = judge(["a", "b", "c", "d", "e", "f"], frozenset({"b", "f", "z"}))
    assert recall == pytest.approx(1 / 3)
    assert mrr == pytest.approx(1 / 2)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg == pytest.approx((1 / math.log2(3) + 1 / math.log2(7)) / ideal)
    assert first == 0.0
    assert judge(["z"], frozenset({"z"})) == (1.0, 1.0, 1.0, 1.0)
    assert judge([], frozenset({"z"})) == (0.0, 0.0, 0.0, 0.0)


def test_a_list_of_codes_asks_by_itself(tmp_path: Path) -> None:
    _write(tmp_path / "codes.jsonl", [{"code": f"XX{n}", "text": f"Problem number {n % 7}."} for n in range(201, 231)])
    report = evaluate_retrieval([tmp_path], models=fake_capabilities(embeddings=HashEmbeddings(64)))
    (asked,) = report.sets[0].asked
    assert (asked.name, asked.questions) == (CODES, 180)
    assert asked.scores[0].top_1 >= 0.95
    assert asked.best_other.top_1 < 0.5


def test_spellings_are_many_and_the_same_every_time() -> None:
    codes = ["XX206", "E21", "WX-300B", "04103"]
    made = list(questions(codes, each=50))
    assert made == list(questions(codes, each=50))
    assert made != list(questions(codes, each=50, seed=1))
    assert Counter(code for code, _ in made) == dict.fromkeys(codes, 50)
    said = [text for code, text in made if code == "E21"]
    assert len(set(said)) > 25
    assert any("e 21" in text for text in said)
    assert any("EZ1" in text or "E2I" in text or "E2l" in text for text in said)
    assert not any("XX" in text for _, text in made)
    assert all(character not in CONFUSED[character] for character in CONFUSED)


def test_pages_are_articles_by_their_path_and_notes_about_the_folder_are_none(tmp_path: Path) -> None:
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual" / "kettle.md").write_text("# Kettle\n\nBoil water.", encoding="utf-8")
    (tmp_path / "README.md").write_text("# About\n\nBoil water.", encoding="utf-8")
    _write(tmp_path / "labels.jsonl", [{"alt": "a kettle that boils", "gold_pages": ["manual/kettle"]}])
    report = evaluate_retrieval([tmp_path], models=fake_capabilities(embeddings=HashEmbeddings(64)))
    assert report.sets[0].articles == 1
    assert report.sets[0].asked[0].scores[0].top_1 == 1.0


@pytest.mark.parametrize(
    ("file", "rows", "says"),
    [
        ("corpus.jsonl", [{"id": "a", "text": "b"}], "holds no labelled questions"),
        ("queries.jsonl", [{"question": "a", "gold": ["b"]}], "holds no articles"),
    ],
)
def test_half_a_set_is_refused(tmp_path: Path, file: str, rows: list[dict[str, object]], says: str) -> None:
    _write(tmp_path / file, rows)
    with pytest.raises(Invalid, match=says):
        read_set(tmp_path)


def test_a_broken_line_is_named(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"id": 1, "text": "x"}\n{', encoding="utf-8")
    with pytest.raises(Invalid, match=r"corpus\.jsonl, line 2"):
        read_set(tmp_path)
