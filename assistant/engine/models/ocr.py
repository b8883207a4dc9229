"""Reads text in photos with rapidocr: lines with boxes and confidences, in reading order.

The models come with the package; nothing is ever downloaded. Loaded once, on first use.

Digits on displays consist of bars that do not touch, and the larger they are, the less the detector takes them for
text. So every photo is searched a second time, small and blurred, which closes the gaps. What is found where nothing
else was read counts if it looks like a display's reading and reads the same at another blur.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from assistant.engine.models.pretrained import OnFirstUse
from assistant.errors import NotReady
from assistant.ports import Box, TextLine

# Characters in small screenshots are too small for the detector: these are enlarged to this side.
_LEAST_SIDE = 900
# Displays are searched for in the photo reduced to this side, blurred by these radii in pixels, one after the other.
_SMALL, _BLURS = 480, (2.0, 2.6)
_DISPLAY = re.compile(r"(?=.{2,8}$)[A-Z]{0,3}[ -]?\d{1,4}([.:]\d{1,2})?")
_PART_OF_DISPLAY = re.compile(r"(?=.{0,7}$)[A-Z]{0,3}[ -]?\d{0,4}[.:]?\d{0,2}")
_LEAST_CONFIDENCE = 0.8


class RapidOCR:
    """`OCR`. Thread-safe: one photo at a time."""

    def __init__(self) -> None:
        self._models = OnFirstUse(_load_both)

    @property
    def name(self) -> str:
        try:
            return f"rapidocr-{version('rapidocr')}"
        except PackageNotFoundError:
            return "rapidocr"

    def read(self, photo: bytes) -> list[TextLine]:
        image = _open(photo)
        with self._models.use() as (reader, finder):
            lines = _read_lines(reader, image)
            return in_reading_order(with_displays(lines, _read_displays(reader, finder, image, lines)))


def installed() -> bool:
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


def in_reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """Top to bottom; lines whose centres are within half a line's height of each other, left to right."""
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda line: line.box.top + line.box.bottom):
        middle = (line.box.top + line.box.bottom) / 2
        if rows:
            first = rows[-1][0].box
            if abs((first.top + first.bottom) / 2 - middle) < (first.bottom - first.top) / 2:
                rows[-1].append(line)
                continue
        rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.box.left)]


def with_displays(lines: Sequence[TextLine], blurred: Sequence[TextLine]) -> list[TextLine]:
    """``lines`` plus the displays' readings among ``blurred``, which replace lines that are only a part of them.

    Where two readings of one place differ, neither counts."""
    found = list(lines)
    displays = [line for line in blurred if line.confidence >= _LEAST_CONFIDENCE and _DISPLAY.fullmatch(line.text)]
    for display in displays:
        others = [line for line in displays if line.text != display.text and _same_place(line.box, display.box)]
        same = [line for line in found if _same_place(line.box, display.box)]
        if not others and all(len(line.text) < len(display.text) and line.text in display.text for line in same):
            found = [line for line in found if line not in same] + [display]
    return found


def _same_place(one: Box, other: Box) -> bool:
    """Whether they share a third of the smaller box."""
    across = min(one.right, other.right) - max(one.left, other.left)
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    smaller = min((box.right - box.left) * (box.bottom - box.top) for box in (one, other))
    return across > 0 and down > 0 and across * down > smaller / 3


def _read_lines(reader: Any, image: Image.Image) -> list[TextLine]:
    result = reader(_pixels(image), use_det=True)
    if result.boxes is None:
        return []
    return [
        TextLine(text.strip(), float(score), _box(corners, *image.size))
        for corners, text, score in zip(result.boxes, result.txts, result.scores, strict=True)
        if text.strip()
    ]


def _read_displays(reader: Any, finder: Any, image: Image.Image, lines: Sequence[TextLine]) -> list[TextLine]:
    """What the blurred photo shows where ``lines`` leave room for a display; at two blurs if the first shows any."""
    small = image.copy()
    small.thumbnail((_SMALL, _SMALL))
    found: list[TextLine] = []
    places = None
    for blur in _BLURS:
        pixels = _pixels(small.filter(ImageFilter.GaussianBlur(blur)))
        if places is None:
            places = _open_places(finder(pixels, use_cls=False, use_rec=False).boxes, small.size, lines)
        found += [line for corners in places if (line := _read_line(reader, pixels, corners))]
        if with_displays(lines, found) == lines:
            break  # true of most photos; the second blur is only there to contradict
    return found


def _open_places(boxes: Any, size: tuple[int, int], lines: Sequence[TextLine]) -> list[Any]:
    """The corners of those ``boxes`` in a photo of ``size`` where nothing was read, or only a part of a display."""
    words = [line.box for line in lines if not _PART_OF_DISPLAY.fullmatch(line.text)]
    found = [] if boxes is None else list(boxes)
    return [corners for corners in found if not any(_same_place(_box(corners, *size), word) for word in words)]


def _read_line(reader: Any, pixels: np.ndarray, corners: Any) -> TextLine | None:
    from rapidocr.utils.process_img import get_rotate_crop_image

    result = reader(get_rotate_crop_image(pixels, np.array(corners, np.float32)), use_det=False)
    if not result.txts or not result.txts[0].strip():
        return None
    height, width = pixels.shape[:2]
    return TextLine(result.txts[0].strip(), float(result.scores[0]), _box(corners, width, height))


def _pixels(image: Image.Image) -> np.ndarray:
    """BGR, as rapidocr expects."""
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


def _load_both() -> tuple[Any, Any]:
    """The reader, and the detector for displays."""
    return _load(), _load({"Det.limit_type": "max", "Det.limit_side_len": _SMALL})


def _load(settings: Mapping[str, Any] | None = None) -> Any:
    if not installed():
        raise NotReady("OCR is not installed. Run: pip install 'photo-support-assistant[demo]'")
    from rapidocr import RapidOCR as Reader

    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    return Reader(params={"Global.log_level": "error", **(settings or {})})


def _open(photo: bytes) -> Image.Image:
    """RGB, enlarged if the photo is small."""
    with Image.open(io.BytesIO(photo)) as image:
        rgb = image.convert("RGB")
    longer = max(rgb.size)
    if longer < _LEAST_SIDE:
        factor = _LEAST_SIDE / longer
        rgb = rgb.resize((round(rgb.width * factor), round(rgb.height * factor)), Image.Resampling.LANCZOS)
    return rgb


def _box(corners: Any, width: int, height: int) -> Box:
    points = np.asarray(corners, dtype=float)
    left, top = points.min(axis=0) / (width, height)
    right, bottom = points.max(axis=0) / (width, height)
    return Box(*(float(min(1.0, max(0.0, edge))) for edge in (left, top, right, bottom)))
