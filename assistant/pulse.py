"""The sign of life of this process: how it is and what it has counted, told to the database every few seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from assistant import __version__
from assistant.db import patience
from assistant.desk import processes
from assistant.desk.processes import Health
from assistant.faults import FAULTS, passing_fault
from assistant.runtime import Runtime

log = structlog.get_logger(__name__)

_PATIENCE = 5.0  # seconds: the next sign is better than a late one


class Pulse:
    """``role``: web or worker. ``threads``: that take jobs in this process. `start` it, and `stop` it at the end."""

    def __init__(self, runtime: Runtime, *, role: str, threads: int) -> None:
        self._runtime, self._role, self._threads = runtime, role, threads
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def health(self) -> Health:
        """How this process is now. Asks a model server whether it is there, briefly and rarely."""
        return health_of(self._runtime, role=self._role, threads=self._threads)

    def beat(self) -> None:
        desk = self._runtime.desk
        processes.beat(desk.db, desk.identity, self.health(), now=desk.now())

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, timeout: float = 2.0) -> None:
        self._stopping.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        patience.set(_PATIENCE)
        while True:
            self._try(self.beat)
            if self._stopping.wait(processes.BEAT_EVERY.total_seconds()):
                break
        desk = self._runtime.desk
        self._try(lambda: processes.leave(desk.db, desk.identity))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            if (fault := passing_fault(error)) is not None:
                FAULTS.tell(fault, error, at="pulse")
            else:
                log.exception("pulse.failed")


def health_of(runtime: Runtime, *, role: str, threads: int) -> Health:
    desk, installed = runtime.desk, runtime.installed
    stats = installed.stats() if installed is not None else None
    engine = {name: (meaning, float(value)) for name, meaning, value in stats.metrics()} if stats is not None else {}
    return Health(
        role=role,
        threads=threads,
        version=__version__,
        model=desk.capabilities.model,
        mode=desk.capabilities.mode.value,
        trouble=installed.trouble() if installed is not None else None,
        model_state=installed.model_state() if installed is not None else None,
        parts=desk.capabilities.parts,
        engine=engine,
        engine_requests=stats.outcomes() if stats is not None else {},
        measures=desk.measures.snapshot(),
    )
