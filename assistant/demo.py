"""The demo: the sample company's articles and tickets, run through the whole pipeline.

Safe to run again: articles are imported incrementally and tickets carry idempotency keys.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from sqlalchemy import select

from assistant import sample, worker
from assistant.desk import api_keys, credentials, people, tickets
from assistant.desk.access import MachinePrincipal, Scope
from assistant.desk.idempotency import Once
from assistant.desk.tickets import NewTicket
from assistant.knowledge import sources
from assistant.knowledge.imports import ImportReport
from assistant.media.files import Upload
from assistant.models import Agent, AgentRole, APIKey, SourceKind, Ticket
from assistant.progress import Progress
from assistant.runtime import Runtime

ADMIN = "admin@localhost"
_KEY_NAME = "demo"


@dataclass(frozen=True)
class DemoReport:
    """``tickets``: as the API returns them."""

    model: str
    mode: str
    articles: ImportReport
    tickets: tuple[dict[str, Any], ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "mode": self.mode,
            "articles": self.articles.to_json(),
            "tickets": list(self.tickets),
            "seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True)
class Access:
    """How to sign in to the console. ``password`` is None once the admin has chosen one."""

    email: str
    password: str | None


def run(
    runtime: Runtime, *, bar: Callable[[], AbstractContextManager[Progress]], tell: Callable[..., None]
) -> DemoReport:
    """Import the sample articles, open the sample tickets and run all resulting jobs.

    ``bar`` shows progress while it is open. ``tell`` is called with each finished ticket, as the API returns it.
    """
    started = perf_counter()
    desk = runtime.desk
    with desk.db.begin() as session:
        source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(sample.articles_dir()), name="sample")
    with bar() as progress:
        articles = sources.sync(desk, source.id, progress=progress)
    machine = _demo_client(runtime)
    done = []
    examples = sample.demo_tickets()
    for number, example in enumerate(examples, start=1):
        with bar() as progress:
            progress(number - 1, len(examples), "Reading, triaging and drafting")
            done.append(_open_and_process(runtime, machine, example, number))
        tell(done[-1])
    mode = desk.capabilities.mode.value
    return DemoReport(desk.capabilities.model, mode, articles, tuple(done), perf_counter() - started)


def prepare_access(runtime: Runtime) -> Access:
    """Ensure an admin exists, with a new one-time password each time until the admin has chosen one."""
    password = secrets.token_urlsafe(9)
    with runtime.desk.db.begin() as session:
        admin = session.scalar(select(Agent).where(Agent.email == ADMIN))
        if admin is None:
            people.add_agent(
                session, email=ADMIN, name="Admin", password=password, role=AgentRole.ADMIN, must_change_password=True
            )
        elif admin.must_change_password:
            credentials.set_password(session, admin, password, one_time=True)
        else:
            return Access(ADMIN, None)
    return Access(ADMIN, password)


def _demo_client(runtime: Runtime) -> MachinePrincipal:
    """The API client that opens the sample tickets. Its key is never shown, so nobody can use it."""
    scopes = [Scope.TICKETS_READ, Scope.TICKETS_WRITE]
    with runtime.desk.db.begin() as session:
        key = session.scalar(select(APIKey).where(APIKey.name == _KEY_NAME).order_by(APIKey.id).limit(1))
        if key is None:
            key, _ = api_keys.add(session, name=_KEY_NAME, scopes=[scope.value for scope in scopes])
        return MachinePrincipal(key.id, key.name, frozenset(scopes))


def _open_and_process(
    runtime: Runtime, machine: MachinePrincipal, example: sample.DemoTicket, number: int
) -> dict[str, Any]:
    """The finished ticket, as the API returns it."""
    new = NewTicket(
        subject=example.subject,
        text=example.text,
        requester_name=example.requester_name,
        requester_email=example.requester_email,
        uploads=tuple(Upload(path.name, None, path.read_bytes()) for path in example.photos),
    )
    once = Once(machine.key_id, f"demo-{number}", new.fingerprint())
    opened: Ticket = tickets.open_ticket(runtime.desk, machine, new, once=once).ticket
    worker.run_until_idle(runtime.desk)
    with runtime.desk.db.read() as session:
        ticket = tickets.load_ticket(session, machine, opened.public_id)
        return tickets.show_ticket(session, machine, ticket, runtime.desk.taxonomy).to_json()
