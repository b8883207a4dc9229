"""Faults of the machine and of clients, on the real server: what clients get, what is stored, what readiness and log
say, and that it goes on."""

from __future__ import annotations

import io
import json
import os
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image
from sqlalchemy import func, select

from assistant.db import Database
from assistant.desk.access import Scope
from assistant.lab.real_server import Server
from assistant.models import Attachment, IdempotencyKey, Ticket, TriageResult
from assistant.runtime import open_database
from assistant.settings import Settings
from tests.buckets import Bucket
from tests.factories import make_key, make_photo

CANARY = "xylophone-7731"
_MEGABYTES = 24
_ANSWERS_WITHIN = 120.0  # seconds, on a machine that may be busy


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of the test's own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}M", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, check=False, capture_output=True, timeout=60).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("Cannot mount a small file system here (needs root).")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True, timeout=60)


def body(text: str, photo: bytes) -> tuple[bytes, str]:
    """A multipart form and its content type."""
    boundary = uuid.uuid4().hex
    field = f'--{boundary}\r\nContent-Disposition: form-data; name="text"\r\n\r\n{text}\r\n'
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="photos"; filename="p.jpg"\r\n'
    end = f"\r\n--{boundary}--\r\n"
    whole = (field + file + "Content-Type: image/jpeg\r\n\r\n").encode() + photo + end.encode()
    return whole, f"multipart/form-data; boundary={boundary}"


def submit(server: Server, key: str, text: str, photo: bytes) -> tuple[int, dict[str, Any]]:
    data, form = body(text, photo)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": form, "Idempotency-Key": text.replace(" ", "-")}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"{server.url}/api/v1/tickets", data, headers), timeout=_ANSWERS_WITHIN
        ) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def noise(size: int) -> bytes:
    """An incompressible photo of about ``size`` bytes."""
    side = round((size / 1.6) ** 0.5)
    stream = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(Settings(data_dir=tmp_path / "var"))
    yield database
    database.close()


@pytest.fixture
def key(db: Database) -> str:
    return make_key(db, Scope.TICKETS_WRITE, Scope.TICKETS_READ)


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
        wait_for(lambda: ready(server)["status"] == "degraded")  # as no worker runs; until then it may be loading
        status, opened = submit(server, key, CANARY, make_photo(CANARY))
        assert (status, opened["rejected_files"]) == (201, [])
        assert len(opened["messages"][0]["attachments"]) == 1
        assert submit(server, key, CANARY, make_photo(CANARY)) == (201, opened)
        assert CANARY not in server.log()
    finally:
        bucket.stop()


def test_a_full_disk_loses_nothing_and_says_so(disk: Path) -> None:
    settings = Settings(data_dir=disk / "var")
    db = open_database(settings)
    key = make_key(db, Scope.TICKETS_WRITE)
    server = Server(disk / "var", at_once=True, workers=0, ocr="off", disk_reserve=0)
    large = noise(400_000)
    try:
        server.start()
        assert submit(server, key, "before it was full", noise(50_000))[0] == 201
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 65_536)
            except OSError:
                pass
        status, problem = submit(server, key, "while it was full", large)
        assert status == 503
        assert "disk" in problem["detail"]
        assert (count(db, Ticket), count(db, Attachment)) == (1, 1)
        filler.unlink()
        for _ in range(2):  # the client retries with the same key, once more than needed
            assert submit(server, key, "while it was full", large)[0] in (200, 201)
        assert (count(db, Ticket), count(db, Attachment)) == (2, 2)
    finally:
        server.close()
        db.close()


def test_clients_that_vanish_in_the_middle_of_an_upload_leave_nothing_behind(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    db = open_database(settings)
    key = make_key(db, Scope.TICKETS_WRITE)
    server = Server(tmp_path / "var", at_once=True, workers=0, ocr="off")
    data, form = body("half of it", make_photo("E21"))
    head = (
        f"POST /api/v1/tickets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: {form}\r\nContent-Length: {len(data)}\r\n\r\n"
    ).encode()
    try:
        server.start()
        address = (urlsplit(server.url).hostname, urlsplit(server.url).port)
        for sent in (b"POST /api", head[:-2], head, head + data[: len(data) // 2], head + data[:-3]):
            with socket.create_connection(address, timeout=_ANSWERS_WITHIN) as client:
                client.sendall(sent)
        # Half-closed, with a Content-Length that is too large.
        with socket.create_connection(address, timeout=_ANSWERS_WITHIN) as client:
            client.sendall(head + data[: len(data) // 2])
            client.shutdown(socket.SHUT_WR)
            assert b"201" not in client.recv(1000)
        assert submit(server, key, "all of it", make_photo("E21"))[0] == 201
        assert (count(db, Ticket), count(db, Attachment)) == (1, 1)
    finally:
        server.close()
        db.close()
