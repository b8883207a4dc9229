"""Typed decisions: a probability for every option of every question, from the model's own next-token probabilities.

In this process through transformers' decision pipeline, the reference that later, faster ways are compared with. On a
remote server through the log-probabilities of the option's letter; a server that gives none is asked for JSON.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage

from assistant.engine.chat_model import open_image
from assistant.engine.loader import LoadedModel
from assistant.engine.scheduler import Engine
from assistant.errors import EngineFailed, Invalid
from assistant.ports import Decision, Question

_MOST_OPTIONS = 26
# What the chosen option gets when a server tells its choice but not how sure it is.
_UNSTATED = 0.7


class EngineDecisions:
    """A `DecisionModel` on the engine in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pipeline: Any = None

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        if not questions:
            return []
        check_questions(questions)
        answers = self._engine.call(
            lambda loaded: self._made(loaded)(_request(loaded.without_control_tokens(state), photos, questions))
        )
        return [_decision(question, answers[question.key]) for question in questions]

    def _made(self, loaded: LoadedModel) -> Any:
        """The pipeline around the loaded model; only ever touched in the engine thread."""
        if self._pipeline is None:
            from transformers import pipeline
            from transformers.decision import DecisionConfig

            # We take control tokens out of the state ourselves: the pipeline's way of doing it loses the photo's
            # token offsets that Idefics3's processor needs.
            config = DecisionConfig(sanitize_control_tokens=False)
            self._pipeline = pipeline(
                "decision",
                model=loaded.model,
                tokenizer=loaded.tokenizer,
                processor=loaded.processor,
                decision_config=config,
            )
        return self._pipeline


class RemoteDecisions:
    """A `DecisionModel` on an OpenAI-compatible server: one short completion a question."""

    def __init__(self, chat_model: BaseChatModel) -> None:
        self._model = chat_model

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        check_questions(questions)
        return [self._decide(state, photos, question) for question in questions]

    def _decide(self, state: str, photos: Sequence[bytes], question: Question) -> Decision:
        letters = ascii_uppercase[: len(question.options)]
        try:
            reply = self._model.bind(max_tokens=1, logprobs=True, top_logprobs=20).invoke(
                [_remote_message(state, photos, question, letters)]
            )
        except Exception as error:
            raise EngineFailed("The model server did not answer. Please try again.") from error
        return _from_letters(question, letters, str(reply.text), reply.response_metadata.get("logprobs"))


def check_questions(questions: Sequence[Question]) -> None:
    keys = [question.key for question in questions]
    if len(set(keys)) != len(keys):
        raise Invalid("Two questions have the same key.", field="questions")
    for question in questions:
        if not 2 <= len(set(question.options)) == len(question.options) <= _MOST_OPTIONS:
            raise Invalid(f"{question.key} needs 2 to {_MOST_OPTIONS} different options.", field="questions")


def _request(state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> dict[str, Any]:
    """The pipeline's form. Options go in as themselves; their names in the prompt are the pipeline's."""
    assets = {f"<photo {number}>": open_image(photo) for number, photo in enumerate(photos, start=1)}
    request: dict[str, Any] = {
        "state": {"ticket": state, **({"photos": list(assets)} if assets else {})},
        "questions": {question.key: _asked(question) for question in questions},
    }
    return {**request, "assets": assets} if assets else request


def _asked(question: Question) -> dict[str, Any]:
    descriptions = question.descriptions or question.options
    criteria: Any = dict(zip(question.options, descriptions, strict=True))
    return {"type": "choice", "instructions": question.text, "criteria": criteria}


def _decision(question: Question, answer: dict[str, Any]) -> Decision:
    """Normalised over the question's own options: another answer is impossible."""
    given = answer.get("probabilities") or answer.get("distribution") or {}
    weights = {option: max(float(given.get(option, 0.0)), 1e-9) for option in question.options}
    total = sum(weights.values())
    return Decision(question.key, {option: weight / total for option, weight in weights.items()})


def _remote_message(state: str, photos: Sequence[bytes], question: Question, letters: str) -> HumanMessage:
    import base64

    descriptions = question.descriptions or question.options
    lines = [f"{letter}. {text}" for letter, text in zip(letters, descriptions, strict=True)]
    text = f"{state}\n\nQuestion: {question.text}\n" + "\n".join(lines) + "\nAnswer with one letter."
    content: list[str | dict[str, Any]] = [{"type": "text", "text": text}]
    for photo in photos:
        data = base64.b64encode(photo).decode("ascii")
        content.append({"type": "image", "base64": data, "mime_type": "image/jpeg"})
    return HumanMessage(content=content)


def _from_letters(question: Question, letters: str, text: str, logprobs: Any) -> Decision:
    weights = dict.fromkeys(question.options, 1e-6)
    tokens = ((logprobs or {}).get("content") or [{}])[0].get("top_logprobs", [])
    for token in tokens:
        letter = str(token["token"]).strip().strip(".").upper()
        if len(letter) == 1 and letter in letters:
            weights[question.options[letters.index(letter)]] += math.exp(token["logprob"])
    chosen = text.strip()[:1].upper()
    if not tokens and chosen and chosen in letters:
        rest = (1 - _UNSTATED) / (len(letters) - 1)
        weights = dict.fromkeys(question.options, rest) | {question.options[letters.index(chosen)]: _UNSTATED}
    total = sum(weights.values())
    return Decision(question.key, {option: weight / total for option, weight in weights.items()})
