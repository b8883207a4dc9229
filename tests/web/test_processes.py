"""Where web and workers run apart, any process tells how all of them are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from apiflask import APIFlask

from assistant import doctor
from assistant.desk import processes
from assistant.desk.access import Scope
from assistant.engine import install
from assistant.models import Draft, Process, TriageResult
from assistant.pulse import Pulse
from assistant.runtime import Runtime, build
from assistant.settings import Settings
from assistant.worker import run_until_idle
from tests.engine.servers import Reply, ScriptedServer, saying, scripted_server
from tests.factories import bearer, make_articles, make_key, make_ticket
from tests.fakes import HashEmbeddings
from tests.web.test_health import value

pytestmark = pytest.mark.slow

FAILS = Reply(status=500, parts=(b"{}",))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        server.replies.append(FAILS)
        yield server


@pytest.fixture
def remote(settings: Settings, server: ScriptedServer) -> Callable[[], Runtime]:
    """A runtime of its own on the same database, with models of its own at the server: a process in all but the pid."""
    made: list[Runtime] = []

    def make() -> Runtime:
        apart = settings.model_copy(update={"remote_url": server.url, "remote_model": "tiny", "ocr": "off"})
        installed = install(apart)
        fakes = {"embeddings": HashEmbeddings(), "embedding_model": "hash-512", "second_embedder": None}
        capabilities = replace(installed.capabilities, **fakes)
        runtime = replace(build(apart, capabilities=capabilities), installed=installed)
        identity = replace(runtime.desk.identity, name=f"machine{len(made)}:{os.getpid()}")
        runtime = replace(runtime, desk=replace(runtime.desk, identity=identity))
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        runtime.close()


def test_a_model_that_fails_a_worker_is_seen_from_the_server(
    remote: Callable[[], Runtime], server: ScriptedServer, make_app: Callable[..., APIFlask], tmp_path: Path
) -> None:
    web, worker = remote(), remote()
    pulses = [Pulse(web, role="web", threads=0), Pulse(worker, role="worker", threads=2)]
    client = make_app(web).test_client()
    for pulse in pulses:
        pulse.beat()
    assert client.get("/readyz").json["status"] == "ok"  # its list of models is served

    article = "# BrewMaster 300 error codes\n\nE21 means that the water tank is empty. Fill it."
    make_articles(web.desk, tmp_path, {"codes.md": article})
    make_ticket(worker.desk, "My BrewMaster 300 shows E21. What does E21 mean?")
    run_until_idle(worker.desk)
    for pulse in pulses:
        pulse.beat()

    ready = client.get("/readyz").json
    assert (ready["status"], ready["processes"]) == ("degraded", 2)
    assert "The worker: The model server failed. Answers are quoted meanwhile." in ready["degraded_reason"]
    told = client.get("/metrics").text
    there, here = (f'process="{one.desk.identity.name}"' for one in (worker, web))
    assert value(told, f"assistant_process_breaker_open{{{there}}}") == 1
    assert value(told, f"assistant_process_breaker_open{{{here}}}") == 0
    assert value(told, f"assistant_process_degraded{{{there}}}") == 1
    assert value(told, f"assistant_process_threads{{{there}}}") == 2
    done = f'job="process_message",outcome="done",{there}'
    assert value(told, f"assistant_job_seconds_count{{{done}}}") == 1
    for purpose in ("triage", "answer"):
        run = f'mode="no_vlm",{there},purpose="{purpose}"'
        assert value(told, f"assistant_generation_seconds_count{{{run}}}") == 1
    [said] = [one for one in doctor.processes_of(web.desk.db) if one.status == "warn"]
    assert "The model server failed" in said.detail
    with web.desk.db.read() as session:  # and nothing that was quoted is said to be the model's
        made = [*session.query(Draft), *session.query(TriageResult)]
    assert len(made) == 2
    assert made[0].text
    assert {(one.model, one.mode) for one in made} == {("none", "no_vlm")}


def test_what_is_assessed_while_the_model_fails_is_not_said_to_be_its_own(
    remote: Callable[[], Runtime], make_app: Callable[..., APIFlask]
) -> None:
    web = remote()
    key = bearer(make_key(web.desk.db, Scope.TRIAGE))
    assessed = make_app(web).test_client().post("/api/v1/triage", json={"text": "It leaks"}, headers=key).json
    assert (assessed["triage"]["model"], assessed["triage"]["mode"]) == ("none", "no_vlm")


def test_what_the_model_decides_is_said_to_be_its_own(
    remote: Callable[[], Runtime], server: ScriptedServer, make_app: Callable[..., APIFlask]
) -> None:
    server.replies[0] = saying("A")
    web = remote()
    key = bearer(make_key(web.desk.db, Scope.TRIAGE))
    assessed = make_app(web).test_client().post("/api/v1/triage", json={"text": "It leaks"}, headers=key).json
    assert (assessed["triage"]["model"], assessed["triage"]["mode"]) == ("tiny", "remote")


def test_who_dies_is_missed_and_who_stops_is_not(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    web, worker = make_runtime(), make_runtime()
    client = make_app(web).test_client()
    first = Pulse(web, role="web", threads=0)
    first.beat()
    assert "assistant worker" in client.get("/readyz").json["degraded_reason"]  # nobody takes jobs

    Pulse(worker, role="worker", threads=2).beat()
    assert client.get("/readyz").json["status"] == "ok"
    processes.leave(worker.desk.db, worker.desk.identity)
    ready = client.get("/readyz").json
    assert (ready["processes"], ready["processes_missed"]) == (1, 0)

    late = web.desk.now() - timedelta(minutes=1)
    dead = processes.Health(role="worker", threads=2, version="0", model="none", mode="no_vlm")
    processes.beat(web.desk.db, processes.Identity(name="gone:1"), dead, now=late)
    first.beat()
    ready = client.get("/readyz").json
    assert (ready["status"], ready["processes"], ready["processes_missed"]) == ("degraded", 1, 1)
    told = client.get("/metrics").text
    assert value(told, 'assistant_process_silent_seconds{process="gone:1",role="worker"}') >= 60
    assert 'assistant_process_threads{process="gone:1"}' not in told
    [said] = [one for one in doctor.processes_of(web.desk.db) if one.status == "warn"]
    assert "gone:1: not heard of" in said.detail

    processes.beat(web.desk.db, web.desk.identity, first.health(), now=web.desk.now() + processes.FORGOTTEN_AFTER)
    assert client.get("/readyz").json["processes_missed"] == 0


def test_what_another_version_tells_does_no_harm(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    web = make_runtime()
    strange = {"role": "worker", "threads": 1, "mood": "fine"}
    strange["measures"] = {"assistant_moods": [[["good"], [1.0]]], "assistant_job_seconds": [[["a", "b"], [1.0]]]}
    with web.desk.db.begin() as session:
        now = web.desk.now()
        session.add(Process(id="x", name="other:1", started_at=now, beat_at=now, health=strange))
    client = make_app(web).test_client()
    told = client.get("/metrics").text
    assert value(told, 'assistant_process_threads{process="other:1"}') == 1
    assert "assistant_moods" not in told
    assert client.get("/readyz").json["status"] == "ok"
