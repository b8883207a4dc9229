"""How a picture is cut, so that nobody's picture asks for more than so many pixels.

The detector enlarges a picture until its shorter side has 736 pixels: a line of 2000 x 1 would become one of gigabytes.
So thin pictures get margins, and long ones are read in pieces that overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

# Characters in small screenshots are too small for the detector: these are enlarged to this side.
LEAST_SIDE = 900
# Pictures are searched for text at once up to this side, and so many pixels; larger ones are reduced, or cut if long.
MOST_SIDE, _MOST_AT_ONCE = 2000, 3_000_000
# A side more than so many times the other makes a picture long; more than so many times, too thin.
_LONG, _THIN = 2.5, 4
# Of a long picture, at most so many pixels are searched, which takes half a second a million on two cores; and so many
# are kept, for reading what was found.
_MOST_SEARCHED, _MOST_KEPT = 8_000_000, 16_000_000
# What each piece of a long picture shares with the next. Lines no higher than that are whole in one of them.
_OVERLAP = 160


@dataclass(frozen=True)
class Piece:
    """A part of a picture: its edges in pixels of the picture, and the scale at which it is searched."""

    left: int
    top: int
    right: int
    bottom: int
    scale: float = 1.0


def fit(image: Image.Image) -> Image.Image:
    """The picture at a size at which it is read: enlarged if it is small, reduced if it is large but not long."""
    longer, shorter = max(image.size), min(image.size)
    if longer < LEAST_SIDE:
        return _scale(image, LEAST_SIDE / longer, Image.Resampling.LANCZOS)
    most = _MOST_KEPT if longer > max(MOST_SIDE, _LONG * shorter) else _MOST_AT_ONCE
    factor = math.sqrt(most / (longer * shorter))
    if most == _MOST_AT_ONCE:
        factor = min(factor, MOST_SIDE / longer)
    return image if factor >= 1 else _scale(image, factor, Image.Resampling.HAMMING)


def cut(size: tuple[int, int]) -> list[Piece]:
    """The pieces in which a picture of this size is searched, top to bottom or left to right; mostly one."""
    width, height = size
    longer, shorter = max(size), min(size)
    if longer <= MOST_SIDE:
        return [Piece(0, 0, width, height)]
    scale = min(1.0, math.sqrt(_MOST_SEARCHED / (longer * shorter)))
    length = min(MOST_SIDE, round(_MOST_AT_ONCE / shorter / scale**2))
    starts = range(0, max(1, longer - _OVERLAP), length - _OVERLAP)
    ends = [min(start + length, longer) for start in starts]
    if height > width:
        return [Piece(0, start, width, end, scale) for start, end in zip(starts, ends, strict=True)]
    return [Piece(start, 0, end, height, scale) for start, end in zip(starts, ends, strict=True)]


def with_margins(pixels: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """A thin picture with margins in the colour of its ground, and where it begins in it: (left, top)."""
    height, width = pixels.shape[:2]
    least = math.ceil(max(height, width) / _THIN)
    left, top = max(0, least - width) // 2, max(0, least - height) // 2
    if not left and not top:
        return pixels, (0, 0)
    ground = np.median(pixels.reshape(-1, pixels.shape[2]), axis=0).astype(pixels.dtype)
    wide = np.empty((max(height, least), max(width, least), pixels.shape[2]), pixels.dtype)
    wide[:] = ground
    wide[top : top + height, left : left + width] = pixels
    return wide, (left, top)


def _scale(image: Image.Image, factor: float, resampling: Image.Resampling) -> Image.Image:
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), resampling)
