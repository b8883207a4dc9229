"""Typed decisions: a probability for every option of every question, from the model's own next-token probabilities.

The state of affairs, ticket and photos, is read once, and all questions branch from there in one batch; the prompts are
those of transformers' decision pipeline, and so are the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from string import ascii_uppercase
from typing import Any

import numpy as np

from assistant.engine.batching.chat_model import open_image
from assistant.engine.batching.engine import Engine
from assistant.engine.batching.prompt import Prompt, prompt_of, rendered, to_model
from assistant.engine.batching.work import Branches
from assistant.engine.loader import LoadedModel
from assistant.errors import Invalid
from assistant.ports import Decision, Question

MOST_OPTIONS = len(ascii_uppercase)


class EngineDecisions:
    """A `DecisionModel` on the engine in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        """Raises `Invalid` for questions that cannot be asked, else what the engine raises."""
        check_questions(questions)
        if not questions:
            return []
        images = [open_image(photo) for photo in photos]
        found = self._engine.decide(
            lambda loaded: branches(loaded, state, images, questions),
            lambda loaded: by_pipeline(loaded, state, images, questions),
        )
        return [_decision(question, scores) for question, scores in zip(questions, found, strict=True)]


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


def branches(loaded: LoadedModel, state: str, images: Sequence[Any], questions: Sequence[Question]) -> Branches:
    """The prompts of all questions, photos turned into pixels once, cut where they begin to differ."""
    from transformers.decision import label_token_ids

    asked = _asked_of(loaded, state, questions)
    texts = [_question_text(loaded, question, state, images) for question in asked]
    whole = prompt_of(loaded, texts[0].prompt, images)
    prompts = [whole.tokens, *_tokens_like(loaded, whole, texts, images)]
    shortest = min(map(len, prompts)) - 1  # each keeps one token at least: what comes after it is the answer
    alike = np.all([tokens[:shortest] == prompts[0][:shortest] for tokens in prompts], axis=0)
    length = shortest if alike.all() else int(np.argmin(alike))
    if np.any(whole.tokens[length:] == whole.image_token):
        raise Invalid("The questions begin before the photos.", field="questions")
    labels = [label_token_ids(loaded.tokenizer, tuple(question.labels)) for question in asked]
    return Branches(whole.head(length), [tokens[length:] for tokens in prompts], labels)


@dataclass(frozen=True)
class _Text:
    """A prompt in the model's template, and the part of it behind the photos."""

    prompt: str
    tail: str


def _asked_of(loaded: LoadedModel, state: str, questions: Sequence[Question]) -> list[Any]:
    """The questions in the pipeline's form, in order."""
    from transformers.decision import DecisionConfig, parse_questions

    request = _request(loaded.without_control_tokens(state), (), questions)
    return list(parse_questions(request["questions"], DecisionConfig()))


def _question_text(loaded: LoadedModel, question: Any, state: str, images: Sequence[Any]) -> _Text:
    """What the pipeline would ask: its prompt, with the photos before the text."""
    told = _request(loaded.without_control_tokens(state), images, ())["state"]
    text = _template().render(state=told, question=question)
    content: list[dict[str, Any]] = []
    for number in range(1, len(images) + 1):
        before, text = text.split(f"<photo {number}>", 1)
        content += [{"type": "text", "text": before}] if before else []
        content.append({"type": "image"})
    content.append({"type": "text", "text": text})
    prompt = rendered(loaded, [{"role": "user", "content": content}])
    place = prompt.rfind(text)
    return _Text(prompt, prompt[place:] if place >= 0 else "")


@cache
def _template() -> Any:
    """The pipeline's prompt, compiled once: that takes longer than small models take to answer."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from transformers.decision import DECISION_PROMPT

    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(DECISION_PROMPT)


def _tokens_like(
    loaded: LoadedModel, whole: Prompt, texts: Sequence[_Text], images: Sequence[Any]
) -> Iterator[np.ndarray]:
    """The tokens of the prompts after the first, which is ``whole``. Their photos are those of the first one: only the
    text behind them is tokenized, if tokens of the first one show that this may be done."""
    first, *others = texts
    with loaded.processing:
        known, *tails = [loaded.tokenizer(text.tail, add_special_tokens=False)["input_ids"] for text in texts]
    start = first.prompt.removesuffix(first.tail)
    can = bool(known) and whole.tokens[-len(known) :].tolist() == known
    for other, tail in zip(others, tails, strict=True):
        if can and other.tail and other.prompt.removesuffix(other.tail) == start:
            yield np.concatenate([whole.tokens[: -len(known)], np.asarray(tail, dtype=np.int64)])
        else:
            yield prompt_of(loaded, other.prompt, images).tokens


def by_pipeline(
    loaded: LoadedModel, state: str, images: Sequence[Any], questions: Sequence[Question]
) -> list[list[float]]:
    """The same by transformers' pipeline, one forward pass a question: for models that cannot be run in a batch, and
    what the others are compared with."""
    from transformers.decision import DecisionConfig
    from transformers.pipelines.decision import DecisionPipeline

    class Pipeline(DecisionPipeline):  # type: ignore[misc]  # transformers ships no types
        """The decision pipeline; pixels are put into the model's precision, which not every architecture does."""

        def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
            prompts = super().preprocess(request)["prompts"]
            return {"prompts": [(to_model(loaded, inputs), asked) for inputs, asked in prompts]}

    # We take control tokens out of the state ourselves: the pipeline's way of doing it loses the photo's token
    # offsets that Idefics3's processor needs.
    pipeline = Pipeline(
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        processor=loaded.processor,
        decision_config=DecisionConfig(sanitize_control_tokens=False),
    )
    answers = pipeline(_request(loaded.without_control_tokens(state), images, questions))
    return [_scores(question, answers[str(number)]) for number, question in enumerate(questions)]


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


def _scores(question: Question, answer: Mapping[str, Any]) -> list[float]:
    """The pipeline's answer as `branches` orders it: options as they stand, yes before no."""
    if answer["type"] == "noul":
        return [answer["noul"], 1 - answer["noul"]]
    if answer["type"] == "score":
        return [answer["probabilities"][str(level)] for level in range(len(question.options))]
    return [answer["probabilities"][option] for option in question.options]


def _decision(question: Question, scores: Sequence[float]) -> Decision:
    options = ("yes", "no") if _is_yes_no(question) else question.options
    return normalised(question, dict(zip(options, scores, strict=True)))


def _is_yes_no(question: Question) -> bool:
    return question.kind == "yes_no" and set(question.options) == {"yes", "no"}


def normalised(question: Question, weights: Mapping[str, float]) -> Decision:
    """Over the question's own options, none of them impossible."""
    some = {option: max(float(weights[option]), 1e-9) for option in question.options}
    total = sum(some.values())
    return Decision(question.key, {option: weight / total for option, weight in some.items()})
