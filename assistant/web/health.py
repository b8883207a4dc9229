"""Whether the product is alive and ready, and its metrics, for whatever watches over it."""

from __future__ import annotations

import time
from typing import Any

import structlog
from apiflask import APIBlueprint
from flask import Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from assistant.desk import queue, reports
from assistant.desk.access import Scope
from assistant.errors import AssistantError
from assistant.models import ConversationState, JobStatus
from assistant.web import auth
from assistant.web.context import desk, runtime
from assistant.web.responses import problem
from assistant.web.schemas import Live, Ready

log = structlog.get_logger(__name__)

blueprint = APIBlueprint("health", __name__)

_LOOPBACK = ("127.0.0.1", "::1")
_PROXY_HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_EXTENSION = "assistant.metrics"
# A job that has been due for so many seconds while no worker works on any: there is no worker.
_STALLED_AFTER = 60.0
_TEXT: dict[int | str, Any] = {
    200: {"description": "Prometheus text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@blueprint.get("/livez")
@blueprint.output(Live)
@blueprint.doc(tags=["Health"])
def livez() -> Any:
    """Say that the process answers."""
    return Live(status="ok")


@blueprint.get("/readyz")
@blueprint.output(Ready)
@blueprint.doc(tags=["Health"])
def readyz() -> Any:
    """Say whether work can be done.

    503 with the reasons under `troubles` if the database or the storage cannot be used, or if jobs wait and no worker
    takes them. Without its model the product still serves, quoting instead of writing: 200, `degraded`.
    """
    troubles: dict[str, str] = {}
    backlog = _check_database(troubles)
    _check_storage(troubles)
    if troubles or backlog is None:
        return problem(503, "not_ready", " ".join(troubles.values()), troubles=troubles)
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


def _check_database(troubles: dict[str, str]) -> queue.Backlog | None:
    try:
        with desk().db.read() as session:
            backlog = queue.backlog(session, now=desk().now())
    except Exception:
        log.exception("readyz.database")
        troubles["database"] = "The database cannot be read."
        return None
    if backlog.overdue.total_seconds() > _STALLED_AFTER and not backlog.has_worker:
        seconds = round(backlog.overdue.total_seconds())
        troubles["workers"] = f"Jobs have been waiting for {seconds} s and no worker takes them. Run: assistant worker"
    return backlog


def _check_storage(troubles: dict[str, str]) -> None:
    try:
        desk().storage.exists("0" * 64)
    except Exception as error:
        log.exception("readyz.storage")
        reason = error.message if isinstance(error, AssistantError) else "The attachment storage cannot be read."
        troubles["storage"] = reason


@blueprint.get("/metrics")
@blueprint.doc(tags=["Health"], responses=_TEXT)
def metrics() -> Response:
    """Give metrics to Prometheus.

    From this machine without a key; from elsewhere, or through a proxy, with one of scope `metrics`.
    """
    if request.remote_addr not in _LOOPBACK or any(name in request.headers for name in _PROXY_HEADERS):
        auth.machine(Scope.METRICS)
    collected: _Metrics = current_app.extensions[_EXTENSION]
    collected.update()
    return Response(generate_latest(collected.registry), content_type=CONTENT_TYPE_LATEST)


def register_metrics(app: Flask) -> None:
    """Count and time every request of this application."""
    metrics = _Metrics()
    app.extensions[_EXTENSION] = metrics

    def start() -> None:
        g.request_started = time.perf_counter()

    def finish(response: Response) -> Response:
        # The rule, not the path, and no invented method: what a caller sends must not make new series.
        route = request.url_rule.rule if request.url_rule is not None else "(none)"
        method = request.method if request.method in _METHODS else "other"
        started = g.get("request_started")
        if started is not None:
            metrics.seconds.labels(method, route).observe(time.perf_counter() - started)
        metrics.requests.labels(method, route, str(response.status_code)).inc()
        return response

    app.before_request(start)
    app.after_request(finish)


class _Metrics:
    """One registry an application: tests make many."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        shared: dict[str, Any] = {"registry": self.registry}
        names = ["method", "route"]
        self.requests = Counter("assistant_requests", "Requests answered.", [*names, "status"], **shared)
        self.seconds = Histogram("assistant_request_seconds", "Time to the response's start.", names, **shared)
        self._jobs = Gauge("assistant_jobs", "Jobs by status.", ["status"], **shared)
        self._overdue = Gauge("assistant_job_overdue_seconds", "How long the oldest due job has waited.", **shared)
        self._states = Gauge("assistant_conversations", "Conversations by state.", ["state"], **shared)
        self._runs = Gauge("assistant_generations", "Runs of the models.", ["purpose", "mode"], **shared)
        tokens = ["purpose", "mode", "direction"]
        self._tokens = Gauge("assistant_tokens", "Tokens that the models read and wrote.", tokens, **shared)
        self._spent = Gauge("assistant_generation_seconds", "Time in the models.", ["purpose", "mode"], **shared)
        self._engine: dict[str, Gauge] = {}  # made when there is an engine that has something to tell
        self._outcomes = Gauge("assistant_engine_requests", "Requests to the engine by outcome.", ["outcome"], **shared)

    def update(self) -> None:
        """Read what the database knows."""
        with desk().db.read() as session:
            jobs = queue.counts(session)
            backlog = queue.backlog(session, now=desk().now())
            states = reports.count_by_state(session)
            runs = reports.generation_totals(session)
        for status in JobStatus:
            self._jobs.labels(status.value).set(jobs[status])
        self._overdue.set(backlog.overdue.total_seconds())
        for state in ConversationState:
            self._states.labels(state.value).set(states.get(state, 0))
        for run in runs:
            self._runs.labels(run.purpose, run.mode).set(run.count)
            self._tokens.labels(run.purpose, run.mode, "input").set(run.input_tokens)
            self._tokens.labels(run.purpose, run.mode, "output").set(run.output_tokens)
            self._spent.labels(run.purpose, run.mode).set(run.seconds)
        self._update_engine()

    def _update_engine(self) -> None:
        """Read what the engine in this process counts; nothing if there is none."""
        installed = runtime().installed
        stats = installed.stats() if installed is not None else None
        if stats is None:
            return
        for name, meaning, value in stats.metrics():
            if name not in self._engine:
                self._engine[name] = Gauge(f"assistant_engine_{name}", meaning, registry=self.registry)
            self._engine[name].set(value)
        for outcome, count in stats.outcomes().items():
            self._outcomes.labels(outcome).set(count)
