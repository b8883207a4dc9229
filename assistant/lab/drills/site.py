"""What drills are made on: a data folder with a real server of its own, and what customers and shops do with it."""

from __future__ import annotations

import http.client
import resource
import socketserver
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from PIL import Image, ImageDraw
from sqlalchemy import func, select

from assistant.db import Database
from assistant.desk import api_keys
from assistant.desk.access import Scope
from assistant.errors import NotReady
from assistant.knowledge import sources
from assistant.lab.real_server import Server
from assistant.models import Job, JobStatus, SourceKind
from assistant.runtime import build, open_database
from assistant.settings import Settings

ANSWERS_WITHIN = 120.0  # seconds, on a machine that may be busy
SETTLES_WITHIN = 600.0
PLAIN: dict[str, Any] = {"ocr": "off", "model": "none", "rate_limit": "100000 per minute", "log_level": "error"}
_ARTICLE = """# BrewMaster 300: error codes

## E21: the pump draws no water

Error E21 means that the pump draws no water from the tank. Fill the tank to the mark, push it down until it clicks, and
press the start button for three seconds.
"""


class Failed(Exception):
    """What was seen that must not be."""


class Skipped(Exception):
    """What this machine lacks for a drill."""


@dataclass(frozen=True)
class Size:
    """How much of everything. ``pace``: whether the leases of a killed process are waited for, as in earnest.
    ``stops_within``: seconds; more where the machine is shared. ``watched``: seconds for which an idle server's load is
    measured."""

    kills: int
    messages: int
    locked_seconds: float
    streams: int
    pace: bool
    stops_within: float
    watched: float
    listeners: int  # who follow their conversations at once, far more than there are threads
    crowd: int  # customers who send a photo at once
    photos: int  # of a long day
    deliveries: int  # by webhooks


class Site:
    """A data folder with an API key, and a server on it; with ``database_url`` its database is there."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        elsewhere = {"database_url": settings["database_url"]} if "database_url" in settings else {}
        self.settings = Settings(data_dir=folder, **elsewhere)
        self.db = open_database(self.settings)
        with self.db.begin() as session:
            key = api_keys.add(session, name="drill", scopes=[scope.value for scope in Scope])[1]
        self.headers = {"Authorization": f"Bearer {key}"}
        self.server = Server(folder, at_once=True, **{**PLAIN, **settings})

    def close(self) -> None:
        self.server.close()
        self.db.close()

    def ticket(self, text: str, *, photo: bool = True) -> httpx.Response:
        """Opened as a shop's system does: the same key whenever it asks again."""
        form: list[tuple[str, Any]] = [("text", (None, text))]
        if photo:
            form.append(("photos", ("photo.jpg", photo_of(text), "image/jpeg")))
        headers = {**self.headers, "Idempotency-Key": text.replace(" ", "-")}
        return httpx.post(f"{self.server.url}/api/v1/tickets", files=form, headers=headers, timeout=ANSWERS_WITHIN)

    def change(self, ticket_id: str, changes: dict[str, Any], *, once: str) -> httpx.Response:
        """``once``: the key under which it is asked for again."""
        headers = {**self.headers, "Idempotency-Key": once}
        url = f"{self.server.url}/api/v1/tickets/{ticket_id}"
        return httpx.patch(url, json=changes, headers=headers, timeout=ANSWERS_WITHIN)

    def ready(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.server.url}/readyz", timeout=ANSWERS_WITHIN).json())

    def count(self, model: Any) -> int:
        with self.db.read() as session:
            return session.scalar(select(func.count()).select_from(model)) or 0


class Customer:
    """Who writes in the widget, with the same id whenever a message is sent again. ``number``: each has an address of
    their own, as visitors are limited one by one."""

    def __init__(self, url: str, number: int = 0) -> None:
        transport = httpx.HTTPTransport(local_address=f"127.0.{number // 200 + 1}.{number % 200 + 1}")
        self._client = httpx.Client(base_url=f"{url}/widget/v1", transport=transport, timeout=ANSWERS_WITHIN)
        self._conversation = ""

    def close(self) -> None:
        self._client.close()

    def write(self, text: str) -> None:
        if "Authorization" not in self._client.headers:
            token = good(self._client.post("/sessions")).json()["token"]
            self._client.headers["Authorization"] = f"Bearer {token}"
        path = f"/conversations/{self._conversation}/messages" if self._conversation else "/conversations"
        answer = good(self._client.post(path, files={"text": (None, text), "client_id": (None, text)}))
        self._conversation = self._conversation or answer.json()["conversation"]["id"]

    def listen(self) -> httpx.Response:
        """An open stream of their conversation."""
        request = self._client.build_request("GET", f"/conversations/{self._conversation}/events")
        return self._client.send(request, stream=True)


