"""How readable a photo is."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assistant.media.origin import origin_of

# Pixels across that writing needs at least; levels within which there is nothing to be seen.
_SMALLEST, _EVEN = 8, 3
# Writing on a plain ground: this share of the pixels has one level, and so many differ by this much from the next.
_PLAIN, _EDGES, _EDGE = 0.9, 20, 90
_DARK, _BRIGHT, _FLAT, _BLURRED = 50.0, 225.0, 40.0, 0.1


def assess_quality(data: bytes) -> tuple[str, float]:
    """Quality of a normalised photo (good, blurred, too dark, too bright, low contrast, blank or too small) and
    confidence, 0.5 to 1.

    Blank is a photo of one colour. A page with little writing on it is neither too bright nor too dark. The rest is
    measured on the greyscale photo at 512 pixels, in levels 0 to 255: mean brightness; the spread between the 0.5th and
    98th percentile; and sharpness, see `_sharpness`. Confidence grows with the distance from the threshold that
    decided. Thresholds were set on photos of parcels, groceries, receipts, street signs and screenshots, degraded by
    known amounts, so that none of the good ones is called bad.
    """
    with Image.open(io.BytesIO(data)) as image:
        grey = image.convert("L")
        origin = origin_of(data)
    if min(origin.width or grey.width, origin.height or grey.height) < _SMALLEST:
        return "too small", 1.0
    if np.ptp(np.asarray(grey)) <= _EVEN:
        return "blank", 1.0
    return ("good", 1.0) if _is_writing_on_plain_ground(grey) else _measure(grey)


def _measure(grey: Image.Image) -> tuple[str, float]:
    grey.thumbnail((512, 512), Image.Resampling.LANCZOS)
    pixels = np.asarray(grey, dtype=np.float32)
    darkest, low, high = (float(level) for level in np.percentile(pixels, (0.1, 0.5, 98)))
    brightness, spread = float(pixels.mean()), high - low
    if brightness < _DARK and high < 140:
        return "too dark", _confidence(_DARK - brightness, _DARK)
    if brightness > _BRIGHT and darkest > 180:
        return "too bright", _confidence(brightness - _BRIGHT, 255 - _BRIGHT)
    if spread < _FLAT:
        return "low contrast", _confidence(_FLAT - spread, _FLAT)
    sharpness = _sharpness(pixels) / spread
    if sharpness < _BLURRED:
        return "blurred", _confidence(_BLURRED - sharpness, _BLURRED)
    return "good", _confidence(sharpness - _BLURRED, _BLURRED)


def _is_writing_on_plain_ground(grey: Image.Image) -> bool:
    """Of photos only scans are like that: light and lenses leave no ground of one level and no edge as hard."""
    counts = grey.histogram()
    level = max(range(256), key=lambda one: counts[one])
    if sum(counts[max(0, level - 2) : level + 3]) < _PLAIN * grey.width * grey.height:
        return False
    pixels = np.asarray(grey, dtype=np.int16)
    return int((np.abs(np.diff(pixels, axis=1)) >= _EDGE).sum()) >= _EDGES


def _sharpness(pixels: NDArray[np.float32]) -> float:
    """Strength of the sharpest edges in the direction that has the weakest ones, in grey levels, corrected for noise.

    Second differences (the directional parts of the Laplacian) along rows, columns and both diagonals: camera shake
    wipes out edges in one direction only, which the plain Laplacian misses. For each, the 98.5th percentile of the
    magnitude; Gaussian noise alone would make it 3.6 times the median, so that much is subtracted in quadrature.
    """
    if min(pixels.shape) < 3:
        return 255.0
    centre = 2 * pixels[1:-1, 1:-1]
    pairs = (
        (pixels[1:-1, :-2], pixels[1:-1, 2:]),
        (pixels[:-2, 1:-1], pixels[2:, 1:-1]),
        (pixels[:-2, :-2], pixels[2:, 2:]),
        (pixels[:-2, 2:], pixels[2:, :-2]),
    )
    levels = [np.percentile(np.abs(before + after - centre), (50, 98.5)) for before, after in pairs]
    return float(min(max(0.0, edge**2 - (3.6 * noise) ** 2) ** 0.5 for noise, edge in levels))


def _confidence(distance: float, scale: float) -> float:
    return 0.5 + 0.5 * min(1.0, max(0.0, distance / scale))
