"""Tables of questions and exports of help centres."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assistant.retrieval.loaders import Loaded, load


def _load(tmp_path: Path, name: str, text: str | bytes) -> Loaded:
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return load(tmp_path / name)


def _text(loaded: Loaded) -> list[str]:
    return ["\n".join(block for section in article.sections for block in section.blocks) for article in loaded.articles]


def test_a_table_of_questions_gives_an_article_a_row(tmp_path: Path) -> None:
    rows = ('7,"How long, and for whom?","Two years.\n\nFor everyone.",kettle', "8,Where?,Here.,")
    table = "\n".join(["ID,Question,Answer,Product", *rows])
    loaded = _load(tmp_path, "faq.csv", table)
    first, second = loaded.articles
    assert (first.key, first.title, first.product) == ("faq.csv#7", "How long, and for whom?", "kettle")
    assert _text(loaded) == ["Two years.\nFor everyone.", "Here."]
    assert second.product is None


def test_other_delimiters_names_and_encodings_are_understood(tmp_path: Path) -> None:
    loaded = _load(tmp_path, "faq.csv", "Frage;Antwort\nWo steht die Größe?;Auf dem Schild.\n".encode("cp1252"))
    assert (loaded.articles[0].title, _text(loaded)) == ("Wo steht die Größe?", ["Auf dem Schild."])


def test_of_several_columns_that_mean_the_same_the_first_counts_and_none_is_lost(tmp_path: Path) -> None:
    loaded = _load(
        tmp_path, "products.csv", "name,title,description,content\nTent,Big,Keeps dry,Other\n,Chair,,Folds\n"
    )
    assert [article.title for article in loaded.articles] == ["Tent", "Chair"]
    assert _text(loaded) == ["Keeps dry\n- title (2): Big\n- content: Other", "Folds"]


def test_rows_that_do_not_fit_are_reported(tmp_path: Path) -> None:
    loaded = _load(tmp_path, "b.csv", "question,answer\nQ1,A1\nQ2,A2,more\nQ3,\nQ4,A4,,\n")
    assert [article.title for article in loaded.articles] == ["Q1", "Q4"]
    assert loaded.failed == [("b.csv:3", "has 3 cells where the first row names 2"), ("b.csv:4", "has no text")]
    assert len(_load(tmp_path, "c.csv", "question,answer\nQ1,A1\nQ2," + "x" * 1_100_000).failed) == 1


FAQS = {
    "the delimiter that its first line names": "sep=;\r\nquestion;answer\r\nIs it, well, warm?;Yes, very.\r\n",
    "a tab, in UTF-16": "question\tanswer\nIs it, well, warm?\tYes, very.\n".encode("utf-16"),
    "bars": "question|answer\nIs it, well, warm?|Yes, very.\n",
    "commas in the texts": "Frage;Antwort\nIs it, well, warm?;Yes, very.\n",
    "another order": "Antwort;Frage\nYes, very.;Is it, well, warm?\n",
    "names that nobody knows": "Zarf;Kupun\nYes, very.;Is it, well, warm?\n",
    "no names": '"Is it, well, warm?","Yes, very."\n',
    "names of one letter": 'a,b\n"Is it, well, warm?","Yes, very."\n',
    "empty cells at the end": 'question,answer\n"Is it, well, warm?","Yes, very.",,\n',
    "a byte order mark": '\ufeffquestion,answer\r\n"Is it, well, warm?","Yes, very."\r\n',
}


@pytest.mark.parametrize("table", FAQS.values(), ids=FAQS)
def test_questions_and_answers_are_found_in_any_table(tmp_path: Path, table: str | bytes) -> None:
    loaded = _load(tmp_path, "faq.csv", table)
    assert loaded.failed == []
    assert [article.title for article in loaded.articles] == ["Is it, well, warm?"]
    assert _text(loaded) == ["Yes, very."]


def test_other_columns_and_the_line_above_the_table_are_kept(tmp_path: Path) -> None:
    table = 'Questions of 2026;;\n;;\nquestion;answer;Team\nWarm?;Yes.;Sales\n="007";="0042";\n'
    first, second = _load(tmp_path, "faq.csv", table).articles
    assert (first.trail, first.title) == (("Questions of 2026",), "Warm?")
    assert [section.blocks for section in first.sections] == [("Yes.",), ("- Team: Sales",)]
    assert (second.title, second.sections[0].blocks) == ("007", ("0042",))


def test_any_other_table_is_an_article_itself(tmp_path: Path) -> None:
    [article] = _load(tmp_path, "power.csv", "Model;Power;Price\nK5;1,5 kW;39,90\nK6;2,0 kW;\n").articles
    assert article.title == "power"
    assert _text(Loaded([article])) == [
        "| Model | Power | Price |\n|---|---|---|\n| K5 | 1,5 kW | 39,90 |\n| K6 | 2,0 kW |  |"
    ]
    long = _load(tmp_path, "long.csv", "Model,Power\n" + "".join(f"K{n},{n} W\n" for n in range(450)))
    assert [article.key for article in long.articles] == ["long.csv", "long.csv#2", "long.csv#3"]
    assert sum(text.count(" W |") for text in _text(long)) == 450


def test_what_a_row_of_json_says_beyond_its_text_is_named(tmp_path: Path) -> None:
    loaded = _load(tmp_path, "a.jsonl", json.dumps({"text": "Wipe it.", "author": "Rosa", "tags": ["a1", "b2"]}))
    coverage = loaded.articles[0].coverage
    assert coverage is not None
    assert (coverage.found, coverage.kept, coverage.share) == (14, 6, 1)
    assert coverage.left_out == {"field author": 4, "field tags": 4}


def _article(number: int, **fields: Any) -> dict[str, Any]:
    base = {"id": number, "title": f"Article {number}", "body": f"<p>Text {number}.</p>", "locale": "en-us"}
    return {**base, "html_url": f"https://help.example.org/{number}", "section_id": 20, "draft": False, **fields}


EXPORT = {
    "articles": [
        _article(1),
        _article(2, draft=True),
        _article(3, user_segment_id=99, body="<h2>For resellers</h2><p>Text.</p>"),
        _article(4, body=""),
        {"title": "no id", "body": "<p>x</p>"},
        "nonsense",
    ],
    "sections": [{"id": 20, "name": "Errors", "parent_section_id": 10}, {"id": 10, "name": "Coffee", "category_id": 5}],
    "categories": [{"id": 5, "name": "Machines"}],
}


def test_a_help_centres_export_gives_its_published_articles(tmp_path: Path) -> None:
    loaded = _load(tmp_path, "export.json", json.dumps(EXPORT))
    first, third = loaded.articles
    assert (first.key, first.title, first.url) == ("export.json#1", "Article 1", "https://help.example.org/1")
    assert (first.trail, first.language, first.visibility) == (("Machines", "Coffee", "Errors"), "en", "public")
    assert (third.visibility, third.sections[0].headings) == ("internal", ("For resellers",))
    assert loaded.failed == [
        ("export.json#4", "has no text"),
        ("export.json", "contains an article without an id"),
        ("export.json", "contains an article without an id"),
    ]


def test_an_export_in_several_files_is_put_together(tmp_path: Path) -> None:
    for name in ("articles", "sections", "categories"):
        (tmp_path / f"{name}.json").write_text(json.dumps({name: EXPORT[name], "count": 3}))
    loaded = load(tmp_path)
    assert [article.trail for article in loaded.articles] == [("Machines", "Coffee", "Errors")] * 2


def test_sections_that_stand_in_each_other_do_not_go_round_for_ever(tmp_path: Path) -> None:
    loop = [{"id": 20, "name": "A", "parent_section_id": 21}, {"id": 21, "name": "B", "parent_section_id": 20}]
    loaded = _load(tmp_path, "e.json", json.dumps({"articles": [_article(1)], "sections": loop}))
    assert len(loaded.articles[0].trail) <= 8


def test_other_json_is_no_export(tmp_path: Path) -> None:
    for text in ('{"customers": []}', "[1, 2]", '"text"', "{broken"):
        assert _load(tmp_path, "x.json", text).articles == []
    assert "no list of articles" in _load(tmp_path, "x.json", '{"customers": []}').failed[0][1]


def test_a_list_of_articles_alone_is_taken_too(tmp_path: Path) -> None:
    assert len(_load(tmp_path, "a.json", json.dumps([_article(1), _article(2)])).articles) == 2
