"""Whether stated probabilities hold: reliability by bins, and the expected calibration error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

# (mean confidence, share that was right, count)
Bin = tuple[float, float, int]
BINS = 15


def reliability(confidence: np.ndarray, right: np.ndarray, *, bins: int = BINS) -> Iterator[Bin]:
    """The non-empty ones of ``bins`` equally wide bins of ``confidence`` (n,); ``right`` (n,) is 1 or 0."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    for place in np.unique(places):
        inside = places == place
        yield float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum())


def calibration_error(bins: Iterable[Bin]) -> float:
    """Expected calibration error (Naeini et al. 2015); 0 without any bins."""
    known = list(bins)
    return sum(abs(said - true) * count for said, true, count in known) / max(1, sum(count for *_, count in known))
