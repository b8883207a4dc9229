"""What is quoted of the sample's articles, with the embedder that ships: the demo page's own questions, and others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import assistant.sample
from assistant.db import Database, migrate
from assistant.engine.installation import install
from assistant.knowledge.imports import import_folder
from assistant.knowledge.indexing import embed_headings, embed_units
from assistant.models import Visibility
from assistant.retrieval.embedders import Embedders
from assistant.retrieval.index import Filters, Index
from assistant.settings import Settings
from assistant.skills.answer import Answer, AnswerSkill
from assistant.skills.answer_request import AnswerRequest

Ask = Callable[[AnswerRequest], Answer]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Answers a question from the sample's public articles, whatever the confidence: what is tested is the quote."""
    capabilities = install(Settings()).capabilities
    url = f"sqlite:///{tmp_path_factory.mktemp('sample')}/assistant.db"
    migrate(url)
    db = Database(url)
    import_folder(
        db, path=Path(assistant.sample.__file__).parent / "articles", source="sample", embedder=capabilities.embedder
    )
    embed_headings(db, capabilities.embedder)
    embed_units(db, capabilities.embedder)
    index = Index(db, Embedders(capabilities.embedder))
    skill = AnswerSkill(
        capabilities,
        index.retriever(Filters((Visibility.PUBLIC,)), limit=8),
        products_in=index.products_in,
        threshold=0.0,
    )
    yield skill.invoke
    db.close()


QUESTIONS = [
    ("My coffee machine shows E21. What does it mean?", "draws no water"),
    ("My parcel arrived damaged. What happens now?", "send a new device|photo of the whole parcel"),
    ("How do I return my order?", "Print the label"),
    ("Which error codes does the BrewMaster 300 have?", "E04.*E11.*E15.*E21.*E23.*E31"),
    ("What do the lights of the DustPilot R7 mean?", "White.*Blue.*Yellow.*Red, blinking.*Red, steady"),
    ("Which error codes does the WashPro 8 have?", "E10.*E21.*E24.*E30.*E41"),
    ("How do I descale the BrewMaster 300?", "1. Empty the drip tray.*125 ml"),
    ("How do I change the filter of the PureBreeze P2?", "1. Unplug the purifier.*filter button"),
    ("How do I clean the SteamGlide 2?", "CALC button"),
    ("How long do I have warranty?", "three years"),
    ("Where do I find my invoice?", "Orders > Details > Invoice"),
]
OTHERS = [
    ("How long is the warranty?", "three years"),
    ("For how many years is the device covered by warranty?", "three years"),
    ("Oh wait, it is the WashPro 8 with E41!", "leak protection"),
    ("The ring light of my robot is blinking yellow", "^Yellow, blinking"),
    ("My hub's third light is red", "^If the third light"),
    ("how much detergent for cleaning the washing machine when it smells", "one spoon"),
    ("Someone ordered with my account!", "Sign out everywhere"),
    ("I was charged twice", "reservation by the bank"),
    ("what does F07 mean on the power station", "28 V"),
    ("robot does not find its dock", "1. Stand the dock"),
    ("I need an invoice for my company", "VAT number"),
    ("How often must the coffee machine be descaled?", "three months"),
    ("How do I get limescale out of the steam iron?", "CALC button"),
    ("When do I replace the filter of the air purifier?", "2,200 hours|nine months"),
    ("I want to send my order back", "Print the label"),
    ("When will my parcel arrive?", "two to three working days"),
    ("Where is my order?", "tracking link"),
    ("The box came crushed", "send a new device|photo of the whole parcel|keep it and use it"),
]


@pytest.mark.parametrize(("question", "expected"), QUESTIONS)
def test_the_demo_pages_own_questions_are_answered_rightly(ask: Ask, question: str, expected: str) -> None:
    assert re.search(expected, ask(AnswerRequest(text=question)).text, re.DOTALL)


@pytest.mark.parametrize(("question", "expected"), OTHERS)
def test_other_words_for_them_find_the_same(ask: Ask, question: str, expected: str) -> None:
    assert re.search(expected, ask(AnswerRequest(text=question)).text, re.DOTALL)
