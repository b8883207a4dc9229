"""Displays, which are searched for a second time.

Their digits consist of bars that do not touch, and the larger they are, the less the detector takes them for text. So
every photo is searched again, small and blurred, which closes the gaps. What is found where nothing else was read
counts if it looks like a display's reading and reads the same at another blur.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from assistant.engine.ocr.lines import box, same_place
from assistant.ports import TextLine

# Displays are searched for in the photo reduced to this side, blurred by these radii in pixels, one after the other.
SMALL, _BLURS = 480, (2.0, 2.6)
_DISPLAY = re.compile(r"(?=.{2,8}$)[A-Z]{0,3}[ -]?\d{1,4}([.:]\d{1,2})?")
_PART_OF_DISPLAY = re.compile(r"(?=.{0,7}$)[A-Z]{0,3}[ -]?\d{0,4}[.:]?\d{0,2}")
_LEAST_CONFIDENCE = 0.8
# Below this side rapidocr enlarges, and no display fits.
_LEAST_SIDE = 30


def with_displays(lines: Sequence[TextLine], blurred: Sequence[TextLine]) -> list[TextLine]:
    """``lines`` plus the displays' readings among ``blurred``, which replace lines that are only a part of them.

    Where two readings of one place differ, neither counts."""
    found = list(lines)
    displays = [line for line in blurred if line.confidence >= _LEAST_CONFIDENCE and _DISPLAY.fullmatch(line.text)]
    for display in displays:
        others = [line for line in displays if line.text != display.text and same_place(line.box, display.box)]
        same = [line for line in found if same_place(line.box, display.box)]
        if not others and all(len(line.text) < len(display.text) and line.text in display.text for line in same):
            found = [line for line in found if line not in same] + [display]
    return found


def read_displays(reader: Any, finder: Any, image: Image.Image, lines: Sequence[TextLine]) -> list[TextLine]:
    """What the blurred photo shows where ``lines`` leave room for a display; at two blurs if the first shows any."""
    small = image.copy()
    small.thumbnail((SMALL, SMALL))
    if min(small.size) < _LEAST_SIDE:
        return []
    found: list[TextLine] = []
    places = None
    for blur in _BLURS:
        blurred = np.asarray(small.filter(ImageFilter.GaussianBlur(blur)))
        pixels = np.ascontiguousarray(blurred[:, :, ::-1])  # BGR, as rapidocr expects
        if places is None:
            places = _open_places(finder(pixels, use_det=True, use_cls=False, use_rec=False).boxes, small.size, lines)
        found += [line for corners in places if (line := _read_line(reader, pixels, corners))]
        if with_displays(lines, found) == lines:
            break  # true of most photos; the second blur is only there to contradict
    return found


def _open_places(boxes: Any, size: tuple[int, int], lines: Sequence[TextLine]) -> list[Any]:
    """The corners of those ``boxes`` in a photo of ``size`` where nothing was read, or only a part of a display."""
    words = [line.box for line in lines if not _PART_OF_DISPLAY.fullmatch(line.text)]
    found = [] if boxes is None else list(boxes)
    return [corners for corners in found if not any(same_place(box(corners, *size), word) for word in words)]


def _read_line(reader: Any, pixels: np.ndarray, corners: Any) -> TextLine | None:
    from rapidocr.utils.process_img import get_rotate_crop_image

    crop = get_rotate_crop_image(pixels, np.array(corners, np.float32))
    result = reader(crop, use_det=False, use_cls=True, use_rec=True)
    if not result.txts or not result.txts[0].strip():
        return None
    height, width = pixels.shape[:2]
    return TextLine(result.txts[0].strip(), float(result.scores[0]), box(corners, width, height))
