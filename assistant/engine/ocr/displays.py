"""Displays, whose digits consist of bars that do not touch: the larger they are, the less OCR takes them for text.

What stands out from its surroundings is gathered into rows, as finely and as coarsely as bars, digits and numbers ask
for. `seven_segments` reads each row three times, cut more and less closely. Only what two of the three agree on, and
what displays show, is told. Where it is a display that OCR read otherwise, nothing is: the place counts as text that
could not be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from assistant.engine.ocr.lines import box, same_place
from assistant.engine.ocr.seven_segments import HEIGHT, MOST_WIDTH, Reading, read_line
from assistant.ports import Box, TextLine

# Displays are searched for in the photo reduced to this side.
_SMALL = 480
# What is closer together than so many pixels is one part: bars of a digit, or a whole number.
_CLOSE = (2, 4, 8, 14)
# Contrasts count by those around them, in a square of this side, plus a little.
_AROUND, _LITTLE, _STANDS_OUT = 61, 2.0, 1.3
_LEAST_HEIGHT = 7
# Of most photos the largest rows are enough; a page of print has hundreds.
_MOST_ROWS = 60
# What displays show: numbers, times, codes and a few words.
_PLAUSIBLE = re.compile(r"-?\d{1,7}(\.\d{1,3})?|\d{1,2}:\d\d(:\d\d)?|[A-Z]{1,2}-?\d{1,4}|(?=.*[A-Z])[A-Z0]{2,4}")
_SURE, _SAYS_MORE, _IS_DISPLAY = 0.7, 0.15, 0.9
# Margins of a crop, in heights of the row: at its ends, and above and below.
_CLOSELY, _WIDELY, _BESIDE = (0.3, 0.05), (0.6, 0.22), (1.2, 0.22)
# A line with more letters than this says something that no display shows.
_MOST_LETTERS = 4

_Edges = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Found:
    reading: Reading
    place: Box


def with_displays(image: Image.Image, lines: Sequence[TextLine]) -> list[TextLine]:
    """``lines`` of the photo and what its displays show, which replaces what OCR made of it."""
    words = [line for line in lines if sum(sign.isalpha() for sign in line.text) > _MOST_LETTERS]
    others = [line for line in lines if line not in words]
    # A number that stands otherwise than the words around it is a display that OCR took for the wrong way up.
    turns = {line.turn for line in words}
    askew = [line for line in others if turns and line.turn not in turns and _has_digits(line)]
    pixels = np.asarray(image)
    found = [one for one in _read_rows(image, pixels) if not any(same_place(one.place, word.box) for word in words)]
    told = [one for one in found if not any(_says_more(line, one) for line in others if line not in askew)]
    kept = []
    for line in others:
        if not any(same_place(line.box, one.place) for one in told):
            kept.append(TextLine("", 0.0, line.box) if line in askew or _is_misread(pixels, line) else line)
    return [*words, *kept, *(TextLine(one.reading.text.upper(), one.reading.confidence, one.place) for one in told)]


def _has_digits(line: TextLine) -> bool:
    return any(sign.isdigit() for sign in line.text)


def _says_more(line: TextLine, found: _Found) -> bool:
    """Whether OCR read more there than the display's reader, which then saw but a part of something."""
    return same_place(line.box, found.place) and len(line.text.replace(" ", "")) > len(found.reading.text)


def _is_misread(pixels: np.ndarray, line: TextLine) -> bool:
    """Whether the line is a display that says something else, as far as it can be read."""
    if not _has_digits(line):
        return False
    height, width = pixels.shape[:2]
    edges = (line.box.left * width, line.box.top * height, line.box.right * width, line.box.bottom * height)
    if edges[3] - edges[1] < _LEAST_HEIGHT:
        return False
    readings = [read_line(_cut(pixels, edges, margins)) for margins in (_CLOSELY, _WIDELY)]
    same = any(reading.text.upper() == line.text.upper().replace(" ", "") for reading in readings)
    return not same and min(reading.shown for reading in readings) > _IS_DISPLAY


def _read_rows(image: Image.Image, pixels: np.ndarray) -> list[_Found]:
    """Readings of places that do not overlap, the longest first."""
    small = image.copy()
    small.thumbnail((_SMALL, _SMALL))
    if min(small.size) < _LEAST_HEIGHT:
        return []
    scale = image.width / small.width
    rows = sorted(_rows(np.asarray(small, np.float32)), key=lambda row: -(row[2] - row[0]) * (row[3] - row[1]))
    found = []
    for row in rows[:_MOST_ROWS]:
        edges = (row[0] * scale, row[1] * scale, row[2] * scale, row[3] * scale)
        if (reading := _read_row(pixels, edges)) is not None:
            found.append(_Found(reading, box(np.array([edges[:2], edges[2:]]), *image.size)))
    chosen: list[_Found] = []
    for one in sorted(found, key=lambda one: (-len(one.reading.text), -one.reading.confidence)):
        if not any(same_place(one.place, other.place) for other in chosen):
            chosen.append(one)
    return chosen


