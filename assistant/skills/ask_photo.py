"""A question about one photo, answered from what was read in it, or by a model that looks; else it cannot be told.

What the question asks for is recognised by its meaning (`photo_questions`). Fields of the evidence answer for
themselves, and text answers for what is printed beside a label (`printed`). Only what neither can answer is asked of a
model, where one sees photos; what it says is checked as a caption is, and its place is the one that it names. Text in a
photo is data: where it diverts the model, the model is not asked, and one that is not tried on it is not told it.
Nothing is said below `LEAST`: silence is better than a wrong answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import structlog

from assistant.media.turning import turned
from assistant.ports import Box, Capabilities, Question, TextLine
from assistant.skills import photo_questions, printed, prompts
from assistant.skills.photo_questions import SOMETHING_ELSE
from assistant.skills.read_photo import CANNOT_TELL, DIFFERENT, PhotoEvidence, Reading, ask_model, json_of
from assistant.skills.screening import screen_by
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy
from assistant.skills.verbatim import holds
from assistant.text.clusters import shorten
from assistant.text.folding import fold
from assistant.text.identifiers import spot

log = structlog.get_logger(__name__)

LONGEST_QUESTION = 300
# Probability from which an answer is given: of those below, more than one in ten is wrong.
LEAST = 0.6
_LONGEST_TEXT, _LONGEST_ANSWER = 600, 300
_ANSWER_TOKENS = 160
_MOST_REGIONS = 40
_NUMBERS = re.compile(r"\d{3,}")
_UNASKED = "not a yes-or-no question"


class AnsweredBy(StrEnum):
    TEXT = "text in the photo"
    READING = "what was read"
    PRODUCTS = "own products"
    MODEL = "model"


class Silence(StrEnum):
    """Why nothing can be told."""

    NEEDS_EYES = "needs_eyes"  # only a look at the photo answers that, and no model that looks is installed
    NOT_THERE = "not_there"  # nothing of the kind was read in the photo
    UNSURE = "unsure"
    ORDERS = "orders"  # text in the photo gives orders to a model
    FAILED = "failed"  # the model did


@dataclass(frozen=True)
class PhotoAnswer:
    """``text`` is `CANNOT_TELL` with a ``silence``. ``confidence``: the probability that it is right, of what cannot be
    told 0; None of what a model wrote that decides nothing, as nobody knows it. ``asks``: what the question was taken
    for; ``model``: which one answered."""

    text: str
    confidence: float | None
    asks: str
    regions: tuple[Box, ...] = ()
    by: AnsweredBy | None = None
    model: str = ""
    silence: Silence | None = None


def ask_photo(
    question: str,
    evidence: PhotoEvidence,
    *,
    photo: Callable[[], bytes] | None,
    capabilities: Capabilities,
    taxonomy: Taxonomy,
) -> PhotoAnswer:
    """``photo``: loads the normalised photo, if a model has to look; what that raises is raised, what a model raises
    never is."""
    likely = photo_questions.asked_for(question, capabilities)
    asks = max(likely, key=lambda name: likely[name])
    read = _from_evidence(question, asks, evidence, taxonomy)
    if read is not None:
        read = replace(read, confidence=_sure(read) * likely[asks])
    if _sure(read) < LEAST and asks not in _FIELDS:
        named = _by_own_words(question, evidence)
        read = max(filter(None, (read, named)), key=_sure, default=None)
    if read is not None and _sure(read) >= LEAST:
        return replace(read, asks=asks)
    if photo is None or not _looks(capabilities):
        why = Silence.UNSURE if read is not None else _without_eyes(asks, likely[asks])
        return PhotoAnswer(CANNOT_TELL, 0.0, asks, silence=why)
    return _by_model(question, asks, evidence, photo(), capabilities)


def _sure(read: PhotoAnswer | None) -> float:
    return (read.confidence or 0.0) if read is not None else 0.0


def _without_eyes(asks: str, likely: float) -> Silence:
    if asks == SOMETHING_ELSE or likely < LEAST:
        return Silence.NEEDS_EYES
    return Silence.NOT_THERE


def _from_evidence(question: str, asks: str, evidence: PhotoEvidence, taxonomy: Taxonomy) -> PhotoAnswer | None:
    if asks in _FIELDS:
        found = _FIELDS[asks](question, evidence, taxonomy)
        if found is not None or asks not in printed.KINDS:
            return found
    if asks in printed.KINDS:
        return _of_value(printed.find(asks, upright(evidence)), evidence)
    return _of_value(printed.heading(upright(evidence)), evidence) if asks == "heading" else None


def _by_own_words(question: str, evidence: PhotoEvidence) -> PhotoAnswer | None:
    return _of_value(printed.beside_words(question, upright(evidence)), evidence)


def upright(evidence: PhotoEvidence) -> list[TextLine]:
    """The visible text as it stands once the photo is turned upright."""
    turn = evidence.turn
    if not turn:
        return list(evidence.visible_text)
    return [replace(line, box=line.box.turned_back(360 - turn)) for line in evidence.visible_text]


def _of_value(value: printed.Value | None, evidence: PhotoEvidence) -> PhotoAnswer | None:
    if value is None:
        return None
    boxes = tuple(box.turned_back(evidence.turn) for box in value.boxes)
    return PhotoAnswer(value.text, value.confidence, "", boxes, AnsweredBy.TEXT)


def _product(_question: str, evidence: PhotoEvidence, taxonomy: Taxonomy) -> PhotoAnswer | None:
    reading = evidence.product
    if reading.value in (CANNOT_TELL, NO_PRODUCT):
        return None
    in_text = reading.region is not None and any(line.box == reading.region for line in evidence.visible_text)
    by = AnsweredBy.PRODUCTS if reading.reference else AnsweredBy.TEXT if in_text else AnsweredBy.READING
    return _of_reading(reading, taxonomy.product_name(reading.value), by)


def _lights(question: str, evidence: PhotoEvidence, _taxonomy: Taxonomy) -> PhotoAnswer | None:
    """All lights, or the one that the question counts to."""
    reading = evidence.lights
    if reading is None or reading.value in (CANNOT_TELL, DIFFERENT):
        return None
    answer = _of_reading(reading, reading.value)
    number = ordinal(question)
    if number is None:
        return answer
    lights = evidence.each_light
    if not -len(lights) <= number < len(lights):
        return None
    light = lights[number]
    return replace(answer, text=light.colour, regions=(light.box,) if light.box is not None else answer.regions)


def _orientation(_question: str, evidence: PhotoEvidence, _taxonomy: Taxonomy) -> PhotoAnswer | None:
    if evidence.orientation is not None:
        return _of_reading(evidence.orientation, evidence.orientation.value)
    if not evidence.visible_text:  # a direction is known by text alone
        return None
    return PhotoAnswer("upright", _mean_of(evidence.visible_text), "", (), AnsweredBy.READING)


def _text(_question: str, evidence: PhotoEvidence, _taxonomy: Taxonomy) -> PhotoAnswer | None:
    lines = [line for line in evidence.visible_text if line.text.strip()]
    if not lines:
        return None
    text, regions = shorten("\n".join(line.text for line in lines), _LONGEST_TEXT), [line.box for line in lines]
    return PhotoAnswer(text, _mean_of(lines), "", tuple(regions[:_MOST_REGIONS]), AnsweredBy.TEXT)


def _plainly(name: str) -> Callable[[str, PhotoEvidence, Taxonomy], PhotoAnswer | None]:
    """Of a field whose value is the answer."""

    def answer(_question: str, evidence: PhotoEvidence, _taxonomy: Taxonomy) -> PhotoAnswer | None:
        reading: Reading | None = getattr(evidence, name)
        if reading is None or reading.value == CANNOT_TELL:
            return None
        in_text = name in ("total", "date", "order")
        return _of_reading(reading, reading.value, AnsweredBy.TEXT if in_text else AnsweredBy.READING)

    return answer


_FIELDS: dict[str, Callable[[str, PhotoEvidence, Taxonomy], PhotoAnswer | None]] = {
    "product": _product,
    "lights": _lights,
    "orientation": _orientation,
    "text": _text,
    **{name: _plainly(name) for name in ("condition", "total", "date", "order", "quality")},
}


def _of_reading(reading: Reading, text: str, by: AnsweredBy = AnsweredBy.READING) -> PhotoAnswer:
    regions = reading.parts or tuple(filter(None, [reading.region]))
    return PhotoAnswer(text, reading.confidence, "", regions, by)


def _mean_of(lines: Sequence[TextLine]) -> float:
    return sum(line.confidence for line in lines) / len(lines)


# First to sixth and last, folded: beginnings of words in the languages that count so.
_ORDINALS = (
    "first erst premier primer prim eerst pierwsz birinci",
    "second zweit deuxiem segund second tweed drug ikinci",
    "third dritt troisiem tercer terz derd trzeci ucuncu terceir",
    "fourth viert quatriem cuart quart vierd czwart dorduncu",
    "fifth funft cinquiem quint vijfd piat besinci",
    "sixth sechst sixiem sext sest zesd szost altinci",
)
_LAST = "last letzt dernier ultim laatst ostatni son".split()
_COUNTED = re.compile(
    r"(?<![\d.,-])([1-9])(?:st|nd|rd|th|\.(?=\s*\w)|e\b|er\b|eme\b|º|ª|°|o\b|a\b|番|つ目|个|個)|第\s*([1-9一二三四五六])"
)


def ordinal(question: str) -> int | None:
    """Which of several things is meant, from 0, -1 for the last; None if the question does not count."""
    folded = fold(question)
    match = _COUNTED.search(folded)
    if match is not None:
        digit = match.group(1) or match.group(2)
        return int(digit) - 1 if digit.isdigit() else "一二三四五六".index(digit)
    for word in re.findall(r"[^\W\d_]{3,}", folded):
        for number, beginnings in enumerate(_ORDINALS):
            if word.startswith(tuple(beginnings.split())):
                return number
        if word.startswith(tuple(_LAST)):
            return -1
    return None


def _looks(capabilities: Capabilities) -> bool:
    """Whether a model can be asked anything about a photo. The small one knows the questions that it was trained on."""
    asks = capabilities.decisions is not None or capabilities.writes_answers
    return asks and capabilities.sees_photos and capabilities.sight is None


# What a model says: the answer, how likely that is right if anybody knows, and where in the photo it is.
_Said = tuple[str, float | None, tuple[Box, ...]]
_NOTHING: _Said = ("", 0.0, ())


def _by_model(
    question: str, asks: str, evidence: PhotoEvidence, photo: bytes, capabilities: Capabilities
) -> PhotoAnswer:
    try:
        screen = screen_by(capabilities)
        if screen is not None and evidence.text and screen.orders_among([evidence.text]):
            return PhotoAnswer(CANNOT_TELL, 0.0, asks, silence=Silence.ORDERS)
        seen = turned(photo, evidence.turn) if evidence.turn else photo
        # Without a screen nobody knows what the text would have the model decide, so that is not told what was read.
        said = _decided(question, evidence.text if screen is not None else "", seen, capabilities)
        if said is None:
            said = _written(question, evidence, seen, capabilities) if capabilities.writes_answers else _NOTHING
    except Exception as error:
        log.warning("ask_photo.model_failed", error=type(error).__name__)
        return PhotoAnswer(CANNOT_TELL, 0.0, asks, silence=Silence.FAILED)
    text, sure, regions = said
    if not text or (sure is not None and sure < LEAST):
        return PhotoAnswer(CANNOT_TELL, 0.0, asks, silence=Silence.UNSURE)
    places = tuple(box.turned_back(evidence.turn) for box in regions)
    return PhotoAnswer(text, sure, asks, places, AnsweredBy.MODEL, capabilities.model)


def _decided(question: str, text: str, photo: bytes, capabilities: Capabilities) -> _Said | None:
    """Yes or no with its probability, as a typed decision; None for questions that ask for something else, and "" if
    the model cannot tell. A decision has no place."""
    if capabilities.decisions is None:
        return None
    options = ("yes", "no", CANNOT_TELL, _UNASKED)
    typed = Question("answer", question, options)
    decision = capabilities.decisions.decide(text, [photo], [typed])[0]
    if decision.best == _UNASKED:
        return None
    return ("" if decision.best == CANNOT_TELL else decision.best), decision.probability, ()


def _written(question: str, evidence: PhotoEvidence, photo: bytes, capabilities: Capabilities) -> _Said:
    """What the model writes, if that may be said, with the place that it names; and, if it decides, how likely it says
    itself that this is right."""
    prompt = prompts.render("ask_photo.j2", question=question, visible_text=evidence.text)
    reply = json_of(ask_model(prompt, photo, capabilities, tokens=_ANSWER_TOKENS))
    answer = reply.get("answer")
    if not isinstance(answer, str) or not 1 <= len(answer.strip()) <= _LONGEST_ANSWER:
        return _NOTHING
    text = " ".join(answer.split())
    # Numbers that no text reader found would be made up, and what a photo orders the model to write is no answer.
    numbers = set(_NUMBERS.findall(text)) <= set(_NUMBERS.findall(evidence.text))
    is_read = numbers and set(spot(text)) <= set(evidence.codes)
    if fold(text) == CANNOT_TELL or not is_read or not holds(text, evidence.text):
        return _NOTHING
    if capabilities.decisions is None:
        return text, None, _place_in(reply)
    check = Question("right", f"Is “{text}” the right answer to “{question}”?", ("yes", "no"), kind="yes_no")
    decision = capabilities.decisions.decide(evidence.text, [photo], [check])[0]
    return text, decision.probabilities["yes"], _place_in(reply)


def _place_in(reply: Mapping[str, Any]) -> tuple[Box, ...]:
    """The box that a model names, in thousandths of the photo, if it is one."""
    edges = reply.get("box")
    if not isinstance(edges, list) or len(edges) != 4 or not all(type(edge) in (int, float) for edge in edges):
        return ()
    left, top, right, bottom = edges
    if not (0 <= left < right <= 1000 and 0 <= top < bottom <= 1000):
        return ()
    return (Box(left / 1000, top / 1000, right / 1000, bottom / 1000),)
