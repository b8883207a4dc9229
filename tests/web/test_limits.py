"""Counts of requests: by a steady clock, and forgotten once they do not count."""

from __future__ import annotations

import time

import pytest
from limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from assistant.web import limits
from assistant.web.limits import Counts

TWICE = RateLimitItemPerMinute(2)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a clock shows which nobody sets."""
    shown = [1000.0]
    monkeypatch.setattr(limits, "monotonic", lambda: shown[0])
    return shown


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_neither_refuses_nor_admits_anybody(
    monkeypatch: pytest.MonkeyPatch, steady: list[float], hours: int
) -> None:
    limiter = MovingWindowRateLimiter(Counts())
    assert limiter.hit(TWICE, "shop")
    steady[0] += 30
    assert limiter.hit(TWICE, "shop")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600 * hours)
    assert not limiter.hit(TWICE, "shop")
    assert not limiter.test(TWICE, "shop")
    assert limiter.get_window_stats(TWICE, "shop") == (1060.0, 0)
    steady[0] += 31
    assert limiter.test(TWICE, "shop")
    assert limiter.hit(TWICE, "shop")
    assert not limiter.hit(TWICE, "shop")
    assert limiter.hit(TWICE, "another")


def test_whoever_is_not_counted_any_more_is_forgotten(steady: list[float]) -> None:
    counts = Counts()
    limiter = MovingWindowRateLimiter(counts)
    for visitor in range(1000):
        assert limiter.hit(TWICE, f"visitor {visitor}")
        steady[0] += 1
    assert counts.known <= 62
    limiter.clear(TWICE, "visitor 999")
    assert limiter.get_window_stats(TWICE, "visitor 999").remaining == 2
    counts.reset()
    assert counts.known == 0
