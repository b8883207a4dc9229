"""SIGTERM, above all while a process starts: nothing is accepted yet, so it ends at once, with status 0.

Left alone, the signal would end it with another status, and not at all where it is the first process of a container.
What is cut off is a transaction, of which nothing is left.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def ended_when_told() -> Iterator[None]:
    """Until somebody else handles the signal, or the block is left. Also one that was held until now."""
    previous = signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def hold_until_replaced() -> None:
    """Before an exec, which handlers do not outlive: the signal waits until the new program is `ended_when_told`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def prepend_handler(number: int, action: Callable[[], Any]) -> None:
    """On this signal, run ``action`` before the handler already installed."""
    previous = signal.getsignal(number)

    def handle(signal_number: int, frame: FrameType | None) -> None:
        action()
        if callable(previous):
            previous(signal_number, frame)

    signal.signal(number, handle)
