"""How readable a photo is."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_DARK, _BRIGHT, _FLAT, _BLURRED = 50.0, 225.0, 40.0, 0.1


def assess_quality(data: bytes) -> tuple[str, float]:
    """Quality of a normalised photo (good, blurred, too dark, too bright or low contrast) and confidence, 0.5 to 1.

    Measured on the greyscale photo at 512 pixels, in levels 0 to 255: mean brightness; the spread between the 0.5th and
    98th percentile; and sharpness, see `_sharpness`. Confidence grows with the distance from the threshold that
    decided. Thresholds were set on photos of parcels, groceries, receipts, street signs and screenshots, degraded by
    known amounts, so that none of the good ones is called bad.
    """
    with Image.open(io.BytesIO(data)) as image:
        grey = image.convert("L")
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