def _read_row(pixels: np.ndarray, edges: _Edges) -> Reading | None:
    """What is surely shown there: two of three crops say the same, and none surely more."""
    close = read_line(_cut(pixels, edges, _CLOSELY))
    if close.shown < _IS_DISPLAY:
        return None
    readings = [close, *(read_line(_cut(pixels, edges, margins)) for margins in (_WIDELY, _BESIDE))]
    best = max(readings, key=lambda reading: (_is_told(reading), reading.confidence))
    others = [reading for reading in readings if reading.text != best.text]
    more = any(len(other.text) > len(best.text) and other.confidence > _SAYS_MORE for other in others)
    return best if _is_told(best) and len(others) < 2 and not more else None


def _is_told(reading: Reading) -> bool:
    text = reading.text.upper()
    return len(text) > 1 and reading.confidence >= _SURE and _PLAUSIBLE.fullmatch(text) is not None


def _rows(pixels: np.ndarray) -> Iterator[_Edges]:
    """Edges (left, top, right, bottom) of parts beside each other that are about as high, in pixels; (h, w, 3)."""
    contrast = (np.abs(np.gradient(pixels, axis=0)) + np.abs(np.gradient(pixels, axis=1))).max(2)
    contrast /= ndimage.uniform_filter(contrast, _AROUND) + _LITTLE
    for close in _CLOSE:
        labels, _ = ndimage.label(ndimage.uniform_filter(contrast, close) > _STANDS_OUT)
        parts = [_edges(part, close / 2) for part in ndimage.find_objects(labels)]
        high = [part for part in parts if _LEAST_HEIGHT <= part[3] - part[1] <= 0.75 * len(pixels)]
        for row in _gathered([part for part in high if 0.1 < _shape(part) < 9]):
            if 0.25 < _shape(row) < 9:
                yield row


def _edges(part: tuple[slice, slice], grown: float) -> _Edges:
    """Of a part, less what it has ``grown`` by on each side."""
    down, across = part
    grown = min(grown, (down.stop - down.start) / 4, (across.stop - across.start) / 4)
    return across.start + grown, down.start + grown, across.stop - grown, down.stop - grown


def _shape(edges: _Edges) -> float:
    """Width by height."""
    return (edges[2] - edges[0]) / (edges[3] - edges[1])


def _gathered(parts: Sequence[_Edges]) -> list[_Edges]:
    rows: list[list[_Edges]] = []
    for part in sorted(parts):
        row = next((row for row in rows if _continues(row[-1], part)), None)
        if row is None:
            rows.append([part])
        else:
            row.append(part)
    return [
        (min(p[0] for p in row), min(p[1] for p in row), max(p[2] for p in row), max(p[3] for p in row)) for row in rows
    ]


def _continues(before: _Edges, part: _Edges) -> bool:
    """Whether the part stands beside the one before as the next digit does."""
    low, high = sorted((before[3] - before[1], part[3] - part[1]))
    shared = min(before[3], part[3]) - max(before[1], part[1])
    return low > 0.6 * high and shared > 0.6 * low and part[0] - before[2] < high


def _cut(pixels: np.ndarray, edges: _Edges, margins: tuple[float, float]) -> np.ndarray:
    """The crop (HEIGHT, width, 3) around a row, at most MOST_WIDTH wide."""
    left, top, right, bottom = edges
    along, across = (margin * (bottom - top) for margin in margins)
    quad = (left - along, top - across, right + along, bottom + across)
    size = min(MOST_WIDTH, max(8, round((quad[2] - quad[0]) / (quad[3] - quad[1]) * HEIGHT)))
    rows, columns = (
        np.clip(np.arange(round(start), max(round(end), round(start) + 1)), 0, most - 1)
        for start, end, most in ((quad[1], quad[3], len(pixels)), (quad[0], quad[2], pixels.shape[1]))
    )
    part = Image.fromarray(pixels[rows][:, columns])  # what would lie outside is as at the edge
    return np.asarray(
        part.resize((size, HEIGHT), Image.Resampling.BOX if part.height > HEIGHT else Image.Resampling.BILINEAR)
    )
