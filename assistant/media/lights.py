"""Indicator lights of any device, found in the pixels: small regions that shine.

Candidates are small regions brighter or more colourful than what is around them. Each is described by what makes a
light of it rather than a sticker or a reflection: how far it outshines its surroundings, how its glow falls off, and
that a glow is more colourful than a burnt-out centre. Colours are those of the light that it adds to its surroundings,
under the photo's white balance. What a candidate is was fitted to drawn devices (`lab.evaluation.lights`), which of it
is claimed says `skills.lights`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ("green", "red", "amber", "blue", "white")
WEIGHTS = Path(__file__).with_name("lights.npz")
_LONGEST = 640
# Sides of the squares, in pixels, that a light must fit in; the share of its box that it fills at least; levels of 255
# that it stands out by.
_SIZES, _FILLED, _STANDS_OUT = (31, 15, 7), 0.45, 40
_FEWEST, _MOST = 5, 60
_GAMMA = 2.2
# In 34 screenshots .84 of the pixels or more are like the next one, in 55 photos of goods and parcels at most .33, in
# drawn photos with burnt-out walls .78. Pixels below the level are black; so many others it takes.
_EVEN, _BLACK, _LEAST_SEEN = 0.8, 24, 0.05
# Of the features: those of shape and glow, and those of tints; and how deep the trees are.
SHAPE, TINT = [*range(19), *range(37, 41)], [6, 7, 8, *range(19, 37)]
DEPTH = 3
# White balance is taken back by so much at most, for each channel.
_CAST = 1.5


@dataclass(frozen=True)
class Light:
    """Left, top, right, bottom as fractions of the photo's sides; ``probabilities`` of `COLOURS`. What is left to 1 is
    the probability that it is no light."""

    box: tuple[float, float, float, float]
    probabilities: tuple[float, ...]

    @property
    def colour(self) -> str:
        return COLOURS[int(np.argmax(self.probabilities))]

    @property
    def probability(self) -> float:
        return max(self.probabilities)


@dataclass(frozen=True)
class Candidate:
    """``box`` as of `Light`; (features,) ``described``."""

    box: tuple[float, float, float, float]
    described: np.ndarray


def find_lights(photo: bytes, *, least: float = 0.5) -> list[Light]:
    """Those with a colour that is at least so probable, the surest first. ``photo``: JPEG or PNG."""
    found = candidates(photo)
    if not found:
        return []
    chances = _finder()(np.stack([one.described for one in found]))
    lights = [
        Light(one.box, tuple(map(float, own))) for one, own in zip(found, chances, strict=True) if own.max() >= least
    ]
    return sorted(lights, key=lambda light: -light.probability)


def candidates(photo: bytes) -> list[Candidate]:
    """Small regions that stand out; at most 60, the most striking ones."""
    with Image.open(io.BytesIO(photo)) as image:
        image.draft("RGB", (_LONGEST, _LONGEST))
        small = image.convert("RGB")
    small.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BOX)
    levels = np.asarray(small, dtype=np.float32)
    if _is_drawn(levels):
        return []
    regions = _regions(levels)
    linear = (levels / 255) ** _GAMMA
    balanced = linear * _white_balance(linear)
    bright, colourful = _bright_and_colourful(levels)
    whole = np.array([np.quantile(bright, 0.5), np.quantile(bright, 0.95)]) / 255
    height, width = bright.shape
    found = []
    for core, at in regions[:_MOST]:
        own = _describe(core, at, balanced, linear, bright, colourful)
        if own is not None:
            crowd = [np.log1p(len(regions)), *whole, own[1] - whole[1]]
            top, left = at[0].start, at[1].start
            rows, columns = np.nonzero(core)
            left, right = (left + columns.min()) / width, (left + columns.max() + 1) / width
            top, bottom = (top + rows.min()) / height, (top + rows.max() + 1) / height
            box = (float(left), float(top), float(right), float(bottom))
            found.append(Candidate(box, np.array([*own, *crowd], dtype=np.float32)))
    return found


def _is_drawn(levels: np.ndarray) -> bool:
    """Whether most pixels are exactly like their neighbours, as in a picture of a screen and in no photo: dots are no
    lights there. What is nearly black does not count: of that, photos are even, too."""
    seen = levels[:, 1:].max(axis=2) > _BLACK
    same = np.abs(np.diff(levels, axis=1)).max(axis=2) == 0
    return int(seen.sum()) > _LEAST_SEEN * seen.size and float(same[seen].mean()) > _EVEN


def _regions(levels: np.ndarray) -> list[tuple[np.ndarray, tuple[slice, slice]]]:
    """Core masks with their places, the most striking first."""
    from scipy import ndimage

    bright, colourful = _bright_and_colourful(levels)
    found: list[tuple[float, np.ndarray, tuple[slice, slice]]] = []
    taken = np.zeros(bright.shape, dtype=bool)
    for size in _SIZES:  # the largest first: parts of a light are no lights of their own
        stands = np.maximum(*(one - ndimage.grey_opening(one, size) for one in (bright, colourful)))
        parts, _ = ndimage.label(stands > _STANDS_OUT)
        large = np.flatnonzero(np.bincount(parts.ravel())[1:] >= _FEWEST) + 1  # of noise, most are not
        again = np.zeros(int(parts.max()) + 1, dtype=np.int32)
        again[large] = np.arange(1, len(large) + 1)
        parts = again[parts]
        for number, at in enumerate(ndimage.find_objects(parts), start=1):
            own = np.where(parts[at] == number, stands[at], 0)
            core = own > 0.55 * own.max()
            rows, columns = (np.flatnonzero(core.any(axis=axis)) for axis in (1, 0))
            high, wide = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
            if core.sum() < max(_FEWEST, _FILLED * high * wide) or max(high, wide) > size or (taken[at] & core).any():
                continue
            taken[at] |= core
            found.append((float(own.max()) * float(np.sqrt(core.sum())), core, at))
    return [(core, at) for _, core, at in sorted(found, key=lambda one: -one[0])]


def _bright_and_colourful(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The strongest channel of each pixel, and by how much it exceeds the weakest."""
    red, green, blue = np.moveaxis(levels, 2, 0)
    most = np.maximum(np.maximum(red, green), blue)
    return most, most - np.minimum(np.minimum(red, green), blue)


