"""Reading a photo into evidence: caption, visible text, product, condition, quality, each with a confidence.

Without a VLM, OCR reads the text and the photo's pixels tell its quality; what neither can know is "cannot tell". With
a VLM that decides, product and condition are typed decisions; with one that writes, it also writes the caption. What a
model says is checked; what does not hold is replaced by what OCR read. Reading never fails for a model's sake.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assistant.errors import AssistantError
from assistant.media import assess_quality
from assistant.ports import Box, Capabilities, Question, TextLine
from assistant.retrieval.identifiers import spot
from assistant.skills import prompts
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy

CANNOT_TELL = "cannot tell"
CONDITIONS = ("intact", "damaged", "leaking", "fault light or code", CANNOT_TELL)
_CAPTION_TEXT = 160
_LEAST_CONFIDENCE = 0.5
# A product named in the photo is read, not guessed; still, the reader may err.
_NAMED = 0.95


@dataclass(frozen=True)
class Reading:
    """One field of the evidence. ``region`` is where in the photo, if known."""

    value: str
    confidence: float
    region: Box | None = None


@dataclass(frozen=True)
class PhotoEvidence:
    caption: Reading
    product: Reading
    condition: Reading
    quality: Reading
    visible_text: tuple[TextLine, ...] = ()

    @property
    def codes(self) -> list[str]:
        """Canonical identifiers in the visible text."""
        return spot(self.text)

    @property
    def text(self) -> str:
        """The visible text, one line a line."""
        return "\n".join(line.text for line in self.visible_text)

    def as_text(self) -> str:
        """The evidence in words, for queries, triage and prompts. Untrusted: a photo can show any text."""
        parts = [self.caption.value]
        parts += [reading.value for reading in (self.product, self.condition) if reading.value != CANNOT_TELL]
        return "\n".join([*parts, self.text]).strip()

    def to_fields(self) -> dict[str, Any]:
        names = ("caption", "product", "condition", "quality")
        return {name: _reading_json(getattr(self, name)) for name in names}

    def visible_text_json(self) -> list[dict[str, Any]]:
        return [
            {"text": line.text, "confidence": round(line.confidence, 4), "region": _region(line.box)}
            for line in self.visible_text
        ]

    @classmethod
    def from_json(cls, fields: dict[str, Any], visible_text: list[dict[str, Any]]) -> PhotoEvidence:
        readings = {
            name: Reading(field["value"], field["confidence"], _box(field["region"])) for name, field in fields.items()
        }
        lines = tuple(
            TextLine(line["text"], line["confidence"], _box(line["region"]) or Box(0, 0, 1, 1)) for line in visible_text
        )
        return cls(**readings, visible_text=lines)


def read_photo(photo: bytes, *, capabilities: Capabilities, taxonomy: Taxonomy) -> PhotoEvidence:
    """Everything this deployment can read in a normalised photo."""
    lines = tuple(
        line
        for line in (capabilities.ocr.read(photo) if capabilities.ocr is not None else ())
        if line.confidence >= _LEAST_CONFIDENCE
    )
    evidence = PhotoEvidence(
        caption=_caption_from(lines, ocr=capabilities.ocr is not None),
        product=_product_from(lines, taxonomy),
        condition=Reading(CANNOT_TELL, 1.0),
        quality=Reading(*assess_quality(photo)),
        visible_text=lines,
    )
    if capabilities.decisions is not None:
        evidence = _decided(evidence, photo, capabilities, taxonomy)
    if capabilities.writes_answers:
        evidence = _captioned(evidence, photo, capabilities)
    return evidence


def _caption_from(lines: Sequence[TextLine], *, ocr: bool) -> Reading:
    """An honest sentence about what was read; nobody has looked at the rest of the photo."""
    if not ocr:
        return Reading("A photo that was not read: no reader is installed.", 1.0)
    if not lines:
        return Reading("A photo in which no text could be read.", 1.0)
    text = " · ".join(line.text for line in lines)
    short = text if len(text) <= _CAPTION_TEXT else text[: _CAPTION_TEXT - 1].rsplit(" ", 1)[0] + "…"
    return Reading(f"A photo that shows the text: {short}", sum(line.confidence for line in lines) / len(lines))


def _product_from(lines: Sequence[TextLine], taxonomy: Taxonomy) -> Reading:
    """The product that the visible text names, with the line that names it as region."""
    for line in lines:
        found = taxonomy.products_in(line.text)
        if found:
            return Reading(found[0], _NAMED * line.confidence, line.box)
    found = taxonomy.products_in("\n".join(line.text for line in lines))
    return Reading(found[0], _NAMED * 0.9) if found else Reading(CANNOT_TELL, 1.0)


def _decided(evidence: PhotoEvidence, photo: bytes, capabilities: Capabilities, taxonomy: Taxonomy) -> PhotoEvidence:
    """Product and condition as typed decisions of the model; a product that is written on the photo stands."""
    products = (*(product.key for product in taxonomy.products), NO_PRODUCT)
    names = (*(product.description or product.name for product in taxonomy.products), "none of these")
    questions = [
        Question("product", "Which product does the photo show?", products, names),
        Question("condition", "In which condition is what the photo shows?", CONDITIONS),
    ]
    try:
        decisions = capabilities.decisions.decide(evidence.text, [photo], questions) if capabilities.decisions else []
    except AssistantError:
        return evidence
    by_key = {decision.key: decision for decision in decisions}
    product, condition = evidence.product, evidence.condition
    if "product" in by_key and product.value == CANNOT_TELL:
        best = by_key["product"]
        product = Reading(CANNOT_TELL if best.best == NO_PRODUCT else best.best, best.probability)
    if "condition" in by_key:
        condition = Reading(by_key["condition"].best, by_key["condition"].probability)
    return PhotoEvidence(evidence.caption, product, condition, evidence.quality, evidence.visible_text)


def _captioned(evidence: PhotoEvidence, photo: bytes, capabilities: Capabilities) -> PhotoEvidence:
    """The model's own caption, if it is one sentence that can be taken for a caption."""
    from langchain_core.messages import HumanMessage

    assert capabilities.chat_model is not None  # noqa: S101  (writes_answers)
    prompt = prompts.render("caption.j2", visible_text=evidence.text)
    message = HumanMessage(content=[{"type": "text", "text": prompt}, image_block(photo)])
    try:
        reply = capabilities.chat_model.invoke([message])
    except Exception:  # the model is down or failed: what OCR read still stands
        return evidence
    caption = _checked_caption(str(reply.text))
    if caption is None:
        return evidence
    fields = (evidence.product, evidence.condition, evidence.quality, evidence.visible_text)
    return PhotoEvidence(Reading(caption, 0.8), *fields)


def image_block(photo: bytes) -> dict[str, Any]:
    """A photo as LangChain's standard image content block."""
    mime_type = "image/png" if photo.startswith(b"\x89PNG") else "image/jpeg"
    return {"type": "image", "base64": base64.b64encode(photo).decode("ascii"), "mime_type": mime_type}


def _checked_caption(text: str) -> str | None:
    """The caption out of the model's JSON; None if it is not what was asked for."""
    match = re.search(r"\{.*\}", text, re.DOTALL)
    if match is None:
        return None
    try:
        caption = json.loads(match.group()).get("caption")
    except (json.JSONDecodeError, AttributeError):
        return None
    if not isinstance(caption, str) or not 5 <= len(caption.strip()) <= 300:
        return None
    return " ".join(caption.split())


def _reading_json(reading: Reading) -> dict[str, Any]:
    region = _region(reading.region) if reading.region is not None else None
    return {"value": reading.value, "confidence": round(reading.confidence, 4), "region": region}


def _region(box: Box) -> list[float]:
    return [round(edge, 4) for edge in (box.left, box.top, box.right, box.bottom)]


def _box(region: list[float] | None) -> Box | None:
    return Box(*region) if region is not None else None
