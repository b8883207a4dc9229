"""Copies of a photo that a hash of the whole misses: cut, framed, turned a little, mirrored, tinted, written on.

What may be a copy is found by the look of single points (SIFT: D. Lowe, Distinctive Image Features from Scale-Invariant
Keypoints, 2004), each kept as 64 signs of random projections (M. Charikar, Similarity Estimation Techniques from
Rounding Algorithms, 2002). Whether it is one, the pixels say: laid over each other by shift, turn and scale alone, two
copies agree in nearly every window. Another photo of the same thing does not, as no hand holds a camera twice the same
way; and neither does another receipt of the same shop, or another page of the same program.

OpenCV does the work. It comes with OCR; without it, the hash has to do.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from assistant.media import opencv

# Pixels of the longer side at which points are found, and at which two photos are laid over each other.
_SIDE, _LAID_SIDE = 400, 480
_KEPT, _CELLS = 128, 5
_BITS, _PREFIX = 64, 16
# Points are the same up to so many bits; so many must be, and so many photos are looked at.
_SAME, _FEWEST, _TRIED = 5, 6, 4
_POINTS, _RATIO, _OFF, _AGREEING = 800, 0.7, 1.5, 8
_ZOOM = 5.0
# Of the windows with something in them: their side, a step, the grey levels that are something, how many are needed.
_WINDOW, _STEP, _SOMETHING, _WINDOWS = 17, 8, 4.0, 30
# Correlation of a window that agrees; the share of windows that must, with the median of these; the same of a photo
# that was written on. Chosen on every third photo of six public sets.
_AGREES = 0.8
_COPY, _WRITTEN_ON = (0.93, 0.97), (0.75, 0.995)
# The share of the smaller of both photos that must be in the other.
_SHOWN = 0.5


@dataclass(frozen=True)
class Points:
    """Codes of a photo's points, (n,) uint64, the strongest of every part of it; and what they would be mirrored."""

    codes: np.ndarray
    mirrored: np.ndarray

    def to_bytes(self) -> bytes:
        """As `candidates` takes those of other photos: eight for each point."""
        return self.codes.astype("<u8").tobytes()


@dataclass(frozen=True)
class Candidate:
    """Another photo, by its number in what was searched, that this one may be a copy of."""

    number: int
    is_mirrored: bool


def points_of(photo: bytes) -> Points:
    """Of a normalised photo. About 35 ms. Needs `opencv`."""
    cv2 = opencv.load()
    grey = _grey(photo, _SIDE)
    sift = cv2.SIFT_create(contrastThreshold=0.03)
    kept = _spread(sift.detect(grey, None), grey.shape)
    if not kept:
        return Points(np.zeros(0, np.uint64), np.zeros(0, np.uint64))
    looks = _of_unit_length(sift.compute(grey, kept)[1])
    return Points(_codes(looks), _codes(looks[:, _mirrored_order()]))


