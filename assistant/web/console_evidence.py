"""Evidence in the console: what a photo shows, in the agent's language, what they can choose for it, and what they
corrected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.errors import Conflict, Invalid
from assistant.skills.read_photo import CANNOT_TELL, CONDITIONS, DIFFERENT, FIELDS, LIGHTS
from assistant.skills.taxonomy import Taxonomy
from assistant.text.clusters import beginning
from assistant.text.storable import storable
from assistant.wording import Notice, direction, word


def evidence_options(taxonomy: Taxonomy, conditions: Iterable[str] = ()) -> dict[str, list[tuple[str, str]]]:
    """Evidence fields with a fixed set of values: (value, name) each. ``conditions``: those of own products."""
    products = [(product.key, product.name) for product in taxonomy.products]
    return {
        "product": [*products, (CANNOT_TELL, CANNOT_TELL)],
        "condition": [(value, value) for value in dict.fromkeys((*CONDITIONS, *conditions))],
        "lights": [(value, value) for value in LIGHTS],
    }


# What a composed caption names, as codes of the catalogue.
_WORDS = {
    "label": "caption_label",
    "receipt": "caption_receipt",
    "error dialog": "caption_dialog",
    "parcel": "caption_parcel",
    "crack": "caption_crack",
    "leak": "caption_leak",
    "leaking": "caption_leak",
    "missing part": "caption_missing_part",
    "swollen battery": "caption_swollen",
    "crushed box": "caption_crushed",
    "damaged": "caption_damaged",
    "fault light or code": "caption_fault",
    "green": "caption_green",
    "red": "caption_red",
    "amber": "caption_amber",
    "blue": "caption_blue",
    "white": "caption_white",
    "off": "caption_off",
    DIFFERENT: "caption_lights_differ",
    "no_ocr": "caption_no_ocr",
    "unread": "caption_unread",
    "partly": "caption_partly",
}
_WORDED = ("thing", "condition", "light", "lights", "trouble")
_SENTENCES = {
    "light": "caption_light",
    "lights": "caption_lights",
    "total": "caption_total",
    "date": "caption_date",
    "order": "caption_order",
}


@dataclass(frozen=True)
class Told:
    """A piece of a caption. ``place``: what it highlights in the photo, a field or, of text, the number of a line, or
    nothing. ``regions``: its own, where it is no whole field's."""

    text: str
    place: str = ""
    is_text: bool = False
    regions: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class Caption:
    """A composed caption in one language."""

    parts: Sequence[Told]
    language: str

    @property
    def direction(self) -> str:
        return direction(self.language)

    @property
    def text(self) -> str:
        return " · ".join(part.text for part in self.parts)


def caption_of(evidence: Mapping[str, Any], products: Mapping[str, str], language: str) -> Caption:
    """What a photo shows, by a payload of evidence. ``products``: their names by their keys."""
    told: list[Told] = []
    lines = 0
    for number, one in enumerate(evidence["salient"]):
        text = _in_words(one, products, language)
        if one["code"] == "text":
            heading = [] if lines else [word(Notice("caption_text"), language)]
            told.append(Told(" ".join([*heading, text]), str(lines), is_text=True))
            lines += 1
        elif one["code"] == "light":
            told.append(Told(text, f"light-{number}" if one["regions"] else "", regions=one["regions"]))
        else:
            told.append(Told(text, one["field"] if one["regions"] else ""))
    return Caption(told or [Told(word(Notice("caption_nothing"), language))], language)


def _in_words(one: Mapping[str, Any], products: Mapping[str, str], language: str) -> str:
    """A product by its name, and what operators have named themselves by that name; text as it is read."""
    code, value = one["code"], one["value"]
    if code == "product":
        return products.get(value, str(value))
    if code in _WORDED and value in _WORDS:
        value = word(Notice(_WORDS[value]), language)
    if code not in _SENTENCES or one["value"] == DIFFERENT:
        return str(value)
    params = {"value": value, "colour": value, "label": one["label"] or "", "n": one["count"]}
    return word(Notice(_SENTENCES[code], params), language)


def changes_in(form: Mapping[str, str], lines: list[dict[str, Any]]) -> tuple[dict[str, str], dict[int, str]]:
    """Fields, and lines by number, that differ from what the agent was shown (``was-…``).

    Raises `Conflict` if the agent was shown lines of an earlier reading, and `Invalid` for an empty field.
    """
    fields = {name: _text_of(form, name) for name in FIELDS if _differs(form, name)}
    changed = {}
    for number in range(len(lines)):
        name = f"line-{number}"
        if _differs(form, name):
            if form.get(f"was-{name}") != lines[number]["text"]:
                raise Conflict("This photo has been read again since you opened it. Check it and correct it again.")
            changed[number] = _text_of(form, name)
    if any(not value for value in fields.values()):
        raise Invalid(f"Fields cannot be empty. Choose {CANNOT_TELL!r} if the photo does not show it.")
    return fields, changed


def _differs(form: Mapping[str, str], name: str) -> bool:
    return name in form and _text_of(form, name) != _text_of(form, f"was-{name}")


def _text_of(form: Mapping[str, str], name: str) -> str:
    return beginning(" ".join(storable(form.get(name, "")).split()), 500)
