"""`assistant bench web`: what it fills, counts and refuses. How fast anything is, no test says."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import islice

import pytest
from PIL import Image
from sqlalchemy import func, select

from assistant.db import Database
from assistant.errors import Invalid
from assistant.lab.bench import web
from assistant.models import Conversation, ConversationState, Ticket
from assistant.runtime import Runtime
from assistant.settings import PREFIX, Settings


def test_a_real_server_is_asked_and_every_kind_of_request_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_WARM_UP", 1)  # how fast it is does not matter here
    for unused in ("OCR", "PHOTO_FEATURES", "PHOTO_EMBEDDINGS"):  # without a worker, nobody looks at photos
        monkeypatch.setenv(f"{PREFIX}{unused}", "off")
    told: list[str] = []
    report = web.measure(tickets=250, requests=2, progress=lambda done, total, what: told.append(what))
    assert (report.database, report.tickets, report.workers) == ("sqlite", 250, 0)
    kinds = sum(map(len, (web._PHOTOS, web._LISTS, web._VIEWS, web._PAGES)))
    assert [timing.count for timing in report.timings] == [2] * (1 + kinds)
    assert all(0 < timing.p50_ms <= timing.p95_ms for timing in report.timings)
    assert all(timing.statements for timing in report.timings if not timing.request.startswith("open"))
    assert {"Filling the database", "Counting for the reports", "Asking"} == set(told)
    assert "open, photo (12 MP JPEG)" in report.render()


def test_a_list_takes_as_many_statements_of_many_tickets_as_of_few(runtime: Runtime) -> None:
    counts: list[dict[str, int]] = []
    asked = None
    for more in (20, 400):
        web.fill(runtime.desk.db, more, lambda done, total, what: None)
        asked = asked or web.Asked(runtime)
        counts.append({name: asked.statements(path) for name, path in asked.paths.items()})
    # What none of the tickets found has (photos, tags, fields) takes no statement.
    assert [name for name in counts[0] if abs(counts[0][name] - counts[1][name]) > 3] == []


def test_the_tickets_are_in_every_state_and_of_every_team(db: Database) -> None:
    web.fill(db, 300, lambda done, total, what: None)
    with db.read() as session:
        states = set(session.scalars(select(Conversation.state).distinct()))
        assert states == set(ConversationState)
        assert session.scalar(select(func.count()).select_from(Ticket)) == 300


def test_no_two_photos_are_alike() -> None:
    drawn = list(islice(web.photos("coffee-machine-e21.jpg", (320, 240), "JPEG"), 3))
    assert len(set(drawn)) == 3
    assert Image.open(io.BytesIO(drawn[0])).size == (320, 240)


def test_a_database_that_holds_something_is_left_alone(
    settings: Settings, make_runtime: Callable[..., Runtime]
) -> None:
    make_runtime()
    with pytest.raises(Invalid, match="not empty"):
        web.measure(tickets=100, requests=5, database_url=settings.sqlalchemy_url)
