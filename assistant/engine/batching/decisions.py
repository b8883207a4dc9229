"""Typed decisions: a probability for every option of every question, from the model's own next-token probabilities.

Ticket and photos are prefilled once, and the questions follow as a batch that shares this prefix. Prompts are those of
transformers' decision pipeline, token for token, and so are the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from assistant.engine.batching.chat_model import open_image
from assistant.engine.batching.engine import Engine
from assistant.engine.batching.prompt import Prompt, prompt_of, rendered, to_model
from assistant.engine.batching.sequence import DecisionPrompts
from assistant.engine.loader import LoadedModel
from assistant.errors import Invalid
from assistant.ports import Decision, Question, check_questions
from assistant.tracing import model_call


class EngineDecisions:
    """A `DecisionModel` that runs on the engine in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        """Raises `Invalid` for malformed questions, and what `Engine.decide` raises."""
        check_questions(questions)
        if not questions:
            return []
        images = [open_image(photo) for photo in photos]
        with model_call("engine"):
            probabilities = self._engine.decide(
                lambda loaded: make_prompts(loaded, state, images, questions),
                lambda loaded: by_pipeline(loaded, state, images, questions),
            )
        return [
            Decision.from_weights(question, dict(zip(_pipeline_options(question), weights, strict=True)))
            for question, weights in zip(questions, probabilities, strict=True)
        ]


def make_prompts(
    loaded: LoadedModel, state: str, images: Sequence[Any], questions: Sequence[Question]
) -> DecisionPrompts:
    """The prompts of all questions, cut where they begin to differ. Photos are processed only once."""
    from transformers.decision import label_token_ids

    parsed = _parse_questions(loaded, state, questions)
    texts = [_render(loaded, question, state, images) for question in parsed]
    first = prompt_of(loaded, texts[0].prompt, images)
    prompts = [first.tokens, *_tokenize_others(loaded, first, texts, images)]
    shortest = min(map(len, prompts)) - 1  # every suffix keeps a token, whose logits are the answer
    equal = np.all([tokens[:shortest] == prompts[0][:shortest] for tokens in prompts], axis=0)
    length = shortest if equal.all() else int(np.argmin(equal))
    if np.any(first.tokens[length:] == first.image_token):
        raise Invalid("This model's template puts the questions before the photos.", field="questions")
    labels = [label_token_ids(loaded.tokenizer, tuple(question.labels)) for question in parsed]
    return DecisionPrompts(first.head(length), [tokens[length:] for tokens in prompts], labels)


@dataclass(frozen=True)
class _Text:
    """A prompt in the model's template, and the part of it after the photos."""

    prompt: str
    tail: str


def _parse_questions(loaded: LoadedModel, state: str, questions: Sequence[Question]) -> list[Any]:
    """The questions in the pipeline's form, in order."""
    from transformers.decision import DecisionConfig, parse_questions

    request = _pipeline_request(loaded.without_control_tokens(state), (), questions)
    return list(parse_questions(request["questions"], DecisionConfig()))


def _render(loaded: LoadedModel, question: Any, state: str, images: Sequence[Any]) -> _Text:
    """The pipeline's prompt for one question, with the photos before the text."""
    state = _pipeline_request(loaded.without_control_tokens(state), images, ())["state"]
    text = _template().render(state=state, question=question)
    content: list[dict[str, Any]] = []
    for number in range(1, len(images) + 1):
        before, text = text.split(f"<photo {number}>", 1)
        content += [{"type": "text", "text": before}] if before else []
        content.append({"type": "image"})
    content.append({"type": "text", "text": text})
    prompt = rendered(loaded, [{"role": "user", "content": content}])
    start = prompt.rfind(text)
    return _Text(prompt, prompt[start:] if start >= 0 else "")


