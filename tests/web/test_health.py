"""Health and metrics: truthful, cheap, and not for everyone."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep

from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import text, update

from assistant.db import Database
from assistant.desk import queue
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.engine import Installed
from assistant.engine.batching.stats import Counters, EngineStats
from assistant.engine.warming import Warming
from assistant.models import Job, JobStatus
from assistant.runtime import Runtime
from assistant.settings import Settings
from assistant.worker import run_until_idle
from tests.factories import bearer, make_key, make_ticket


def age(db: Database, by: timedelta) -> None:
    """Let every job have been due for so long."""
    with db.begin() as session:
        for job in session.query(Job):
            job.run_at -= by


def value(metrics: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", metrics, re.M)
    assert found, f"{series} is not in:\n{metrics}"
    return float(found[1])


def break_database(client: FlaskClient, db: Database) -> None:
    with db.begin() as session:
        session.execute(text("ALTER TABLE jobs RENAME TO gone"))


def test_a_fresh_installation_is_alive_and_ready(client: FlaskClient) -> None:
    assert client.get("/livez").json == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json == {
        "status": "ok",
        "degraded_reason": None,
        "model": "none",
        "mode": "no_vlm",
        "jobs_queued": 0,
        "jobs_dead": 0,
        "processes": 0,
        "processes_missed": 0,
        "last_backup_at": None,
        "loading": [],
    }


def test_without_its_database_it_is_alive_but_not_ready(client: FlaskClient, db: Database) -> None:
    break_database(client, db)
    refused = client.get("/readyz")
    assert refused.status_code == 503
    assert refused.content_type == "application/problem+json"
    assert set(refused.json["failures"]) == {"database"}
    assert client.get("/livez").status_code == 200


def test_without_its_storage_it_is_not_ready(client: FlaskClient, settings: Settings) -> None:
    folder = Path(settings.attachments_url)
    shutil.rmtree(folder)
    folder.write_text("a file where the folder was")
    refused = client.get("/readyz")
    assert refused.status_code == 503
    assert set(refused.json["failures"]) == {"storage"}
    assert str(folder) not in refused.text


def test_jobs_that_no_worker_takes_are_said(client: FlaskClient, desk: Desk, db: Database) -> None:
    make_ticket(desk)
    assert client.get("/readyz").json["jobs_queued"] == 1  # a moment ago: no trouble yet
    age(db, timedelta(minutes=5))
    refused = client.get("/readyz")
    assert refused.status_code == 503
    assert "assistant worker" in refused.json["failures"]["workers"]
    run_until_idle(desk)
    assert client.get("/readyz").status_code == 200


def test_a_long_queue_with_a_worker_at_it_is_ready(client: FlaskClient, desk: Desk, db: Database) -> None:
    make_ticket(desk, "first")
    make_ticket(desk, "second")
    age(db, timedelta(minutes=5))
    assert queue.claim(db, now=desk.now()) is not None
    assert client.get("/readyz").status_code == 200


def test_dead_jobs_are_counted_but_do_not_stop_the_service(client: FlaskClient, desk: Desk, db: Database) -> None:
    make_ticket(desk)
    with db.begin() as session:
        session.execute(update(Job).values(status=JobStatus.DEAD))
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json["jobs_dead"]) == (200, 1)
    assert value(client.get("/metrics").text, 'assistant_jobs{status="dead"}') == 1


def test_a_broken_engine_is_degraded_and_says_why(runtime: Runtime, make_app: Callable[..., APIFlask]) -> None:
    broken = Installed(runtime.desk.capabilities, trouble=lambda: "The GPU is out of memory.")
    ready = make_app(replace(runtime, installed=broken)).test_client().get("/readyz")
    assert ready.status_code == 200  # answers are quoted meanwhile: it still serves
    assert (ready.json["status"], ready.json["degraded_reason"]) == ("degraded", "The GPU is out of memory.")


def test_models_that_are_still_loaded_are_said(runtime: Runtime, make_app: Callable[..., APIFlask]) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def load() -> None:
        begun.set()
        go_on.wait(10)

    warming = Warming({"model": load, "embeddings": lambda: 1 / 0, "text recognition": lambda: None})
    installed = Installed(runtime.desk.capabilities, loading=lambda: warming.left)
    client = make_app(replace(runtime, installed=installed)).test_client()
    assert (client.get("/readyz").json["status"], client.get("/readyz").json["loading"]) == ("ok", [])
    warming.start()
    begun.wait(10)
    ready = client.get("/readyz")
    assert ready.status_code == 200  # requests wait for what they need
    assert (ready.json["status"], ready.json["loading"]) == ("loading", ["model", "embeddings", "text recognition"])
    go_on.set()
    ends_at = monotonic() + 10
    while client.get("/readyz").json["status"] == "loading":  # also after one has failed
        assert monotonic() < ends_at
        sleep(0.01)


def test_metrics_tell_what_the_engine_counts(runtime: Runtime, make_app: Callable[..., APIFlask]) -> None:
    counters = Counters(finished=3, refused=1, generation_tokens=120, decode_rows=40, decode_steps=10)
    stats = EngineStats(counters, waiting=2, running=4, slots=8, capacity=100, kv_tokens=200)
    installed = Installed(runtime.desk.capabilities, stats=lambda: stats)
    told = make_app(replace(runtime, installed=installed)).test_client().get("/metrics").text
    here = f'process="{runtime.desk.identity.name}"'
    assert value(told, f"assistant_engine_requests_waiting{{{here}}}") == 2
    assert value(told, f"assistant_engine_generation_tokens{{{here}}}") == 120
    assert value(told, f"assistant_engine_batch_occupancy{{{here}}}") == 4
    assert value(told, f"assistant_engine_kv_cache_usage{{{here}}}") == 0.25
    assert value(told, f'assistant_engine_requests{{outcome="refused",{here}}}') == 1


def test_metrics_count_requests_jobs_conversations_and_generations(
    client: FlaskClient, key: dict[str, str], desk: Desk
) -> None:
    client.post("/api/v1/tickets", json={"text": "It shows E21."}, headers=key)
    client.post("/api/v1/tickets", json={}, headers=key)
    before = client.get("/metrics").text
    assert value(before, 'assistant_jobs{status="queued"}') == 1
    run_until_idle(desk)
    metrics = client.get("/metrics").text
    tickets = 'method="POST",route="/api/v1/tickets"'
    assert value(metrics, f'assistant_requests_total{{{tickets},status="201"}}') == 1
    assert value(metrics, f'assistant_requests_total{{{tickets},status="422"}}') == 1
    assert value(metrics, f"assistant_request_seconds_count{{{tickets}}}") == 2
    assert value(metrics, 'assistant_jobs{status="queued"}') == 0
    assert value(metrics, 'assistant_jobs{status="done"}') == 1
    assert value(metrics, 'assistant_conversations{state="handed_off"}') == 1
    here = f'process="{desk.identity.name}"'
    for purpose in ("triage", "answer"):
        run = f'{{mode="no_vlm",{here},purpose="{purpose}"}}'
        assert value(metrics, f"assistant_generation_seconds_count{run}") == 1
        assert value(metrics, f"assistant_generation_seconds_sum{run}") >= 0
    assert value(metrics, f'assistant_job_seconds_count{{job="process_message",outcome="done",{here}}}') == 1
    assert value(metrics, f'assistant_job_wait_seconds_bucket{{job="process_message",le="+Inf",{here}}}') == 1


def test_metrics_are_for_this_machine_or_a_key_with_the_scope(client: FlaskClient, db: Database) -> None:
    outside = {"environ_overrides": {"REMOTE_ADDR": "203.0.113.9"}}
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", **outside).status_code == 401
    assert client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 401
    assert client.get("/metrics", headers=bearer(make_key(db, Scope.TICKETS_READ)), **outside).status_code == 403
    assert client.get("/metrics", headers=bearer(make_key(db, Scope.METRICS)), **outside).status_code == 200


def test_callers_cannot_make_new_series(client: FlaskClient, key: dict[str, str]) -> None:
    for number in range(5):
        client.get(f"/nothing/{number}")
        client.open("/livez", method=f"BREW{number}")
        client.get(f"/api/v1/tickets/tck_{number:020d}", headers=key)
    metrics = client.get("/metrics").text
    series = [line for line in metrics.splitlines() if line.startswith("assistant_requests_total{")]
    assert len(series) == 3, series
    assert "BREW" not in metrics
    assert "/nothing" not in metrics


def test_health_is_not_limited_and_needs_no_session(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    client = make_app(make_runtime(rate_limit="1 per minute"), limited=True).test_client()
    assert {client.get(path).status_code for path in ("/livez", "/readyz", "/metrics") * 3} == {200}
    assert client.post("/livez").status_code == 405
