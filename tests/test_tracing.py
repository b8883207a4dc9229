"""What belongs together is found together: one id, and spans, from the request to the job to the model server."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog
from apiflask import APIFlask
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from assistant import tracing
from assistant.desk.access import Scope
from assistant.engine import install
from assistant.errors import NotReady
from assistant.models import Job
from assistant.runtime import Runtime, build
from assistant.settings import Settings
from assistant.worker import run_until_idle
from tests.engine.servers import Reply, ScriptedServer, scripted_server
from tests.factories import bearer, make_key
from tests.fakes import HashEmbeddings

CANARY = "xylophone7731"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    written = io.StringIO()
    processors = [structlog.contextvars.merge_contextvars, structlog.processors.KeyValueRenderer(key_order=["event"])]
    before = structlog.get_config()
    every = structlog.make_filtering_bound_logger(0)  # whatever level another test has left
    factory = structlog.PrintLoggerFactory(written)
    structlog.configure(processors=processors, logger_factory=factory, wrapper_class=every)
    yield written
    structlog.configure(**before)


@pytest.fixture
def spans() -> Iterator[Callable[[], dict[str, ReadableSpan]]]:
    """By name, once all are in."""
    exporter = InMemorySpanExporter()
    tracing.configure(None, version="1", exporter=exporter)

    def sent() -> dict[str, ReadableSpan]:
        tracing._tracing.provider.force_flush()
        return {span.name: span for span in exporter.get_finished_spans()}

    yield sent
    tracing.shut_down()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        server.replies.append(Reply(status=500, parts=(b"{}",)))
        yield server


@pytest.fixture
def remote(settings: Settings, server: ScriptedServer) -> Iterator[Runtime]:
    settings = settings.model_copy(update={"remote_url": server.url, "remote_model": "tiny", "ocr": "off"})
    installed = install(settings)
    fakes = {"embeddings": HashEmbeddings(), "embedding_model": "hash-512", "second_embedder": None}
    capabilities = replace(installed.capabilities, **fakes)
    runtime = replace(build(settings, capabilities=capabilities), installed=installed)
    yield runtime
    runtime.close()


def open_ticket(runtime: Runtime, make_app: Callable[..., APIFlask], **headers: str) -> Any:
    key = bearer(make_key(runtime.desk.db, Scope.TICKETS_WRITE))
    told = {"text": f"It leaks. {CANARY}", "requester": {"email": f"{CANARY}@shop.example"}}
    return make_app(runtime).test_client().post("/api/v1/tickets", json=told, headers={**key, **headers})


@pytest.mark.slow
def test_the_id_of_a_request_is_in_its_lines_its_jobs_and_the_calls_of_the_model_server(
    remote: Runtime, server: ScriptedServer, make_app: Callable[..., APIFlask], log: io.StringIO
) -> None:
    answer = open_ticket(remote, make_app, **{"X-Request-ID": "from-the-proxy-1"})
    assert answer.headers["X-Request-ID"] == "from-the-proxy-1"
    with remote.desk.db.read() as session:
        jobs = session.query(Job).filter_by(name="process_message").all()
    assert [job.origin for job in jobs] == [{"request_id": "from-the-proxy-1"}]
    structlog.contextvars.clear_contextvars()  # a worker knows nothing of it but by the row
    run_until_idle(remote.desk)
    lines = [line for line in log.getvalue().splitlines() if line]
    [request_line] = [line for line in lines if line.startswith("event='request'")]
    assert "route='/api/v1/tickets'" in request_line
    assert "status=201" in request_line
    assert "address='127.0.0.1'" in request_line
    assert re.search(r"api_key=\d", request_line)
    [job_line] = [line for line in lines if line.startswith("event='job'") and "process_message" in line]
    assert "outcome='done'" in job_line
    opened = next(line for line in lines if "breaker_opened" in line)
    assert all("request_id='from-the-proxy-1'" in line for line in (request_line, job_line, opened))
    assert {headers["x-request-id"] for headers in server.headers} == {"from-the-proxy-1"}
    assert CANARY not in log.getvalue()


@pytest.mark.slow
def test_spans_lead_from_the_request_to_the_job_to_the_model_and_hold_nobodys_words(
    remote: Runtime,
    server: ScriptedServer,
    make_app: Callable[..., APIFlask],
    spans: Callable[[], dict[str, ReadableSpan]],
) -> None:
    open_ticket(remote, make_app)
    run_until_idle(remote.desk)
    found = spans()
    request, job, model = found["POST /api/v1/tickets"], found["job process_message"], found["model"]
    assert job.parent.span_id == request.context.span_id
    assert model.parent.span_id == job.context.span_id
    assert len({span.context.trace_id for span in (request, job, model)}) == 1
    assert request.attributes["http.response.status_code"] == 201
    assert not model.status.is_ok
    assert model.status.description in ("EngineFailed", "EngineBusy")
    trace = format(request.context.trace_id, "032x")
    assert {headers["traceparent"].split("-")[1] for headers in server.headers} == {trace}
    assert CANARY not in " ".join(span.to_json() for span in found.values())


def test_an_id_that_is_none_is_replaced(client: Any) -> None:
    for given in (None, "x", "a" * 65, "two words\u00e9", "<script>alert(1)</script>"):
        headers = {} if given is None else {"X-Request-ID": given.encode("latin-1")}
        made = client.get("/livez", headers=headers).headers["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]{16}", made)


def test_spans_arrive_at_a_receiver(tmp_path: Path) -> None:
    got = threading.Event()
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            paths.append(f"{self.path} {self.headers['Content-Type']} {len(body) > 20}")
            self.send_response(200)
            self.end_headers()
            got.set()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        tracing.configure(f"http://127.0.0.1:{receiver.server_port}", version="1")
        with tracing.span("something"):
            pass
        tracing.shut_down()
        assert got.wait(10)
        receiver.shutdown()
        thread.join(10)
    assert paths == ["/v1/traces application/x-protobuf True"]


def test_without_the_setting_nothing_of_it_is_imported_and_without_the_extra_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = (
        "import sys, assistant.tracing as t; t.configure(None, version='1')\nwith t.span('x'): t.begin_request(None)\n"
    )
    look += "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", look], check=False, timeout=60).returncode == 0
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(NotReady, match="otel"):
        tracing.configure("http://127.0.0.1:4318", version="1")