@cache
def _template() -> Any:
    """The pipeline's prompt template. Compiling it takes longer than small models take to answer."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from transformers.decision import DECISION_PROMPT

    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(DECISION_PROMPT)


def _tokenize_others(
    loaded: LoadedModel, first: Prompt, texts: Sequence[_Text], images: Sequence[Any]
) -> Iterator[np.ndarray]:
    """The tokens of the prompts after the first. Only their text after the photos is tokenized, provided that doing so
    gives the first prompt's tokens."""
    first_text, *others = texts
    with loaded.processing:
        first_tail, *tails = [loaded.tokenizer(text.tail, add_special_tokens=False)["input_ids"] for text in texts]
    head = first_text.prompt.removesuffix(first_text.tail)
    is_separable = bool(first_tail) and first.tokens[-len(first_tail) :].tolist() == first_tail
    for other, tail in zip(others, tails, strict=True):
        if is_separable and other.tail and other.prompt.removesuffix(other.tail) == head:
            yield np.concatenate([first.tokens[: -len(first_tail)], np.asarray(tail, dtype=np.int64)])
        else:
            yield prompt_of(loaded, other.prompt, images).tokens


def by_pipeline(
    loaded: LoadedModel, state: str, images: Sequence[Any], questions: Sequence[Question]
) -> list[list[float]]:
    """The same with transformers' own pipeline, one forward pass for each question: for models that cannot be batched,
    and as the reference for those that can."""
    from transformers.decision import DecisionConfig
    from transformers.pipelines.decision import DecisionPipeline

    class Pipeline(DecisionPipeline):  # type: ignore[misc]  # transformers ships no types
        """The decision pipeline, but with pixels in the model's precision, which not every architecture converts to."""

        def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
            prompts = super().preprocess(request)["prompts"]
            return {"prompts": [(to_model(loaded, inputs), question) for inputs, question in prompts]}

    # We remove control tokens from the state ourselves: the pipeline's way loses the photo's token offsets, which
    # Idefics3's processor needs.
    pipeline = Pipeline(
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        processor=loaded.processor,
        decision_config=DecisionConfig(sanitize_control_tokens=False),
    )
    answers = pipeline(_pipeline_request(loaded.without_control_tokens(state), images, questions))
    return [_pipeline_probabilities(question, answers[str(number)]) for number, question in enumerate(questions)]


def _pipeline_request(state: str, images: Sequence[Any], questions: Sequence[Question]) -> dict[str, Any]:
    """The pipeline's input. The photos' placeholders come before the text."""
    assets = {f"<photo {number}>": image for number, image in enumerate(images, start=1)}
    for placeholder in assets:
        state = state.replace(placeholder, "")
    by_key = {str(number): pipeline_question(question) for number, question in enumerate(questions)}
    return {"state": "\n".join([*assets, state]), "questions": by_key, **({"assets": assets} if assets else {})}


def pipeline_question(question: Question) -> dict[str, Any]:
    """A question in the pipeline's form, which calls yes or no "noul"."""
    descriptions = question.descriptions or ("",) * len(question.options)
    if question.kind == "score":
        levels = [description or option for description, option in zip(descriptions, question.options, strict=True)]
        return {"type": "score", "instructions": question.text, "criteria": levels}
    if _is_yes_no(question):
        meaning = dict(zip(question.options, descriptions, strict=True))
        criteria = {"true": meaning["yes"] or None, "false": meaning["no"] or None}
        return {"type": "noul", "instructions": question.text, "criteria": criteria}
    criteria = {option: text or None for option, text in zip(question.options, descriptions, strict=True)}
    return {"type": "choice", "instructions": question.text, "criteria": criteria}


def _pipeline_probabilities(question: Question, answer: Mapping[str, Any]) -> list[float]:
    """The pipeline's answer in the order of `_pipeline_options`."""
    if answer["type"] == "noul":
        return [answer["noul"], 1 - answer["noul"]]
    if answer["type"] == "score":
        return [answer["probabilities"][str(level)] for level in range(len(question.options))]
    return [answer["probabilities"][option] for option in question.options]


def _pipeline_options(question: Question) -> Sequence[str]:
    """The options in the pipeline's order: as given, but yes before no."""
    return ("yes", "no") if _is_yes_no(question) else question.options


def _is_yes_no(question: Question) -> bool:
    return question.kind == "yes_no" and set(question.options) == {"yes", "no"}
