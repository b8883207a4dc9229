"""What a passage can be quoted in, and how it is said."""

from __future__ import annotations

import pytest

from assistant.text.units import Kind, plain, units_of

OVEN = """\
The times are in minutes.

| Food | Minutes | Shelf |
|---|---|---|
| Bread | 40 | Middle |
| Cake | 55 | |
| | 60 | Top |
"""


def said(text: str, kind: Kind | None = None) -> list[str]:
    return [unit.text for unit in units_of(text) if kind in (None, unit.kind)]


def test_a_row_of_short_values_has_the_names_of_its_columns() -> None:
    assert said(OVEN, Kind.ROW) == [
        "Bread – Minutes: 40. Shelf: Middle.",
        "Cake – Minutes: 55.",
        "Cake – Minutes: 60. Shelf: Top.",
    ]
    assert said(OVEN, Kind.TABLE) == ["Food, Minutes, Shelf: Bread, Cake"]


def test_a_row_of_sentences_reads_without_them() -> None:
    table = "| Code | Meaning | Remedy |\n|---|---|---|\n| P7 | The lid is not shut | Press the lid until it clicks! |"
    assert said(table, Kind.ROW) == ["P7: The lid is not shut. Press the lid until it clicks!"]


def test_a_merged_cell_has_the_names_of_all_its_columns() -> None:
    table = "| Lamp | Green | Amber |\n|---|---|---|\n| Net | Idle | Idle |\n| Disk | Fine | Busy |"
    assert said(table, Kind.ROW) == ["Net – Green, Amber: Idle.", "Disk – Green: Fine. Amber: Busy."]


def test_a_row_of_one_cell_is_the_title_of_those_below() -> None:
    table = "| Part | Grams |\n|---|---|\n| Model A | |\n| Lid | 30 |\n| Model B | |\n| Lid | 45 |"
    assert said(table, Kind.ROW) == ["Model A, Lid – Grams: 30.", "Model B, Lid – Grams: 45."]


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("Read [the manual](https://shop.example/m_1_a).", "Read the manual (https://shop.example/m_1_a)."),
        ("[https://shop.example/m](https://shop.example/m)", "https://shop.example/m"),
        ("Write to [us](mailto:help@shop.example)", "Write to us (help@shop.example)"),
        ("See [above](#top) or [the list](list.html)", "See above or the list"),
        ("**Two** pins, *not* three, in `slot_a_1`", "Two pins, not three, in slot_a_1"),
        ("Pay $1,299.00 by 5*3 or call +49 30 1234", "Pay $1,299.00 by 5*3 or call +49 30 1234"),
    ],
)
def test_marks_are_gone_and_links_have_their_addresses(markdown: str, text: str) -> None:
    assert plain(markdown) == text


def test_links_in_steps_and_rows_have_their_addresses_too() -> None:
    steps, row = (
        "1. Open [the plan](https://a.example/p).\n2. Sign.",
        "| A | B |\n|---|---|\n| X | [Y](https://b.example) |",
    )
    assert "the plan (https://a.example/p)" in said(steps)[0]
    assert "Y (https://b.example)" in said(row, Kind.ROW)[0]


def test_alternatives_stand_for_themselves_and_steps_do_not() -> None:
    lamps = "- If the left lamp is on, wait.\n- If the right lamp is on, refill.\n- If both are on, call us."
    assert {unit.kind for unit in units_of(lamps)} == {Kind.ITEM}
    assert [unit.kind for unit in units_of("1. Press.\n2. Press again.\n3. Wait.")] == [Kind.STEPS]
    assert [unit.kind for unit in units_of("- Open it.\n- Clean it.\n- Shut it.")] == [Kind.STEPS]


def test_a_question_points_to_what_follows_it() -> None:
    asked, answer, beside = units_of("May I wash it? Yes, by hand.\n\nAll of it is steel.")
    assert (asked.kind, answer.asked, beside.asked) == (Kind.QUESTION, "May I wash it?", "")
    _, answer = units_of("May I wash it?\n\nYes, by hand.")
    assert answer.compared == "May I wash it? Yes, by hand."


def test_page_numbers_and_tables_of_contents_are_not_said() -> None:
    assert said("Shut the lid. - 48 - Then wait.") == ["Shut the lid.", "Then wait."]
    assert said("Safety ........ 4\nCleaning ...... 12\n\nKeep it dry.") == ["Keep it dry."]
    assert said("- [Safety](#safety)\n- [Cleaning](#cleaning)\n\nKeep it dry.") == ["Keep it dry."]
    assert said("12\n\n---") == []
