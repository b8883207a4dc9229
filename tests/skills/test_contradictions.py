"""What the customer writes against what the photo shows: said where they surely differ, and nowhere else."""

from __future__ import annotations

import pytest

from assistant import sample
from assistant.ports import Box, TextLine
from assistant.skills.contradictions import Contradiction, contradictions
from assistant.skills.read_photo import CANNOT_TELL, DIFFERENT, PhotoEvidence, Reading
from assistant.skills.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy(sample.taxonomy_path())


def photo(product: str = CANNOT_TELL, lights: str = CANNOT_TELL, *text: str, sure: float = 0.95) -> PhotoEvidence:
    unknown = Reading(CANNOT_TELL, 1.0)
    lines = tuple(TextLine(line, 0.95, Box(0, 0, 1, 1)) for line in text)
    return PhotoEvidence(unknown, Reading(product, sure), unknown, Reading("good", 1.0), lines, Reading(lights, sure))


def found(text: str, *photos: PhotoEvidence) -> list[Contradiction]:
    return contradictions(text, photos, TAXONOMY)


def test_another_product_another_code_another_light() -> None:
    shown = photo("washpro-8", "red", "WashPro 8", "E41")
    text = "My BrewMaster 300 shows E21. The light is green."
    assert found(text, shown) == [
        Contradiction("product", "BrewMaster 300", "WashPro 8"),
        Contradiction("code", "E21", "E41"),
        Contradiction("lights", "green", "red"),
    ]
    assert found("My WashPro 8 shows e-41. The light is red.", shown) == []


@pytest.mark.parametrize(
    "text",
    ["Das Licht leuchtet grün.", "La lumière est verte.", "La luz es verde.", "A green LED blinks.", "Il led è verde."],
)
def test_colours_are_known_in_several_languages(text: str) -> None:
    assert [one.about for one in found(text, photo(lights="red"))] == ["lights"]
    assert found(text, photo(lights="green, red")) == []


@pytest.mark.parametrize(
    "text",
    [
        "The light should be green.",
        "The light is not green any more.",
        "Before, a green light was on.",
        "I painted the kitchen green.",
        "It blinks, what now?",
        "My order LM-2051877 has not come.",
    ],
)
def test_what_is_not_said_of_the_photo_contradicts_nothing(text: str) -> None:
    assert found(text, photo("homelink-x1", "red", "E41")) == []


def test_what_the_photo_does_not_surely_show_contradicts_nothing() -> None:
    text = "My BrewMaster 300 has a green light and shows E21."
    assert found(text, photo()) == []
    assert found(text, photo("washpro-8", "red", sure=0.6)) == []
    assert found(text, photo(lights=DIFFERENT)) == []
    assert found(text, photo("washpro-8"), photo("brewmaster-300")) == []
    assert found(text) == []
