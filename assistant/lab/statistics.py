"""Statistics of the reports: calibration, and means with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

# (mean confidence, share that was right, count)
Bin = tuple[float, float, int]
_RESAMPLES = 1000


@dataclass(frozen=True)
class Mean:
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray, samples: np.ndarray) -> Mean:
        """``values`` (n,); ``samples``: see `bootstrap_samples`."""
        low, high = np.percentile(values[samples].mean(axis=1), (2.5, 97.5))
        return cls(float(values.mean()), float(low), float(high))


def bootstrap_samples(count: int, *, seed: int) -> np.ndarray:
    """(1000, count) indices for a percentile bootstrap (Efron 1979). Values compared with each other share them."""
    return np.random.default_rng(seed).integers(count, size=(_RESAMPLES, count))


def reliability(confidence: np.ndarray, right: np.ndarray, *, bins: int) -> Iterator[Bin]:
    """The non-empty ones of ``bins`` equally wide bins of ``confidence`` (n,); ``right`` (n,) is 1 or 0."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    for place in np.unique(places):
        inside = places == place
        yield float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum())


def calibration_error(bins: Iterable[Bin]) -> float:
    """Expected calibration error (Naeini et al. 2015); 0 without any bins."""
    known = list(bins)
    return sum(abs(said - true) * count for said, true, count in known) / max(1, sum(count for *_, count in known))
