"""Loads models before the first message needs them, in the background and one after the other.

The server listens meanwhile. A message that needs a model waits for that model and not for those after it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from time import perf_counter

import structlog

from assistant.errors import AssistantError

log = structlog.get_logger(__name__)


class Warming:
    """``steps``: what is loaded, in this order, by what it is called. Begins with `start`, once."""

    def __init__(self, steps: Mapping[str, Callable[[], object]]) -> None:
        self._steps = dict(steps)
        self._left: tuple[str, ...] = ()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="warming", daemon=True)

    @property
    def left(self) -> tuple[str, ...]:
        """What is still to be loaded; what is being loaded comes first."""
        return self._left

    def start(self) -> None:
        """Returns at once."""
        self._left = tuple(self._steps)
        self._thread.start()

    def stop(self) -> None:
        """Load nothing more; what is being loaded is not waited for."""
        self._stopping.set()

    def _run(self) -> None:
        for name, load in self._steps.items():
            if self._stopping.is_set():
                break
            started = perf_counter()
            try:
                load()
                log.info("model.loaded", part=name, ms=round(1000 * (perf_counter() - started)))
            except Exception as error:  # said to whoever needs it, by the request that does
                reason = error.message if isinstance(error, AssistantError) else type(error).__name__
                log.warning("model.not_loaded", part=name, reason=reason)
            self._left = self._left[1:]
        self._left = ()
