"""Markdown: HTML in it is read as on a page, links keep their addresses, front matter publishes nothing by accident."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.retrieval.loaders import ArticleSource, load
from assistant.retrieval.splitting import split


def _article(folder: Path, text: str) -> ArticleSource:
    (folder / "a.md").write_text(text, encoding="utf-8")
    loaded = load(folder / "a.md")
    assert loaded.failed == []
    return loaded.articles[0]


READ = {
    "a table": (
        "<table><tr><th>M<th>C<tr><td rowspan=2>K5<td>U-1<tr><td>U-2</table>\n\nAfter.",
        ["K: | M | C |\n|---|---|\n| K5 | U-1 |\n| K5 | U-2 |\n\nAfter."],
    ),
    "a folded part with Markdown in it": (
        "<details>\n<summary>Why <b>U-21</b>?</summary>\n\nBecause *open*.\n\n</details>\n\nAfter.",
        ["K > Why U-21?: Because *open*.", "K: After."],
    ),
    "folded parts": (
        "<details><summary>Q1?</summary><p>A1.</p></details>\n<details><summary>Q2?</summary>A2.</details>",
        ["K > Q1?: A1.", "K > Q2?: A2."],
    ),
    "line breaks and marks": ("One<br>two, 5 m<sup>2</sup> of <b>H<sub>2</sub>O</b>.", ["K: One\ntwo, 5 m² of H2O."]),
    "line breaks in a table": ("| A |\n|---|\n| one<br>two |", ["K: | A |\n|---|\n| one two |"]),
    "comments": ("Text <!-- secret --> more.\n\n<!-- secret -->\n\nEnd.", ["K: Text  more.\n\nEnd."]),
    "code": ("```\n<!-- <br> -->\n```\n\nUse `<br>`.", ["K: ```\n<!-- <br> -->\n```\n\nUse `<br>`."]),
    "what looks like a tag": ("Type <your name>.", ["K: Type <your name>."]),
    "references": (
        "See [the guide][g] or [v].\n\n[g]: https://a.example/g\n[v]: https://a.example/v",
        ["K: See [the guide](https://a.example/g) or [v](https://a.example/v)."],
    ),
    "what is struck out": ("It costs ~~10~~ 12, <del>old</del>new.", ["K: It costs  12, new."]),
    "a picture that is elsewhere": (
        "<img src='https://a.example/x.png' alt='The lid'>\n\nText.",
        ["K: The lid\n\nText."],
    ),
}


@pytest.mark.parametrize(("text", "passages"), READ.values(), ids=READ)
def test_html_in_markdown_is_read(tmp_path: Path, text: str, passages: list[str]) -> None:
    article = _article(tmp_path, f"# K\n\n{text}")
    assert [f"{passage.heading}: {passage.text}" for passage in split(article)] == passages
    assert article.coverage is not None
    assert not article.coverage.is_low


@pytest.mark.parametrize(
    "front",
    [
        '---\ntitle: >\n  Grill\n  G9\nvisibility: "internal" # staff only\n---\n',
        "---\ntitle: Grill G9\nvisibility: internal # staff only\n...\n",
        '+++\ntitle = "Grill G9"\nvisibility = "internal"\n+++\n',
        "---\n# about\ntitle: 'Grill G9'\nvisibility:\n  internal\n---\n",
    ],
)
def test_front_matter_is_understood_in_its_usual_forms(tmp_path: Path, front: str) -> None:
    article = _article(tmp_path, f"{front}\nThe code is G-902.")
    assert (article.title, article.visibility) == ("Grill G9", "internal")
    assert article.sections[0].blocks == ("The code is G-902.",)


def test_front_matter_without_an_end_publishes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\ntitle: Grill\nvisibility: internal\n\nThe code is G-902.")
    assert load(tmp_path).failed == [("a.md", "begins with front matter that has no end. Close it with a line ---")]


def test_text_between_two_lines_is_no_front_matter(tmp_path: Path) -> None:
    assert _article(tmp_path, "---\n\nOne.\n\n---\n\nTwo.").sections[0].blocks == ("---", "One.", "---", "Two.")


def test_a_comment_that_never_ends_is_named(tmp_path: Path) -> None:
    coverage = _article(tmp_path, "# K\n\nText.\n\n<!-- note\n\nAll the rest.").coverage
    assert coverage is not None
    assert "comment without an end" in coverage.left_out
