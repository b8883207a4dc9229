"""The main job on PostgreSQL: the same code, the same answers as on SQLite."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from assistant import worker
from assistant.desk import tickets
from assistant.desk.tickets import TicketFilters
from assistant.models import Draft, Job, JobStatus, TriageResult, Visibility
from assistant.retrieval.index import Filters
from assistant.runtime import Runtime
from tests.factories import make_articles, make_machine, make_noise, make_ticket, make_upload

pytestmark = pytest.mark.postgres

SECRET = "---\nvisibility: internal\n---\n# For agents\n\nE21 means a refund of 40 euros at once.\n"


@pytest.fixture
def runtime(make_runtime: Callable[..., Runtime], postgres_url: str, tmp_path: Path) -> Runtime:
    runtime = make_runtime(database_url=postgres_url)
    make_articles(runtime.desk, tmp_path / "articles")
    return runtime


def test_a_ticket_with_a_photo_gets_triage_and_a_cited_draft(runtime: Runtime) -> None:
    ticket = make_ticket(runtime.desk, uploads=[make_upload()])
    worker.run_until_idle(runtime.desk)
    with runtime.desk.db.read() as session:
        assert session.scalars(select(TriageResult.ticket_id)).all() == [ticket.id]
        draft = session.scalars(select(Draft).where(Draft.ticket_id == ticket.id)).one()
        assert "draws no water" in draft.text
        assert draft.citations


def test_codes_words_and_access_are_as_on_sqlite(runtime: Runtime, tmp_path: Path) -> None:
    make_articles(runtime.desk, tmp_path / "internal", {"agents.md": SECRET})
    public, internal = (Filters(visibilities=(kind,)) for kind in (Visibility.PUBLIC, Visibility.INTERNAL))
    for query in ("E 21", "e-21", "the pump draws no water"):
        hits = runtime.desk.index.search(query, filters=public)
        assert "draws no water" in hits[0].document.page_content
        assert not any("refund" in hit.document.page_content for hit in hits)
    assert "refund" in runtime.desk.index.search("E21", filters=internal)[0].document.page_content


def test_two_workers_never_take_the_same_job(runtime: Runtime) -> None:
    for number in range(12):
        make_ticket(runtime.desk, f"Ticket {number} shows E21")
    threads = [threading.Thread(target=worker.run_until_idle, args=(runtime.desk,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with runtime.desk.db.read() as session:
        jobs = session.execute(select(Job.status, Job.attempts)).all()
        assert {(status, attempts) for status, attempts in jobs} == {(JobStatus.DONE, 1)}
        assert len(session.scalars(select(Draft.ticket_id)).all()) == 12


def test_a_list_takes_a_constant_number_of_statements(runtime: Runtime) -> None:
    machine = make_machine(runtime.desk.db)
    counts = []
    for more in (5, 200):
        make_noise(runtime.desk.db, more)
        with counting(runtime) as said, runtime.desk.db.read() as session:
            page = tickets.list_tickets(session, machine, TicketFilters(), limit=100)
        counts.append((len(said), len(page.tickets)))
    assert counts[0][0] == counts[1][0]
    assert counts[1][1] == 100


@contextmanager
def counting(runtime: Runtime) -> Iterator[list[str]]:
    """The statements that are run meanwhile."""
    said: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    event.listen(runtime.desk.db.engine, "before_cursor_execute", listen)
    yield said
    event.remove(runtime.desk.db.engine, "before_cursor_execute", listen)
