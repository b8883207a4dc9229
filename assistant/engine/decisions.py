"""Typed decisions: a probability for every option of every question, from the model's own next-token probabilities.

In this process through transformers' decision pipeline, the reference that later, faster ways are compared with. On a
remote server through the log-probabilities of the option's letter; a server that gives none is asked for JSON.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage

from assistant.engine import runner
from assistant.engine.chat_model import open_image
from assistant.engine.loader import LoadedModel
from assistant.engine.scheduler import Engine
from assistant.errors import EngineFailed, EngineTimeout, Invalid
from assistant.ports import Decision, Question

MOST_OPTIONS = len(ascii_uppercase)
# What the chosen option gets when a server tells its choice but not how sure it is.
_UNSTATED = 0.7
# So much of the probability must lie on the letters of options for it to mean anything.
_LEAST_MASS = 0.05
# Requests to a server at a time: it batches them.
_AT_ONCE = 8


class EngineDecisions:
    """A `DecisionModel` on the engine in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pipeline: Any = None

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        """Raises `Invalid` for questions that cannot be asked, else what the engine raises."""
        check_questions(questions)
        if not questions:
            return []
        images = [open_image(photo) for photo in photos]
        answers = self._engine.call(
            lambda loaded: self._made(loaded)(_request(loaded.without_control_tokens(state), images, questions))
        )
        return [_read(question, answers[str(number)]) for number, question in enumerate(questions)]

    def _made(self, loaded: LoadedModel) -> Any:
        """The pipeline around the loaded model; only ever touched in the engine thread."""
        if self._pipeline is None:
            self._pipeline = _pipeline(loaded)
        return self._pipeline


class RemoteDecisions:
    """A `DecisionModel` on an OpenAI-compatible server: one short completion a question."""

    def __init__(self, chat_model: BaseChatModel) -> None:
        self._model = chat_model
        self._gives_probabilities = True

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        """Raises `Invalid` for questions that cannot be asked, `EngineFailed` or `EngineTimeout` for the server."""
        check_questions(questions)
        messages: list[list[BaseMessage]] = [[_remote_message(state, photos, question)] for question in questions]
        found = self._by_letter(messages, questions) if self._gives_probabilities else [None] * len(questions)
        return [
            decision or self._by_name(message, question)
            for decision, message, question in zip(found, messages, questions, strict=True)
        ]

    def _by_letter(self, messages: list[list[BaseMessage]], questions: Sequence[Question]) -> list[Decision | None]:
        """By the probabilities of the first token; None where the server gives none, or none to an option."""
        import openai

        asking = self._model.bind(max_tokens=1, logprobs=True, top_logprobs=20)
        try:
            replies = asking.batch(list(messages), {"max_concurrency": _AT_ONCE})
        except openai.BadRequestError:  # what a server says that does not do this
            self._gives_probabilities = False
            return [None] * len(questions)
        except Exception as error:
            raise _server_failed(error) from error
        return [
            by_letter(question, reply.response_metadata.get("logprobs"))
            for question, reply in zip(questions, replies, strict=True)
        ]

    def _by_name(self, message: list[BaseMessage], question: Question) -> Decision:
        """By the option that is named in JSON, which says nothing of how sure the model is."""
        schema = {
            "title": "decision",
            "type": "object",
            "properties": {"choice": {"type": "string", "enum": list(question.options)}},
            "required": ["choice"],
            "additionalProperties": False,
        }
        try:
            answer = self._model.with_structured_output(schema, method="json_schema").invoke(message)
        except Exception as error:
            raise _server_failed(error) from error
        chosen = answer.get("choice") if isinstance(answer, Mapping) else None
        if chosen not in question.options:
            raise EngineFailed("The model server named none of the options.")
        rest = (1 - _UNSTATED) / (len(question.options) - 1)
        return Decision(question.key, {option: _UNSTATED if option == chosen else rest for option in question.options})


def check_questions(questions: Sequence[Question]) -> None:
    """Raise `Invalid` for what cannot be asked: unknown answers would be the model's invention."""
    keys = [question.key for question in questions]
    if len(set(keys)) != len(keys):
        raise Invalid("Two questions have the same key.", field="questions")
    for question in questions:
        if not 2 <= len(set(question.options)) == len(question.options) <= MOST_OPTIONS:
            raise Invalid(f"{question.key} needs 2 to {MOST_OPTIONS} different options.", field="questions")
        if question.descriptions and len(question.descriptions) != len(question.options):
            raise Invalid(f"{question.key} needs a description for every option, or none.", field="questions")


