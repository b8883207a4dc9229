"""Two photos of one thing: one is laid over the other, and what is not the same in both is boxed.

Points that look alike in both (SIFT: D. Lowe, Distinctive Image Features from Scale-Invariant Keypoints, 2004) give the
projective map of one onto the other, robustly (MAGSAC++: D. Barath et al., 2020). What is nearer moves farther from
another angle: optical flow takes that back, smoothly, so that it cannot hide a change. Other light, warmth, sharpness
and soft reflections are evened out in windows. What then stands out from the edges around it is a difference.

OpenCV does the work. It comes with OCR, and without it nothing can be compared.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from assistant.media import opencv
from assistant.ports import Box

# Pixels of the longer side at which photos are compared. All other pixels below are those.
_SIDE = 640
_POINTS, _RATIO, _OFF = 2500, 0.8, 3.0
# Points that must agree: so many, and this share of those that look alike.
_FEWEST, _SHARE = 20, 0.2
# How many times larger one may show things; the share of the smaller one that both must show.
_ZOOM, _OVERLAP = 4.0, 0.1
# Around the points that agree, and away from the edges of either photo.
_REACH, _EDGE = 40, 12
_FARTHEST, _SMOOTH = 14.0, 10.0
_WINDOW, _NOISE = 41, 9.0
_PATCH, _BESIDE = 9, 2
# Levels of L*a*b* that count for nothing, and by how much more where there are edges or strong colours.
_LEVELS, _TINT, _AT_EDGES, _COLOURFUL = 2.0, 3.0, 0.6, 0.12
_PLAIN = 4.0
# Chosen on drawn pairs and photographed photos, half of them without a change.
_STANDS_OUT, _LEAST, _SOFT = 1.0, 80, 0.05
_MERGED = 9
# More than this share that differs is no change of a thing but another thing.
_ANOTHER = 0.15
_MOST = 8


@dataclass(frozen=True)
class Difference:
    """A place that is not the same: its box in each photo, and how far it stands out (1 or more)."""

    in_one: Box
    in_other: Box
    strength: float


@dataclass(frozen=True)
class Overlaid:
    """``points`` agree on how one photo lies over the other; ``overlap``: the share of ``one`` that is compared;
    ``differences``: what stands out most comes first."""

    points: int
    overlap: float
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class _Map:
    """From ``other`` to ``one``, and the points of ``one`` that agree on it."""

    matrix: Any
    agreeing: Any


def overlay(one: bytes, other: bytes) -> Overlaid | None:
    """Two normalised photos; None if they cannot be laid over each other: they show other things, or one thing from
    too different angles. Takes a quarter to half a second. Needs `opencv`."""
    pixels, others = _opened(one), _opened(other)
    laid = _lay(pixels, others)
    if laid is None:
        return None
    there = _shared(laid, pixels.shape[:2], others.shape[:2])
    overlap = float(there.mean())
    if overlap < _OVERLAP:
        return None
    away, off, there = _away(pixels, others, laid, there)
    places = list(_standing_out(away, off))
    if sum(area for _, area, _ in places) > _ANOTHER * there.sum():
        return None
    back = np.linalg.inv(laid.matrix)
    differences = [
        Difference(_box(edges, pixels.shape), _box(_project(edges, back), others.shape), strength)
        for strength, _, edges in sorted(places, reverse=True)[:_MOST]
    ]
    return Overlaid(len(laid.agreeing), overlap, tuple(differences))


def _opened(photo: bytes) -> Any:
    """(h, w, 3) uint8."""
    with Image.open(io.BytesIO(photo)) as image:
        image.draft("RGB", (_SIDE, _SIDE))
        small = image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return np.asarray(small)


def _lay(pixels: Any, others: Any) -> _Map | None:
    cv2 = opencv.load()
    (places, looks), (others_places, others_looks) = _points(pixels), _points(others)
    if min(len(places), len(others_places)) < _FEWEST:
        return None
    alike = others_looks @ looks.T
    best = np.argpartition(-alike, 1, axis=1)[:, :2]
    order = np.argsort(-np.take_along_axis(alike, best, 1), axis=1)
    best = np.take_along_axis(best, order, 1)
    apart = 2 - 2 * np.take_along_axis(alike, best, 1)
    mutual = alike.argmax(axis=0)[best[:, 0]] == np.arange(len(best))
    sure = mutual & (apart[:, 0] < _RATIO**2 * apart[:, 1])
    if sure.sum() < _FEWEST:
        return None
    found, onto = others_places[sure], places[best[sure, 0]]
    matrix, agree = cv2.findHomography(found, onto, cv2.USAC_MAGSAC, _OFF, maxIters=5000, confidence=0.999)
    if matrix is None:
        return None
    agreeing = onto[agree.ravel() > 0]
    if len(agreeing) < max(_FEWEST, _SHARE * sure.sum()) or not _is_a_view(matrix, others.shape[:2]):
        return None
    return _Map(matrix, agreeing)


def _points(pixels: Any) -> tuple[Any, Any]:
    """(n, 2) places and (n, 128) looks of unit length (RootSIFT)."""
    cv2 = opencv.load()
    found, looks = cv2.SIFT_create(nfeatures=_POINTS, contrastThreshold=0.02).detectAndCompute(_grey(pixels), None)
    if looks is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    looks = np.sqrt(looks / np.maximum(looks.sum(axis=1, keepdims=True), 1e-9))
    return np.array([one.pt for one in found], dtype=np.float32), looks


def _is_a_view(matrix: Any, shape: tuple[int, int]) -> bool:
    """Whether a camera can have seen it so: not folded, and neither much larger nor smaller."""
    height, width = shape
    corners = _project(np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float32), matrix)
    sides = np.roll(corners, -1, axis=0) - corners
    following = np.roll(sides, -1, axis=0)
    turns = sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0]
    zoom = np.sqrt(max(float(np.abs(turns).mean()), 0.0) / (width * height))
    return bool((turns > 0).all() and 1 / _ZOOM < zoom < _ZOOM)


def _shared(laid: _Map, shape: tuple[int, int], others: tuple[int, int]) -> Any:
    """(h, w): which pixels of one are compared: the other shows them, too, and points nearby agree."""
    cv2 = opencv.load()
    height, width = shape
    shown = cv2.warpPerspective(np.full(others, 255, np.uint8), laid.matrix, (width, height)) > 250
    near = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(near, cv2.convexHull(laid.agreeing).astype(np.int32), 1)
    near = cv2.dilate(near, np.ones((2 * _REACH + 1,) * 2, np.uint8))
    framed = cv2.copyMakeBorder((shown & (near > 0)).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return cv2.erode(framed, np.ones((2 * _EDGE + 1,) * 2, np.uint8))[1:-1, 1:-1] > 0


def _away(pixels: Any, others: Any, laid: _Map, there: Any) -> tuple[Any, Any, Any]:
    """(h, w): how far the photos are apart, in units of what angles and light explain; (h, w, 3): and in colours, soft
    light included; which pixels count."""
    cv2 = opencv.load()
    height, width = there.shape
    one = pixels.astype(np.float32)
    other = cv2.warpPerspective(
        others.astype(np.float32), laid.matrix, (width, height), borderMode=cv2.BORDER_REPLICATE
    )
    other = _lit_alike(one, other, there)
    one, other = _as_sharp(one, other, there)
    other, there = _without_relief(one, other, there)
    edges = np.minimum(_edges(one), _edges(other))
    one, other = (cv2.cvtColor(part / 255, cv2.COLOR_RGB2LAB) for part in (one, other))
    off = cv2.GaussianBlur(one - other, (0, 0), 1.5)
    other = _without_reflections(one, other, there)
    away = _apart(one, other) / (_PLAIN + _AT_EDGES * edges)
    away[~there] = 0
    return away, off, there


def _lit_alike(one: Any, other: Any, there: Any) -> Any:
    """The other as if by one's light: for each channel, a factor that changes smoothly over the photo."""
    cv2 = opencv.load()
    height, width = there.shape
    small = (max(8, width // 4), max(8, height // 4))
    ratio = np.log(cv2.resize(one, small, interpolation=cv2.INTER_AREA) + 8)
    ratio -= np.log(cv2.resize(other, small, interpolation=cv2.INTER_AREA) + 8)
    counts = cv2.resize(there.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST) > 0
    y, x = np.meshgrid(np.linspace(-1, 1, small[1]), np.linspace(-1, 1, small[0]), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)
    factors = np.stack([terms @ _robust_fit(terms[counts], ratio[..., c][counts]) for c in range(3)], axis=-1)
    lit = (other + 8) * np.exp(cv2.resize(factors, (width, height))) - 8
    return np.clip(lit, 0, 255).astype(np.float32)


def _robust_fit(terms: Any, values: Any) -> Any:
    """Coefficients by least squares in which outliers count for little (Cauchy's weights)."""
    weights = np.ones(len(values))
    fitted = np.zeros(terms.shape[1])
    for _ in range(6):
        weighted = terms * weights[:, None]
        fitted = np.linalg.solve(weighted.T @ terms + 1e-3 * np.eye(terms.shape[1]), weighted.T @ values)
        off = np.abs(values - terms @ fitted)
        weights = 1 / (1 + (off / max(1.5 * float(np.median(off)), 0.02)) ** 2)
    return fitted


def _as_sharp(one: Any, other: Any, there: Any) -> tuple[Any, Any]:
    """Both as soft as the softer one."""
    cv2 = opencv.load()

    def sharpness(part: Any) -> float:
        return float(np.percentile(np.abs(cv2.Laplacian(_grey(part), cv2.CV_32F)[there]), 95))

    parts = [cv2.GaussianBlur(part, (0, 0), 0.8) for part in (one, other)]
    levels = [sharpness(part) for part in parts]
    for _ in range(8):
        sharper = int(levels[1] > levels[0])
        if levels[sharper] <= 1.12 * levels[1 - sharper]:
            break
        parts[sharper] = cv2.GaussianBlur(parts[sharper], (0, 0), 0.7)
        levels[sharper] = sharpness(parts[sharper])
    return parts[0], parts[1]


def _without_relief(one: Any, other: Any, there: Any) -> tuple[Any, Any]:
    """The other moved onto one where it lies beside it, by a smooth flow; and which pixels still count."""
    cv2 = opencv.load()
    ground, moving = _grey(one), np.where(there, _grey(other), _grey(one))
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(_even(ground), _even(moving), None)
    trust = _edges(one) * 8 + 1
    trust[(np.hypot(flow[..., 0], flow[..., 1]) > _FARTHEST) | ~there] = 1e-3
    flow = cv2.GaussianBlur(flow * trust[..., None], (0, 0), _SMOOTH)
    flow /= cv2.GaussianBlur(trust, (0, 0), _SMOOTH)[..., None]
    rows, columns = np.indices(there.shape, dtype=np.float32)
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    moved = cv2.remap(other, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved, cv2.remap(there.astype(np.uint8), x, y, cv2.INTER_NEAREST) > 0


def _even(grey: Any) -> Any:
    """(h, w) uint8: brightness and contrast alike everywhere."""
    mean = _mean(grey, 31)
    spread = np.sqrt(np.maximum(_mean(grey * grey, 31) - mean * mean, 0)) + 6
    return np.clip((grey - mean) / spread * 48 + 128, 0, 255).astype(np.uint8)


def _without_reflections(one: Any, other: Any, there: Any) -> Any:
    """The other with the brightness and contrast of one in each window: one is regressed on it there."""
    counts = there.astype(np.float32)
    inside = np.maximum(_mean(counts, _WINDOW), 1e-3)

    def mean(values: Any) -> Any:
        return _mean(values * counts, _WINDOW) / inside

    channels = []
    for channel in range(3):
        a, b = one[..., channel], other[..., channel]
        mean_a, mean_b = mean(a), mean(b)
        slope = (mean(a * b) - mean_a * mean_b + _NOISE) / (mean(b * b) - mean_b * mean_b + _NOISE)
        channels.append(np.clip(slope, 0.4, 2.5) * (b - mean_b) + mean_a)
    return np.stack(channels, axis=-1).astype(np.float32)


def _apart(one: Any, other: Any) -> Any:
    """(h, w): the mean distance of the patch around each pixel from the nearest patch beside it."""
    cv2 = opencv.load()
    height, width = one.shape[:2]
    colours = [np.hypot(part[..., 1], part[..., 2]) for part in (one, other)]
    allowed = _TINT + _COLOURFUL * np.minimum(*colours)
    around = cv2.copyMakeBorder(other, *(_BESIDE,) * 4, cv2.BORDER_REPLICATE)
    nearest = np.full((height, width), np.inf, dtype=np.float32)
    for down in range(0, 2 * _BESIDE + 1, _BESIDE):
        for across in range(0, 2 * _BESIDE + 1, _BESIDE):
            off = one - around[down : down + height, across : across + width]
            tint = np.maximum(np.hypot(off[..., 1], off[..., 2]) - allowed, 0)
            nearest = np.minimum(nearest, _mean(np.maximum(np.abs(off[..., 0]) - _LEVELS, 0) + tint, _PATCH))
    return nearest


def _standing_out(away: Any, off: Any) -> Iterator[tuple[float, int, Any]]:
    """(strength, pixels, edges) of every place that does, and is no reflection or shadow without an edge."""
    cv2 = opencv.load()
    hot = cv2.morphologyEx((away > _STANDS_OUT).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_MERGED,) * 2, np.uint8))
    slopes = np.hypot(*(cv2.Sobel(off, cv2.CV_32F, *way, scale=0.125) for way in ((1, 0), (0, 1))))
    steep, far = np.linalg.norm(slopes, axis=2), np.linalg.norm(off, axis=2)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hot)
    for number in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[number])
        if area < _LEAST:
            continue
        part = np.s_[max(0, y - 6) : y + height + 6, max(0, x - 6) : x + width + 6]
        own = (labels[part] == number).astype(np.uint8)
        near = cv2.dilate(own, np.ones((_MERGED,) * 2, np.uint8)) > 0
        if np.percentile(steep[part][near], 90) < _SOFT * np.percentile(far[part][own > 0], 95):
            continue
        strength = float(np.sort(away[part][own > 0])[-20:].mean()) / _STANDS_OUT
        yield strength, area, np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], float)


def _grey(pixels: Any) -> Any:
    cv2 = opencv.load()
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def _edges(pixels: Any) -> Any:
    """(h, w): the mean slope around each pixel, in levels a pixel."""
    cv2 = opencv.load()
    grey = _grey(pixels)
    slopes = (cv2.Sobel(grey, cv2.CV_32F, *direction, scale=0.125) for direction in ((1, 0), (0, 1)))
    return _mean(np.hypot(*slopes), _PATCH)


def _mean(values: Any, side: int) -> Any:
    cv2 = opencv.load()
    return cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT)


def _project(points: Any, matrix: Any) -> Any:
    """(n, 2) points, mapped."""
    mapped = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def _box(corners: Any, shape: tuple[int, ...]) -> Box:
    shares = np.clip(corners / (shape[1], shape[0]), 0, 1)
    (left, top), (right, bottom) = shares.min(axis=0), shares.max(axis=0)
    return Box(float(left), float(top), float(right), float(bottom))
