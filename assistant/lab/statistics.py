"""Statistics of the reports: calibration, and means with bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assistant.skills.calibration import Bin, calibration_error, reliability

__all__ = ["Bin", "Calibration", "Mean", "bootstrap_samples", "calibration_error", "error_by_chance", "reliability"]

_RESAMPLES = 1000
_DRAWS = 200
_BINS = 10


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


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error over bins that hold equally many (ACE: Nixon et al. 2019), its 95 % interval, and what
    it would be ``by_chance`` if all probabilities held. Few photos make it too high: compare with that."""

    error: float
    low: float
    high: float
    by_chance: float

    @classmethod
    def of(cls, sure: np.ndarray, right: np.ndarray, groups: np.ndarray) -> Calibration:
        """``sure`` (n,) probabilities, ``right`` (n,) 1 or 0; ``groups`` (n,): what is drawn as one for the interval,
        such as all photos of a product."""
        random = np.random.default_rng(0)
        members = [np.flatnonzero(groups == one) for one in np.unique(groups)]
        drawn = [
            np.concatenate([members[one] for one in random.integers(len(members), size=len(members))])
            for _ in range(_DRAWS)
        ]
        low, high = np.percentile([_equal_error(sure[some], right[some]) for some in drawn], (2.5, 97.5))
        chance = np.mean([_equal_error(sure, random.random(len(sure)) < sure) for _ in range(_DRAWS)])
        return cls(_equal_error(sure, right), float(low), float(high), float(chance))


def _equal_error(sure: np.ndarray, right: np.ndarray) -> float:
    """At least ten of them in a bin."""
    bins = np.array_split(np.argsort(sure, kind="stable"), max(1, min(_BINS, len(sure) // 10)))
    return calibration_error([(float(sure[one].mean()), float(right[one].mean()), len(one)) for one in bins])


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
