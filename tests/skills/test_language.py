"""Languages of short texts, greetings, and who wants a person."""

from __future__ import annotations

import pytest

from assistant.skills.language import courtesy, wants_person
from assistant.text.languages import expected


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


@pytest.mark.parametrize(
    ("text", "reply"), [("Merci beaucoup !", "Je vous en prie"), ("Vielen Dank", "Gerne"), ("Grazie", "Prego")]
)
def test_courtesies_are_returned_in_their_language(text: str, reply: str) -> None:
    assert str(courtesy(text)).startswith(reply)


def test_a_courtesy_that_many_languages_share_is_returned_in_the_conversations() -> None:
    assert str(courtesy("ok super", expected("nl"))).startswith("Graag gedaan")
