"""Reading a photo into evidence: caption, visible text, product, lights, condition, quality, each with a confidence.

Without a vision model, OCR reads the text, quality and lights that shine are found in the pixels, own products and
their conditions by photos that were learned; everything else is "cannot tell".
A model that decides adds product, lights and condition as typed decisions; one that writes also writes the caption. The
small model uses its own sight instead, and says nothing about photos unlike those it was trained on. Nobody can tell
colours in a grey photo, or an order if it is unknown which side is up: there, nothing is said of them.
Model output is checked and falls back to what OCR read. A failing model never makes reading fail: the evidence is then
OCR's alone, and marked so (`PhotoEvidence.whole`). A photo whose text OCR cannot read says so in its caption.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from assistant.errors import AssistantError, EngineBusy, EngineFailed, EngineTimeout, NotReady
from assistant.media.colour import has_colours
from assistant.media.origin import origin_of
from assistant.media.quality import assess_quality
from assistant.media.turning import turned
from assistant.ports import (
    OCR,
    Box,
    Capabilities,
    DecisionModel,
    Look,
    Question,
    Recognised,
    Seen,
    Sought,
    TextLine,
    image_block,
)
from assistant.skills import prompts
from assistant.skills.lights import label_of, lights_in
from assistant.skills.receipt import Printed, receipt_of
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy
from assistant.skills.verbatim import holds
from assistant.text.clusters import shorten
from assistant.text.identifiers import spot

log = structlog.get_logger(__name__)

CANNOT_TELL = "cannot tell"
CONDITIONS = ("intact", "damaged", "leaking", "fault light or code", CANNOT_TELL)
DIFFERENT = "different"
FAULTS = ("red", "amber")
# What says that nothing is wrong.
SOUND = ("intact", "part present", "ok")
LIGHTS = ("green", "red", "amber", "blue", "white", "off", DIFFERENT, CANNOT_TELL)
CONDITION_QUESTION = Question("condition", "In which condition is what the photo shows?", CONDITIONS)
LIGHTS_QUESTION = Question("lights", "What colour is the light?", LIGHTS)
CAPTION_TEXT = 160
# How a caption begins that is made of text alone, and how others quote text.
_A_PHOTO, _QUOTED = "A photo", "; text: "
# Enough for a caption as JSON.
_CAPTION_TOKENS = 120
_LEAST_CONFIDENCE = 0.5
# A product named in the photo is read, not guessed, but OCR can be wrong.
_NAMED = 0.95


FIELDS = (
    "caption", "product", "lights", "condition", "total", "date", "order", "quality", "orientation", "frames"
)  # fmt: skip
# By how many degrees a photo must be turned clockwise to be upright, in words.
_ORIENTATIONS = {90: "turned left", 180: "upside down", 270: "turned right"}


@dataclass(frozen=True)
class Reading:
    """One field of the evidence. ``region`` is its place in the photo, if known, and ``heat`` a map of attention: rows
    of digits from 0 (none) to 9. ``parts`` has a region for each of several things, such as lights. ``reference``:
    sha256 of the reference photo that a product, or its condition, rests on. ``labels``: what is
    written beside each of the lights, if anything. ``composed``: of a caption that is made of the other fields, what it
    says beyond them, by code (``thing``, ``damage``, ``trouble``); None if somebody wrote it."""

    value: str
    confidence: float
    region: Box | None = None
    heat: tuple[str, ...] = ()
    parts: tuple[Box, ...] = ()
    reference: str = ""
    labels: tuple[str, ...] = ()
    composed: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Light:
    """``label``: what is written beside it. ``box``: its place, else that of all lights, if known."""

    colour: str
    label: str
    box: Box | None


@dataclass(frozen=True)
class PhotoEvidence:
    caption: Reading
    product: Reading
    condition: Reading
    quality: Reading
    visible_text: tuple[TextLine, ...] = ()
    lights: Reading | None = None  # None if nobody sees any
    total: Reading | None = None  # of a receipt, as printed; None for anything else
    date: Reading | None = None
    order: Reading | None = None  # the number of the order, else of the receipt or invoice
    orientation: Reading | None = None  # guessed from the text; None if that is upright, or if there is none
    frames: Reading | None = None  # those of an animation that were looked at
    whole: bool = True  # False if the model failed on this photo; not stored

    @property
    def shown_product(self) -> str | None:
        """The key of the product that the photo shows, if that is more likely than not."""
        known = self.product.value not in (CANNOT_TELL, NO_PRODUCT) and self.product.confidence >= 0.5
        return self.product.value if known else None

    @property
    def codes(self) -> list[str]:
        """Canonical identifiers in the visible text."""
        return spot(self.text)

    @property
    def turn(self) -> int:
        """By how many degrees the photo must be turned clockwise to be upright."""
        lies = self.orientation.value if self.orientation is not None else ""
        return next((degrees for degrees, words in _ORIENTATIONS.items() if words == lies), 0)

    @property
    def text(self) -> str:
        """The visible text, line by line."""
        return "\n".join(line.text for line in self.visible_text)

    @property
    def shows(self) -> str:
        """Lights and faults that were seen, worded as in articles; empty if there are none."""
        seen = [] if self.condition.value in (CANNOT_TELL, CONDITIONS[0]) else [self.condition.value]
        if self.lights is not None and self.lights.value not in (CANNOT_TELL, DIFFERENT):
            seen.append(f"light {self.lights.value}" if self.lights.value == "off" else f"{self.lights.value} light")
        return ", ".join(seen)

    def as_text(self) -> str:
        """What the photo shows, as text, for triage; empty if nothing was found in it. The caption's quotation of the
        text is left out: what is said twice outweighs what the customer says. Untrusted: a photo can contain any
        text."""
        parts = [self._thing]
        parts += [self.condition.value] if self.condition.value not in (CANNOT_TELL, *SOUND) else []
        if self.lights is not None and self.lights.value != CANNOT_TELL:
            labelled = [f"; {one.label} {one.colour}" for one in self.each_light if one.label]
            parts.append(f"lights: {self.lights.value}" + "".join(labelled))
        return "\n".join(part for part in (*parts, self.text) if part)

    @property
    def _thing(self) -> str:
        """The caption without the text that it quotes; of a photo of which nothing else is known, what it is of."""
        if self.caption.composed is None:
            return self.caption.value
        if not self.caption.value.startswith(_A_PHOTO):
            return self.caption.value.partition(_QUOTED)[0]
        return "A receipt" if self.total is not None else ""

    @property
    def each_light(self) -> list[Light]:
        """The lights one by one, in order."""
        reading = self.lights
        if reading is None or reading.value == CANNOT_TELL:
            return []
        colours = reading.value.split(", ")
        if len(colours) == 1:
            colours *= max(len(reading.parts), len(reading.labels), 1)
        places = reading.parts if len(reading.parts) == len(colours) else (reading.region,) * len(colours)
        labels = (*reading.labels, *[""] * len(colours))
        return [Light(*one) for one in zip(colours, labels, places, strict=False)]

    def to_fields(self) -> dict[str, Any]:
        readings = {name: getattr(self, name) for name in FIELDS}
        return {name: _reading_json(reading) for name, reading in readings.items() if reading is not None}

    def visible_text_json(self) -> list[dict[str, Any]]:
        return [
            {"text": line.text, "confidence": round(line.confidence, 4), "region": _region(line.box)}
            for line in self.visible_text
        ]

    @classmethod
    def from_json(cls, fields: dict[str, Any], visible_text: list[dict[str, Any]]) -> PhotoEvidence:
        readings: dict[str, Any] = {name: _reading(field) for name, field in fields.items()}
        lines = tuple(
            TextLine(line["text"], line["confidence"], _box(line["region"]) or Box(0, 0, 1, 1)) for line in visible_text
        )
        return cls(**readings, visible_text=lines)


def read_photo(photo: bytes, *, capabilities: Capabilities, taxonomy: Taxonomy) -> PhotoEvidence:
    """Everything this installation can read in a normalised photo; only what OCR reads if the model fails."""
    evidence = _by_ocr(photo, capabilities, taxonomy)
    try:
        return _by_model(evidence, photo, capabilities, taxonomy)
    except Exception as error:
        if not isinstance(error, AssistantError):
            log.warning("read_photo.model_failed", error=type(error).__name__)
        return replace(evidence, whole=False)


def confident_lines(photo: bytes, ocr: OCR | None) -> tuple[TextLine, ...]:
    """The text of a photo that evidence keeps."""
    return _confident(_lines(photo, ocr)[0])


def product_question(taxonomy: Taxonomy) -> Question:
    """Which of the company's products the photo shows, with "none of these" as an option. Those that were learned are
    told by their photos."""
    keys = (*(product.key for product in taxonomy.of_file), NO_PRODUCT)
    names = (*(product.description or product.name for product in taxonomy.of_file), "none of these")
    return Question("product", "Which product does the photo show?", keys, names)


def _by_ocr(photo: bytes, capabilities: Capabilities, taxonomy: Taxonomy) -> PhotoEvidence:
    found, trouble = _lines(photo, capabilities.ocr)
    lines = _confident(found)
    if any(not line.text for line in found):
        trouble = _Trouble("partly", "Part of it could not be read.")
    receipt = receipt_of(lines)
    product, condition, lights = _product_from(lines, taxonomy, photo, capabilities)
    return PhotoEvidence(
        caption=caption_from(lines, trouble),
        product=product,
        condition=condition,
        lights=lights,
        quality=Reading(*assess_quality(photo)),
        visible_text=lines,
        total=_printed(receipt.total),
        date=_printed(receipt.date),
        order=_printed(receipt.order),
        orientation=_orientation(lines),
        frames=_frames(photo),
    )


@dataclass(frozen=True)
class _Trouble:
    """Why text is missing, as a code and in words."""

    code: str
    words: str


def _lines(photo: bytes, ocr: OCR | None) -> tuple[list[TextLine], _Trouble | None]:
    """What OCR reads, and why that is nothing if it fails. Raises what passes by itself: a later try may succeed."""
    if ocr is None:
        return [], _Trouble("no_ocr", "It was not read: no OCR is installed.")
    try:
        return ocr.read(photo), None
    except (EngineBusy, EngineTimeout, NotReady):
        raise
    except AssistantError as error:
        return [], _Trouble("unread", f"Its text could not be read. {error.message}")
    except Exception as error:
        log.warning("read_photo.ocr_failed", error=type(error).__name__)  # its message may quote the photo
        return [], _Trouble("unread", "Its text could not be read.")


def _confident(lines: Sequence[TextLine]) -> tuple[TextLine, ...]:
    return tuple(line for line in lines if line.confidence >= _LEAST_CONFIDENCE)


def _printed(number: Printed | None) -> Reading | None:
    return Reading(number.value, number.confidence, number.box) if number is not None else None


def _orientation(lines: Sequence[TextLine]) -> Reading | None:
    """How the photo lies, if its text is not upright."""
    if not lines or lines[0].turn not in _ORIENTATIONS:
        return None
    return Reading(_ORIENTATIONS[lines[0].turn], sum(line.confidence for line in lines) / len(lines))


def _frames(photo: bytes) -> Reading | None:
    origin = origin_of(photo)
    if not origin.shown:
        return None
    *first, last = map(str, origin.shown)
    shown = f"{', '.join(first)} and {last}" if first else last
    total = f"more than {origin.frames}" if origin.goes_on else str(origin.frames)
    return Reading(f"{shown} of {total} frames of an animation", 1.0)


def _by_model(evidence: PhotoEvidence, photo: bytes, capabilities: Capabilities, taxonomy: Taxonomy) -> PhotoEvidence:
    """The evidence with what the model, if any, adds to OCR's: it sees the photo upright. Raises an `AssistantError` if
    the model fails."""
    if not capabilities.sees_photos:
        return _by_pixels(evidence, photo)
    turn, upright = evidence.turn, photo
    if turn:
        photo = turned(photo, turn)
    if capabilities.sight is not None:
        look = capabilities.sight.look(photo)
        if not look.seen.familiar:
            return _by_pixels(evidence, upright)
        seen = _claimable(look.seen, photo, evidence)
        evidence = _by_sight(evidence, seen, taxonomy)
        if look.seen.lights and not seen.lights and evidence.condition.value == "intact":
            evidence = replace(evidence, condition=Reading(CANNOT_TELL, 1.0))  # one of them may be a fault light
        return _locate(evidence, look, turn)
    if capabilities.decisions is None:
        evidence = _by_pixels(evidence, upright)
    else:
        evidence = _by_decisions(evidence, photo, capabilities.decisions, taxonomy)
    return _with_caption(evidence, photo, capabilities) if capabilities.writes_answers else evidence


def _by_pixels(evidence: PhotoEvidence, photo: bytes) -> PhotoEvidence:
    """The evidence with lights that shine in the pixels, of whatever device, unless references have told them."""
    if evidence.lights is not None:
        return evidence
    upright = () if evidence.turn else evidence.visible_text
    known = evidence.product.value != CANNOT_TELL
    found = lights_in(photo, upright, is_known=known, is_turned=bool(evidence.turn))
    if not found:
        return evidence
    colours = list(dict.fromkeys(one.colour for one in found))
    value = colours[0] if len(colours) == 1 else ", ".join(one.colour for one in found)
    boxes, labels = tuple(Box(*one.box) for one in found), tuple(label_of(one, upright) for one in found)
    lights = Reading(
        value, min(one.probability for one in found), boxes[0] if len(boxes) == 1 else None,
        parts=boxes if len(boxes) > 1 else (), labels=labels if any(labels) else (),
    )  # fmt: skip
    return replace(evidence, lights=lights)


def caption_from(lines: Sequence[TextLine], trouble: _Trouble | None) -> Reading:
    """A caption from OCR alone: it claims nothing beyond the text, and says what kept it from reading."""
    composed = {"trouble": trouble.code} if trouble is not None else {}
    if not lines:
        text = f"{_A_PHOTO}. {trouble.words}" if trouble is not None else f"{_A_PHOTO} in which no text could be read."
        return Reading(text, 1.0, composed=composed)
    text = f"{_A_PHOTO} that shows the text: {text_in_caption(lines)}"
    text = f"{text} ({trouble.words})" if trouble is not None else text
    return Reading(text, sum(line.confidence for line in lines) / len(lines), composed=composed)


def text_in_caption(lines: Sequence[TextLine]) -> str:
    """As much of the text as a caption has room for."""
    return shorten(" · ".join(line.text for line in lines), CAPTION_TEXT)


def _product_from(
    lines: Sequence[TextLine], taxonomy: Taxonomy, photo: bytes, capabilities: Capabilities
) -> tuple[Reading, Reading, Reading | None]:
    """The product named in the visible text, else the operator's own that the photo looks like; and of one that was
    learned its condition and lights."""
    named, unknown = _named_in(lines, taxonomy), Reading(CANNOT_TELL, 1.0)
    products = capabilities.products
    if products is None or (named.value != CANNOT_TELL and named.value not in products.with_conditions):
        return named, unknown, None
    try:
        found = products.recognise(photo, lines)
    except Exception as error:
        log.warning("read_photo.products_failed", error=type(error).__name__)
        return named, unknown, None
    if found is None or named.value not in (CANNOT_TELL, found.product):
        return named, unknown, None
    looks = Reading(found.product, found.probability, found.box, found.heat, reference=found.reference)
    condition, lights = _learned(found, photo)
    return (looks if named.value == CANNOT_TELL else named), condition or unknown, lights


def _learned(found: Recognised, photo: bytes) -> tuple[Reading | None, Reading | None]:
    """The condition and the lights of a recognised product: of conditions, damage first, then the surest."""
    told = sorted(found.conditions, key=lambda one: (one.value in SOUND, -one.probability))
    readings = {one: Reading(one.value, one.probability, one.box, one.heat, reference=one.reference) for one in told}
    condition = next((readings[one] for one in told if one.kind != "light"), None)
    light = next((one for one in told if one.kind == "light"), None)
    colours = ", ".join(word for word in re.findall(r"\w+", light.value) if word in LIGHTS) if light is not None else ""
    if light is None or not colours or not has_colours(photo):
        return condition, None
    return condition, replace(readings[light], value=colours)


def _named_in(lines: Sequence[TextLine], taxonomy: Taxonomy) -> Reading:
    """The product named in the visible text; its region is the line that names it."""
    for line in lines:
        found = taxonomy.products_printed_in(line.text)
        if found:
            return Reading(found[0], _NAMED * line.confidence, line.box)
    found = taxonomy.products_printed_in("\n".join(line.text for line in lines))
    return Reading(found[0], _NAMED * 0.9) if found else Reading(CANNOT_TELL, 1.0)


def _by_decisions(evidence: PhotoEvidence, photo: bytes, model: DecisionModel, taxonomy: Taxonomy) -> PhotoEvidence:
    """Product, lights and condition as typed decisions of the model; a product that OCR read takes precedence."""
    questions = [product_question(taxonomy), LIGHTS_QUESTION, CONDITION_QUESTION]
    decisions = model.decide(evidence.text, [photo], questions)
    readings = {decision.key: Reading(decision.best, decision.probability) for decision in decisions}
    if not has_colours(photo):
        readings["lights"] = Reading(CANNOT_TELL, 1.0)
    product, unknown = readings.get("product", evidence.product), evidence.condition
    if evidence.product.value != CANNOT_TELL:
        product = evidence.product
    elif product.value == NO_PRODUCT:
        product = replace(product, value=CANNOT_TELL)
    return replace(
        evidence,
        product=product,
        lights=evidence.lights or readings.get("lights"),  # what references have told stays
        condition=evidence.condition if evidence.condition.value != CANNOT_TELL else readings.get("condition", unknown),
    )


def _claimable(seen: Seen, photo: bytes, evidence: PhotoEvidence) -> Seen:
    """What is seen, without lights if the photo has no colours, and with their colours in a fixed order if it is
    unknown which side is up."""
    if not seen.lights:
        return seen
    if not has_colours(photo):
        return replace(seen, lights=())
    if evidence.visible_text or origin_of(photo).upright:
        return seen
    surest = {colour: max(sure for one, sure in seen.lights if one == colour) for colour, _ in seen.lights}
    return replace(seen, lights=tuple((colour, surest[colour]) for colour in LIGHTS if colour in surest))


def _by_sight(evidence: PhotoEvidence, seen: Seen, taxonomy: Taxonomy) -> PhotoEvidence:
    """Product, lights and condition as the model sees them; a product that OCR read takes precedence."""
    of, sure = seen.of
    product = Reading(of if of in _keys(taxonomy) else CANNOT_TELL, sure)
    colours = list(dict.fromkeys(colour for colour, _ in seen.lights))
    lights = Reading(CANNOT_TELL, sure)
    if colours:
        value = colours[0] if len(colours) == 1 else ", ".join(colour for colour, _ in seen.lights)
        lights = Reading(value, min(probability for _, probability in seen.lights))
    evidence = replace(
        evidence,
        product=product if evidence.product.value == CANNOT_TELL else evidence.product,
        lights=lights,
        condition=_condition(evidence, seen, taxonomy),
    )
    return replace(evidence, caption=_caption_of(evidence, seen, taxonomy))


def _caption_of(evidence: PhotoEvidence, seen: Seen, taxonomy: Taxonomy) -> Reading:
    """A caption composed of the other fields, so that it cannot contradict them."""
    of = seen.of[0]
    name = taxonomy.names_by_key.get(evidence.product.value, "")
    thing = name if of in _keys(taxonomy) else of
    if not thing:
        return evidence.caption
    article = "An" if thing[0].lower() in "aeiou" else "A"
    parts = [f"{article} {thing}" + (f" of a {name}" if name and thing != name else "")]
    parts += [seen.damage[0]] if seen.damage[0] else []
    parts += [f"lights: {evidence.lights.value}"] if evidence.lights and evidence.lights.value != CANNOT_TELL else []
    told = text_in_caption(evidence.visible_text)
    quoted = f"{_QUOTED}{told}" if told else ""
    sure = min(reading.confidence for reading in (evidence.product, evidence.condition, evidence.lights) if reading)
    beyond = {**(evidence.caption.composed or {}), "thing": "" if thing == name else thing, "damage": seen.damage[0]}
    composed = {code: value for code, value in beyond.items() if value}
    return Reading("; ".join(parts) + quoted + ".", sure, composed=composed)


def _condition(evidence: PhotoEvidence, seen: Seen, taxonomy: Taxonomy) -> Reading:
    """Damage, else a fault light or code, else intact."""
    (of, sure), (damage, likely) = seen.of, seen.damage
    if damage:
        return Reading("leaking" if damage == "leak" else "damaged", likely)
    faults = [probability for colour, probability in seen.lights if colour in FAULTS]
    names = {code for product in taxonomy.products for code in spot(product.name)}
    if of == "error dialog" or (of in _keys(taxonomy) and set(evidence.codes) - names):
        faults.append(sure)
    if faults:
        return Reading("fault light or code", max(faults) * likely)
    return Reading(CANNOT_TELL if of in ("", "label", "receipt") else "intact", sure * likely)


def _keys(taxonomy: Taxonomy) -> set[str]:
    """Those that the bundled model can know."""
    return {product.key for product in taxonomy.of_file}


def _with_caption(evidence: PhotoEvidence, photo: bytes, capabilities: Capabilities) -> PhotoEvidence:
    """The evidence with the model's own caption, if that is usable."""
    prompt = prompts.render("caption.j2", visible_text=evidence.text)
    caption = json_of(ask_model(prompt, photo, capabilities, tokens=_CAPTION_TOKENS)).get("caption")
    if not isinstance(caption, str) or not 5 <= len(caption.strip()) <= 300:
        return evidence
    if not holds(caption, evidence.text):  # what a photo orders the model to write is no caption of it
        return evidence
    return replace(evidence, caption=Reading(" ".join(caption.split()), 0.8))


