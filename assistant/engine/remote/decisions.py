"""Typed decisions by a model server: one short completion per question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage

from assistant.engine.remote.server import RequestRejected
from assistant.errors import EngineFailed
from assistant.ports import Decision, Question, check_questions, image_block

# The probability of the chosen option if a server states its choice but not its certainty.
_ASSUMED = 0.7
# At least this much probability must be on the options' letters for it to mean anything.
_LEAST_MASS = 0.05
# Concurrent requests: the server batches them.
_AT_ONCE = 8
_NAME_IT = 'Answer with JSON only: {"choice": "…"}, naming the best option.'


class RemoteDecisions:
    """A `DecisionModel` on an OpenAI-compatible server: one short completion a question."""

    def __init__(self, chat_model: BaseChatModel) -> None:
        self._model = chat_model
        self._takes_logprobs = True

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        """Raises `Invalid` for questions that cannot be asked, `EngineError` for the server."""
        check_questions(questions)
        replies = self._ask_for_letters([[_letter_prompt(state, photos, question)] for question in questions])
        return [
            by_logprobs(question, reply.response_metadata.get("logprobs"))
            or _by_text(question, str(reply.text))
            or self._by_json(state, photos, question)
            for question, reply in zip(questions, replies, strict=True)
        ]

    def _ask_for_letters(self, messages: list[list[BaseMessage]]) -> list[BaseMessage]:
        """The first token of each answer, with log-probabilities if the server accepts a request for them."""
        asking = self._model.bind(max_tokens=1)
        together: Any = {"max_concurrency": _AT_ONCE}
        if self._takes_logprobs:
            try:
                return list(asking.bind(logprobs=True, top_logprobs=20).batch(list(messages), together))
            except RequestRejected:
                replies = asking.batch(list(messages), together)  # raises if that was not the reason
                self._takes_logprobs = False
                return list(replies)
        return list(asking.batch(list(messages), together))

    def _by_json(self, state: str, photos: Sequence[bytes], question: Question) -> Decision:
        """By the option that the model names in JSON, which says nothing about its certainty."""
        schema = {
            "title": "decision",
            "type": "object",
            "properties": {"choice": {"type": "string", "enum": list(question.options)}},
            "required": ["choice"],
            "additionalProperties": False,
        }
        asking = self._model.with_structured_output(schema, method="json_schema")
        try:
            answer = asking.invoke([_prompt(state, photos, question, _NAME_IT)])
        except OutputParserException as error:
            raise EngineFailed("The model server named none of the options.") from error
        chosen = answer.get("choice") if isinstance(answer, Mapping) else None
        if chosen not in question.options:
            raise EngineFailed("The model server named none of the options.")
        return _without_certainty(question, chosen)


def by_logprobs(question: Question, logprobs: Any) -> Decision | None:
    """A decision from log-probabilities in OpenAI's format; None if they are missing or not on the options' letters."""
    tokens = (logprobs or {}).get("content") or [{}]
    weights = dict.fromkeys(question.options, 0.0)
    for token in tokens[0].get("top_logprobs") or []:
        option = _option(question, str(token["token"]))
        if option is not None:
            weights[option] += math.exp(token["logprob"])
    return Decision.from_weights(question, weights) if sum(weights.values()) >= _LEAST_MASS else None


def _by_text(question: Question, text: str) -> Decision | None:
    """A decision from the letter alone, which says nothing about certainty."""
    option = _option(question, text)
    return None if option is None else _without_certainty(question, option)


def _option(question: Question, token: str) -> str | None:
    """The option with this letter, in any spelling: " a", "A.", "(A)"."""
    letters = dict(zip(ascii_uppercase, question.options, strict=False))
    return letters.get(token.strip().strip(".()").upper())


def _without_certainty(question: Question, chosen: str) -> Decision:
    rest = (1 - _ASSUMED) / (len(question.options) - 1)
    return Decision(question.key, {option: _ASSUMED if option == chosen else rest for option in question.options})


def _letter_prompt(state: str, photos: Sequence[bytes], question: Question) -> HumanMessage:
    last = ascii_uppercase[len(question.options) - 1]
    return _prompt(state, photos, question, f"Answer with the letter of the best option (A to {last}) only.")


def _prompt(state: str, photos: Sequence[bytes], question: Question, instruction: str) -> HumanMessage:
    descriptions = question.descriptions or ("",) * len(question.options)
    lines = [
        f"{letter}. {option}: {described}" if described else f"{letter}. {option}"
        for letter, option, described in zip(ascii_uppercase, question.options, descriptions, strict=False)
    ]
    text = "\n".join([state, "", question.text, *lines, instruction])
    return HumanMessage(content=[*(image_block(photo) for photo in photos), {"type": "text", "text": text}])
