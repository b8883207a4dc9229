"""What a model on another machine does not get to see: personal data, behind placeholders that are put back afterwards.

`masked` wraps the models of an installation. What goes to them has "[NAME 1]" or "[ADDRESS 2]" where `personal_data`
finds something; the same thing has the same placeholder in the whole request. In what they write the placeholders are
replaced again, also while it streams, so whoever reads a draft reads names. Messages of the system hold rules and the
company's words and go as they are. Photos are pixels and cannot be masked: they go as they are, or not at all
(`Capabilities.sees_photos`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from assistant.ports import Capabilities, Decision, DecisionModel, Question
from assistant.skills import personal_data
from assistant.skills.personal_data import Usual, no_usual

RULE = (
    "Placeholders in brackets, such as [NAME 1] or [ADDRESS 1], stand for what you are not shown. Where you mean what "
    "one stands for, write the placeholder exactly as it is, brackets included."
)
_PLACEHOLDER = re.compile(r"\[[A-Z -]{2,24} \d{1,4}\]")
_MAY_BECOME_ONE = re.compile(r"\[[A-Z -]{0,24}(?: \d{0,4})?$")


@dataclass
class Masking:
    """The placeholders of one request. ``usual``: see `personal_data.find`."""

    usual: Usual = no_usual
    _of: dict[tuple[str, str], str] = field(default_factory=dict)
    _originals: dict[str, str] = field(default_factory=dict)

    def mask(self, text: str) -> str:
        """The text with a placeholder for all personal data in it."""
        parts, position = [], 0
        for span in personal_data.find(text, usual=self.usual):
            original = text[span.start : span.end]
            parts += [text[position : span.start], self._placeholder(original, span.kind, text)]
            position = span.end
        return "".join([*parts, text[position:]])

    def restore(self, text: str) -> str:
        """The text with what the placeholders stand for; others are left as they are."""
        return _PLACEHOLDER.sub(lambda match: self._originals.get(match.group(), match.group()), text)

    @property
    def has_masked(self) -> bool:
        return bool(self._originals)

    def _placeholder(self, original: str, kind: personal_data.Kind, text: str) -> str:
        key = (kind.value, " ".join(original.split()).casefold())
        if key not in self._of:
            number = 1 + sum(one == kind.value for one, _ in self._of)
            while f"[{kind.upper()} {number}]" in (*self._originals, *_PLACEHOLDER.findall(text)):
                number += 1  # somebody has written that themselves
            self._of[key] = f"[{kind.upper()} {number}]"
            self._originals[self._of[key]] = original
        return self._of[key]


class MaskedChatModel(BaseChatModel):
    """``model`` with personal data masked in what it is asked and put back in what it answers; made by `masked`."""

    _model: BaseChatModel = PrivateAttr()
    _usual: Usual = PrivateAttr()

    def __init__(self, model: BaseChatModel, usual: Usual = no_usual) -> None:
        super().__init__()
        self._model, self._usual = model, usual

    @property
    def _llm_type(self) -> str:
        return self._model._llm_type

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        masking = Masking(self._usual)
        result = self._model._generate(_masked(messages, masking), stop, run_manager, **kwargs)
        generations = [
            ChatGeneration(
                message=_with_text(one.message, masking.restore(str(one.message.text))),
                generation_info=one.generation_info,
            )
            for one in result.generations
        ]
        return ChatResult(generations=generations, llm_output=result.llm_output)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        masking = Masking(self._usual)
        held = ""
        for chunk in self._model._stream(_masked(messages, masking), stop, run_manager, **kwargs):
            ready, held = _split(held + str(chunk.message.text))
            yield _piece(chunk, masking.restore(ready))
        if held:
            yield ChatGenerationChunk(message=AIMessageChunk(content=masking.restore(held)))


@dataclass
class MaskedDecisions:
    """``model`` with personal data masked in the situations it judges."""

    model: DecisionModel
    usual: Usual = no_usual

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        return self.model.decide(Masking(self.usual).mask(state), photos, questions)


def masked(capabilities: Capabilities, usual: Usual) -> Capabilities:
    """The capabilities with their chat model and decisions behind placeholders. ``usual``: see `personal_data.find`."""
    chat_model, decisions = capabilities.chat_model, capabilities.decisions
    return replace(
        capabilities,
        chat_model=MaskedChatModel(chat_model, usual) if chat_model is not None else None,
        decisions=MaskedDecisions(decisions, usual) if decisions is not None else None,
    )


def _masked(messages: Sequence[BaseMessage], masking: Masking) -> list[BaseMessage]:
    """All but the system's words masked; if something was, the model is told what placeholders are."""
    sent = [one if isinstance(one, SystemMessage) else _masked_message(one, masking) for one in messages]
    return [SystemMessage(RULE), *sent] if masking.has_masked else sent


def _masked_message(message: BaseMessage, masking: Masking) -> BaseMessage:
    if isinstance(message.content, str):
        return message.model_copy(update={"content": masking.mask(message.content)})
    blocks: list[Any] = [
        {**block, "text": masking.mask(str(block["text"]))}
        if isinstance(block, dict) and block.get("type") == "text"
        else masking.mask(block)
        if isinstance(block, str)
        else block
        for block in message.content
    ]
    return message.model_copy(update={"content": blocks})


def _with_text(message: BaseMessage, text: str) -> BaseMessage:
    return message if text == str(message.text) else message.model_copy(update={"content": text})


def _piece(chunk: ChatGenerationChunk, text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=_with_text(chunk.message, text), generation_info=chunk.generation_info)


def _split(text: str) -> tuple[str, str]:
    """What can be told already, and the beginning of what may become a placeholder."""
    found = _MAY_BECOME_ONE.search(text)
    return (text[: found.start()], text[found.start() :]) if found else (text, "")