def ask_model(prompt: str, photo: bytes, capabilities: Capabilities, *, tokens: int) -> str:
    """The model's answer, of so many tokens at most. Raises `EngineFailed` for any failure of the model."""
    from langchain_core.messages import HumanMessage

    assert capabilities.chat_model is not None  # noqa: S101  (`writes_answers` implies one)
    blocks: list[str | dict[str, Any]] = [{"type": "text", "text": prompt}, image_block(photo)]
    try:
        return str(capabilities.chat_model.invoke([HumanMessage(content=blocks)], max_tokens=tokens).text)
    except Exception as error:
        raise EngineFailed("The model did not answer.") from error


def _locate(evidence: PhotoEvidence, look: Look, turn: int) -> PhotoEvidence:
    """The evidence with the regions where the model sees product, lights and damage in the photo turned by ``turn``."""
    sought = {
        "product": Sought("product", evidence.product.value),
        "condition": _sign_of(evidence.condition.value),
        "lights": Sought("light", evidence.lights.value) if evidence.lights is not None else None,
    }
    wanted = {
        name: one for name, one in sought.items()
        if one is not None and one.value != CANNOT_TELL and getattr(evidence, name).region is None
    }  # fmt: skip
    readings = {
        name: replace(
            getattr(evidence, name),
            region=place.box.turned_back(turn),
            heat=() if turn else place.heat,
            parts=tuple(part.turned_back(turn) for part in place.parts),
        )
        for name, place in zip(wanted, look.locate(list(wanted.values())), strict=True)
        if place is not None
    }
    return replace(evidence, **readings)


