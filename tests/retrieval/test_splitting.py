"""Splitting: passages keep their heading path, and tables and steps stay whole."""

from __future__ import annotations

import re
from pathlib import Path

from assistant.retrieval.loaders import ArticleSource, Picture, Section, load
from assistant.retrieval.splitting import MOST, MOST_OF_STEPS, FigureText, cut, split

SENTENCE = "Turn the small wheel slowly until the arrow meets the second mark. "


def _article(folder: Path, markdown: str) -> ArticleSource:
    (folder / "a.md").write_text(markdown, encoding="utf-8")
    return load(folder).articles[0]


def _words(text: str) -> int:
    return len(re.findall(r"\w+", text))


def test_passages_carry_the_path_of_their_headings(tmp_path: Path) -> None:
    text = "# WashPro 8\n\nIntro.\n\n## Codes\n\n### F1\n\nNo water.\n\n## Care\n\nWipe it."
    headings = [passage.heading for passage in split(_article(tmp_path, text))]
    assert headings == ["WashPro 8", "WashPro 8 > Codes > F1", "WashPro 8 > Care"]


def test_the_heading_is_part_of_what_is_indexed(tmp_path: Path) -> None:
    passage = split(_article(tmp_path, "# WashPro 8\n\n## Error F1\n\nNo water."))[0]
    assert passage.indexed.startswith("WashPro 8 > Error F1")
    assert "F1" in passage.codes.split()


def test_a_long_text_is_cut_between_sentences_and_nothing_is_lost(tmp_path: Path) -> None:
    passages = split(_article(tmp_path, "# T\n\n" + SENTENCE * 60))
    assert len(passages) > 2
    assert all(_words(passage.text) <= MOST for passage in passages)
    assert all(passage.text.endswith("mark.") for passage in passages)
    assert sum(_words(passage.text) for passage in passages) == _words(SENTENCE * 60)


def test_numbered_steps_stay_whole(tmp_path: Path) -> None:
    steps = "\n".join(f"{number}. {SENTENCE}" for number in range(1, 16))
    passages = split(_article(tmp_path, f"# T\n\n{SENTENCE * 8}\n\n{steps}"))
    assert any(all(f"{number}. Turn" in passage.text for number in range(1, 16)) for passage in passages)


def test_what_announces_a_list_stays_with_it(tmp_path: Path) -> None:
    steps = "\n".join(f"{number}. {SENTENCE}" for number in range(1, 18))
    passages = split(_article(tmp_path, f"# T\n\n{SENTENCE * 8}\n\nDo this in order:\n\n{steps}"))
    announced = next(passage for passage in passages if "Do this in order:" in passage.text)
    assert "1. Turn" in announced.text


def test_the_sentence_before_a_table_stays_with_it(tmp_path: Path) -> None:
    table = "| Food | Minutes |\n|---|---|\n" + "\n".join(f"| Bread {n} | {n} |" for n in range(60))
    passages = split(_article(tmp_path, f"# T\n\n{SENTENCE * 12}\n\nThese are times for the oven mode.\n\n{table}"))
    announced = next(passage for passage in passages if "These are times" in passage.text)
    assert "| Bread 0 | 0 |" in announced.text


def test_a_table_that_is_too_long_is_cut_between_rows_under_its_head(tmp_path: Path) -> None:
    rows = "\n".join(f"| F{number} | {SENTENCE} |" for number in range(10, 60))
    passages = split(_article(tmp_path, f"# T\n\n| Code | Meaning |\n|---|---|\n{rows}"))
    assert len(passages) > 2
    assert all(passage.text.startswith("| Code | Meaning |\n|---|---|\n") for passage in passages)
    assert [number for number in range(10, 60) if sum(f"| F{number} |" in one.text for one in passages) != 1] == []


def test_a_wall_of_text_without_blanks_is_cut_too(tmp_path: Path) -> None:
    passages = split(_article(tmp_path, "# T\n\n" + "水漏れです。" * 2000))
    assert len(passages) > 3
    assert max(len(passage.text) for passage in passages) < 4000


def test_the_same_text_under_another_heading_has_another_hash(tmp_path: Path) -> None:
    first, second = split(_article(tmp_path, "# T\n\n## A\n\nSame.\n\n## B\n\nSame."))
    assert first.content_hash != second.content_hash


def test_a_long_procedure_is_one_passage(tmp_path: Path) -> None:
    steps = "\n".join(f"{number}. {SENTENCE}" for number in range(1, 29))
    assert MOST < _words(steps) <= MOST_OF_STEPS
    passages = split(_article(tmp_path, f"# T\n\n{SENTENCE * 4}\n\nDo this in order:\n\n{steps}\n\n{SENTENCE * 4}"))
    whole = next(passage for passage in passages if "1. Turn" in passage.text)
    assert "28. Turn" in whole.text
    assert "Do this in order:\n\n1. Turn" in whole.text


def test_a_procedure_that_is_too_long_is_cut_between_its_steps(tmp_path: Path) -> None:
    steps = "\n".join(f"{number}. {SENTENCE.strip()}\n   {SENTENCE.strip()}" for number in range(1, 41))
    passages = split(_article(tmp_path, f"# T\n\n{steps}"))
    assert len(passages) > 2
    for passage in passages:
        assert re.match(r"\d+\. Turn", passage.text)
        assert passage.text.count(SENTENCE.strip()) == 2 * len(re.findall(r"^\d+\.", passage.text, re.M))


def test_product_and_place_are_part_of_the_heading_where_the_title_does_not_say_them() -> None:
    section = Section(("E21",), ("Fill the tank.",))
    article = ArticleSource("k", "Error codes", (section,), product="brewmaster-300", trail=("Coffee",))
    assert split(article)[0].heading == "brewmaster 300 > Coffee > Error codes > E21"
    named = ArticleSource("k", "BrewMaster 300: errors", (section,), product="brewmaster-300")
    assert split(named)[0].heading == "BrewMaster 300: errors > E21"


def _figure(picture: Picture, blocks: tuple[str, ...] = ("One.", "Two.")) -> FigureText:
    return cut(ArticleSource("k", "T", (Section(("S",), blocks, (picture,)),))).figures[0]


def test_a_figure_is_found_by_caption_description_surroundings_and_what_is_read_in_it() -> None:
    figure = _figure(Picture("d", 1, alt="A valve", caption="Fig. 2", nearby="Turn it left."))
    [passage] = figure.passages("OPEN\nCLOSED")
    assert passage.heading == "T > S"
    assert passage.text == "Fig. 2\n\nA valve\n\nTurn it left.\n\nThe picture shows: OPEN · CLOSED"


def test_a_figure_of_which_nothing_is_known_is_no_passage() -> None:
    assert _figure(Picture("d", 1, nearby="Turn it left.")).passages("") == []


def test_a_figure_stands_beside_the_passage_with_the_text_before_it() -> None:
    blocks = tuple(SENTENCE * 12 for _ in range(3))
    assert [_figure(Picture("d", after), blocks).beside for after in (0, 1, 2, 3)] == [0, 0, 1, 2]


def test_the_text_of_a_page_that_is_a_picture_is_cut_like_any_text() -> None:
    passages = _figure(Picture("d", 0, is_page=True)).passages("\n\n".join([SENTENCE * 10] * 4))
    assert len(passages) == 4 or len(passages) == 2
    assert "The picture shows" not in passages[0].text
