"""Whether the product is alive and ready, for monitoring."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar, cast

import structlog
from apiflask import APIBlueprint
from flask import current_app

from assistant import backup_schedule
from assistant.db import patience
from assistant.desk import processes, queue
from assistant.desk.desk import Desk
from assistant.errors import AssistantError
from assistant.faults import FAULTS, advice, passing_fault
from assistant.web.context import desk, runtime
from assistant.web.operations import Operation
from assistant.web.responses import problem
from assistant.web.schemas import Live, Ready

log = structlog.get_logger(__name__)

T = TypeVar("T")

blueprint = APIBlueprint("health", __name__)

PROBES = "assistant.probes"
# With a job due for this many seconds and no worker busy, there is no worker.
_STALLED_AFTER = 60.0
# A part that takes longer is not available. Monitors give up after a few seconds themselves.
_ANSWERS_WITHIN = 3.0


@blueprint.get("/livez")
@blueprint.output(Live)
@Operation("Health")
def livez() -> Live:
    """Check that the process responds."""
    return Live(status="ok")


@blueprint.get("/readyz")
@blueprint.output(Ready)
@Operation("Health", unavailable=True)
def readyz() -> Any:
    """Check that the product can work.

    503 with the reasons in `failures` if the database or the storage cannot be read and written, or if jobs are waiting
    and no worker takes them. Without its model the product still answers, by quoting articles: 200, `degraded`. So it
    is if the model of a worker fails, on whatever machine, if no worker runs, and while no backup is as new as the
    schedule wants. After a start models are loaded in the background: 200, `loading`, and requests that need one wait.
    """
    failures: dict[str, str] = {}
    probes = cast("Probes", current_app.extensions[PROBES])
    seen = probes.database.ask("database", failures)
    backlog, known = seen if seen is not None else (None, [])
    probes.storage.ask("storage", failures)
    if backlog is not None and backlog.overdue.total_seconds() > _STALLED_AFTER and not backlog.has_worker:
        waited = backlog.overdue.total_seconds()
        failures["workers"] = (
            f"Jobs have been waiting for {waited:.0f} s and no worker takes them. Run: assistant worker"
        )
    if failures or backlog is None:
        return problem(503, "not_ready", " ".join(failures.values()), failures=failures)
    installed = runtime().installed
    trouble = installed.trouble() if installed is not None else None
    backups = backup_schedule.state(runtime().settings, now=desk().now())
    trouble = trouble or processes.trouble(known)
    loading = installed.loading() if installed is not None else ()
    if backups is not None and backups.problem is not None:
        trouble = trouble or backups.problem
    return Ready(
        status="loading" if loading else "degraded" if trouble else "ok",
        loading=loading,
        degraded_reason=trouble,
        model=desk().capabilities.model,
        mode=desk().capabilities.mode,
        jobs_queued=backlog.waiting,
        jobs_dead=backlog.dead,
        processes=sum(not one.is_missed for one in known),
        processes_missed=sum(one.is_missed for one in known),
        last_backup_at=backups.last_at if backups is not None else None,
    )


class Probe(Generic[T]):
    """A check that may hang on a dead network: in a thread, one at a time, shared by all who ask meanwhile."""

    def __init__(self, check: Callable[[], T]) -> None:
        self._check = check
        self._running: Future[T] | None = None
        self._lock = threading.Lock()

    def ask(self, part: str, failures: dict[str, str]) -> T | None:
        """What the check returned; or None, and the reason under ``part`` of ``failures``."""
        with self._lock:
            if self._running is None or self._running.done():
                self._running = Future()
                threading.Thread(target=self._run, args=(self._running,), name=f"probe {part}", daemon=True).start()
            running = self._running
        try:
            return running.result(_ANSWERS_WITHIN)
        except TimeoutError:
            failures[part] = f"The {part} does not respond within {_ANSWERS_WITHIN:.0f} s."
        except Exception as error:
            failures[part] = _reason(part, error)
        return None

    def _run(self, outcome: Future[T]) -> None:
        patience.set(1.0)
        try:
            outcome.set_result(self._check())
        except Exception as error:
            outcome.set_exception(error)


class Probes:
    """Of the parts that a desk depends on."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.database = Probe(self._look_at_database)
        self.storage = Probe(desk.storage.probe)

    def _look_at_database(self) -> tuple[queue.Backlog, list[processes.State]]:
        self._desk.db.probe()
        now = self._desk.now()
        with self._desk.db.read() as session:
            return queue.backlog(session, now=now), processes.states(session, now=now)


def _reason(part: str, error: Exception) -> str:
    if (fault := passing_fault(error)) is not None:
        FAULTS.tell(fault, error, route="/readyz")
        return advice(fault)
    if isinstance(error, AssistantError):
        return error.message
    log.error("readyz.failed", part=part, exc_info=error)
    return f"The {part} cannot be read."
