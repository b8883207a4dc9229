"""Lines of text in a picture: found piece by piece, read a few at a time, until the time is up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from PIL import Image

from assistant.engine.ocr.finding import find_lines
from assistant.engine.ocr.models import Models
from assistant.engine.ocr.pieces import Piece, cut, with_margins
from assistant.ports import Box, TextLine

# Whether the time is up is asked after so many lines.
_AT_ONCE = 6
# In fewer pixels than that, nothing can be read.
_LEAST_HEIGHT = 8
# Of lines this sure, the direction counts, and so does what they say.
_LEAST_CONFIDENCE = 0.5
# rapidocr turns crops that are so many times as high as wide by 90 degrees, and upside-down ones by 180.
_UPRIGHT = 1.5
# What was found on both sides of a seam becomes one line, if that is less than so many times as long as high.
_LONGEST = 30


def read_lines(models: Models, image: Image.Image, *, is_late: Callable[[], bool]) -> list[TextLine]:
    """The lines in reading order; what is not read before ``is_late`` is a line without text and confidence: a box
    that was found, or the rest of the picture."""
    if min(image.size) < _LEAST_HEIGHT:
        return []
    pixels = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])  # BGR, as rapidocr expects
    pieces, cut_off = cut(image.size), np.empty((0, 4, 2), np.float32)
    lines: list[TextLine] = []
    for number, piece in enumerate(pieces):
        if is_late():
            rest = np.array([[piece.left, piece.top], image.size], np.float32)
            return in_reading_order([*lines, _empty_line(rest, image.size)])
        found = _join(cut_off, _find(models, pixels, piece), pixels)
        last = number == len(pieces) - 1
        whole = np.array([last or _is_before(corners, pieces[number + 1]) for corners in found], bool)
        lines += _recognize(models, pixels, found[whole], is_late=is_late)
        cut_off = found[~whole]
    return in_reading_order(lines)


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


def legible(lines: Iterable[TextLine]) -> float:
    """How much was read: characters, weighted by confidence."""
    return sum(len(line.text) * line.confidence for line in lines if line.confidence >= _LEAST_CONFIDENCE)


def box(corners: np.ndarray, width: int, height: int) -> Box:
    points = np.asarray(corners, dtype=float)
    left, top = points.min(axis=0) / (width, height)
    right, bottom = points.max(axis=0) / (width, height)
    return Box(*(float(min(1.0, max(0.0, edge))) for edge in (left, top, right, bottom)))


def same_place(one: Box, other: Box) -> bool:
    """Whether they share a third of the smaller box."""
    across = min(one.right, other.right) - max(one.left, other.left)
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    smaller = min((box.right - box.left) * (box.bottom - box.top) for box in (one, other))
    return across > 0 and down > 0 and across * down > smaller / 3


def _find(models: Models, pixels: np.ndarray, piece: Piece) -> np.ndarray:
    """The corners of the lines in a piece, clockwise from the top left, in pixels of the picture; (n, 4, 2)."""
    part = pixels[piece.top : piece.bottom, piece.left : piece.right]
    if piece.scale < 1:
        size = (round(part.shape[1] * piece.scale), round(part.shape[0] * piece.scale))
        part = np.asarray(Image.fromarray(part).resize(size, Image.Resampling.HAMMING))
    part, margins = with_margins(part)
    return ((find_lines(models, part) - margins) / piece.scale + (piece.left, piece.top)).astype(np.float32)


def _is_before(corners: np.ndarray, piece: Piece) -> bool:
    right, bottom = corners.max(axis=0)
    return bool(right <= piece.left if piece.left else bottom <= piece.top)


def _join(before: np.ndarray, found: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """What was found in a piece, together with what its seam cut off ``before``: the same line is one. If that is too
    long, it is cut where it shows least, between two words."""
    joined = list(found)
    for corners in before:
        for number, other in enumerate(joined):
            (left, top), (right, bottom) = (
                np.maximum(corners.min(0), other.min(0)),
                np.minimum(corners.max(0), other.max(0)),
            )
            lower = min(np.ptp(corners[:, 1]), np.ptp(other[:, 1]))
            if right <= left or bottom - top < lower / 2:
                continue
            both = np.concatenate([corners, other])
            if max(np.ptp(both, axis=0)) < _LONGEST * min(np.ptp(both, axis=0)):
                joined[number] = _rectangle(both)
                break
            shared = pixels[int(top) : int(bottom) + 1, int(left) : int(right) + 1]
            gap = left + int(shared.std(axis=(0, 2)).argmin())
            joined[number] = _rectangle(np.array([[gap, other[:, 1].min()], other.max(0)]))
            joined.append(_rectangle(np.array([corners.min(0), [gap, corners[:, 1].max()]])))
            break
        else:
            joined.append(corners)
    return np.array(joined, np.float32).reshape(-1, 4, 2)


def _rectangle(points: np.ndarray) -> np.ndarray:
    """The corners of the rectangle around the points, clockwise from the top left."""
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def _recognize(models: Models, pixels: np.ndarray, boxes: np.ndarray, *, is_late: Callable[[], bool]) -> list[TextLine]:
    from rapidocr.utils.process_img import get_rotate_crop_image

    height, width = pixels.shape[:2]
    crops = [get_rotate_crop_image(pixels, corners.copy()) for corners in boxes]
    lines = []
    for start in range(0, len(crops), _AT_ONCE):
        if is_late():
            lines += [_empty_line(corners, (width, height)) for corners in boxes[start:]]
            break
        for corners, crop, flipped in zip(
            boxes[start:], *models.upright(crops[start : start + _AT_ONCE]), strict=False
        ):
            text, confidence = models.read(crop)
            if text.strip() and confidence >= _LEAST_CONFIDENCE:
                turn = (270 if _is_tall(corners) else 0) + (180 if flipped else 0)
                lines.append(TextLine(text.strip(), confidence, box(corners, width, height), turn % 360))
    return lines


def _is_tall(corners: np.ndarray) -> bool:
    across = max(np.linalg.norm(corners[0] - corners[1]), np.linalg.norm(corners[2] - corners[3]))
    down = max(np.linalg.norm(corners[0] - corners[3]), np.linalg.norm(corners[1] - corners[2]))
    return int(down) >= _UPRIGHT * int(across)


def _empty_line(corners: np.ndarray, size: tuple[int, int]) -> TextLine:
    return TextLine("", 0.0, box(corners, *size))
