"""What a passage supports, and what it does not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.skills.grounding import SUPPORTED, support

PASSAGE = (
    "Error E21 means that the pump draws no water. Fill the tank to the mark and press the start button for 3 seconds. "
    "The warranty covers two years. Do not open the housing while the machine is plugged in."
)


@pytest.mark.parametrize(
    "sentence",
    [
        "E21 means the pump draws no water.",
        "Fill the tank and press the start button for three seconds.",
        "Press the start button for 3 s.",
        "The warranty covers 2 years.",
        "Do not open the housing while it is plugged in.",
    ],
)
def test_what_the_passage_says_is_supported(sentence: str) -> None:
    assert support(sentence, PASSAGE) >= SUPPORTED


@pytest.mark.parametrize(
    "sentence",
    [
        "E22 means the pump draws no water.",
        "Press the start button for 30 seconds.",
        "Press the start button for 3 minutes.",
        "The warranty covers five years.",
        "The warranty does not cover two years.",
        "Open the housing while the machine is plugged in.",
        "You get your money back within two years.",
        "Call 555-0100 and ask for the pump.",
    ],
)
def test_what_it_does_not_say_is_not(sentence: str) -> None:
    assert support(sentence, PASSAGE) < SUPPORTED


RETURNS = (
    "You can send your order back within 30 days of delivery. The money is back on your account within five working "
    "days after the parcel has reached us. Every product has three years of warranty. Batteries are covered for two "
    "years. HIGH switches it off at 11.8 V, LOW at 10.4 V."
)


@pytest.mark.parametrize(
    "sentence",
    [
        "The money is back on your account within 30 days.",
        "The parcel has reached us within 30 days of delivery.",
        "Batteries have three years of warranty.",
        "Every product has two years of warranty.",
        "HIGH switches it off at 10.4 V.",
        "Your order is covered for two years.",
        "You can send batteries back within five working days.",
    ],
)
def test_two_statements_of_a_passage_make_no_third(sentence: str) -> None:
    assert support(sentence, f"Returns > Deadlines\n{RETURNS}") < SUPPORTED


@pytest.mark.parametrize(
    "sentence",
    [
        "Within 30 days of delivery, you can send your order back.",
        "After the parcel has reached us, the money is back on your account within 5 working days.",
        "Batteries are covered for two years, and every product has three years of warranty.",
        "LOW switches it off at 10.4 V.",
    ],
)
def test_statements_are_said_as_they_stand_and_one_after_the_other(sentence: str) -> None:
    assert support(sentence, f"Returns > Deadlines\n{RETURNS}") >= SUPPORTED


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_has_a_support_between_none_and_full(sentence: str, passage: str) -> None:
    assert 0.0 <= support(sentence, passage) <= 1.0
