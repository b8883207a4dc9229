"""Whether the product is alive and ready, and its metrics, for whatever watches over it."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, Flask, Response, g, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from assistant.models import ConversationState, JobStatus
from assistant.services import conversations, queue
from assistant.services.access import Scope
from assistant.web import auth
from assistant.web.context import desk, runtime

blueprint = Blueprint("health", __name__)

_LOOPBACK = ("127.0.0.1", "::1")
_EXTENSION = "assistant.metrics"


@blueprint.get("/livez")
def livez() -> Response:
    """The process answers."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """Database, storage and model can be used; 503 with what cannot. A missing model is no failure: there is a ladder."""
    troubles: dict[str, str] = {}
    try:
        with desk().db.read() as session:
            counts = queue.counts(session)
    except Exception:
        counts = {}
        troubles["database"] = "The database cannot be read."
    try:
        desk().storage.exists("0" * 64)
    except Exception:
        troubles["storage"] = "The attachment storage cannot be read."
    installed = runtime().installed
    trouble = installed.trouble() if installed is not None else None
    # Without the model answers are quoted instead of written: degraded, said so, but serving.
    body: dict[str, Any] = {
        "status": "not ready" if troubles else "ok",
        "mode": desk().capabilities.mode.value,
        "model": desk().capabilities.model,
        "engine": trouble or "ok",
        "jobs_waiting": counts.get(JobStatus.QUEUED, 0),
        "jobs_dead": counts.get(JobStatus.DEAD, 0),
        **({"troubles": troubles} if troubles else {}),
    }
    return jsonify(body), 503 if troubles else 200


@blueprint.get("/metrics")
def metrics() -> Response:
    """Prometheus metrics; from this machine, or with a key of scope ``metrics``."""
    forwarded = request.headers.get("X-Forwarded-For") or request.headers.get("Forwarded")
    if request.remote_addr not in _LOOPBACK or forwarded:
        auth.machine(Scope.METRICS)
    collected = _Metrics.of(request)
    collected.update()
    return Response(generate_latest(collected.registry), content_type=CONTENT_TYPE_LATEST)


def register_metrics(app: Flask) -> None:
    """Count and time every request of this application."""
    metrics = _Metrics()
    app.extensions[_EXTENSION] = metrics

    def start() -> None:
        g.request_started = time.perf_counter()

    def finish(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule is not None else "(none)"
        started = g.get("request_started")
        if started is not None:
            metrics.seconds.labels(request.method, route).observe(time.perf_counter() - started)
        metrics.requests.labels(request.method, route, str(response.status_code)).inc()
        return response

    app.before_request(start)
    app.after_request(finish)


class _Metrics:
    """One registry an application: tests make many."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        shared = {"registry": self.registry}
        names = ["method", "route"]
        self.requests = Counter("assistant_requests", "Requests answered.", [*names, "status"], **shared)
        self.seconds = Histogram("assistant_request_seconds", "Time to the response's start.", names, **shared)
        self._jobs = Gauge("assistant_jobs", "Jobs by status.", ["status"], **shared)
        self._waiting = Gauge("assistant_conversations", "Conversations by state.", ["state"], **shared)
        self._runs = Gauge("assistant_generations", "Runs of the models.", ["purpose", "mode"], **shared)
        self._tokens = Gauge("assistant_tokens", "Tokens of the models.", ["purpose", "direction"], **shared)
        self._latency = Gauge("assistant_generation_seconds", "Time spent in the models.", ["purpose"], **shared)

    @classmethod
    def of(cls, _request: Any) -> _Metrics:
        from flask import current_app

        found: _Metrics = current_app.extensions[_EXTENSION]
        return found

    def update(self) -> None:
        """Read what the database knows."""
        with desk().db.read() as session:
            jobs = queue.counts(session)
            states = conversations.count_by_state(session)
            runs = conversations.generation_totals(session)
        for status in JobStatus:
            self._jobs.labels(status.value).set(jobs[status])
        for state in ConversationState:
            self._waiting.labels(state.value).set(states.get(state, 0))
        for run in runs:
            self._runs.labels(run.purpose, run.mode).set(run.count)
            self._tokens.labels(run.purpose, "input").set(run.input_tokens)
            self._tokens.labels(run.purpose, "output").set(run.output_tokens)
            self._latency.labels(run.purpose).set(run.seconds)
