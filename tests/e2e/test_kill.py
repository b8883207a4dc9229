"""No ticket is lost or duplicated, however often the process is killed."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from sqlalchemy import func, select

from assistant.db import Database
from assistant.desk.access import Scope
from assistant.models import Attachment, Draft, Evidence, Job, JobStatus, Ticket, TriageResult
from assistant.runtime import build
from assistant.settings import Settings
from assistant.storage import Storage
from tests.conftest import LONG
from tests.e2e.server import Server
from tests.factories import make_articles, make_key, make_photo

TICKETS, KILLS = (50, 20) if LONG else (9, 3)
# When a ticket counts as lost: far longer than it takes, even on a busy machine. A killed worker's job is retried when
# its lease of 30 seconds expires.
ACKNOWLEDGED_WITHIN = 600.0
SETTLES_WITHIN = 600.0


def submit(url: str, key: str, number: int) -> str:
    """Send a ticket as a shop's system does: retry with the same key until it is acknowledged."""
    boundary, fields = uuid.uuid4().hex, {"text": f"Ticket {number}: my machine shows E21.", "subject": f"T{number}"}
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="photos"; filename="p.jpg"\r\n'
    photo = make_photo(f"E21 {number}", size=(320, 240))
    parts.append(f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + photo + f"\r\n--{boundary}--\r\n".encode())
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Idempotency-Key": f"ticket-{number}",
    }
    request = urllib.request.Request(f"{url}/api/v1/tickets", b"".join(parts), headers)
    ends_at = time.monotonic() + ACKNOWLEDGED_WITHIN
    while time.monotonic() < ends_at:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return str(json.load(response)["id"])
        except urllib.error.HTTPError as error:
            if error.code not in (409, 503):  # the same request is in progress, or the server is stopping
                raise
        except (OSError, http.client.HTTPException, ValueError):
            pass  # killed before, during or after the work: no way to know
        time.sleep(0.05)
    raise AssertionError(f"ticket {number} was never acknowledged")


def test_every_acknowledged_ticket_is_there_once_with_triage_and_draft(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    runtime = build(Settings(data_dir=folder))
    make_articles(runtime.desk, tmp_path / "articles")
    key = make_key(runtime.desk.db, Scope.TICKETS_WRITE)
    runtime.close()
    server = Server(folder, at_once=True, rate_limit="10000 per minute", log_level="error")
    moments = random.Random(7)
    acknowledged: list[str] = []
    failures: list[BaseException] = []
    allowed = threading.Semaphore(0)

    def client() -> None:
        try:
            for number in range(TICKETS):
                allowed.acquire()
                acknowledged.append(submit(server.url, key, number))
        except BaseException as error:
            failures.append(error)

    sender = threading.Thread(target=client, daemon=True)
    sender.start()
    try:
        for kill in range(KILLS):
            server.start()
            for _ in range(TICKETS * (kill + 1) // KILLS - TICKETS * kill // KILLS):
                allowed.release()
            time.sleep(moments.uniform(0.0, 0.8))
            server.kill()
        server.start()
        sender.join(ACKNOWLEDGED_WITHIN)
        assert failures == []
        assert len(acknowledged) == TICKETS
        database = Database(Settings(data_dir=folder).sqlalchemy_url)
        wait_until_idle(database)
        assert server.stop() == 0
    finally:
        server.close()
    check(database, acknowledged, folder)
    database.close()


def wait_until_idle(database: Database) -> None:
    ends_at = time.monotonic() + SETTLES_WITHIN
    while time.monotonic() < ends_at:
        with database.read() as session:
            open_jobs = select(func.count()).where(Job.status.in_([JobStatus.QUEUED, JobStatus.RUNNING]))
            if session.scalar(open_jobs) == 0:
                return
        time.sleep(0.5)
    raise AssertionError("some jobs never finished")


def check(database: Database, acknowledged: list[str], folder: Path) -> None:
    with database.read() as session:
        assert sorted(session.scalars(select(Ticket.public_id))) == sorted(acknowledged)
        tickets = sorted(session.scalars(select(Ticket.id)))
        assert sorted(session.scalars(select(TriageResult.ticket_id))) == tickets
        assert sorted(session.scalars(select(Draft.ticket_id))) == tickets
        photos = list(session.scalars(select(Attachment.sha256)))
        assert len(photos) == TICKETS
        assert set(photos) == set(session.scalars(select(Evidence.sha256)))
        assert session.scalar(select(func.count()).where(Job.status == JobStatus.DEAD)) == 0
    storage = Storage.open(Settings(data_dir=folder).attachments_url)
    assert [photo for photo in photos if not storage.exists(photo)] == []
