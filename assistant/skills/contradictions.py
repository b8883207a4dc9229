"""Contradictions between what a customer writes and what the photo shows: product, code or lights.

Reported only where both are explicit and certain, so that agents can rely on it. Colours of lights are recognised in
seven languages, products and codes in any.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from assistant.skills.read_photo import CANNOT_TELL, DIFFERENT, PhotoEvidence
from assistant.skills.taxonomy import Taxonomy
from assistant.text.identifiers import spot
from assistant.text.sentences import sentences

# Least confidence of what was seen in the photo.
_SURE = 0.8
# Longer identifiers are serial and order numbers, which a photo need not show.
_CODE = range(2, 6)
_COLOURS = {
    "red": r"red|rot(?:e[snr]?)?|rouges?|roj[oa]s?|ross[oa]|rode?|vermelh[oa]s?",
    "green": r"green|grün(?:e[snr]?)?|verte?s?|verdes?|verdi|groene?",
    "amber": r"amber|orange[ns]?|yellow|gelb(?:e[snr]?)?|jaunes?|amarill[oa]s?|naranjas?|gial+[oa]"
    r"|arancion[ei]|geel|gele|oranje|amarel[oa]s?|laranjas?",
    "blue": r"blue|blau(?:e[snr]?)?|bleue?s?|azul(?:es)?|azuis|blu|blauwe?",
    "white": r"white|weiß(?:e[snr]?)?|weiss(?:e[snr]?)?|blanc(?:he)?s?|blanc[oa]s?|bianc[oa]|witte?|branc[oa]s?",
}  # fmt: skip
_COLOUR = {name: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for name, words in _COLOURS.items()}
_LIGHT = re.compile(
    r"\b(?:lights?|leds?|lamps?|blink\w*|flash\w*|glow\w*|licht\w*|lampe\w*|leucht\w*|lumières?|voyants?|clignot\w*|luz"
    r"|luces|luces?|parpade\w*|luci|spi[ae]|lampeggi\w*|lampjes?|knipper\w*|luzes|pisca\w*)\b",
    re.IGNORECASE,
)
# Sentences about what is not, or used to be: their colour is not the one in the photo.
_NOT = re.compile(
    r"\b(?:not?|never|instead|usually|normally|should|before|was|until|nicht|kein\w*|statt|sonst|normalerweise|vorher|war"
    r"|pas|jamais|avant|était|nunca|antes|era|non|mai|prima|niet|geen|não)\b|n't\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Contradiction:
    """``about``: product, code or lights. ``written`` by the customer, ``shown`` by the photo."""

    about: str
    written: str
    shown: str


def contradictions(text: str, evidence: Sequence[PhotoEvidence], taxonomy: Taxonomy) -> list[Contradiction]:
    """Between one message and its photos, at most one of each kind; none if at least one photo agrees with the text."""
    found = (_product(text, evidence, taxonomy), _code(text, evidence, taxonomy), _lights(text, evidence))
    return [one for one in found if one is not None]


def _product(text: str, evidence: Sequence[PhotoEvidence], taxonomy: Taxonomy) -> Contradiction | None:
    readings = [item.product for item in evidence]
    shown = [one.value for one in readings if one.value in taxonomy.names_by_key and one.confidence >= _SURE]
    return _difference("product", taxonomy.products_in(text), shown, names=taxonomy.names_by_key)


def _code(text: str, evidence: Sequence[PhotoEvidence], taxonomy: Taxonomy) -> Contradiction | None:
    names = {code for product in taxonomy.products for code in spot(f"{product.name} {product.key}")}
    written, *shown = (
        [code for code in codes if len(code) in _CODE and not code.isdigit() and code not in names]
        for codes in (spot(text), *(item.codes for item in evidence))
    )
    return _difference("code", written, [code for codes in shown for code in codes])


def _lights(text: str, evidence: Sequence[PhotoEvidence]) -> Contradiction | None:
    written = [
        colour
        for sentence in sentences(text)
        if _LIGHT.search(sentence) and not _NOT.search(sentence)
        for colour, words in _COLOUR.items()
        if words.search(sentence)
    ]
    readings = [item.lights for item in evidence if item.lights is not None and item.lights.value != CANNOT_TELL]
    if any(one.confidence < _SURE or one.value == DIFFERENT for one in readings):
        return None
    return _difference("lights", written, [colour for one in readings for colour in one.value.split(", ")])


def _difference(
    about: str, written: Collection[str], shown: Collection[str], *, names: dict[str, str] | None = None
) -> Contradiction | None:
    """None if either is empty or they have anything in common. ``names``: how to display values."""
    if not written or not shown or set(written) & set(shown):
        return None
    said, seen = (
        ", ".join(dict.fromkeys((names or {}).get(one, one) for one in values)) for values in (written, shown)
    )
    return Contradiction(about, said, seen)
