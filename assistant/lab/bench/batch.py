"""One batch of tickets against as many single requests to the API, with and without drafts: the same results, and what
they cost. Processor time rather than time: it is the same on a busy machine.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from assistant import sample, worker
from assistant.app import create_app
from assistant.desk import api_keys
from assistant.desk.access import Scope
from assistant.knowledge import sources
from assistant.lab.tables import table
from assistant.models import SourceKind
from assistant.progress import Progress, no_progress
from assistant.runtime import Runtime, build
from assistant.settings import Settings

_API = "/api/v1/triage"
_OPENINGS = ("Hello, number {n} here.", "Order {n}:", "I bought it {n} days ago.", "Second time I write ({n}).")


@dataclass(frozen=True)
class Kind:
    """``cpu_seconds`` of all tickets, one by one and in a batch. ``different``: positions whose results differ."""

    name: str
    tickets: int
    alone_cpu_seconds: float
    batch_cpu_seconds: float
    different: tuple[int, ...]

    @property
    def ratio(self) -> float:
        return self.alone_cpu_seconds / self.batch_cpu_seconds


@dataclass(frozen=True)
class Report:
    mode: str
    kinds: tuple[Kind, ...]

    @property
    def different(self) -> int:
        return sum(len(kind.different) for kind in self.kinds)

    def to_json(self) -> dict[str, Any]:
        return {"mode": self.mode, "kinds": [{**asdict(kind), "ratio": kind.ratio} for kind in self.kinds]}

    def render(self) -> str:
        rows = [
            (
                kind.name,
                kind.tickets,
                round(1000 * kind.alone_cpu_seconds / kind.tickets),
                round(1000 * kind.batch_cpu_seconds / kind.tickets),
                round(kind.ratio, 2),
                len(kind.different),
            )
            for kind in self.kinds
        ]
        header = (self.mode, "tickets", "alone, CPU ms", "in a batch", "ratio", "other results")
        return "\n".join(table(header, rows))


def measure(settings: Settings, *, tickets: int = 500, progress: Progress = no_progress) -> Report:
    """On databases of its own, with the models that the settings name and the sample's articles. Each time with models
    that remember nothing of the time before."""
    texts, kinds, mode = _texts(tickets), [], ""
    for name, with_draft in (("triage", False), ("triage and draft", True)):
        with _desk(settings) as (runtime, client):
            mode = runtime.desk.capabilities.mode.value
            together, in_batch = _in_batch(runtime, client, texts, with_draft=with_draft)
        with _desk(settings) as (_, client):
            alone, one_by_one = _alone(client, texts, progress, with_draft=with_draft)
        differ = tuple(number for number, said in enumerate(together) if said != alone[number])
        kinds.append(Kind(name, tickets, one_by_one, in_batch, differ))
    return Report(mode, tuple(kinds))


def _texts(count: int) -> list[str]:
    messages = [ticket.text for ticket in sample.demo_tickets()]
    return [
        f"{_OPENINGS[number % len(_OPENINGS)].format(n=number)} {messages[number % len(messages)]}"
        for number in range(count)
    ]


@contextmanager
def _desk(settings: Settings) -> Iterator[tuple[Runtime, FlaskClient]]:
    """With its models loaded."""
    with tempfile.TemporaryDirectory() as folder:
        apart = {"data_dir": Path(folder), "database_url": None, "storage_url": None, "access_log": False}
        runtime = build(settings.model_copy(update={**apart, "rate_limit": "1000000 per minute"}))
        try:
            with runtime.desk.db.begin() as session:
                where = str(sample.articles_dir())
                source = sources.add_source(session, kind=SourceKind.FOLDER, location=where, name="sample")
                key = api_keys.add(session, name="bench", scopes=[Scope.TRIAGE.value])[1]
            sources.sync(runtime.desk, source.id)
            worker.run_until_idle(runtime.desk)
            client = create_app(runtime).test_client()
            client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key}"
            client.post(_API, json={"text": "It is warm now."})
            yield runtime, client
        finally:
            runtime.close()


def _in_batch(
    runtime: Runtime, client: FlaskClient, texts: list[str], *, with_draft: bool
) -> tuple[list[dict[str, Any]], float]:
    began = time.process_time()
    body = {"tickets": [{"text": text} for text in texts], "with_draft": with_draft}
    batch = client.post(f"{_API}/batch", json=body).get_json()["id"]
    worker.run_until_idle(runtime.desk)
    took = time.process_time() - began
    results = client.get(f"{_API}/batches/{batch}/results", query_string={"limit": 500}).get_json()["results"]
    return [_said(one["result"]) for one in results], took


def _alone(
    client: FlaskClient, texts: list[str], progress: Progress, *, with_draft: bool
) -> tuple[list[dict[str, Any]], float]:
    began, said = time.process_time(), []
    for number, text in enumerate(texts):
        said.append(_said(client.post(_API, json={"text": text, "with_draft": with_draft}).json))
        progress(number + 1, len(texts), "One by one")
    return said, time.process_time() - began


def _said(assessed: dict[str, Any] | None) -> dict[str, Any]:
    """Of an assessment, all but when it was made, how long it took, and the ids of articles, which differ from one
    database to another."""
    if not assessed:
        return {}
    triage, draft = assessed["triage"], assessed["draft"]
    said = {**{name: triage[name] for name in ("model", "revision", "fields")}, "evidence": assessed["evidence"]}
    return {**said, **({name: draft[name] for name in ("text", "handoff_reason", "confidence")} if draft else {})}
