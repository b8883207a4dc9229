"""Where lines of text are, searched at the size that they need.

The detector takes as long as a picture has pixels, and most photos have little text, in large letters. So it looks at
half the size first. What it finds there in large letters stands. Where it sees small letters, or hardly sees them, it
looks again at the whole size: at these places, or everywhere in a page of text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from assistant.engine.ocr.models import Models

# The scale of the first search, unless the picture has fewer pixels than that, or a side that short.
_COARSELY, _FEW_PIXELS, _SHORT = 0.5, 300_000, 320
# A line found coarsely stands if its shorter side has so many pixels of the picture. Below that, the detector joins and
# cuts lines more often.
_LARGE = 40
# Where the detector sees text with so much probability, it may be there; in fewer places than that, it is noise.
_PERHAPS, _FEW_PLACES = 0.1, 4
# Lines so near to each other are searched together, with so many pixels around.
_NEAR, _AROUND = 24, 32
# If that is so much of the picture, or so many lines have small letters, it is a page of text: all of it is looked at.
_MOST, _PAGE = 0.6, 12


def find_lines(models: Models, picture: np.ndarray) -> np.ndarray:
    """Corners of lines in a picture (h, w, 3), BGR: (n, 4, 2), clockwise from the top left."""
    height, width = picture.shape[:2]
    if height * width < _FEW_PIXELS or min(height, width) * _COARSELY < _SHORT:
        return models.detect(picture)
    found, likely = models.detect_at(picture, _COARSELY)
    if (_shorter_sides(found) < _LARGE).sum() > _PAGE:
        return models.detect(picture)
    groups, again = _group(found, likely > _PERHAPS, (height, width))
    stands = ~again[_at(found, groups, (height, width))]
    places = ndimage.find_objects(groups)
    edges = {number: _edges(places[number - 1], groups.shape, (height, width)) for number in np.flatnonzero(again)}
    if sum((right - left) * (bottom - top) for left, top, right, bottom in edges.values()) > _MOST * height * width:
        return models.detect(picture)
    lines = [found[stands]]
    for number, (left, top, right, bottom) in edges.items():
        small, _ = models.detect_at(picture[top:bottom, left:right], models.scale(picture))
        small = small + np.array([left, top], np.float32)
        lines.append(small[_at(small, groups, (height, width)) == number])  # others are found where they belong
    return np.concatenate(lines).astype(np.float32)


def _group(found: np.ndarray, text: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The number of the group of lines at each place (h, w), from 1 on, and by number whether to look there again.
    ``text`` (h, w): where some may be, on a smaller scale."""
    scale = np.array([text.shape[1] / size[1], text.shape[0] / size[0]])
    groups, count = ndimage.label(ndimage.maximum_filter(text, 2 * round(_NEAR * _COARSELY) + 1))
    # What no line explains: text that was hardly seen.
    rest = Image.fromarray(text.astype(np.uint8))
    for line in found:
        ImageDraw.Draw(rest).polygon([tuple(corner) for corner in np.rint(line * scale)], fill=0)
    again: np.ndarray = np.bincount(groups[np.asarray(rest) > 0], minlength=count + 1) >= _FEW_PLACES
    again[_at(found, groups, size)[_shorter_sides(found) < _LARGE]] = True
    again[0] = False
    return groups, again


def _at(lines: np.ndarray, groups: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The group in which each line (n, 4, 2) has its middle."""
    rows, columns = groups.shape
    middles = lines.mean(1) * (columns / size[1], rows / size[0])
    across, down = np.clip(middles.astype(int), 0, (columns - 1, rows - 1)).T
    return np.asarray(groups[down, across])


def _shorter_sides(lines: np.ndarray) -> np.ndarray:
    sides = [np.linalg.norm(lines[:, 0] - lines[:, corner], axis=1) for corner in (1, 3)]
    return np.asarray(np.minimum(*sides))


def _edges(place: tuple[slice, ...], scaled: Sequence[int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """In pixels of the picture, with what is around."""
    (top, bottom), (left, right) = (
        (max(0, int(part.start * whole / small) - _AROUND), min(whole, int(part.stop * whole / small) + _AROUND))
        for part, small, whole in zip(place, scaled, size, strict=True)
    )
    return left, top, right, bottom
