"""Faults of the machine under a real server: what clients get, what is stored, what readiness and the log say."""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from assistant.db import Database
from assistant.desk.access import Scope
from assistant.models import Attachment, IdempotencyKey, Ticket, TriageResult
from assistant.runtime import open_database
from assistant.settings import Settings
from tests.buckets import Bucket
from tests.e2e.server import Server
from tests.e2e.test_misfortune import submit
from tests.factories import make_key, make_photo

CANARY = "xylophone-7731"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(Settings(data_dir=tmp_path / "var"))
    yield database
    database.close()


@pytest.fixture
def key(db: Database) -> str:
    return make_key(db, Scope.TICKETS_WRITE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def begin(**settings: Any) -> Server:
        servers.append(Server(tmp_path / "var", at_once=True, ocr="off", model="none", **settings))
        servers[-1].start()
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


def ready(server: Server) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{server.url}/readyz", timeout=60) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))


def count(db: Database, table: type[Any]) -> int:
    with db.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def wait_for(what: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 120
    while not what():
        assert time.monotonic() < ends_at, "it did not happen"
        time.sleep(0.2)


def test_a_locked_database_is_said_and_the_repetition_is_stored(
    start: Callable[..., Server], db: Database, key: str, tmp_path: Path
) -> None:
    server = start(workers=2)
    with closing(sqlite3.connect(tmp_path / "var" / "assistant.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status, problem = submit(server, key, CANARY, make_photo("E21"))
        assert (status, problem["cause"]) == (503, "database_locked")
        assert "locked" in ready(server)["failures"]["database"]
    assert submit(server, key, CANARY, make_photo("E21"))[0] == 201
    assert (count(db, Ticket), count(db, Attachment)) == (1, 1)
    wait_for(lambda: count(db, TriageResult) == 1)
    log = server.log()
    assert "Traceback" not in log
    assert log.count("cause=database_locked") == 1
    assert CANARY not in log


def test_a_bucket_that_stops_refuses_whole_tickets_and_jobs_wait_for_it(
    start: Callable[..., Server], db: Database, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket()
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    server = start(workers=0, storage_url="s3://photos/shop")
    try:
        assert submit(server, key, "before", make_photo("E21"))[0] == 201
        bucket.stop()
        status, problem = submit(server, key, CANARY, make_photo(CANARY))
        assert (status, problem["cause"]) == (503, "storage_away")
        assert "cannot be reached" in ready(server)["failures"]["storage"]
        assert (count(db, Ticket), count(db, Attachment), count(db, IdempotencyKey)) == (1, 1, 1)
        bucket.start()
        assert ready(server)["status"] == "ok"
        status, opened = submit(server, key, CANARY, make_photo(CANARY))
        assert (status, opened["rejected_files"]) == (201, [])
        assert len(opened["messages"][0]["attachments"]) == 1
        assert submit(server, key, CANARY, make_photo(CANARY))[0] == 200
        assert CANARY not in server.log()
    finally:
        bucket.stop()
