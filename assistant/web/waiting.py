"""Requests that wait for something, or follow it: each occupies a thread of the server's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

from flask import current_app

from assistant.desk.access import MachinePrincipal
from assistant.web.context import runtime, stopping
from assistant.web.limits import OpenStreams
from assistant.web.responses import too_many_requests

STREAMS = "assistant.event_streams"
# Of all keys together, so that those who wait leave threads to those who ask.
_SHARE = 5
_EACH = 4
_RETRY_AFTER = 15.0
_LOOK_EVERY = 0.2
Seen = TypeVar("Seen")


def enter(machine: MachinePrincipal) -> Callable[[], None]:
    """Count one who waits; returns what to call when they do not any more. Raises `RateLimited`."""
    open_ones = cast("OpenStreams", current_app.extensions[STREAMS])
    together = max(2, runtime().settings.threads // _SHARE)
    if not open_ones.enter(machine.key_id, each=_EACH, together=together):
        raise too_many_requests(_RETRY_AFTER)
    return lambda: open_ones.leave(machine.key_id)


@contextmanager
def waiting(machine: MachinePrincipal) -> Iterator[None]:
    leave = enter(machine)
    try:
        yield
    finally:
        leave()


def until(machine: MachinePrincipal, seconds: float, look: Callable[[], Seen], is_over: Callable[[Seen], bool]) -> Seen:
    """What ``look`` sees once that is over, or after so many seconds; at once if there are none to wait."""
    seen = look()
    if seconds and not is_over(seen):
        with waiting(machine):
            ends_at = time.monotonic() + seconds
            while not is_over(seen) and time.monotonic() < ends_at and not stopping().wait(_LOOK_EVERY):
                seen = look()
    return seen