class Mailbox(socketserver.ThreadingTCPServer):
    """A mail server on the loopback that counts what it takes, by Message-ID."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.taken: Counter[str] = Counter()
        self.url = f"smtp://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Receiver(socketserver.StreamRequestHandler):
    server: Mailbox
    timeout = ANSWERS_WITHIN

    def handle(self) -> None:
        with suppress(ConnectionError):  # whoever sends may be killed
            self._talk()

    def _talk(self) -> None:
        self.wfile.write(b"220 drill\r\n")
        while command := self.rfile.readline()[:4].strip().upper():
            if command == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self._take()
            self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")
            if command == b"QUIT":
                return

    def _take(self) -> None:
        known = ""
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            if line.lower().startswith(b"message-id:"):
                known = line.partition(b":")[2].decode().strip()
        self.server.taken[known] += bool(line)


def good(answer: httpx.Response) -> httpx.Response:
    if answer.status_code >= 400:
        raise NotReady(f"{answer.status_code}: {answer.text[:200]}")
    return answer


def photo_of(text: str) -> bytes:
    image = Image.new("RGB", (160, 120), "white")
    ImageDraw.Draw(image).text((10, 50), text, fill="black")
    with tempfile.SpooledTemporaryFile() as file:
        image.save(file, "JPEG")
        file.seek(0)
        return bytes(file.read())


def own_memory(pid: int) -> float:
    """MB that a process and its children have for themselves. Pages of files that they have mapped are left out: there
    are more with each word that a model meets for the first time, and the system drops them as it needs."""
    used = [one.memory_info() for one in _family(pid)]
    return float(sum(one.rss - getattr(one, "shared", 0) for one in used)) / 1e6


def processor_seconds(pid: int) -> float:
    """What a process and its children have used."""
    times = [one.cpu_times() for one in _family(pid)]
    return float(sum(one.user + one.system for one in times))


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def allow_files(wanted: int) -> None:
    """Let this process open so many, as far as it may. Raises `Skipped` if it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Skipped(f"needs {wanted} open files (ulimit -n)")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


@contextmanager
def open_site(folder: Path, **settings: Any) -> Iterator[Site]:
    with closing(Site(folder / "var", **settings)) as site:
        site.server.start()
        yield site


def insist(act: Callable[[], Any], *, within: float = SETTLES_WITHIN) -> None:
    """Again until it is acknowledged: whoever was cut off cannot know whether it was done."""
    ends_at = time.monotonic() + within
    while True:
        try:
            act()
            return
        except (httpx.HTTPError, NotReady, http.client.HTTPException, ValueError):
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.05)


def settle(db: Database) -> None:
    """Wait until no job is left to do. Raises `Failed`."""
    ends_at = time.monotonic() + SETTLES_WITHIN
    while time.monotonic() < ends_at:
        with db.read() as session:
            if not session.scalar(select(Job.id).where(Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING))).limit(1)):
                return
        time.sleep(0.2)
    raise Failed("Some jobs never end.")


@contextmanager
def noted(problems: list[str]) -> Iterator[None]:
    """In a thread, whose errors nobody would see."""
    try:
        yield
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")


def write_article(folder: Path, **settings: Any) -> int:
    """What tickets are answered from. Returns the id of its source."""
    (folder / "articles").mkdir()
    (folder / "articles" / "brewmaster.md").write_text(_ARTICLE, encoding="utf-8")
    with closing(build(Settings(data_dir=folder / "var", ocr="off", model="none", **settings))) as runtime:
        with runtime.desk.db.begin() as session:
            source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(folder / "articles"))
        sources.sync(runtime.desk, source.id)
        return source.id
