"""Whether the product is alive and ready, for monitoring."""

from __future__ import annotations

from typing import Any

import structlog
from apiflask import APIBlueprint

from assistant.desk import queue
from assistant.errors import AssistantError
from assistant.web.context import desk, runtime
from assistant.web.operations import Operation
from assistant.web.responses import problem
from assistant.web.schemas import Live, Ready

log = structlog.get_logger(__name__)

blueprint = APIBlueprint("health", __name__)

# With a job due for this many seconds and no worker busy, there is no worker.
_STALLED_AFTER = 60.0


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

    503 with the reasons in `failures` if the database or the storage is unavailable, or if jobs are waiting and no
    worker takes them. Without its model the product still answers, by quoting articles: 200, `degraded`.
    """
    failures: dict[str, str] = {}
    backlog = _check_database(failures)
    _check_storage(failures)
    if failures or backlog is None:
        return problem(503, "not_ready", " ".join(failures.values()), failures=failures)
    installed = runtime().installed
    trouble = installed.trouble() if installed is not None else None
    return Ready(
        status="degraded" if trouble else "ok",
        degraded_reason=trouble,
        model=desk().capabilities.model,
        mode=desk().capabilities.mode,
        jobs_queued=backlog.waiting,
        jobs_dead=backlog.dead,
    )


def _check_database(failures: dict[str, str]) -> queue.Backlog | None:
    try:
        with desk().db.read() as session:
            backlog = queue.backlog(session, now=desk().now())
    except Exception:
        log.exception("readyz.database")
        failures["database"] = "The database cannot be read."
        return None
    overdue = backlog.overdue.total_seconds()
    if overdue > _STALLED_AFTER and not backlog.has_worker:
        failures["workers"] = (
            f"Jobs have been waiting for {overdue:.0f} s and no worker takes them. Run: assistant worker"
        )
    return backlog


def _check_storage(failures: dict[str, str]) -> None:
    try:
        desk().storage.exists("0" * 64)
    except Exception as error:
        log.exception("readyz.storage")
        reason = error.message if isinstance(error, AssistantError) else "The attachment storage cannot be read."
        failures["storage"] = reason
