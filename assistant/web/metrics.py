"""Metrics for Prometheus: of requests to this process, and of all processes by what they tell (`desk.processes`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Any

from apiflask import APIBlueprint
from flask import Flask, Response, current_app, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from assistant import measures
from assistant.desk import processes, queue, reports
from assistant.desk.access import Scope
from assistant.desk.processes import State
from assistant.faults import FAULTS, passing_fault
from assistant.models import ConversationState, JobStatus
from assistant.pulse import health_of
from assistant.web import auth
from assistant.web.context import desk, runtime
from assistant.web.operations import Operation
from assistant.web.proxies import THROUGH_PROXY

blueprint = APIBlueprint("metrics", __name__)

_LOOPBACK = ("127.0.0.1", "::1")
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


def register_metrics(app: Flask) -> CollectorRegistry:
    """A registry for this application: tests make many."""
    registry = CollectorRegistry()
    registry.register(_Collected())
    app.extensions[_REGISTRY] = registry
    return registry


class _Collected(Collector):
    """What the database knows at the moment, and what the processes have told it; of this process, what is so now."""

    def collect(self) -> Iterator[Metric]:
        up, known = 1.0, list[State]()
        try:
            with desk().db.read() as session:
                known = processes.states(session, now=desk().now())
            yield from self._collect_desk()
        except Exception as error:  # what else is known is told all the same
            if (fault := passing_fault(error)) is None:
                raise
            FAULTS.tell(fault, error, route="/metrics")
            up = 0.0
        yield GaugeMetricFamily("assistant_database_up", "Whether the database can be read.", value=up)
        known = _with_this_process(known)
        yield from _of_processes(known)
        yield from _of_measures([one for one in known if not one.is_missed])
        yield from _of_engines([one for one in known if not one.is_missed])

    def _collect_desk(self) -> Iterator[Metric]:
        with desk().db.read() as session:
            job_counts = queue.counts(session)
            backlog = queue.backlog(session, now=desk().now())
            states = reports.count_by_state(session)
        jobs = GaugeMetricFamily("assistant_jobs", "Jobs by status.", labels=["status"])
        for status in JobStatus:
            jobs.add_metric([status.value], job_counts[status])
        conversations = GaugeMetricFamily("assistant_conversations", "Conversations by state.", labels=["state"])
        for state in ConversationState:
            conversations.add_metric([state.value], states.get(state, 0))
        overdue = backlog.overdue.total_seconds()
        yield GaugeMetricFamily(
            "assistant_job_overdue_seconds", "How long the oldest due job has waited.", value=overdue
        )
        yield from (jobs, conversations)


def _with_this_process(known: Sequence[State]) -> list[State]:
    """What this process has told is some seconds old."""
    identity = desk().identity
    told = next((one for one in known if one.id == identity.id), None)
    role, threads = (told.health.role, told.health.threads) if told is not None else ("web", 0)
    health = health_of(runtime(), role=role, threads=threads)
    here = State(identity.id, identity.name, identity.started_at, timedelta(0), health)
    return [here, *(one for one in known if one.id != identity.id)]


def _of_processes(known: Sequence[State]) -> Iterator[Metric]:
    info = GaugeMetricFamily(
        "assistant_process_info", "What each process is.", labels=["process", "role", "version", "model", "mode"]
    )
    parts = GaugeMetricFamily("assistant_process_part", "What each has beside it.", labels=["process", "part", "name"])
    silent = GaugeMetricFamily(
        "assistant_process_silent_seconds", "Time since its last sign of life.", labels=["process", "role"]
    )
    threads = GaugeMetricFamily("assistant_process_threads", "Threads that take jobs.", labels=["process"])
    degraded = GaugeMetricFamily("assistant_process_degraded", "Whether its model cannot answer.", labels=["process"])
    loaded = GaugeMetricFamily("assistant_process_model_loaded", "Of local models.", labels=["process"])
    breaker = GaugeMetricFamily(
        "assistant_process_breaker_open", "Whether it leaves the model server alone.", labels=["process"]
    )
    for one in known:
        health = one.health
        info.add_metric([one.name, health.role, health.version, health.model, health.mode], 1)
        silent.add_metric([one.name, health.role], one.silent_for.total_seconds())
        if one.is_missed:
            continue
        threads.add_metric([one.name], health.threads)
        degraded.add_metric([one.name], health.trouble is not None)
        for part, name in health.parts.items():
            parts.add_metric([one.name, part, name], 1)
        if health.model_state in ("loaded", "not_loaded"):
            loaded.add_metric([one.name], health.model_state == "loaded")
        elif health.model_state is not None:
            breaker.add_metric([one.name], health.model_state != "closed")
    yield from (info, parts, silent, threads, degraded, loaded, breaker)


def _of_measures(known: Sequence[State]) -> Iterator[Metric]:
    """Histograms and counters of all processes, each under its name: counts begin anew with a process, and Prometheus
    knows what to make of that only where they are apart."""
    families: dict[str, HistogramMetricFamily | CounterMetricFamily] = {
        measure.name: (HistogramMetricFamily if measure.is_timing else CounterMetricFamily)(
            measure.name, measure.meaning, labels=[*measure.labels, "process"]
        )
        for measure in measures.ALL.values()
    }
    limits = [*map(str, measures.BUCKETS), "+Inf"]
    for one in known:
        for name, entries in one.health.measures.items():
            for labels, values in entries:
                if not measures.is_readable(name, labels, values):
                    continue
                family, named = families[name], [*labels, one.name]
                if isinstance(family, CounterMetricFamily):
                    family.add_metric(named, values[0])
                else:
                    buckets = [*zip(limits, accumulate(values[1:]), strict=True)]
                    family.add_metric(named, buckets, values[0])
    yield from families.values()


def _of_engines(known: Sequence[State]) -> Iterator[Metric]:
    families: dict[str, GaugeMetricFamily] = {}
    outcomes = GaugeMetricFamily(
        "assistant_engine_requests", "Requests to the engine by outcome.", labels=["outcome", "process"]
    )
    for one in known:
        for name, (meaning, value) in one.health.engine.items():
            family = families.setdefault(
                name, GaugeMetricFamily(f"assistant_engine_{name}", meaning, labels=["process"])
            )
            family.add_metric([one.name], value)
        for outcome, many in one.health.engine_requests.items():
            outcomes.add_metric([outcome, one.name], many)
    yield from families.values()
    if families:
        yield outcomes
