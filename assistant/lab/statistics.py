"""Statistics of the reports: calibration, and means with bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assistant.skills.calibration import Bin, calibration_error, reliability

__all__ = ["Bin", "Mean", "bootstrap_samples", "calibration_error", "reliability"]

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
