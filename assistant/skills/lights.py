"""Lights of devices that no model knows: which of those found in the pixels are claimed, their order and labels.

False claims are worse than none: a red light starts a different answer. So a light of anything that is not a known
product must be almost certain; what shines white is a reflection unless it is a known product's; and many lights are a
string of them, or the texture of something else.
"""

from __future__ import annotations

from collections.abc import Sequence

from assistant.media.colour import has_colours
from assistant.media.lights import COLOURS, Light, find_lights
from assistant.media.origin import origin_of
from assistant.ports import Box, TextLine

# Of a product that was recognised, and of anything else.
_KNOWN, _UNKNOWN = 0.75, 0.9
_MOST = 8
# A label is at most so many of the light's sizes away, and no higher than so many of them.
_BESIDE, _HIGHEST = 6.0, 4.0


def lights_in(photo: bytes, lines: Sequence[TextLine], *, is_known: bool, is_turned: bool = False) -> list[Light]:
    """The lights that are claimed, in reading order; by colour alone, each once, if it is unknown which side is up.
    ``is_known``: whether the photo shows a known product. ``is_turned``: whether its text is not upright."""
    found = claimed(find_lights(photo), is_known=is_known)
    if not found or not has_colours(photo):
        return []
    if not is_turned and (lines or origin_of(photo).upright):
        return _in_reading_order(found)
    return sorted(
        {one.colour: one for one in sorted(found, key=lambda one: one.probability)}.values(),
        key=lambda one: COLOURS.index(one.colour),
    )


def claimed(found: Sequence[Light], *, is_known: bool) -> list[Light]:
    least = _KNOWN if is_known else _UNKNOWN
    own = [one for one in found if one.probability >= least and (is_known or one.colour != "white")]
    return own if len(own) <= _MOST else []


def label_of(light: Light, lines: Sequence[TextLine]) -> str:
    """The text beside a light, or below or above it; empty if there is none that is surely its own."""
    near = sorted((away, line.text) for line in lines if (away := _away(light, line.box)) is not None)
    return near[0][1] if near else ""


def _away(light: Light, text: Box) -> float | None:
    """In sizes of the light; None if the text is not in line with it, or too far away or large."""
    left, top, right, bottom = light.box
    wide, tall = right - left, bottom - top
    x, y = (left + right) / 2, (top + bottom) / 2
    if text.bottom - text.top > _HIGHEST * tall:
        return None
    across = max(text.left - x, 0.0, x - text.right) / wide
    down = max(text.top - y, 0.0, y - text.bottom) / tall
    if min(across, down) > 0.5:
        return None
    if across == 0 and abs((text.left + text.right) / 2 - x) > 2 * wide:  # a line for several lights
        return None
    away = max(across, down)
    return away if away <= _BESIDE else None


def _in_reading_order(found: Sequence[Light]) -> list[Light]:
    """Rows from top to bottom, each from left to right."""
    rows: list[list[Light]] = []
    for one in sorted(found, key=lambda light: light.box[1] + light.box[3]):
        middle = (one.box[1] + one.box[3]) / 2
        if rows and rows[-1][0].box[1] <= middle <= rows[-1][0].box[3]:
            rows[-1].append(one)
        else:
            rows.append([one])
    return [one for row in rows for one in sorted(row, key=lambda light: light.box[0])]
