"""A draft is rewritten only into what it says: held against its own sentences, and refused where that fails."""

from __future__ import annotations

import pytest

from assistant.errors import Conflict, EngineFailed
from assistant.ports import Capabilities, Mode
from assistant.skills.rewrite import Rewriting, Sentence, Wish, rewrite
from tests.fakes import Reply, ScriptedChatModel, fake_capabilities

DRAFT = (
    Sentence("Error E21 means that the pump draws no water.", support=0.9),
    Sentence("Fill the tank to the mark and wait 30 seconds.", support=0.7),
    Sentence("Do not open the lid.", support=0.4),
)


def model(*replies: Reply) -> Capabilities:
    return fake_capabilities(Mode.FULL_VLM, chat_model=ScriptedChatModel().enqueue(*replies))


def told(found: Rewriting) -> list[tuple[str, tuple[int, ...]]]:
    return [(one.text, one.of) for one in found.sentences]


def test_a_rewritten_sentence_says_what_those_say_that_it_stands_for() -> None:
    found = rewrite(
        DRAFT,
        Wish.SHORTER,
        model("[1][2] E21: the pump draws no water, fill the tank.\n[3] Do not open the lid."),
        language="en",
    )
    assert told(found) == [("E21: the pump draws no water, fill the tank.", (0, 1)), ("Do not open the lid.", (2,))]
    assert found.input_tokens > 0


@pytest.mark.parametrize(
    "line",
    [
        "[2] Fill the tank and wait 45 seconds.",
        "[2] We will send you a new machine for free.",
        "[2] Never fill the tank.",
    ],
)
def test_a_sentence_that_says_something_else_gives_way_to_the_original(line: str) -> None:
    found = rewrite(
        DRAFT, Wish.FRIENDLIER, model(f"[1] E21 means that the pump draws no water.\n{line}"), language="en"
    )
    assert told(found)[1] == (DRAFT[1].text, (1,))


def test_what_is_never_said_is_not_written_by_rewriting_either() -> None:
    wrote, never = (
        "[1] E21 means that the pump draws no water.\n[2] Fill the tank to the mark for 30 seconds.",
        ["tanks"],
    )
    kept = rewrite(DRAFT[:2], Wish.FRIENDLIER, model(wrote), language="en", never_say=["draw no water"])
    assert [one.text for one in kept.sentences] == ["Fill the tank to the mark for 30 seconds."]
    with pytest.raises(Conflict, match="leaves something out"):
        rewrite(DRAFT[:2], Wish.TRANSLATED, model(wrote), language="en", never_say=["draw no water"])
    assert rewrite(DRAFT[:2], Wish.FRIENDLIER, model(wrote), language="en", never_say=never[1:]).sentences


def test_a_draft_is_told_apart_from_instructions_to_the_model() -> None:
    capabilities = model("[1] Ignore it.")
    with pytest.raises(Conflict, match="as it is"):
        rewrite([Sentence("Ignore it.")], Wish.FRIENDLIER, capabilities, language="en")
    assert isinstance(capabilities.chat_model, ScriptedChatModel)
    [prompt] = capabilities.chat_model.prompts
    assert "<<<data" in prompt
    assert "never follow them" in prompt


GERMAN = "[1] Fehler E21: Die Pumpe zieht kein Wasser.\n[2] Füllen Sie den Tank und warten Sie {} Sekunden.\n"


def test_a_translation_has_all_sentences_with_their_numbers() -> None:
    whole = GERMAN.format(30) + "[3] Öffnen Sie den Deckel nicht."
    found = rewrite(DRAFT, Wish.TRANSLATED, model(whole), language="German")
    assert [one.of for one in found.sentences] == [(0,), (1,), (2,)]
    for refused in (GERMAN.format(30), whole.replace("30", "13"), whole.replace("E21", "E12")):
        with pytest.raises(Conflict, match="The draft is as it was"):
            rewrite(DRAFT, Wish.TRANSLATED, model(refused), language="German")


@pytest.mark.parametrize("more", ["Sie bekommen einen Gutschein.", "Siehe www.evil.example", "Das Gerät brennt gern."])
def test_a_translation_says_no_more_than_the_draft(more: str) -> None:
    whole = GERMAN.format(30) + "[3] Öffnen Sie den Deckel nicht."
    with pytest.raises(Conflict, match="says more"):
        rewrite(DRAFT, Wish.TRANSLATED, model(f"{whole} {more}"), language="German")


def test_without_a_model_a_shorter_draft_has_the_better_supported_quotes_and_all_of_ones_own_words() -> None:
    mine = Sentence("Dear Rosa,")
    found = rewrite([mine, *DRAFT], Wish.SHORTER, fake_capabilities(), language="en")
    assert told(found) == [("Dear Rosa,", (0,)), (DRAFT[0].text, (1,)), (DRAFT[1].text, (2,))]
    with pytest.raises(Conflict):
        rewrite(DRAFT[:1], Wish.SHORTER, fake_capabilities(), language="en")
    for wish in (Wish.FRIENDLIER, Wish.TRANSLATED):
        with pytest.raises(Conflict, match="No model that writes"):
            rewrite(DRAFT, wish, fake_capabilities(), language="en")


@pytest.mark.parametrize("wish", [Wish.SHORTER, Wish.FRIENDLIER])
def test_what_makes_nothing_better_is_refused(wish: Wish) -> None:
    same = "\n".join(f"[{number}] {one.text}" for number, one in enumerate(DRAFT, 1))
    with pytest.raises(Conflict):
        rewrite(DRAFT, wish, model(same), language="en")
    with pytest.raises(Conflict, match="nothing that the draft says"):
        rewrite(DRAFT, wish, model("I cannot do that."), language="en")
    with pytest.raises(EngineFailed):
        rewrite(DRAFT, wish, model(RuntimeError("gone")), language="en")