def by_letter(question: Question, logprobs: Any) -> Decision | None:
    """Log-probabilities in OpenAI's form to a decision; None if they are missing or lie on no option's letter."""
    places = (logprobs or {}).get("content") or [{}]
    letters = dict(zip(ascii_uppercase, question.options, strict=False))
    weights = dict.fromkeys(question.options, 0.0)
    for token in places[0].get("top_logprobs") or []:
        letter = str(token["token"]).strip().strip(".()").upper()
        if letter in letters:
            weights[letters[letter]] += math.exp(token["logprob"])
    return _normalised(question, weights) if sum(weights.values()) >= _LEAST_MASS else None


def _pipeline(loaded: LoadedModel) -> Any:
    from transformers.decision import DecisionConfig
    from transformers.pipelines.decision import DecisionPipeline

    class Pipeline(DecisionPipeline):  # type: ignore[misc]  # transformers ships no types
        """The decision pipeline; pixels are put into the model's precision, which not every architecture does."""

        def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
            prompts = super().preprocess(request)["prompts"]
            return {"prompts": [(runner.to_model(loaded, inputs), asked) for inputs, asked in prompts]}

    # We take control tokens out of the state ourselves: the pipeline's way of doing it loses the photo's token
    # offsets that Idefics3's processor needs.
    return Pipeline(
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        processor=loaded.processor,
        decision_config=DecisionConfig(sanitize_control_tokens=False),
    )


def _request(state: str, images: Sequence[Any], questions: Sequence[Question]) -> dict[str, Any]:
    """The pipeline's form. Photos come before the text, where their placeholders stand."""
    assets = {f"<photo {number}>": image for number, image in enumerate(images, start=1)}
    for placeholder in assets:
        state = state.replace(placeholder, "")
    asked = {str(number): _asked(question) for number, question in enumerate(questions)}
    return {"state": "\n".join([*assets, state]), "questions": asked, **({"assets": assets} if assets else {})}


def _asked(question: Question) -> dict[str, Any]:
    """A question in the pipeline's form. What it calls noul is a yes or no."""
    descriptions = question.descriptions or ("",) * len(question.options)
    if question.kind == "score":
        levels = [described or option for described, option in zip(descriptions, question.options, strict=True)]
        return {"type": "score", "instructions": question.text, "criteria": levels}
    if _is_yes_no(question):
        described = dict(zip(question.options, descriptions, strict=True))
        criteria = {"true": described["yes"] or None, "false": described["no"] or None}
        return {"type": "noul", "instructions": question.text, "criteria": criteria}
    criteria = {option: text or None for option, text in zip(question.options, descriptions, strict=True)}
    return {"type": "choice", "instructions": question.text, "criteria": criteria}


def _read(question: Question, answer: Mapping[str, Any]) -> Decision:
    if answer["type"] == "noul":
        return _normalised(question, {"yes": answer["noul"], "no": 1 - answer["noul"]})
    probabilities = answer["probabilities"]
    if answer["type"] == "score":
        probabilities = {option: probabilities[str(level)] for level, option in enumerate(question.options)}
    return _normalised(question, probabilities)


def _is_yes_no(question: Question) -> bool:
    return question.kind == "yes_no" and set(question.options) == {"yes", "no"}


def _normalised(question: Question, weights: Mapping[str, float]) -> Decision:
    """Over the question's own options, none of them impossible."""
    some = {option: max(float(weights[option]), 1e-9) for option in question.options}
    total = sum(some.values())
    return Decision(question.key, {option: weight / total for option, weight in some.items()})


def _remote_message(state: str, photos: Sequence[bytes], question: Question) -> HumanMessage:
    descriptions = question.descriptions or ("",) * len(question.options)
    lines = [
        f"{letter}. {option}: {described}" if described else f"{letter}. {option}"
        for letter, option, described in zip(ascii_uppercase, question.options, descriptions, strict=False)
    ]
    last = ascii_uppercase[len(question.options) - 1]
    text = "\n".join(
        [state, "", question.text, *lines, f"Answer with the letter of the best option (A to {last}) only."]
    )
    return HumanMessage(content=[*(_image_block(photo) for photo in photos), {"type": "text", "text": text}])


def _image_block(photo: bytes) -> dict[str, Any]:
    mime_type = "image/png" if photo.startswith(b"\x89PNG") else "image/jpeg"
    return {"type": "image", "base64": base64.b64encode(photo).decode("ascii"), "mime_type": mime_type}


def _server_failed(error: Exception) -> EngineFailed | EngineTimeout:
    import openai

    if isinstance(error, openai.APITimeoutError):
        return EngineTimeout("The model server did not answer in time. Please try again.")
    return EngineFailed("The model server did not answer. Please try again.")
