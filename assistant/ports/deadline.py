"""Until when somebody waits for a piece of work. Set around it, read between its steps and where it reaches the
engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

from assistant.errors import DeadlinePassed, EngineTimeout

_ends_at: ContextVar[float | None] = ContextVar("ends_at", default=None)


def seconds_left() -> float | None:
    """Until the deadline of what the calling thread is working on, at least 0; None without one."""
    ends_at = _ends_at.get()
    return max(0.0, ends_at - monotonic()) if ends_at is not None else None


def check_time() -> None:
    """Before a step of some length. Raises `DeadlinePassed`."""
    if seconds_left() == 0.0:
        raise DeadlinePassed("This was not done by its deadline. Give it more time, or try again when less is waiting.")


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """What is done in this context is done in time, or raises `DeadlinePassed`; None: it has all the time."""
    token = _ends_at.set(monotonic() + seconds if seconds is not None else None)
    try:
        yield
        check_time()
    except EngineTimeout:
        check_time()
        raise
    finally:
        _ends_at.reset(token)
