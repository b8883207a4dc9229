from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.text.folding import address, fold


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("überhitzung", "ÜBERHITZUNG"),
        ("strasse", "Straße"),
        ("STRASSE", "straße"),
        ("cafe creme", "Café  crème"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "CAFE\N{COMBINING ACUTE ACCENT}"),
        ("istanbul", "İSTANBUL"),
        ("ISITICI", "ısıtıcı"),
        ("οδος", "ΌΔΟΣ"),
        ("елка", "ЁЛКА"),
        ("احمد", "أَحْمَد"),
        ("مدرسه", "مدرسة"),
        ("کتاب", "كتاب"),
        ("שלום", "שָׁלוֹם"),
        ("カメラ", "ｶﾒﾗ"),
        ("かめら", "カメラ"),
        ("e21", "Ｅ２１"),
        ("21", "٢١"),
        ("한국어", "\u1112\u1161\u11ab국어"),
        ("filter", "ﬁlter"),
        ("lodz", "Łódź"),
        ("viet nam", "Việt Nam"),
        ("e-21", "E\N{NON-BREAKING HYPHEN}21"),
        ("don't", "Don’t"),
        ("trailmaster x4", "TrailMaster™ X4"),
        ("می\u200cخواهم", "میخواهم"),
        ("abc", "a\N{RIGHT-TO-LEFT OVERRIDE}b\N{SOFT HYPHEN}c"),
    ],
)
def test_case_accents_and_ways_of_writing_do_not_matter(typed: str, written: str) -> None:
    assert fold(typed) == fold(written)


@pytest.mark.parametrize(
    ("one", "other"), [("か", "が"), ("हिन्दी", "हद"), ("กา", "ก่า"), ("เครื่อง", "เครอง"), ("한", "하")]
)
def test_what_tells_words_apart_stays(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@given(st.text(max_size=40))
def test_folding_again_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_an_address_keeps_its_accents() -> None:
    assert address(" ROSÉ@Example.org ") == "rosé@example.org"
