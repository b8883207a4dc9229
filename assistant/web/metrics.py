"""Metrics for Prometheus: requests are counted as they are answered, everything else is read at each scrape."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from apiflask import APIBlueprint
from flask import Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from assistant.desk import queue, reports
from assistant.desk.access import Scope
from assistant.faults import FAULTS, passing_fault
from assistant.models import ConversationState, JobStatus
from assistant.web import auth
from assistant.web.context import desk, runtime
from assistant.web.operations import Operation
from assistant.web.proxies import THROUGH_PROXY

blueprint = APIBlueprint("metrics", __name__)

_LOOPBACK = ("127.0.0.1", "::1")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REGISTRY = "assistant.metrics"
_TEXT: dict[int | str, Any] = {
    200: {"description": "Prometheus text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@blueprint.get("/metrics")
@blueprint.doc(responses=_TEXT)
@Operation("Health", Scope.METRICS, optional_key=True)
def metrics() -> Response:
    """Get metrics for Prometheus.

    Requests from this machine need no key unless a proxy is configured or has left its mark; others need the scope
    `metrics`.
    """
    settings = runtime().settings
    # A proxy on this machine need not add headers: with one, no request is known to come from here.
    behind_proxy = bool(settings.trusted_proxies or settings.public_url) or request.environ[THROUGH_PROXY]
    if behind_proxy or request.remote_addr not in _LOOPBACK:
        auth.machine(Scope.METRICS)
    return Response(generate_latest(current_app.extensions[_REGISTRY]), content_type=CONTENT_TYPE_LATEST)


def register_metrics(app: Flask) -> None:
    """Count and time every request of this application, in a registry of its own: tests make many applications."""
    registry = CollectorRegistry()
    registry.register(_Collected())
    names = ["method", "route"]
    requests = Counter("assistant_requests", "Requests answered.", [*names, "status"], registry=registry)
    seconds = Histogram("assistant_request_seconds", "Time to the response's start.", names, registry=registry)
    app.extensions[_REGISTRY] = registry

    def start() -> None:
        g.request_started = time.perf_counter()

    def finish(response: Response) -> Response:
        # The rule, not the path, and no invented methods: requests must not create new series.
        route = request.url_rule.rule if request.url_rule is not None else "(none)"
        method = request.method if request.method in _METHODS else "other"
        started = g.get("request_started")
        if started is not None:
            seconds.labels(method, route).observe(time.perf_counter() - started)
        requests.labels(method, route, str(response.status_code)).inc()
        return response

    app.before_request(start)
    app.after_request(finish)


class _Collected(Collector):
    """What the database and the engine know at the moment."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = 1.0
        try:
            yield from self._collect_desk()
        except Exception as error:  # what else is known is told all the same
            if (fault := passing_fault(error)) is None:
                raise
            FAULTS.tell(fault, error, route="/metrics")
            up = 0.0
        yield GaugeMetricFamily("assistant_database_up", "Whether the database can be read.", value=up)
        installed = runtime().installed
        stats = installed.stats() if installed is not None else None
        if stats is None:
            return
        for name, meaning, value in stats.metrics():
            yield GaugeMetricFamily(f"assistant_engine_{name}", meaning, value=value)
        outcomes = GaugeMetricFamily(
            "assistant_engine_requests", "Requests to the engine by outcome.", labels=["outcome"]
        )
        for outcome, count in stats.outcomes().items():
            outcomes.add_metric([outcome], count)
        yield outcomes

    def _collect_desk(self) -> Iterator[GaugeMetricFamily]:
        with desk().db.read() as session:
            job_counts = queue.counts(session)
            backlog = queue.backlog(session, now=desk().now())
            states = reports.count_by_state(session)
            totals = reports.generation_totals(session)
        jobs = GaugeMetricFamily("assistant_jobs", "Jobs by status.", labels=["status"])
        for status in JobStatus:
            jobs.add_metric([status.value], job_counts[status])
        conversations = GaugeMetricFamily("assistant_conversations", "Conversations by state.", labels=["state"])
        for state in ConversationState:
            conversations.add_metric([state.value], states.get(state, 0))
        labels = ["purpose", "mode"]
        runs = GaugeMetricFamily("assistant_generations", "Generations of the models.", labels=labels)
        seconds = GaugeMetricFamily("assistant_generation_seconds", "Time spent in the models.", labels=labels)
        tokens = GaugeMetricFamily("assistant_tokens", "Tokens read and written.", labels=[*labels, "direction"])
        for total in totals:
            runs.add_metric([total.purpose, total.mode], total.count)
            seconds.add_metric([total.purpose, total.mode], total.seconds)
            tokens.add_metric([total.purpose, total.mode, "input"], total.input_tokens)
            tokens.add_metric([total.purpose, total.mode, "output"], total.output_tokens)
        overdue = backlog.overdue.total_seconds()
        yield GaugeMetricFamily(
            "assistant_job_overdue_seconds", "How long the oldest due job has waited.", value=overdue
        )
        yield from (jobs, conversations, runs, seconds, tokens)
