"""The evidence form of the console: what an agent can choose for a photo, and what they corrected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from assistant.errors import Conflict, Invalid
from assistant.skills.read_photo import CANNOT_TELL, CONDITIONS, FIELDS, LIGHTS
from assistant.skills.taxonomy import Taxonomy
from assistant.text.clusters import beginning
from assistant.text.storable import storable


def evidence_options(taxonomy: Taxonomy, conditions: Iterable[str] = ()) -> dict[str, list[tuple[str, str]]]:
    """Evidence fields with a fixed set of values: (value, name) each. ``conditions``: those of own products."""
    products = [(product.key, product.name) for product in taxonomy.products]
    return {
        "product": [*products, (CANNOT_TELL, CANNOT_TELL)],
        "condition": [(value, value) for value in dict.fromkeys((*CONDITIONS, *conditions))],
        "lights": [(value, value) for value in LIGHTS],
    }


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
    return name in form and _text_of(form, name) != form.get(f"was-{name}", "")


def _text_of(form: Mapping[str, str], name: str) -> str:
    return beginning(" ".join(storable(form[name]).split()), 500)
