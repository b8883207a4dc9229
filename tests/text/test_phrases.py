"""Phrases are found however they are written, and not where they are not."""

from __future__ import annotations

import pytest

from assistant.text.phrases import first_in


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("You get a FULL\u00a0Refund today.", "full refund"),
        ("There are full-refunds for all.", "full refund"),
        ("Der Preis wird in vollem Umfang erstattet; volle Rückerstattungen dauern.", "volle Ruckerstattung"),
        ("Hay reembolsos completos.", "reembolso completo"),
        ("The falcon9, of course.", "Falcon 9"),
        ("The Falcon 9, of course.", "falcon9"),
        ("我们可以全额退款吗", "全额退款"),
        ("Ｎｏｒｄｗｉｎｄ’s machines", "Nordwind"),
        ("Project Bluebird", "other, project bluebird"),
    ],
)
def test_a_phrase_is_found_in_other_capitals_accents_endings_and_marks(text: str, phrase: str) -> None:
    assert first_in(text, ["nothing of it", *phrase.split(", ")]) == phrase.rsplit(", ", 1)[-1]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("A full tank, and a refund.", "full refund"),
        ("Titanium alloy", "Titan"),
        ("It costs more.", "cost less"),
        ("A refund in full", "full refund"),
        ("The cat sat.", "ca"),
        ("Anything", "…"),
        ("全部退款", "全额退款"),
    ],
)
def test_other_words_are_no_phrase(text: str, phrase: str) -> None:
    assert first_in(text, [phrase]) is None