def _describe(
    core: np.ndarray, at: tuple[slice, slice], balanced: np.ndarray, linear: np.ndarray, bright: np.ndarray,
    colourful: np.ndarray,
) -> list[float] | None:  # fmt: skip
    """What makes it a light, and of which colour. None if nothing is around it."""
    from scipy import ndimage

    area = int(core.sum())
    radius = float(np.sqrt(area / np.pi))
    margin = int(5 * radius) + 3
    top, left = max(0, at[0].start - margin), max(0, at[1].start - margin)
    window = (slice(top, at[0].stop + margin), slice(left, at[1].stop + margin))
    mask = np.zeros(bright[window].shape, dtype=bool)
    mask[at[0].start - top : at[0].stop - top, at[1].start - left : at[1].stop - left] = core
    away = ndimage.distance_transform_edt(~mask)
    step = max(radius, 1.5)
    rings = [
        mask,
        *((away > lower * step) & (away <= upper * step) for lower, upper in ((0, 0.6), (0.6, 1.3), (1.3, 2.2))),
    ]
    ground = (away > 2.6 * step) & (away <= 5 * step)
    if ground.sum() < _FEWEST or any(ring.sum() < 3 for ring in rings):
        return None
    pixels, plain = balanced[window], linear[window]
    behind = np.median(pixels[ground], axis=0)
    added = np.stack([pixels[ring].mean(axis=0) - behind for ring in rings])
    total = max(float(added[0].max()), 1e-3)
    fall = [float(one.max()) / total for one in added[1:]]
    inner = mask & (ndimage.distance_transform_edt(mask) >= max(1.0, 0.5 * radius))
    centre = pixels[inner if inner.sum() >= 2 else mask].mean(axis=0)
    halo = added[1] + added[2]
    rows, columns = np.nonzero(core)
    high, wide = float(np.ptp(rows)) + 1, float(np.ptp(columns)) + 1
    spread = bright[window][ground]
    return [
        float(np.log((bright[window][mask].mean() + 5) / (spread.mean() + 5))),
        float(np.quantile(bright[window][mask], 0.9)) / 255,
        float(np.log(total)),
        *fall,
        _saturation(centre), _saturation(halo), _saturation(added[3]), _saturation(halo) - _saturation(centre),
        _agree(added[0], halo), _agree(halo, added[3]),
        area / (high * wide), float(np.log(wide / high)) ** 2, float(np.log(radius)),
        float(spread.std()) / 255, float(spread.mean()) / 255,
        float(colourful[window][mask].mean()) / 255, float(colourful[window][ground].mean()) / 255,
        *_tint(added[0]), *_tint(halo), *_tint(centre), *_tint(added[3]), *_tint(plain[rings[1]].mean(axis=0)),
        *_tint(behind),
    ]  # fmt: skip


