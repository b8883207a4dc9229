"""Perceptual hashes of photos: copies of a photo that were scaled, cropped at the edges or encoded anew differ in a few
bits of 64, other photos in about half of them.

The hash (pHash: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010) says of each of
the 64 lowest frequencies of the greyscale photo, at 32 x 32 pixels, whether it is above their median. A photo of
one colour has none: its bits would be noise.
"""

from __future__ import annotations

import io
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = 64
_SIDE, _FREQUENCIES = 32, 8
_BANDS = 4
_BAND = BITS // _BANDS
_EVEN = 4.0


def hash_of(data: bytes) -> int | None:
    """The hash of a normalised photo, as a signed integer; None if there is too little in it to compare."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("L", (4 * _SIDE, 4 * _SIDE))
        small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float64)
    if pixels.std() < _EVEN:
        return None
    basis = _cosines()
    frequencies = (basis @ pixels @ basis.T)[:_FREQUENCIES, :_FREQUENCIES].ravel()
    bits = frequencies > np.median(frequencies[1:])
    bits[0] = False  # brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)


def distance(one: int, other: int) -> int:
    """In how many bits two hashes differ."""
    differing = (one ^ other) & ((1 << BITS) - 1)
    return differing.bit_count()


def bands_of(value: int) -> tuple[int, ...]:
    """The hash in four parts. Hashes that differ in less than ``4 * (n + 1)`` bits have a part that differs in at most
    ``n``: by these, near ones are looked up."""
    return tuple((value >> (_BAND * band)) & (2**_BAND - 1) for band in range(_BANDS))


def near(band: int, most: int) -> list[int]:
    """The parts that differ from this one in at most so many bits."""
    flips = [sum(1 << bit for bit in bits) for count in range(most + 1) for bits in combinations(range(_BAND), count)]
    return [band ^ flip for flip in flips]


@cache
def _cosines() -> NDArray[np.float64]:
    """The matrix of the discrete cosine transform."""
    places = np.arange(_SIDE)
    return np.cos(np.pi * np.outer(places, 2 * places + 1) / (2 * _SIDE))