def candidates(points: Points, stored: Sequence[bytes]) -> list[Candidate]:
    """What ``points`` share most codes with, the most first; ``stored``: codes of each photo as bytes. A code that many
    photos have counts for little."""
    counts = [len(codes) // 8 for codes in stored]
    codes, owners = np.frombuffer(b"".join(stored), "<u8"), np.repeat(np.arange(len(stored), dtype=np.int32), counts)
    one, other = _same(np.concatenate([points.codes, points.mirrored]), codes)
    found = []
    for is_mirrored in (False, True):
        ours = (one >= len(points.codes)) == is_mirrored
        votes = _votes(one[ours], owners[other[ours]], len(stored))
        found += [(-float(votes[at]), Candidate(int(at), is_mirrored)) for at in np.flatnonzero(votes)]
    found.sort(key=lambda pair: pair[0])
    return [candidate for _, candidate in found[:_TRIED]]


class Original:
    """A photo that others are compared with."""

    def __init__(self, photo: bytes) -> None:
        self._grey = _grey(photo, _LAID_SIDE)
        self._points = _strongest(self._grey)

    def is_copied_by(self, photo: bytes, *, is_mirrored: bool = False) -> bool | None:
        """Whether that is a copy of this, or this of that; None if there is too little in either to tell. About a tenth
        of a second."""
        other = _grey(photo, _LAID_SIDE, is_mirrored=is_mirrored)
        points = _strongest(other)
        if min(len(self._points[0]), len(points[0])) < _AGREEING:
            return None
        laid = _laid(self._points, points)
        return laid is not None and _agree(self._grey, other, laid)


def _grey(photo: bytes, side: int, *, is_mirrored: bool = False) -> Any:
    """(h, w) uint8."""
    with Image.open(io.BytesIO(photo)) as image:
        image.draft("L", (side, side))
        small = image.convert("L")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(ImageOps.mirror(small) if is_mirrored else small)


def _spread(found: Sequence[Any], shape: tuple[int, int]) -> list[Any]:
    """The strongest of every cell in turn, so that what is left of a cut photo has some."""
    height, width = shape
    cells: dict[tuple[int, int], list[Any]] = {}
    for point in sorted(found, key=lambda one: -one.response * one.size):
        across, down = point.pt
        cells.setdefault((int(across * _CELLS / width), int(down * _CELLS / height)), []).append(point)
    ranked = [(rank, -point.response, point) for cell in cells.values() for rank, point in enumerate(cell)]
    return [point for _, _, point in sorted(ranked, key=lambda one: one[:2])[:_KEPT]]


def _of_unit_length(looks: Any) -> Any:
    """RootSIFT (R. Arandjelovic and A. Zisserman, Three things everyone should know to improve object retrieval)."""
    return np.sqrt(looks / np.maximum(looks.sum(axis=1, keepdims=True), 1e-9))


def _codes(looks: Any) -> np.ndarray:
    return np.packbits(looks @ _projections() > 0, axis=1).view(">u8").ravel().astype(np.uint64)


@cache
def _projections() -> Any:
    """(128, 64): what all dimensions have in common is in none of them. Stored codes depend on every number of it."""
    raw = np.random.Generator(np.random.PCG64(7)).standard_normal((128, _BITS))
    return np.linalg.qr(raw - raw.mean(axis=0))[0].astype(np.float32)


@cache
def _mirrored_order() -> np.ndarray:
    """Of the 4 x 4 x 8 dimensions, in the mirror: rows and angles run the other way."""
    order = np.arange(128).reshape(4, 4, 8)[::-1, :, -np.arange(8) % 8]
    return order.ravel()


def _votes(points: np.ndarray, holders: np.ndarray, photos: int) -> np.ndarray:
    """(photos,): how much speaks for each, of which point is in which photo; 0 with too few in common."""
    if not len(points):
        return np.zeros(photos)
    shared = np.unique(points * photos + holders)
    points, holders = shared // photos, shared % photos
    weights = np.log((1 + photos) / np.bincount(points)[points])
    many = np.bincount(holders, minlength=photos) >= _FEWEST
    return np.where(many, np.bincount(holders, weights=weights, minlength=photos), 0)


def _same(own: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of codes that differ in few bits: in one at most of the first sixteen, by which they are found, and so are
    most of them."""
    shift = np.uint64(_BITS - _PREFIX)
    flips = np.array([0, *(1 << bit for bit in range(_PREFIX))], dtype=np.int64)
    prefixes = (own >> shift).astype(np.int64)[:, None] ^ flips
    sought = np.zeros(1 << _PREFIX, dtype=bool)
    sought[prefixes] = True
    theirs = (codes >> shift).astype(np.uint16)
    near = np.flatnonzero(sought[theirs])
    near = near[np.argsort(theirs[near], kind="stable")]
    ordered = theirs[near]
    wanted = prefixes.ravel().astype(np.uint16)
    first, last = np.searchsorted(ordered, wanted), np.searchsorted(ordered, wanted, side="right")
    counts = last - first
    one = np.repeat(np.repeat(np.arange(len(own)), len(flips)), counts)
    steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    other = near[np.repeat(first, counts) + steps]
    is_same = np.bitwise_count(own[one] ^ codes[other]) <= _SAME
    return one[is_same], other[is_same]


def _strongest(grey: Any) -> tuple[Any, Any]:
    """(n, 2) places and (n, 128) looks."""
    sift = opencv.load().SIFT_create(nfeatures=_POINTS, contrastThreshold=0.02)
    found, looks = sift.detectAndCompute(grey, None)
    if looks is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    return np.array([one.pt for one in found], dtype=np.float32), _of_unit_length(looks)


def _laid(one: tuple[Any, Any], other: tuple[Any, Any]) -> Any | None:
    """(2, 3): shift, turn and scale that most points agree on, from ``other`` to ``one``."""
    alike = other[1] @ one[1].T
    best = alike.argmax(axis=1)
    is_mutual = alike.argmax(axis=0)[best] == np.arange(len(best))
    sure = is_mutual & (np.sqrt(np.maximum(2 - 2 * alike.max(axis=1), 0)) < _RATIO)
    if sure.sum() < _AGREEING:
        return None
    cv2 = opencv.load()
    matrix, agreeing = cv2.estimateAffinePartial2D(
        other[0][sure], one[0][best[sure]], ransacReprojThreshold=_OFF, maxIters=3000, confidence=0.999
    )
    return matrix if matrix is not None and agreeing.sum() >= _AGREEING else None


def _agree(one: Any, other: Any, matrix: Any) -> bool:
    """Whether the windows of both do where they lie over each other."""
    cv2 = opencv.load()
    scale = float(np.hypot(*matrix[0, :2]))
    if not 1 / _ZOOM < scale < _ZOOM:
        return False
    if scale > 1:  # the finer one is made coarser, never the other way
        one, other, matrix, scale = other, one, cv2.invertAffineTransform(matrix), 1 / scale
    softness = 0.5 * np.sqrt(1 / scale**2 - 1)
    other = cv2.GaussianBlur(other, (0, 0), softness) if softness > 0.3 else other
    height, width = one.shape
    moved = cv2.warpAffine(other, matrix, (width, height))
    both = cv2.warpAffine(np.full(other.shape, 255, np.uint8), matrix, (width, height)) > 250
    smaller = min(one.size, scale**2 * other.size)
    if both.sum() < _SHOWN * smaller:
        return False
    correlations = _correlations(one, moved, both)
    agreeing = correlations[correlations > _AGREES]
    if len(correlations) < _WINDOWS or not len(agreeing):
        return False
    share, median = len(agreeing) / len(correlations), float(np.median(agreeing))
    return any(share >= least and median >= exact for least, exact in (_COPY, _WRITTEN_ON))


def _correlations(one: Any, other: Any, both: Any) -> Any:
    """(n,): of the windows that both show whole, and in which either has something."""
    cv2 = opencv.load()
    one, other = (cv2.GaussianBlur(part.astype(np.float32), (0, 0), 1.0) for part in (one, other))

    def mean(values: Any) -> Any:
        return cv2.blur(values, (_WINDOW, _WINDOW))[_STEP::_STEP, _STEP::_STEP]

    framed = cv2.copyMakeBorder(both.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inside = mean(cv2.erode(framed, np.ones((7, 7), np.uint8))[1:-1, 1:-1].astype(np.float32)) > 0.999
    means = mean(one), mean(other)
    spreads = mean(one * one) - means[0] ** 2, mean(other * other) - means[1] ** 2
    together = mean(one * other) - means[0] * means[1]
    something = inside & (np.maximum(*spreads) > _SOMETHING**2)
    return (together / np.sqrt(np.maximum(spreads[0], 1) * np.maximum(spreads[1], 1)))[something]