def _saturation(light: np.ndarray) -> float:
    positive = np.maximum(light, 0)
    return float(1 - positive.min() / max(float(positive.max()), 1e-4))


def _agree(one: np.ndarray, other: np.ndarray) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths > 1e-6 else 0.0


def _tint(light: np.ndarray) -> list[float]:
    positive = np.maximum(light, 0)
    return [float(one) for one in positive / max(float(positive.sum()), 1e-4)]


def _white_balance(linear: np.ndarray) -> np.ndarray:
    """(3,) factors under which the photo's light is white: between grey world and brightest white (Minkowski norm 6,
    Finlayson and Trezzi 2004), half believed, since many photos are of something coloured."""
    light = np.array([(channel**6).mean() for channel in np.moveaxis(linear, 2, 0)]) ** (1 / 6) + 1e-3
    factors = np.sqrt(light.mean() / light)
    return np.asarray(np.clip(factors, 1 / _CAST, _CAST), dtype=np.float32)


class Finder:
    """What a candidate is, by what was fitted (`lab.evaluation.lights.fitted`): boosted trees on its shape and glow say
    whether it is a light, a softmax regression on its tints which colour that has."""

    def __init__(self, parts: Mapping[str, np.ndarray]) -> None:
        self._parts = parts

    def __call__(self, described: np.ndarray) -> np.ndarray:
        """(n, 5): `Light.probabilities` of (n, features)."""
        part = self._parts
        slope, offset = part["worth"]
        lit = 1 / (1 + np.exp(-(slope * self.raw(described[:, SHAPE]) + offset)))
        values = ((described[:, TINT] - part["mean"]) / part["spread"]).clip(-5, 5)
        logits = values @ part["weights"] + part["bias"]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(lit[:, None] * shares / shares.sum(axis=1, keepdims=True))

    def raw(self, shape: np.ndarray) -> np.ndarray:
        """(n,) sums of the trees' leaves."""
        features, thresholds, leaves = (self._parts[name] for name in ("features", "thresholds", "leaves"))
        trees, rows = np.arange(len(features)), np.arange(len(shape))[:, None]
        node = np.zeros((len(shape), len(features)), dtype=int)
        for _ in range(DEPTH):
            node = 2 * node + 1 + (shape[rows, features[trees, node]] > thresholds[trees, node])
        return np.asarray(leaves[trees, node - (2**DEPTH - 1)].sum(axis=1))


@cache
def _finder() -> Finder:
    with np.load(WEIGHTS) as stored:
        return Finder({name: stored[name] for name in stored.files})
