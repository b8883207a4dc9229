"""Parts of a web page that a button, a tab or a label opens: what opens a part is its heading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from assistant.retrieval.sources.furniture import is_hidden
from assistant.retrieval.sources.inline import BREAKS, HEADINGS, is_in_text, line

_NAMES_ITS_PART = ("aria-controls", "data-target", "data-bs-target", "href")
_FOLDS = {"collapse", "tab", "pill", "modal", "accordion"}
_BLOCKS = BREAKS - {"br", "li", "option", "legend"}
# How far to look around, so that no page takes long.
_NEAR = 40
_FEW_LETTERS = 12


@dataclass
class Folds:
    """``openers`` stand before what they open. ``moved`` stand elsewhere; ``titles`` has their texts, by the part that
    they open. ``buttons`` do something else."""

    openers: set[Any] = field(default_factory=set)
    moved: set[Any] = field(default_factory=set)
    titles: dict[Any, str] = field(default_factory=dict)
    buttons: list[Any] = field(default_factory=list)

    def __contains__(self, element: Any) -> bool:
        return element in self.openers or element in self.moved or element in self.titles


def find_folds(content: Any) -> Folds:
    folds = Folds()
    elements = [one for one in content.iterdescendants() if isinstance(one.tag, str)]
    by_id = {one.get("id"): one for one in reversed(elements) if one.get("id")}
    for panel in elements:
        if panel.get("aria-labelledby") and panel.get("role") in ("tabpanel", "region"):
            _name(folds, by_id.get(panel.get("aria-labelledby").split()[0]), panel)
    for control in elements:
        for panel in _parts_of(control, by_id):
            _name(folds, control, panel)
    buttons = [one for one in elements if one.tag in ("button", "label") or one.get("role") == "button"]
    labels = Counter(line(one).casefold() for one in buttons)
    for button in buttons:
        if _is_in_heading(button) or button in folds.moved:
            continue
        place = _climb(button)
        if _opens_what_follows(button, place, labels[line(button).casefold()]):
            folds.openers.add(place)
        elif button.tag == "button" and not is_in_text(button):
            folds.buttons.append(button)
    return folds


def _parts_of(control: Any, by_id: dict[str, Any]) -> Iterator[Any]:
    for attribute in _NAMES_ITS_PART:
        name = control.get(attribute) or ""
        panel = by_id.get(name.lstrip("#")) if attribute != "href" or name.startswith("#") else None
        toggles = {control.get("data-toggle"), control.get("data-bs-toggle")} & _FOLDS
        if panel is not None and (
            toggles or control.get("role") == "tab" or control.get("aria-expanded") is not None or is_hidden(panel)
        ):
            yield panel


def _name(folds: Folds, control: Any, panel: Any) -> None:
    """Make the control the heading of its part, unless it is a heading already, or within the part."""
    if control is None or panel in folds.titles or _is_in_heading(control) or panel in control.iterancestors():
        return
    title = line(control)
    if title and control not in panel.iterancestors():
        folds.titles[panel] = title
        folds.moved.add(control)


def _is_in_heading(element: Any) -> bool:
    return element.tag in HEADINGS or next(element.iterancestors(*HEADINGS, "summary", "dt"), None) is not None


def _climb(control: Any) -> Any:
    """The outermost element that holds nothing else."""
    place = control
    while True:
        above = place.getparent()
        if above is None or above.tag in ("body", "td", "main", "article", "section"):
            return place
        if any(one is not None for one in (place.getprevious(), place.getnext())):
            return place
        if (above.text or "").strip() or (place.tail or "").strip():
            return place
        place = above


def _opens_what_follows(control: Any, place: Any, count: int) -> bool:
    """A control that says so, or a text of its own, and no mere "Copy", before a block."""
    after = next((one for one in islice(place.itersiblings(), _NEAR) if isinstance(one.tag, str)), None)
    if not line(control) or after is None:
        return False
    if control.get("aria-expanded") is not None or is_hidden(after):
        return True
    is_block = after.tag in _BLOCKS and after.tag != "button" and bool("".join(islice(after.itertext(), _NEAR)).strip())
    is_telling = len(line(control).encode()) >= _FEW_LETTERS and count == 1 and control.get("type") != "submit"
    if control.tag == "label":
        return is_block and place is control and control.get("for") is not None
    return is_block and is_telling