def _sign_of(condition: str) -> Sought | None:
    """What to look for in the photo. "Intact" has no place: it is the absence of everything else."""
    if condition == "fault light or code":
        return Sought("light", ", ".join(FAULTS))
    return Sought("damage", condition) if condition in ("damaged", "leaking") else None


def json_of(text: str) -> dict[str, Any]:
    """The JSON object in the model's answer, or an empty one."""
    try:
        found = json.loads(text[text.find("{") : text.rfind("}") + 1])
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _reading_json(reading: Reading) -> dict[str, Any]:
    region = _region(reading.region) if reading.region is not None else None
    shown = {"value": reading.value, "confidence": round(reading.confidence, 4), "region": region}
    shown |= {"heat": list(reading.heat)} if reading.heat else {}
    shown |= {"reference": reading.reference} if reading.reference else {}
    shown |= {"labels": list(reading.labels)} if reading.labels else {}
    shown |= {"composed": dict(reading.composed)} if reading.composed is not None else {}
    return shown | ({"parts": [_region(part) for part in reading.parts]} if reading.parts else {})


def _reading(field: dict[str, Any]) -> Reading:
    heat, parts = tuple(field.get("heat", ())), tuple(Box(*part) for part in field.get("parts", ()))
    return Reading(
        field["value"], field["confidence"], _box(field["region"]), heat, parts, field.get("reference", ""),
        tuple(field.get("labels", ())), field.get("composed"),
    )  # fmt: skip


def _region(box: Box) -> list[float]:
    return [round(edge, 4) for edge in (box.left, box.top, box.right, box.bottom)]


def _box(region: list[float] | None) -> Box | None:
    return Box(*region) if region is not None else None
