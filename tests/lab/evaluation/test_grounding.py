"""`assistant eval grounding`: which claims are said, and the bounds that they must keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.errors import Invalid
from assistant.lab.evaluation.grounding import ELSEWHERE, JOINED, REWORDED, WRITTEN, evaluate_grounding


def write(file: Path, *rows: dict[str, object]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def test_most_of_what_articles_say_is_said_and_little_of_what_is_put_together() -> None:
    report = evaluate_grounding([])
    assert report.share("sample", REWORDED) >= 0.88
    assert report.share("sample", JOINED) <= 0.36


def test_sentences_of_answers_are_held_against_their_article_and_another(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    valve, flap = "Turn the valve to the left until it clicks.", "Close the flap before you start the machine."
    write(folder / "articles.jsonl", {"id": "a", "text": valve}, {"id": "b", "text": flap})
    write(folder / "asked.jsonl", {"question": "How do I turn it?", "gold": ["a"], "answer": valve})
    report = evaluate_grounding([folder])
    assert (report.share("set", WRITTEN), report.share("set", ELSEWHERE)) == (1.0, 0.0)
    assert "written from it" in report.render()
    write(folder / "asked.jsonl", {"question": "How do I turn it?", "gold": ["a"]})
    with pytest.raises(Invalid, match="no questions with a reference answer"):
        evaluate_grounding([folder])
