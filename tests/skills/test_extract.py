"""Extractive answers: what is cut out of a passage, and what is quoted of it."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document

from assistant.skills.extract import extract, units
from tests.fakes import HashEmbeddings

QUESTIONS = """\
1) Can the tent stand in snow?
It is made for three seasons and not for snow.
2) How is the tent cleaned?
Clean it with a sponge and cold water. Never use a machine.
3) Is there a warranty?
Yes, of two years.
"""
STEPS = """\
Cleaning the filter:

1. Switch the machine off.
2. Is the lamp red? Wait until it is off.
3. Rinse the filter.
"""


def passage(text: str) -> Document:
    return Document(page_content=text, metadata={"heading": "Tent", "score": 0.5, "article_id": "art_1"})


def test_of_a_list_of_questions_only_the_answer_that_fits_is_quoted() -> None:
    (chosen,) = extract("How is the tent cleaned?", [], [passage(QUESTIONS)], HashEmbeddings(256))
    assert chosen.text == "Clean it with a sponge and cold water. Never use a machine."
    assert chosen.quote == f"How is the tent cleaned? {chosen.text}"


def test_a_list_with_one_question_among_its_steps_stays_whole() -> None:
    found = units(passage(STEPS), 0)
    assert [unit.kind for unit in found] == ["sentence", "steps"]
    assert found[1].text.count("\n") == 2


def test_items_that_only_ask_are_no_answers() -> None:
    asked = passage("- Is the plug in?\n- Is the tank full?\n")
    assert [unit.kind for unit in units(asked, 0)] == ["steps"]


def test_technical_data_are_facts_each_for_itself() -> None:
    data = "- **Colour**: Green\n- **Floor area**: 80 square feet\n- **Poles:** Aluminium"
    assert [unit.kind for unit in units(passage(data), 0)] == ["fact"] * 3
    (chosen,) = extract("How large is the floor?", [], [passage(data)], HashEmbeddings(256), distinctive={"floor"})
    assert chosen.text == "Floor area: 80 square feet"


def test_a_list_that_says_what_to_do_is_no_list_of_facts() -> None:
    steps = "- First: switch the machine off and wait.\n- Second: open the door.\n- Third: rinse the filter."
    assert {unit.kind for unit in units(passage(steps), 0)} == {"item"}
    chosen = extract("How do I clean the filter?", [], [passage(steps)], HashEmbeddings(256))
    assert [unit.quote for unit in chosen] == steps.splitlines()


LAMPS = """\
The lamps on the lid:

| Lamp | Meaning |
|---|---|
| Blue | The tent heats up |
| Amber | The battery is nearly empty |
| Red | The heater is broken |
"""


def quoted(question: str, *passages: Document, **more: Any) -> list[str]:
    return [unit.text for unit in extract(question, [], list(passages), HashEmbeddings(256), **more)]


def test_what_only_repeats_the_question_is_no_answer() -> None:
    echo = passage("My heater does not work. What can I do?\n\nShake the gas bottle, then light the heater again.")
    assert quoted("My heater does not work, what can I do?", echo) == [
        "Shake the gas bottle, then light the heater again."
    ]
    assert quoted("Tent?", passage("Tent.")) == []


def test_of_several_rows_the_one_that_is_named_is_said() -> None:
    assert quoted("Why is the lamp amber?", passage(LAMPS)) == ["Amber: The battery is nearly empty."]
    assert quoted("What does this lamp mean?", passage(LAMPS), shown="red lamp") == ["Red: The heater is broken."]


def test_a_row_is_cited_with_the_names_of_its_columns() -> None:
    (row,) = extract("Why is the lamp amber?", [], [passage(LAMPS)], HashEmbeddings(256))
    assert row.quote == "| Amber | The battery is nearly empty |"
    assert row.cited == f"| Lamp | Meaning |\n|---|---|\n{row.quote}"


def test_what_introduces_a_table_brings_its_rows() -> None:
    rows = quoted("What do the lamps on the lid mean?", passage(LAMPS))
    assert rows == [
        "The lamps on the lid:",
        "- Blue: The tent heats up.",
        "- Amber: The battery is nearly empty.",
        "- Red: The heater is broken.",
    ]
    times = passage(
        "The table below gives times for the stove.\n\n| Food | Minutes |\n|---|---|\n| Rice | 19 |\n| Eggs | 6 |"
    )
    assert quoted("How long do I boil rice on the stove, see the table with times?", times) == [
        "The table below gives times for the stove.",
        "Rice – Minutes: 19.",
    ]


def test_what_stands_under_every_heading_is_about_none() -> None:
    pages = [
        passage(f"{text} Did these tents help you today?! Tents help you.")
        for text in ("Peg it.", "Fold it.", "Dry it.")
    ]
    for page, heading in zip(pages, ("Pegs", "Bag", "Rain"), strict=True):
        page.metadata["heading"] = f"Tent > {heading}"
    assert "Tents help you." not in quoted("Will tents help me?", *pages)


def test_vectors_of_the_import_are_used_and_nothing_is_embedded() -> None:
    page = passage("Peg it down. Dry it well.")
    page.metadata["units"] = [0.1, 0.9]
    embeddings = HashEmbeddings(64)
    assert extract("What about rain?", [], [page], embeddings)
    assert embeddings.embedded == 0


def test_a_short_paragraph_is_quoted_whole_and_steps_from_the_first() -> None:
    page = passage(
        "The bag is waterproof. It floats.\n\nTo close it:\n\n1. Roll the top.\n2. Clip the buckle.\n3. Pull."
    )
    assert quoted("Is the bag waterproof?", page)[:2] == ["The bag is waterproof.", "It floats."]
    assert "1. Roll the top.\n2. Clip the buckle.\n3. Pull." in quoted("How do I clip the buckle?", page)


def test_beside_the_row_of_a_code_no_other_row_is_said() -> None:
    table = (
        "| Code | Meaning |\n|---|---|\n| P4 | The pump of the tent is dry |\n| P9 | The pump of the tent is too hot |"
    )
    found = extract("The pump of my tent is hot and shows P4", ["P4"], [passage(table)], HashEmbeddings(256))
    assert [unit.text for unit in found] == ["P4: The pump of the tent is dry."]


def test_a_question_about_a_whole_table_brings_all_its_rows() -> None:
    rows = "".join(f"| P{n} | Unplug the {thing}. |\n" for n, thing in enumerate(("machine", "lamp", "fan", "pump")))
    table = passage(f"| Code | What to do |\n|---|---|\n{rows}")
    assert len(quoted("Code and what to do of this machine", table)) == 4
    assert quoted("Unplug this machine", table) == ["P0: Unplug the machine."]


def test_of_rows_that_share_other_words_with_the_question_the_best_one_is_said() -> None:
    table = "| Code | What to do |\n|---|---|\n| P1 | Remove objects. |\n| P2 | Limescale in the heater: flush it. |"
    (chosen,) = extract("remove the limescale in the heater, flush", [], [passage(table)], HashEmbeddings(256))
    assert chosen.text.startswith("P2")
