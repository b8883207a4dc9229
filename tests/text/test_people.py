"""Names and addresses are recognised by what they look like and stand beside, in many languages and however typed."""

from __future__ import annotations

from importlib import resources

import pytest

from assistant.text.people import ADDRESS, NAME, spot


def found(text: str) -> list[tuple[str, int]]:
    return [(text[one.start : one.end], one.kind) for one in spot(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("my name is rosa klein and it leaks", [("rosa klein", NAME)]),
        ("Yesterday Rosa Miller from your team called.", [("Rosa Miller", NAME)]),
        ("ich heiße Jürgen Krämer", [("Jürgen Krämer", NAME)]),
        ("Ich wohne in der Lindenstraße 14, 10969 Berlin", [("Lindenstraße 14, 10969 Berlin", ADDRESS)]),
        ("please ship to 12 baker street, london", [("12 baker street, london", ADDRESS)]),
        ("J'habite au 47, rue de Lyon, 26130 Valence", [("47, rue de Lyon, 26130 Valence", ADDRESS)]),
        ("Меня зовут Наталья Козлова", [("Наталья Козлова", NAME)]),
        ("我叫王小明", [("王小明", NAME)]),
        ("田中太郎と申します。", [("田中太郎", NAME)]),
    ],
)  # fmt: skip
def test_names_and_addresses_are_recognised(text: str, expected: list[tuple[str, int]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "My BrewMaster 300 shows E21 in the Lumora App",
        "Will Google Drive work on Windows 10 Home?",
        "Open Settings and press Save Changes",
        "it blinks red since 15 March, order 2024-118",
        "Die Maschine zeigt seit Montag einen Fehler",
        "",
        "…?!",
    ],
)
def test_products_dates_and_words_are_neither(text: str) -> None:
    assert found(text) == []


def test_a_long_text_is_read_to_its_end() -> None:
    text = "It leaks, please help me. " * 3_000 + "My name is Rosa Miller"
    assert found(text)[-1] == ("Rosa Miller", NAME)


def test_the_weights_are_small_and_no_pickles() -> None:
    data = resources.files("assistant.text").joinpath("people.npz").read_bytes()
    assert len(data) < 3_000_000
    assert data.startswith(b"PK")
