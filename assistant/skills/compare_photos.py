"""Before and after: two photos of one device compared, in words that follow from what was read in each and from their
pixels. What cannot be compared is said with the reason; nothing is guessed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from threading import Lock
from typing import Literal

from assistant.media import comparing, opencv
from assistant.media.colour import has_colours
from assistant.media.comparing import Difference
from assistant.ports import Box, TextLine
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence, Reading
from assistant.skills.taxonomy import Taxonomy
from assistant.text.clusters import shorten
from assistant.text.identifiers import spot

Reason = Literal["another_product", "not_alike", "not_installed"]

_REASONS: dict[Reason, str] = {
    "another_product": "Cannot compare: the photos show different products.",
    "not_alike": "Cannot compare the pictures: they show other things, or one thing from too different angles.",
    "not_installed": "Cannot compare the pictures: OpenCV is not installed (it comes with the extra “demo”).",
}
_KEPT = 500  # comparisons of pixels
_known: dict[bytes, comparing.Overlaid | None] = {}
_lock = Lock()
_NEAR = 0.06  # of the photo's sides, from a line of text to what it says something of
_NAME = 30


@dataclass(frozen=True)
class Change:
    """One place that is not the same. ``near``: text beside it, "" without any."""

    before: Box
    after: Box
    strength: float
    near: str = ""


@dataclass(frozen=True)
class Comparison:
    """``reason``: why the pictures could not be compared, else None; then ``changes`` has every place that differs, and
    ``overlap`` is the share of the photo of before that both show. ``words``: one sentence for each finding."""

    words: tuple[str, ...]
    reason: Reason | None = None
    changes: tuple[Change, ...] = ()
    overlap: float = 0.0


def compare_photos(
    before: bytes, after: bytes, read: tuple[PhotoEvidence, PhotoEvidence], taxonomy: Taxonomy
) -> Comparison:
    """Two normalised photos, the earlier one first, and what was ``read`` in each. Takes half a second, once."""
    was, now = read
    said = list(_said(was, now, (before, after), taxonomy))
    if was.shown_product and now.shown_product and was.shown_product != now.shown_product:
        return Comparison((_REASONS["another_product"], *said[:1]), "another_product")
    pixels = _compare_pixels(before, after, (was.visible_text, now.visible_text), "Something changed")
    return replace(pixels, words=(*said, *pixels.words))


def against_reference(reference: bytes, photo: bytes, seen: PhotoEvidence) -> Comparison:
    """A reference photo of a product, normalised, and a photo that shows it, in which ``seen`` was read: where that one
    looks otherwise. Damage is one reason for it, a light, a label or something in front of it are others."""
    return _compare_pixels(reference, photo, ((), seen.visible_text), "Looks otherwise")


def _compare_pixels(
    before: bytes, after: bytes, texts: tuple[Sequence[TextLine], Sequence[TextLine]], verb: str
) -> Comparison:
    """``verb``: what is said of a place that differs."""
    if not opencv.is_installed():
        return Comparison((_REASONS["not_installed"],), "not_installed")
    laid = _overlay(before, after)
    if laid is None:
        return Comparison((_REASONS["not_alike"],), "not_alike")
    changes = tuple(_change(one, *texts) for one in laid.differences)
    said = tuple(f"{verb} {_place(one)}." for one in changes)
    said = said or (f"No difference is visible in what both photos show ({laid.overlap:.0%}).",)
    return Comparison(said, None, changes, laid.overlap)


def _overlay(before: bytes, after: bytes) -> comparing.Overlaid | None:
    """Of the last ones the result is kept."""
    key = sha256(before).digest() + sha256(after).digest()
    with _lock:
        if key in _known:
            return _known[key]
    found = comparing.overlay(before, after)
    with _lock:
        _known[key] = found
        while len(_known) > _KEPT:
            del _known[next(iter(_known))]
    return found


def _said(was: PhotoEvidence, now: PhotoEvidence, photos: tuple[bytes, bytes], taxonomy: Taxonomy) -> Iterator[str]:
    """What the readings tell: product, lights, codes, condition."""
    products = [taxonomy.product_name(one) for one in (was.shown_product, now.shown_product) if one]
    if len(products) == 2:
        same = products[0] == products[1]
        yield f"The same product: {products[0]}." if same else f"Products: {products[0]}, then {products[1]}."
    yield from _lights(was.lights, now.lights, photos)
    known = {code for product in taxonomy.products for code in spot(product.name)}
    yield from _codes(set(was.codes) - known, set(now.codes) - known)
    yield from _told("Condition", was.condition, now.condition)


def _lights(was: Reading | None, now: Reading | None, photos: tuple[bytes, bytes]) -> Iterator[str]:
    if was is None or now is None:
        return
    if all(_tells(one) for one in (was, now)):
        yield from _told("Lights", was, now)
    elif any(_tells(one) for one in (was, now)) and not all(map(has_colours, photos)):
        yield "Lights cannot be compared: a photo has no colours."


def _codes(was: set[str], now: set[str]) -> Iterator[str]:
    gone, new, kept = (", ".join(sorted(codes)) for codes in (was - now, now - was, was & now))
    if gone and new:
        yield f"Code: was {gone}, is now {new}."
    elif gone:
        yield f"Code {gone} is not to be read any more."
    elif new:
        yield f"Code {new} is new."
    if kept:
        yield f"Code {kept} is still there."


def _told(name: str, was: Reading, now: Reading) -> Iterator[str]:
    if _tells(was) and _tells(now):
        yield (
            f"{name}: still {now.value}." if was.value == now.value else f"{name}: was {was.value}, is now {now.value}."
        )


def _tells(reading: Reading) -> bool:
    return reading.value != CANNOT_TELL and reading.confidence >= 0.5


def _change(one: Difference, was: Sequence[TextLine], now: Sequence[TextLine]) -> Change:
    near = _nearest(one.in_other, now) or _nearest(one.in_one, was)
    return Change(one.in_one, one.in_other, one.strength, shorten(near, _NAME))


def _nearest(box: Box, lines: Sequence[TextLine]) -> str:
    """The text of the line that is next to a place, or in it."""
    found = [(_gap(box, line.box), line.text) for line in lines if line.text.strip()]
    gap, text = min(found, default=(1.0, ""))
    return text if gap <= _NEAR else ""


def _gap(one: Box, other: Box) -> float:
    across = max(one.left - other.right, other.left - one.right, 0.0)
    down = max(one.top - other.bottom, other.top - one.bottom, 0.0)
    return max(across, down)


def _place(change: Change) -> str:
    x, y = (change.after.left + change.after.right) / 2, (change.after.top + change.after.bottom) / 2
    down = "top" if y < 1 / 3 else "bottom" if y > 2 / 3 else ""
    across = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    where = f"at the {' '.join(filter(None, (down, across)))}" if down or across else "in the middle"
    return f"{where}, at “{change.near}”" if change.near else where
