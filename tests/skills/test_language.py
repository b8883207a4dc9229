"""Languages of short texts, greetings, and who wants a person."""

from __future__ import annotations

import pytest

from assistant.skills.language import courtesy, detect, wants_person


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The red light keeps blinking and nothing happens.", "en"),
        ("Die Maschine zieht kein Wasser und blinkt rot.", "de"),
        ("La machine clignote en rouge et ne chauffe plus.", "fr"),
        ("La cafetera parpadea en rojo y no calienta.", "es"),
        ("La macchina lampeggia in rosso e non scalda.", "it"),
        ("機械が赤く点滅しています。", "ja"),
    ],
)
def test_language_of_a_sentence_is_told(text: str, language: str) -> None:
    assert detect(text)[0] == language


def test_two_words_are_less_sure_than_a_sentence() -> None:
    assert detect("help me")[1] < detect("Please help me, the light of my machine keeps blinking red.")[1]
    assert detect("21") == ("en", 0.0)


@pytest.mark.parametrize("text", ["Hi", "Hello!", "good morning", "Hi there,", "Hallo", "Hello Alice"])
def test_a_greeting_is_greeted(text: str) -> None:
    said = courtesy(text)
    assert said is not None
    assert "photo" in said or "Foto" in said


@pytest.mark.parametrize("text", ["Thanks", "Thank you, Alice!", "ok thanks a lot!", "Vielen Dank", "Great", "OK."])
def test_thanks_are_not_asked_for_a_photo(text: str) -> None:
    said = courtesy(text)
    assert said is not None
    assert "photo" not in said


@pytest.mark.parametrize(
    "text",
    ["Thanks but it still blinks", "Hello, my machine is broken", "Hi there, E21", "E21", "thanks, broken", "", "?"],
)
def test_a_question_is_never_taken_for_small_talk(text: str) -> None:
    assert courtesy(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "I want to talk to a human",
        "Can I speak with someone?",
        "Kann ich mit einem Mitarbeiter sprechen?",
        "human please",
    ],
)
def test_who_wants_a_person_is_heard(text: str) -> None:
    assert wants_person(text)


@pytest.mark.parametrize("text", ["The cleaning agent leaks", "Is there a person in the manual's picture?"])
def test_who_speaks_of_agents_does_not_want_one(text: str) -> None:
    assert not wants_person(text)
