"""Latency of requests: opening a ticket with a photo, listing a page of many tickets by the API and in the console.

Starts a server as an operator would, on a separate database filled with synthetic tickets, and sends requests over HTTP
one after the other. Reading, triage and drafting are workers' jobs and not part of a request; ``workers`` runs them
alongside.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import count, repeat
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image
from sqlalchemy import event, select

from assistant import sample
from assistant.app import create_app
from assistant.db import Database, current_revision, utcnow
from assistant.desk import agent_sessions, api_keys, people
from assistant.desk.access import AgentPrincipal, Scope
from assistant.desk.rollup import roll_up
from assistant.errors import Invalid, NotReady
from assistant.lab.bench.filling import fill
from assistant.models import AgentRole, Attachment, Message, Ticket
from assistant.progress import Progress, no_progress
from assistant.runtime import Runtime, build
from assistant.settings import PREFIX, Settings

STARTS_WITHIN = 240.0
LISTED = 100  # tickets per page
_WARM_UP = 2
_CONSOLE = "/console"
_PHOTOS = {
    "screenshot (1080p PNG)": ("update-dialog.png", (1920, 1080), "PNG"),
    "photo (2 MP JPEG)": ("coffee-machine-e21.jpg", (1600, 1200), "JPEG"),
    "photo (12 MP JPEG)": ("coffee-machine-e21.jpg", (4032, 3024), "JPEG"),
}
_LISTS = {
    "list 100, newest": "",
    "list 100, one status": "&status=open",
    "list 100, one team's": "&team={team}",
    "list 100, handed off": "&conversation_state=handed_off",
    "list 100, changed in an hour": "&sort=changed&updated_since={hour}",
    "list 100, changed in a year": "&sort=changed&updated_since={year}",
    "list 100, one inbox, in a week": "&sort=changed&inbox=default&updated_since={week}",
    "search, a word of one ticket": "&q=ticket+77",
    "search, a word of all tickets": "&q=display",
    "search, two words, one status": "&q=display+pump&status=open",
    "search, a beginning": "&q=customer+1",
    "search, nothing": "&q=display+nowhere",
}
_SINCE = {"hour": timedelta(hours=1), "week": timedelta(days=7), "year": timedelta(days=365)}
# What agents see of the queue, 50 tickets at a time.
_VIEWS = {
    **{f"view {key}": f"tab={key}" for key in ("mine", "waiting", "urgent", "overdue", "unassigned", "assistant")},
    **{f"view {key}": f"tab={key}" for key in ("snoozed", "solved", "all")},
    **{f"view all, by {sort}": f"tab=all&sort={sort}" for sort in ("work", "waiting", "updated", "solved")},
    **{
        f"query {query}": urlencode({"q": query})
        for query in (
            *("display pump", "word77", "ticket 77", "custom", "nowhere", "display is:unsolved"),
            *("category:orders", "priority:urgent is:solved", "tag:recall", "has:photo", "has:rating", "is:unread"),
            *(
                "created:<7d",
                "waiting:>2h",
                "sla:overdue",
                "sla:none",
                "requester:nobody@example.org",
                "channel:widget",
            ),
            *(
                "field.serial:SN-00000300",
                "field.serial:none",
                "field.runtime:>4900",
                "product:brewmaster-300 has:photo",
            ),
        )
    },
}
# Of a ticket with a photo, and of the whole year.
_PAGES = {
    "ticket": "/tickets/{ticket}",
    "ticket, similar ones": "/tickets/{ticket}/similar",
    "ticket, status": "/tickets/{ticket}/status",
    "counts of all views": "/tabs?tab=all",
    "customers": "/customers",
    "palette": "/palette?q=display",
    "report volume": "/reports?{year}",
    **{f"report {name}": f"/reports/{name}?{{year}}" for name in ("times", "answers", "triage", "agents", "outbreaks")},
}


@dataclass(frozen=True)
class Timing:
    """Milliseconds from sending a request to having read its response. ``statements``: SQL statements it executes."""

    request: str
    count: int
    p50_ms: float
    p95_ms: float
    statements: int | None = None


@dataclass(frozen=True)
class Report:
    database: str
    tickets: int
    workers: int
    timings: tuple[Timing, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """A plain-text table."""
        lines = [f"{self.database}, {self.tickets:,} tickets, {self.workers} workers", ""]
        lines.append(f"{'':32}{'requests':>9}{'p50 ms':>9}{'p95 ms':>9}{'statements':>12}")
        for one in self.timings:
            statements = "" if one.statements is None else str(one.statements)
            lines.append(f"{one.request:32}{one.count:>9}{one.p50_ms:>9.1f}{one.p95_ms:>9.1f}{statements:>12}")
        return "\n".join(lines)


def measure(
    *,
    tickets: int = 100_000,
    requests: int = 60,
    workers: int = 0,
    database_url: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure on SQLite in a temporary folder, or on the empty database at ``database_url``.

    Raises `Invalid` if that database is not empty, because it is filled with synthetic tickets.
    """
    tell = progress or no_progress
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free_port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="assistant-bench-") as folder:
        settings = Settings(
            data_dir=Path(folder),
            database_url=database_url,
            host="127.0.0.1",
            port=free_port,
            workers=workers,
            rate_limit="1000000 per minute",
            log_level="error",
            access_log=False,
        )
        _require_empty(settings)
        runtime = build(settings)
        try:
            taxonomy = runtime.desk.taxonomy
            labels = {"category": taxonomy.categories, "product": taxonomy.products}
            fill(runtime.desk.db, tickets, tell, labels={name: [one.key for one in of] for name, of in labels.items()})
            tell(tickets, tickets, "Counting for the reports")
            roll_up(runtime.desk)
            asked = Asked(runtime)
            statements = {name: asked.statements(path) for name, path in asked.paths.items()}
            database = runtime.desk.db.engine.dialect.name
        finally:
            runtime.close()
        with server(settings):
            timings = list(_measure_all(settings.port, asked, statements=statements, requests=requests, tell=tell))
    return Report(database, tickets, workers, tuple(timings))


