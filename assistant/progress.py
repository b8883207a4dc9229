"""Progress of long work, as a function that its caller passes in."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

# Called with how many are done, of how many, and what is being done.
Progress = Callable[[int, int, str], None]


def no_progress(_done: int, _total: int, _what: str) -> None:
    """For callers that do not watch."""


def both(first: Progress, second: Progress) -> Progress:
    def progress(done: int, total: int, what: str) -> None:
        first(done, total, what)
        second(done, total, what)

    return progress


def throttled(report: Progress, *, seconds: float) -> Progress:
    """Calls ``report`` at most once every so many seconds, and always when the work is done."""
    reported_at = 0.0

    def progress(done: int, total: int, what: str) -> None:
        nonlocal reported_at
        if done >= total or monotonic() - reported_at >= seconds:
            reported_at = monotonic()
            report(done, total, what)

    return progress
