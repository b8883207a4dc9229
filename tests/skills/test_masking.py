"""A model on another machine sees placeholders, and whoever reads what it writes sees what they stand for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from assistant.ports import Mode, Question, image_block
from assistant.skills.masking import MaskedChatModel, Masking, masked
from tests.fakes import FakeDecisions, ScriptedChatModel, fake_capabilities

ASKED = "My name is Rosa Miller, rosa@example.org. Rosa Miller lives at 12 Baker Street, London"
PLACEHOLDER = re.compile(r"\[[A-Z -]+ \d+\]")


def test_the_same_thing_has_the_same_placeholder_in_the_whole_request() -> None:
    masking = Masking()
    first = masking.mask(ASKED)
    assert first == "My name is [NAME 1], [E-MAIL 1]. [NAME 1] lives at [ADDRESS 1]"
    assert masking.mask("Dear Mrs. Krämer, ask Mr. Rosa Miller") == "Dear Mrs. [NAME 2], ask Mr. [NAME 1]"
    assert masking.restore(first) == ASKED


def test_a_placeholder_that_somebody_typed_stands_for_nobody_else() -> None:
    masking = Masking()
    assert masking.mask("I am [NAME 1]. My name is Rosa Miller.") == "I am [NAME 1]. My name is [NAME 2]."
    assert masking.restore("[NAME 1] [NAME 2] [NAME 3]") == "[NAME 1] Rosa Miller [NAME 3]"


@pytest.mark.parametrize("streaming", [True, False])
def test_the_model_is_shown_placeholders_and_what_it_writes_has_the_names(streaming: bool) -> None:
    def reply(messages: Any) -> str:
        name, _, _, address = PLACEHOLDER.findall(messages[-1].text)
        return f"{name}, it goes to {address} [1]. [NAME 9] [sic"

    inner = ScriptedChatModel().enqueue(reply)
    model = MaskedChatModel(inner)
    asked = [SystemMessage("You answer for Miller & Sons."), HumanMessage([{"type": "text", "text": ASKED}])]
    answer = "".join(str(one.text) for one in model.stream(asked)) if streaming else str(model.invoke(asked).text)
    assert answer == "Rosa Miller, it goes to 12 Baker Street, London [1]. [NAME 9] [sic"
    [prompt] = inner.prompts
    assert not any(secret in prompt for secret in ("Rosa", "rosa@", "Baker"))
    assert "You answer for Miller & Sons." in prompt
    assert "stand for what you are not shown" in prompt


def test_what_has_nothing_to_mask_goes_as_it_is_with_its_photo() -> None:
    inner = ScriptedChatModel(default="Press Start.")
    asked = [HumanMessage([{"type": "text", "text": "E21 blinks, what now?"}, image_block(b"\xff\xd8photo")])]
    reply = MaskedChatModel(inner).bind(max_tokens=5).invoke(asked)
    assert reply.text == "Press Start."
    assert reply.usage_metadata is not None
    assert inner.history == [asked]


def test_words_of_products_stay_and_decisions_are_asked_about_masked_texts() -> None:
    seen: list[str] = []

    class Watched(FakeDecisions):
        def decide(self, state: str, *rest: Any) -> Any:
            seen.append(state)
            return super().decide(state, *rest)

    capabilities = masked(fake_capabilities(Mode.REMOTE, decisions=Watched()), frozenset(("nordwind",)).intersection)
    assert capabilities.decisions is not None
    capabilities.decisions.decide(ASKED, [], [Question("person", "?", ("yes", "no"), kind="yes_no")])
    assert "Rosa" not in seen[0]
    assert seen[0].startswith("My name is [NAME 1]")
