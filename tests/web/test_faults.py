"""Passing faults: 503 and Retry-After for everybody, nothing stored by halves, and the cause for operators."""

from __future__ import annotations

import io
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, func, select, text
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from assistant.db import Database
from assistant.models import Attachment, Conversation, IdempotencyKey, Message, Ticket
from assistant.settings import Settings
from assistant.web.health import PROBES, Probe
from tests.factories import Browser, Persona, make_photo

LONG = "It shows E21. " * 1200  # more than fits into the free pages of a new database
TABLES = (Attachment, Conversation, IdempotencyKey, Message, Ticket)
Fault = Callable[[Database, Settings], Any]


@contextmanager
def locked(_db: Database, settings: Settings) -> Iterator[None]:
    """By another program."""
    with closing(sqlite3.connect(settings.data_dir / "assistant.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def pragma(db: Database, setting: str) -> Iterator[None]:
    """On every connection, for a while."""

    def set_it(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA {setting}")

    event.listen(db.engine, "connect", set_it)
    db.engine.dispose()
    yield
    event.remove(db.engine, "connect", set_it)
    db.engine.dispose()


def full(db: Database, _settings: Settings) -> Any:
    return pragma(db, "max_page_count=1")


def read_only(db: Database, _settings: Settings) -> Any:
    return pragma(db, "query_only=ON")


@contextmanager
def storage_away(_db: Database, settings: Settings) -> Iterator[None]:
    """A file where its folder was."""
    folder = Path(settings.attachments_url)
    aside = folder.rename(folder.with_name("aside"))
    folder.write_text("no folder")
    yield
    folder.unlink()
    aside.rename(folder)


FAULTS: dict[str, tuple[Fault, str]] = {
    "locked": (locked, "database_locked"),
    "full": (full, "disk_full"),
    "read-only": (read_only, "read_only"),
    "storage away": (storage_away, "storage_missing"),
}


@pytest.fixture(params=[pytest.param("locked", marks=pytest.mark.slow), *(name for name in FAULTS if name != "locked")])
def fault(request: pytest.FixtureRequest, db: Database, settings: Settings) -> tuple[Any, str]:
    """A context in which the fault lasts, and its cause."""
    make, cause = FAULTS[request.param]
    return make(db, settings), cause


def counts(db: Database) -> list[int]:
    with db.read() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES]


def post_ticket(client: FlaskClient, key: dict[str, str]) -> TestResponse:
    form = {"text": LONG, "photos": (io.BytesIO(make_photo("E21")), "photo.jpg")}
    return client.post("/api/v1/tickets", data=form, headers={**key, "Idempotency-Key": "the-same"})


def test_a_ticket_with_a_photo_is_refused_whole_and_opened_by_the_repetition(
    client: FlaskClient, key: dict[str, str], db: Database, fault: tuple[Any, str]
) -> None:
    lasting, cause = fault
    before = counts(db)
    with lasting:
        refused = post_ticket(client, key)
        assert (refused.status_code, refused.json["code"], refused.json["cause"]) == (503, "unavailable", cause)
        assert int(refused.headers["Retry-After"]) >= 1
        assert "try again" in refused.json["detail"]
        assert counts(db) == before
    opened = post_ticket(client, key)
    assert (opened.status_code, opened.json["rejected_files"]) == (201, [])
    assert len(opened.json["messages"][0]["attachments"]) == 1
    repeated = post_ticket(client, key)
    assert (repeated.status_code, repeated.data) == (201, opened.data)


def test_a_message_in_the_widget_is_refused_whole_and_stored_by_the_repetition(
    client: FlaskClient, db: Database, fault: tuple[Any, str]
) -> None:
    lasting, cause = fault
    browser = Browser(client)
    assert browser.say("Hello").status_code == 201

    def send() -> TestResponse:
        return browser.say(LONG, ("photo.jpg", make_photo("E21")), client_id="1")

    before = counts(db)
    with lasting:
        refused = send()
        assert (refused.status_code, refused.json["cause"]) == (503, cause)
        assert refused.headers["Retry-After"]
        assert counts(db) == before
    stored = send()
    assert (stored.status_code, stored.json["rejected_files"]) == (201, [])
    assert len(stored.json["message"]["attachments"]) == 1


@pytest.mark.parametrize(
    ("make", "part", "said"),
    [(locked, "database", "locked by another program"), (storage_away, "storage", "not a directory")],
)
def test_readiness_says_the_cause_and_heals(
    client: FlaskClient, db: Database, settings: Settings, make: Fault, part: str, said: str
) -> None:
    with make(db, settings):
        refused = client.get("/readyz")
        assert (refused.status_code, set(refused.json["failures"])) == (503, {part})
        assert said in refused.json["failures"][part]
        assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_the_console_shows_a_page_that_says_so(
    sign_in: Callable[[Persona], FlaskClient], alice: Persona, db: Database
) -> None:
    agent = sign_in(alice)
    assert agent.get("/console/").status_code == 200
    with broken(db, sqlite3.SQLITE_BUSY):
        page = agent.get("/console/")
        assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
        assert "locked by another program" in page.text


@contextmanager
def broken(db: Database, code: int) -> Iterator[None]:
    """Every statement fails with this code of SQLite's."""

    def fail(*_arguments: object) -> None:
        error = sqlite3.OperationalError("a customer's text")
        error.sqlite_errorcode = code
        raise error

    event.listen(db.engine, "before_cursor_execute", fail)
    yield
    event.remove(db.engine, "before_cursor_execute", fail)


def test_a_stream_that_meets_a_fault_ends_and_its_client_is_told_when_it_connects_again(
    client: FlaskClient, db: Database
) -> None:
    browser = Browser(client)
    browser.say("Hello")
    stream = browser.get("/events")
    assert b"retry:" in next(stream.response)
    with broken(db, sqlite3.SQLITE_IOERR), capture_logs() as logs:
        assert list(stream.response) == []
        assert browser.get("/events").status_code == 503
    assert {line["event"] for line in logs} <= {"fault", "request"}


def test_a_fault_is_logged_once_a_minute_and_without_a_traceback(
    client: FlaskClient, key: dict[str, str], db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test may have met the same one less than a minute ago.
    monkeypatch.setattr("assistant.faults.FAULTS._logged_at", {})
    with broken(db, sqlite3.SQLITE_CANTOPEN), capture_logs() as logs:
        for _ in range(50):
            assert client.get("/api/v1/tickets", headers=key).status_code == 503
    [told] = [line for line in logs if line["event"] != "request"]
    assert told["cause"] == "database_unreadable"
    assert "exc_info" not in told
    assert "customer" not in str(logs)


def test_damage_that_any_request_met_is_said_by_readiness(
    client: FlaskClient, settings: Settings, db: Database
) -> None:
    db.engine.dispose()
    with closing(sqlite3.connect(settings.data_dir / "assistant.db")) as direct:
        root = direct.execute("SELECT rootpage FROM sqlite_master WHERE name = 'customers'").fetchone()[0]
        size = direct.execute("PRAGMA page_size").fetchone()[0]
        direct.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (settings.data_dir / "assistant.db").open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    refused = client.post("/widget/v1/sessions", json={"name": "Rosa", "email": "rosa@example.org"})
    assert (refused.status_code, refused.json["cause"]) == (503, "database_damaged")
    assert "restore a backup" in client.get("/readyz").json["failures"]["database"]


def test_a_database_that_a_newer_version_upgraded_is_said_as_such(client: FlaskClient, db: Database) -> None:
    with db.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'from_the_future'"))
    assert "newer version" in client.get("/readyz").json["failures"]["database"]


def test_readiness_does_not_wait_for_a_part_that_hangs_and_asks_it_once(client: FlaskClient, app: Any) -> None:
    free, asked = threading.Event(), []

    def hang() -> None:
        asked.append(1)
        free.wait(60)

    app.extensions[PROBES].storage = Probe(hang)
    answers = [client.get("/readyz") for _ in range(2)]
    free.set()
    assert [answer.status_code for answer in answers] == [503, 503]
    assert "does not respond" in answers[0].json["failures"]["storage"]
    assert len(asked) == 1


def test_metrics_go_on_without_the_database(client: FlaskClient, db: Database) -> None:
    assert "assistant_database_up 1.0" in client.get("/metrics").text
    with broken(db, sqlite3.SQLITE_BUSY):
        told = client.get("/metrics")
    assert told.status_code == 200
    assert "assistant_database_up 0.0" in told.text
    assert "assistant_requests_total" in told.text
