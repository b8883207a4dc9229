"""Extractive answers: what is cut out of a passage, and what is quoted of it."""

from __future__ import annotations

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
