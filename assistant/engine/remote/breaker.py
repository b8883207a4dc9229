"""A circuit breaker: who may ask a server that has failed, and when.

    closed --(so many failures in a row)--> open --(cool-down over)--> half-open --(its one trial succeeded)--> closed
                                             ^------------(the trial failed)----------'

It knows nothing of servers and waits for nothing: it is told what came of the requests that it let through.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True)
class Permit:
    """Leave for one request. What came of it is to be told once; it counts only while the state is the one in which
    the permit was given."""

    epoch: int
    is_trial: bool


class Breaker:
    """Safe to use from several threads. ``clock`` in seconds, never going back."""

    def __init__(self, *, failures: int, cool_down: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_failures = failures
        self._cool_down = cool_down
        self._clock = clock
        self._lock = threading.Lock()
        self._state = State.CLOSED
        self._epoch = 0
        self._failures = 0
        self._opens_until = 0.0

    @property
    def state(self) -> State:
        """Open until somebody enters for the trial, however long ago the cool-down ended."""
        return self._state

    def wait(self) -> float:
        """Seconds until another request may be let through; 0 if one may be now."""
        with self._lock:
            if self._state is State.CLOSED:
                return 0.0
            if self._state is State.HALF_OPEN:  # what comes of the trial is not known: ask again soon
                return min(1.0, self._cool_down)
            return max(0.0, self._opens_until - self._clock())

    def enter(self) -> Permit | None:
        """Leave for a request; None if none may be made now."""
        with self._lock:
            if self._state is State.OPEN and self._clock() >= self._opens_until:
                self._become(State.HALF_OPEN)
                return Permit(self._epoch, is_trial=True)
            return Permit(self._epoch, is_trial=False) if self._state is State.CLOSED else None

    def succeeded(self, permit: Permit) -> bool:
        """Whether this closed it."""
        with self._lock:
            if permit.epoch != self._epoch:
                return False
            self._failures = 0
            if self._state is State.HALF_OPEN:
                self._become(State.CLOSED)
                return True
            return False

    def failed(self, permit: Permit) -> bool:
        """Whether this opened it."""
        with self._lock:
            if permit.epoch != self._epoch:
                return False
            self._failures += 1
            if self._state is State.HALF_OPEN or self._failures >= self._most_failures:
                self._open(self._cool_down)
                return True
            return False

    def rest(self, permit: Permit, seconds: float) -> None:
        """Open for so long: the server asked for it."""
        with self._lock:
            if permit.epoch == self._epoch:
                self._open(seconds)

    def gave_up(self, permit: Permit) -> None:
        """Nothing came of it, neither good nor bad. After a trial the next one may try."""
        with self._lock:
            if permit.epoch == self._epoch and self._state is State.HALF_OPEN:
                self._open(0.0)

    def _open(self, seconds: float) -> None:
        self._opens_until = self._clock() + seconds
        self._become(State.OPEN)

    def _become(self, state: State) -> None:
        self._state = state
        self._epoch += 1
        self._failures = 0
