"""Statistics of the reports: calibration, and means with bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assistant.skills.calibration import Bin, calibration_error, reliability

__all__ = ["Bin", "Mean", "bootstrap_samples", "calibration_error", "error_by_chance", "reliability"]

_RESAMPLES = 1000
_DRAWS = 200


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


def error_by_chance(sure: np.ndarray, *, bins: int, tickets: np.ndarray | None = None) -> float:
    """The calibration error that probabilities ``sure`` (n,) would show on so few tickets if all of them held: the mean
    over draws. ``tickets`` (n,): which ticket each is of, where one counts several times."""
    random = np.random.default_rng(0)
    of = np.arange(len(sure)) if tickets is None else np.unique(tickets, return_inverse=True)[1]
    drawn = random.random((_DRAWS, int(of.max(initial=-1)) + 1))
    return float(np.mean([calibration_error(reliability(sure, draw[of] < sure, bins=bins)) for draw in drawn]))
