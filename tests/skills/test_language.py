"""Languages of short texts, greetings, and who wants a person."""

from __future__ import annotations

import pytest

from assistant.engine.models.multilingual import offline_multilingual
from assistant.skills.language import courtesy, wants_person
from assistant.text.languages import expected
from tests.fakes import fake_capabilities

REAL = fake_capabilities(second_embedder=offline_multilingual())


@pytest.mark.slow
@pytest.mark.parametrize("text", ["Hi", "Hello!", "good morning", "Hi there,", "Hallo", "Hello Alice"])
def test_a_greeting_is_greeted(text: str) -> None:
    said = courtesy(text, capabilities=REAL)
    assert said is not None
    assert "photo" in said or "Foto" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "Thanks", "Thank you, Alice!", "ok thanks a lot!", "Vielen Dank", "Great", "OK.", "👍", "❤️", "Thanks! 🙏",
        "merci 😊", "it runs like new now, cheers", "funktioniert jetzt, super", "ありがとう、直りました",
        "好的,谢谢啦",
    ],
)  # fmt: skip
def test_thanks_are_not_asked_for_a_photo(text: str) -> None:
    said = courtesy(text, capabilities=REAL)
    assert said is not None
    assert "photo" not in said


CONTENT = (
    "Thanks but it still blinks", "Hello, my machine is broken", "Hi there, E21", "E21", "thanks, broken", "", "?",
    "👍 and where is my invoice", "danke, geht trotzdem nicht",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("text", CONTENT)
def test_a_question_is_never_taken_for_small_talk(text: str) -> None:
    assert courtesy(text, capabilities=REAL) is None


@pytest.mark.parametrize("text", CONTENT)
def test_nor_by_letters_alone(text: str) -> None:
    assert courtesy(text) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "I want to talk to a human",
        "Can I speak with someone?",
        "Kann ich mit einem Mitarbeiter sprechen?",
        "human please",
        "connect me to an agent",
        "is there anybody real who could help me",
        "je préfère parler à une vraie personne",
        "quiero que me atienda una persona de carne y hueso",
        "posso falar com um atendente humano?",
        "mag ik een echte medewerker spreken",
        "chcę pogadać z żywym człowiekiem",
        "gerçek bir insanla görüşebilir miyim",
        "人間の担当者と話したいのですが",
        "我要找真人客服",
        "أريد أن أكلم موظفا حقيقيا",
    ],
)
def test_who_wants_a_person_is_heard(text: str) -> None:
    assert wants_person(text, REAL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "The cleaning agent leaks",
        "Is there a person in the manual's picture?",
        "How do I connect several people to one hub?",
        "The speaker crackles whenever someone walks past.",
        "May I move my data to a colleague's account?",
        "Install an agent for Windows on the server",
        "I need a human-readable list of errors",
        "Don't connect me with a person, the code is enough",
        "Wie verbinde ich mehrere Leute mit dem Hub?",
    ],
)
def test_who_speaks_of_people_does_not_want_one(text: str) -> None:
    assert not wants_person(text, REAL)


@pytest.mark.parametrize(
    ("text", "reply"), [("Merci beaucoup !", "Je vous en prie"), ("Vielen Dank", "Gerne"), ("Grazie", "Prego")]
)
def test_courtesies_are_returned_in_their_language(text: str, reply: str) -> None:
    assert str(courtesy(text)).startswith(reply)


def test_a_courtesy_that_many_languages_share_is_returned_in_the_conversations() -> None:
    assert str(courtesy("ok super", expected("nl"))).startswith("Graag gedaan")
