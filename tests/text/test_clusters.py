from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.text.clusters import beginning, shorten

FAMILY = "👨‍👩‍👧‍👦"


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        ("short", 9, "short"),
        ("abcdef", 3, "abc"),
        (FAMILY * 3, 10, FAMILY),
        ("🇩🇪🇫🇷", 3, "🇩🇪"),
        ("👍🏽👍🏽", 3, "👍🏽"),
        ("e\u0301e\u0301", 3, "e\u0301"),
        ("क्षक्ष", 4, "क्ष"),
        ("กำกำ", 3, "กำ"),
        ("\u1100\u1161\u11a8" * 2, 4, "\u1100\u1161\u11a8"),
        ("a\r\nb", 2, "a"),
        ("❤️❤️", 3, "❤️"),
        ("e" + "\u0301" * 500, 3, "e\u0301\u0301"),  # one cluster that is longer than the limit
    ],
)
def test_no_character_falls_apart(text: str, most: int, kept: str) -> None:
    assert beginning(text, most) == kept


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        ("It blinks", 9, "It blinks"),
        ("It blinks red", 11, "It blinks…"),
        ("E21 コーヒーマシンが動きません", 12, "E21 コーヒーマシン…"),  # not just "E21"
        ("x" * 20, 10, "x" * 9 + "…"),
        (FAMILY * 3, 12, FAMILY + "…"),
    ],
)
def test_a_shortened_text_ends_with_a_word_if_one_is_near(text: str, most: int, kept: str) -> None:
    assert shorten(text, most) == kept


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_cut_text_fits(text: str, most: int) -> None:
    assert text.startswith(beginning(text, most))
    assert len(beginning(text, most)) <= most
    assert len(shorten(text, most)) <= most
