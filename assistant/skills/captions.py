"""What a photo shows, thing by thing, each with its place: a caption in no language yet.

It follows from the other fields of the evidence and so cannot contradict them, corrected or not; whoever shows it words
it. Fields that say "cannot tell", or that nothing is wrong, are not worth a word.

Condition and lights are also what tickets are found and counted by: `seen_in`, `troubles_in`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from assistant.ports import Box
from assistant.skills.read_photo import (
    CANNOT_TELL,
    CAPTION_TEXT,
    CONDITIONS,
    DIFFERENT,
    FAULTS,
    LIGHTS,
    SOUND,
    PhotoEvidence,
    Reading,
)
from assistant.skills.taxonomy import NO_PRODUCT
from assistant.text.clusters import shorten

Code = Literal["thing", "product", "condition", "light", "lights", "total", "date", "order", "text", "trouble"]

_LIT = {
    colour: "light off" if colour == "off" else f"{colour} light"
    for colour in LIGHTS
    if colour not in (DIFFERENT, CANNOT_TELL)
}
_HARMLESS = {*SOUND, *(words for colour, words in _LIT.items() if colour not in FAULTS)}
# Says less than any other trouble.
FAULT_SHOWN = CONDITIONS[3]


@dataclass(frozen=True)
class Salient:
    """``code`` says what ``value`` is: a ``thing`` that is no product, a ``product`` (its key), a ``condition`` (or
    kind of damage), the colour of a ``light`` or of ``lights`` (``n`` of them, alike), a ``total``, ``date`` or
    ``order``, one line of ``text``, or a ``trouble`` (why text is missing). ``label``: what is written beside a light,
    else which of several it is, from 1. ``field`` of the evidence says so."""

    code: Code
    value: str
    field: str
    confidence: float
    regions: tuple[Box, ...] = ()
    label: str = ""
    n: int = 1


def salient(evidence: PhotoEvidence) -> tuple[Salient, ...]:
    """In the order in which it is told; empty if there is nothing to tell."""
    return (*_things(evidence), *_condition(evidence), *_lights(evidence), *_numbers(evidence), *_text(evidence))


def seen_in(fields: Mapping[str, Any]) -> list[str]:
    """Condition and lights that a photo shows, by the fields of its evidence as they are stored: "leaking", "red
    light"."""
    condition, lights = (str((fields.get(name) or {}).get("value") or CANNOT_TELL) for name in ("condition", "lights"))
    seen = [] if condition == CANNOT_TELL else [condition]
    return seen + [_LIT[colour] for colour in dict.fromkeys(lights.split(", ")) if colour in _LIT]


def troubles_in(fields: Mapping[str, Any]) -> list[str]:
    """What of that is wrong: a condition that is not sound, a light that warns."""
    return [one for one in seen_in(fields) if one not in _HARMLESS]


def _things(evidence: PhotoEvidence) -> Iterator[Salient]:
    if thing := _beyond(evidence).get("thing"):
        yield Salient("thing", thing, "caption", evidence.caption.confidence)
    if evidence.product.value not in (CANNOT_TELL, NO_PRODUCT):
        yield _of("product", evidence.product)


def _condition(evidence: PhotoEvidence) -> Iterator[Salient]:
    """The kind of damage, for as long as that is what the condition says."""
    reading, damage = evidence.condition, _beyond(evidence).get("damage")
    if damage and reading.value == ("leaking" if damage == "leak" else "damaged"):
        yield _of("condition", reading, damage)
    elif reading.value not in (CANNOT_TELL, *SOUND):
        yield _of("condition", reading)


def _lights(evidence: PhotoEvidence) -> Iterator[Salient]:
    """One by one, or together if nothing tells them apart."""
    reading, lights = evidence.lights, evidence.each_light
    if reading is None or not lights:
        return
    if len({one.colour for one in lights}) == 1 and not any(one.label for one in lights):
        yield replace(_of("lights", reading), value=lights[0].colour, n=len(lights))
        return
    for number, light in enumerate(lights, start=1):
        place = (light.box,) if light.box is not None else ()
        yield Salient("light", light.colour, "lights", reading.confidence, place, light.label or str(number))


def _numbers(evidence: PhotoEvidence) -> Iterator[Salient]:
    numbers: tuple[Code, ...] = ("total", "date", "order")
    for name in numbers:
        reading: Reading | None = getattr(evidence, name)
        if reading is not None and reading.value != CANNOT_TELL:
            yield _of(name, reading)


def _text(evidence: PhotoEvidence) -> Iterator[Salient]:
    """As many lines as a caption has room for."""
    room = CAPTION_TEXT
    for line in evidence.visible_text:
        if room <= 0:
            break
        yield Salient("text", shorten(line.text, room), "visible_text", line.confidence, (line.box,))
        room -= len(line.text)
    if trouble := _beyond(evidence).get("trouble"):
        yield Salient("trouble", trouble, "caption", evidence.caption.confidence)


def _beyond(evidence: PhotoEvidence) -> Mapping[str, str]:
    return evidence.caption.composed or {}


def _of(name: Code, reading: Reading, value: str | None = None) -> Salient:
    regions = reading.parts or tuple(filter(None, [reading.region]))
    return Salient(name, value or reading.value, name, reading.confidence, regions)