def photos(name: str, size: tuple[int, int], kind: str) -> Iterator[bytes]:
    """Variants of a sample photo without end, scaled to ``size``, JPEGs with sensor noise. All differ, because a photo
    that is already stored takes less work."""
    with Image.open(sample.photos_dir() / name) as drawn:
        image = drawn.convert("RGB").resize(size)
    if kind == "JPEG":
        noise = np.random.default_rng(0).normal(0, 7, (size[1], size[0], 3)).astype(np.int16)
        image = Image.fromarray(np.clip(np.asarray(image, dtype=np.int16) + noise, 0, 255).astype(np.uint8))
    for number in count():
        image.paste((number % 256, number // 256 % 256, 99), (0, 0, 16, 16))
        buffer = io.BytesIO()
        image.save(buffer, kind)
        yield buffer.getvalue()


class Asked:
    """The addresses of lists, for a machine and for an admin in the console. ``paths``: by name."""

    def __init__(self, runtime: Runtime) -> None:
        team = runtime.desk.taxonomy.teams[0].key
        now = utcnow()
        since = {name: f"{now - ago:%Y-%m-%dT%H:%M:%SZ}" for name, ago in _SINCE.items()}
        lists = {
            name: f"/api/v1/tickets?limit={LISTED}{query.format(team=team, **since)}" for name, query in _LISTS.items()
        }
        today = now.date()
        asked = {"ticket": _ticket_with_a_photo(runtime), "year": f"since={today - timedelta(days=365)}&until={today}"}
        self.paths = (
            lists
            | {name: f"{_CONSOLE}/rows?{query}" for name, query in _VIEWS.items()}
            | {name: _CONSOLE + path.format_map(asked) for name, path in _PAGES.items()}
        )
        self._engine, self._client = runtime.desk.db.engine, create_app(runtime).test_client()
        with runtime.desk.db.begin() as session:
            _, key = api_keys.add(session, name="bench", scopes=[scope.value for scope in Scope])
            agent = people.add_agent(
                session, email="bench@example.org", name="Bench", password=None, role=AgentRole.ADMIN
            )
            admin = AgentPrincipal.of(agent)
            token = agent_sessions.begin(session, admin, address="127.0.0.1", browser="bench")
        self.bearer = {"Authorization": f"Bearer {key}"}
        with self._client.session_transaction() as cookie:
            cookie["_user_id"], cookie["_fresh"] = token, True
        session_cookie = self._client.get_cookie("session")
        self._cookie = {"Cookie": f"session={session_cookie.value}"} if session_cookie is not None else {}

    def headers(self, path: str) -> dict[str, str]:
        return self._cookie if path.startswith(_CONSOLE) else self.bearer

    def statements(self, path: str) -> int:
        """The number of SQL statements of a request, authentication included."""
        self._client.get(path, headers=self.headers(path))  # the first use of a key is recorded
        executed = 0

        def count_statement(*_: Any) -> None:
            nonlocal executed
            executed += 1

        event.listen(self._engine, "before_cursor_execute", count_statement)
        answer = self._client.get(path, headers=self.headers(path))
        event.remove(self._engine, "before_cursor_execute", count_statement)
        if answer.status_code != 200:
            raise NotReady(f"Listing tickets failed: {answer.get_data(as_text=True)[:200]}")
        return executed


def _ticket_with_a_photo(runtime: Runtime) -> str:
    """The newest one that is open."""
    query = select(Ticket.public_id).join(Message, Message.conversation_id == Ticket.conversation_id)
    query = query.join(Attachment, Attachment.message_id == Message.id).where(Ticket.solved_at.is_(None))
    with runtime.desk.db.read() as session:
        return session.scalars(query.order_by(Ticket.id.desc()).limit(1)).one()


def _measure_all(
    port: int, asked: Asked, *, statements: dict[str, int], requests: int, tell: Progress
) -> Iterator[Timing]:
    headers = asked.bearer
    sources: dict[str, Iterator[bytes | None]] = {"open, no photo": repeat(None)}
    sources |= {f"open, {name}": photos(file, size, kind) for name, (file, size, kind) in _PHOTOS.items()}
    total = len(asked.paths) + len(sources)
    for done, (name, source) in enumerate(sources.items(), start=1):
        forms = (_ticket_form(number, photo) for number, photo in zip(range(requests + _WARM_UP), source, strict=False))
        posted = (("POST", "/api/v1/tickets", body, headers | {"Content-Type": kind}) for body, kind in forms)
        yield _timing(name, port, posted, expect=201)
        tell(done, total, "Asking")
    for done, (name, path) in enumerate(asked.paths.items(), start=1 + len(sources)):
        requested = (("GET", path, b"", asked.headers(path)) for _ in range(requests + _WARM_UP))
        yield _timing(name, port, requested, expect=200, statements=statements[name])
        tell(done, total, "Asking")


def _timing(
    name: str,
    port: int,
    requests: Iterator[tuple[str, str, bytes, dict[str, str]]],
    *,
    expect: int,
    statements: int | None = None,
) -> Timing:
    """One connection per request: drawing the next photo may take longer than the server keeps a connection open."""
    seconds = []
    for method, path, body, headers in requests:
        started = time.perf_counter()
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            body_read = answer.read()
        seconds.append(time.perf_counter() - started)
        if answer.status != expect:
            raise NotReady(f"{name}: {answer.status} {body_read[:200].decode(errors='replace')}")
    p50, p95 = np.percentile(np.array(seconds[_WARM_UP:]) * 1000, (50, 95))
    return Timing(name, len(seconds) - _WARM_UP, round(float(p50), 1), round(float(p95), 1), statements)


def _ticket_form(number: int, photo: bytes | None) -> tuple[bytes, str]:
    """A multipart body and its content type."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="text"\r\n\r\nTicket {number}: it shows E21.\r\n'
    body = head.encode()
    if photo is not None:
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="photos"; filename="photo.jpg"\r\n\r\n'
        body += part.encode() + photo + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _require_empty(settings: Settings) -> None:
    database = Database(settings.sqlalchemy_url)
    try:
        if current_revision(database) is not None:
            raise Invalid(
                "This database is not empty. The benchmark fills it with synthetic tickets: create a separate one."
            )
    finally:
        database.close()


@contextmanager
def server(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Run `assistant serve` with these settings for the duration of the block."""
    given = settings.model_dump(mode="json", exclude_unset=True)
    environment = os.environ | {
        f"{PREFIX}{name.upper()}": str(value) for name, value in given.items() if value is not None
    }
    command = [sys.executable, "-m", "assistant", "serve"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603
    try:
        _await_answer(process, settings.port)
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _await_answer(process: subprocess.Popen[bytes], port: int) -> None:
    ends_at = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < ends_at and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/livez")
            if json.load(connection.getresponse())["status"] == "ok":
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
        finally:
            connection.close()
    raise NotReady("The server under test did not start. Check that `assistant serve` starts.")
