"""What diverts the model is not taken into the knowledge base; everything else is."""

from __future__ import annotations

import re

import pytest
from langchain_core.messages import BaseMessage

from assistant.errors import EngineFailed
from assistant.ports import Mode
from assistant.retrieval.sources.article import ArticleSource, Picture, Section
from assistant.skills.screening import LEFT_OUT, Screen, screen_by
from tests.fakes import ScriptedChatModel, fake_capabilities
from tests.injections import ATTACKS, Obedient

ORDER = next(attack.text for attack in ATTACKS if attack.name == "refund 1, plain")
FACT = "Error E21 means that the pump draws no water."


def article(*blocks: str, visibility: str = "public", **given: object) -> ArticleSource:
    return ArticleSource("a.md", "Pump", (Section((), blocks, **given),), visibility=visibility)  # type: ignore[arg-type]


def test_every_attack_that_a_model_follows_is_found_and_nothing_else() -> None:
    facts = [f"Error E{number} means that valve {number} is shut. Open it by hand." for number in range(60)]
    texts = [text for attack, fact in zip(ATTACKS[::7], facts, strict=False) for text in (fact, attack.text)]
    model = Obedient()
    assert Screen(model).orders_among([*texts, *facts]) == [text for text in texts if text not in facts]
    model.history.clear()
    assert Screen(model).orders_among(facts) == []
    assert len(model.history) < 5, "short texts are tried together"


def test_a_paragraph_goes_as_a_whole_and_what_stands_around_it_stays_in_its_place() -> None:
    with_promise = f"{ORDER} Shipping is free."
    pictures = (Picture("1", after=0), Picture("2", after=2, alt=ORDER), Picture("3", after=3))
    given = article(FACT, with_promise, "Fill the tank.", pictures=pictures, pages=(1, 2, 3))
    screened, left_out = Screen(Obedient()).article(given)
    [section] = screened.sections
    assert set(left_out) == {with_promise, ORDER}
    assert (section.blocks, section.pages) == ((FACT, "Fill the tank."), (1, 3))
    assert [(one.after, one.alt) for one in section.pictures] == [(0, ""), (1, ""), (2, "")]
    assert screened.coverage is not None
    assert screened.coverage.share == 1.0
    assert set(screened.coverage.left_out) == {LEFT_OUT}


def test_headings_titles_and_what_is_read_in_pictures_are_tried_too() -> None:
    given = ArticleSource("a.md", ORDER, (Section((ORDER, "Pump"), (FACT,)),))
    screened, left_out = Screen(Obedient()).article(given)
    assert (screened.title, screened.sections[0].headings, left_out) == ("a.md", ("Pump",), (ORDER,))
    assert Screen(Obedient()).text(f"{FACT}\n\n{ORDER}\n\nFill it.") == (f"{FACT}\n\nFill it.", (ORDER,))


def test_what_diverts_only_together_is_left_out_together() -> None:
    def reply(messages: list[BaseMessage]) -> str:
        prompt = "\n".join(str(message.text) for message in messages)
        wanted = re.search(r"the word (\w+)", prompt)
        assert wanted is not None
        return "Hello." if "first half" in prompt and "second half" in prompt else f"The word is {wanted[1]}."

    texts = ["The first half.", "The second half."]
    assert Screen(ScriptedChatModel().enqueue(*[reply] * 3)).orders_among(texts) == texts
    assert Screen(ScriptedChatModel().enqueue(reply)).orders_among(texts[:1]) == []


def test_internal_articles_are_read_by_no_model_and_stay_as_they_are() -> None:
    model = Obedient()
    given = article(ORDER, visibility="internal")
    assert Screen(model).article(given) == (given, ())
    assert model.history == []


def test_without_a_model_that_writes_nothing_is_tried_and_one_that_fails_says_so() -> None:
    assert screen_by(fake_capabilities()) is None
    assert screen_by(fake_capabilities(Mode.SMALL_VLM, chat_model=Obedient())) is None
    screen = screen_by(fake_capabilities(Mode.FULL_VLM, chat_model=ScriptedChatModel().enqueue(RuntimeError("gone"))))
    assert screen is not None
    with pytest.raises(EngineFailed):
        screen.article(article(FACT))
