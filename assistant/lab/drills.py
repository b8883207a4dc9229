"""Drills: a real server of its own is killed, locked out, filled up and lied to about the time. What was acknowledged
must be there once, what was not must not be there, and everybody must be told what is wrong.

Each drill has a temporary folder and returns what it saw in a line, or raises `Failed`. The long form is for a release,
the quick one for the tests.
"""

from __future__ import annotations

import http.client
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageDraw
from sqlalchemy import func, select, update

from assistant.db import Database, check, utcnow
from assistant.desk import api_keys, queue, tickets
from assistant.desk.access import Scope
from assistant.desk.tickets import NewTicket
from assistant.errors import AssistantError, NotReady
from assistant.knowledge import sources
from assistant.lab.real_server import Server
from assistant.lab.tables import table
from assistant.models import (
    Attachment,
    Author,
    Conversation,
    Draft,
    Evidence,
    Job,
    JobStatus,
    Message,
    SourceKind,
    Ticket,
    TriageResult,
)
from assistant.progress import Progress, no_progress
from assistant.runtime import build, open_database
from assistant.settings import Settings
from assistant.storage import Storage
from assistant.worker import Workers

_ANSWERS_WITHIN = 120.0  # seconds, on a machine that may be busy
_SETTLES_WITHIN = 600.0
_DISK_MEGABYTES = 24
_PLAIN: dict[str, Any] = {"ocr": "off", "model": "none", "rate_limit": "100000 per minute", "log_level": "error"}


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
    """``pace``: whether the leases of a killed process are waited for, as in earnest. ``stops_within``: seconds; more
    where the machine is shared."""

    kills: int
    messages: int
    locked_seconds: float
    streams: int
    pace: bool
    stops_within: float


QUICK = Size(kills=2, messages=6, locked_seconds=6, streams=10, pace=False, stops_within=10)
LONG = Size(kills=50, messages=400, locked_seconds=30, streams=80, pace=True, stops_within=5)


@dataclass(frozen=True)
class Outcome:
    """``result``: passed, failed or skipped; ``seen``: what was seen, in a line."""

    drill: str
    result: str
    seen: str
    seconds: float


@dataclass(frozen=True)
class Report:
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        return all(one.result != "failed" for one in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        rows = [(one.drill, one.result, f"{one.seconds:.0f} s") for one in self.outcomes]
        head, *lines = table(("drill", "result", "took"), rows)
        return "\n".join([head, *(f"{line}  {one.seen}" for line, one in zip(lines, self.outcomes, strict=True))])


def run(names: Sequence[str] = (), *, size: Size = LONG, seed: int = 0, progress: Progress = no_progress) -> Report:
    """Run these drills of `DRILLS`, or all."""
    chosen, outcomes = list(names or DRILLS), []
    for done, name in enumerate(chosen):
        progress(done, len(chosen), "Drilling")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="assistant-drill-") as folder:
            try:
                result, seen = "passed", DRILLS[name](Path(folder), size, random.Random(seed))
            except Skipped as error:
                result, seen = "skipped", str(error)
            except (Failed, AssistantError, httpx.HTTPError) as error:
                result, seen = "failed", str(error) or type(error).__name__
        outcomes.append(Outcome(name, result, seen, time.monotonic() - started))
    progress(len(chosen), len(chosen), "Drilling")
    return Report(tuple(outcomes))


# What customers and shops do


class Site:
    """A data folder with an API key and an article, and a server on it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.settings = Settings(data_dir=folder)
        self.db = open_database(self.settings)
        with self.db.begin() as session:
            self.key = api_keys.add(session, name="drill", scopes=[scope.value for scope in Scope])[1]
        self.server = Server(folder, at_once=True, **{**_PLAIN, **settings})

    def close(self) -> None:
        self.server.close()
        self.db.close()

    def ticket(self, text: str, *, photo: bool = True) -> httpx.Response:
        """Opened as a shop's system does: the same key whenever it asks again."""
        form: list[tuple[str, Any]] = [("text", (None, text))]
        if photo:
            form.append(("photos", ("photo.jpg", _photo(text), "image/jpeg")))
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": text.replace(" ", "-")}
        return httpx.post(f"{self.server.url}/api/v1/tickets", files=form, headers=headers, timeout=_ANSWERS_WITHIN)

    def ready(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.server.url}/readyz", timeout=_ANSWERS_WITHIN).json())

    def count(self, model: Any) -> int:
        with self.db.read() as session:
            return session.scalar(select(func.count()).select_from(model)) or 0


class Customer:
    """Who writes in the widget, with the same id whenever a message is sent again. ``number``: each has an address of
    their own, as visitors are limited one by one."""

    def __init__(self, url: str, number: int = 0) -> None:
        transport = httpx.HTTPTransport(local_address=f"127.0.{number // 200 + 1}.{number % 200 + 1}")
        self._client = httpx.Client(base_url=f"{url}/widget/v1", transport=transport, timeout=_ANSWERS_WITHIN)
        self._conversation = ""

    def close(self) -> None:
        self._client.close()

    def write(self, text: str) -> None:
        if "Authorization" not in self._client.headers:
            token = _good(self._client.post("/sessions")).json()["token"]
            self._client.headers["Authorization"] = f"Bearer {token}"
        path = f"/conversations/{self._conversation}/messages" if self._conversation else "/conversations"
        answer = _good(self._client.post(path, files={"text": (None, text), "client_id": (None, text)}))
        self._conversation = self._conversation or answer.json()["conversation"]["id"]

    def listen(self) -> httpx.Response:
        """An open stream of their conversation."""
        request = self._client.build_request("GET", f"/conversations/{self._conversation}/events")
        return self._client.send(request, stream=True)


def _good(answer: httpx.Response) -> httpx.Response:
    if answer.status_code >= 400:
        raise NotReady(f"{answer.status_code}: {answer.text[:200]}")
    return answer


def _photo(text: str) -> bytes:
    image = Image.new("RGB", (160, 120), "white")
    ImageDraw.Draw(image).text((10, 50), text, fill="black")
    with tempfile.SpooledTemporaryFile() as file:
        image.save(file, "JPEG")
        file.seek(0)
        return bytes(file.read())


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


@contextmanager
def _site(folder: Path, **settings: Any) -> Iterator[Site]:
    with closing(Site(folder / "var", **settings)) as site:
        site.server.start()
        yield site


def _insist(act: Callable[[], Any], *, within: float = _SETTLES_WITHIN) -> None:
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


def _settle(db: Database) -> None:
    ends_at = time.monotonic() + _SETTLES_WITHIN
    while time.monotonic() < ends_at:
        with db.read() as session:
            if not session.scalar(select(Job.id).where(Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING))).limit(1)):
                return
        time.sleep(0.2)
    raise Failed("Some jobs never end.")


# The drills


def killed(folder: Path, size: Size, chance: random.Random) -> str:
    """``kill -9`` at any moment while tickets, photos and chat messages come in."""
    _write_article(folder)
    with closing(Site(folder / "var")) as site:
        acknowledged: list[str] = []
        allowed, problems = threading.Semaphore(0), list[str]()

        def send() -> None:
            with closing(Customer(site.server.url)) as customer, _noted(problems):
                for number in range(size.messages):
                    allowed.acquire()
                    text = f"Message {number}: my machine shows E21."
                    if number % 3 == 2:
                        _insist(lambda text=text: customer.write(text))  # type: ignore[misc]
                    else:
                        _insist(lambda text=text, photo=number % 3 == 1: _good(site.ticket(text, photo=photo)))  # type: ignore[misc]
                    acknowledged.append(text)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        for kill in range(size.kills):
            site.server.start()
            for _ in range(size.messages * (kill + 1) // size.kills - size.messages * kill // size.kills):
                allowed.release()
            time.sleep(chance.uniform(0.0, 1.0))
            site.server.kill()
            if not size.pace:  # the half minute until the leases of the dead end, compressed
                with site.db.begin() as session:
                    session.execute(update(Job).where(Job.status == JobStatus.RUNNING).values(leased_until=utcnow()))
        site.server.start()
        sender.join(_SETTLES_WITHIN)
        _require(not sender.is_alive() and not problems, f"Never acknowledged: {problems or 'a message'}")
        _settle(site.db)
        _require(site.server.stop() == 0, "The server did not end well.")
        lost, doubled = _compare(site, acknowledged)
        _require(not lost and not doubled, f"{lost} lost, {doubled} doubled.")
        return f"{size.kills} kills, {len(acknowledged)} acknowledged, 0 lost, 0 doubled, no job stuck or dead"


@contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """In a thread, whose errors nobody would see."""
    try:
        yield
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")


def _write_article(folder: Path) -> None:
    """What tickets are answered from."""
    (folder / "articles").mkdir()
    (folder / "articles" / "brewmaster.md").write_text(_ARTICLE, encoding="utf-8")
    with closing(build(Settings(data_dir=folder / "var", ocr="off", model="none"))) as runtime:
        with runtime.desk.db.begin() as session:
            source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(folder / "articles"))
        sources.sync(runtime.desk, source.id)


def _compare(site: Site, acknowledged: Sequence[str]) -> tuple[int, int]:
    """How many messages are lost, and how many are there twice; everything else about them is as it should be."""
    storage = Storage.open(site.settings.attachments_url)
    with site.db.read() as session:
        stored = Counter(session.scalars(select(Message.text).where(Message.author == Author.CUSTOMER)))
        opened, triaged = (
            sorted(session.scalars(select(column)).all()) for column in (Ticket.id, TriageResult.ticket_id)
        )
        photos = session.scalars(select(Attachment.sha256)).all()
        unread = set(photos) - set(session.scalars(select(Evidence.sha256)))
        dead = session.scalar(select(func.count()).where(Job.status == JobStatus.DEAD))
        from_shop = session.scalars(select(Ticket.id).join(Ticket.conversation).where(Conversation.channel == "api"))
        drafted, answered = Counter(session.scalars(select(Draft.ticket_id))), set(from_shop)
    _require(set(triaged) == set(opened), f"{len(set(opened) - set(triaged))} tickets were not triaged.")
    _require(set(drafted) >= answered, f"{len(answered - set(drafted))} tickets have no draft.")
    _require(all(count == 1 for count in drafted.values()), "A ticket has more than one draft.")
    _require(not unread, f"{len(unread)} photos were not read.")
    _require(not dead, f"{dead} jobs are dead.")
    _require(all(storage.exists(one) for one in photos), "A file is lost.")
    _require(not check(site.db), "The database is damaged.")
    return sum(not stored[text] for text in acknowledged), sum(count - 1 for count in stored.values())


def second_server(folder: Path, _size: Size, _chance: random.Random) -> str:
    """A second server on the same folder."""
    with _site(folder, workers=0) as site, closing(Server(folder / "var", **_PLAIN)) as other:
        refused = _serve(other)
        _require(refused.returncode == 1, f"It was let in ({refused.returncode}).")
        told = refused.stderr.strip().splitlines()[-1]
        _require(f"process {site.server.pid}" in told and site.server.url in told, f"It does not say who: {told}")
        at_once = subprocess.run(  # noqa: S603 - ourselves
            site.server.command, env=other.environment, check=False, capture_output=True, text=True, timeout=240
        )
        _require(at_once.returncode == 1, "Started without its checks, it was let in.")
        site.server.kill()
        other.start()  # nothing is left behind that would have to be removed
    return "refused, and told which process; after a kill -9 the next one starts"


def _serve(server: Server) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - ourselves
        server.command, env=server.environment, check=False, capture_output=True, text=True, timeout=240
    )


def stopped(folder: Path, size: Size, _chance: random.Random) -> str:
    """SIGTERM with open streams."""
    with _site(folder, workers=1) as site, ExitStack() as open_streams:
        for number in range(size.streams):
            customer = open_streams.enter_context(closing(Customer(site.server.url, number)))
            customer.write(f"Hello {number}")
            stream = customer.listen()
            _require(stream.status_code == 200, f"A stream was refused ({stream.status_code}).")
            open_streams.callback(stream.close)
        started = time.monotonic()
        status = site.server.stop()
        took = time.monotonic() - started
        _require(status == 0, f"It ended with {status}.")
        _require(took < size.stops_within, f"It took {took:.1f} s with {size.streams} streams.")
        return f"{took:.1f} s with {size.streams} open streams"


def locked(folder: Path, size: Size, _chance: random.Random) -> str:
    """Another program locks the database."""
    with _site(folder, workers=2) as site:
        answers = []
        with closing(sqlite3.connect(site.folder / "assistant.db", isolation_level=None, timeout=30)) as other:
            other.execute("BEGIN IMMEDIATE")
            ends_at = time.monotonic() + size.locked_seconds
            while time.monotonic() < ends_at:
                answers.append(_refused(site, "while it was locked", "database_locked"))
            _require("locked" in str(site.ready().get("failures")), "/readyz does not say it.")
        _good(site.ticket("while it was locked"))
        _require((site.count(Ticket), site.count(Attachment)) == (1, 1), "It was stored twice, or half.")
        _settle(site.db)
        _require(site.count(TriageResult) == 1, "It was not worked on afterwards.")
        return f"{len(answers)} requests refused within {max(answers):.1f} s, the repetition stored once"


def _refused(site: Site, text: str, *causes: str) -> float:
    """Seconds until a ticket with a photo was refused for one of these causes."""
    started = time.monotonic()
    answer = site.ticket(text)
    told = answer.json().get("cause") if answer.status_code == 503 else answer.text[:200]
    _require(told in causes, f"Answered {answer.status_code}, {told}, instead of 503, {causes[0]}.")
    return time.monotonic() - started


def storage_away(folder: Path, _size: Size, _chance: random.Random) -> str:
    """The folder of files is unmounted."""
    with _site(folder, workers=0) as site:
        files = site.folder / "attachments"
        aside = files.rename(site.folder / "aside")
        _refused(site, "while it was away", "storage_missing")
        _require("storage" in site.ready().get("failures", {}), "/readyz does not say it.")
        _require((site.count(Ticket), site.count(Attachment)) == (0, 0), "Something was stored.")
        _good(site.ticket("text alone", photo=False))
        shutil.rmtree(files, ignore_errors=True)
        aside.rename(files)
        _good(site.ticket("while it was away"))
        _require((site.count(Ticket), site.count(Attachment)) == (2, 1), "The repetition was not stored once.")
        return "503 and nothing half stored, text alone accepted, the repetition stored once"


def full_disk(folder: Path, _size: Size, _chance: random.Random) -> str:
    """No space is left."""
    with _disk(folder), _site(folder / "disk", workers=0, disk_reserve=0) as site:
        _good(site.ticket("before it was full"))
        filler = folder / "disk" / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 65_536)
        _refused(site, "while it was full", "disk_full", "disk_low")
        _require("status" not in site.ready() or site.ready()["status"] == 503, "/readyz does not say it.")
        _require((site.count(Ticket), site.count(Attachment)) == (1, 1), "Something was half stored.")
        filler.unlink()
        _good(site.ticket("while it was full"))
        _good(site.ticket("while it was full"))
        _require((site.count(Ticket), site.count(Attachment)) == (2, 2), "The repetition was not stored once.")
        return "503 and nothing half stored, the repetition stored once"


def read_only(folder: Path, _size: Size, _chance: random.Random) -> str:
    """The data folder cannot be written."""
    with _disk(folder):
        with closing(Site(folder / "disk" / "var")) as site:
            command = site.server.command, site.server.environment
        _mount("-o", "remount,ro", str(folder / "disk"))
        for module in (["assistant", "serve"], ["assistant.server"]):
            started = [command[0][0], "-m", *module]
            done = subprocess.run(  # noqa: S603 - ourselves
                started, env=command[1], check=False, capture_output=True, text=True, timeout=240
            )
            told = done.stderr.strip()
            _require(done.returncode == 1, f"{' '.join(module)} ended with {done.returncode}.")
            _require("Traceback" not in told, f"{' '.join(module)} shows a traceback: {told[-200:]}")
            _require("read-only" in told.lower(), f"{' '.join(module)} does not say it: {told[-200:]}")
        return "refuses to start, and says why"


def clock_jumps(folder: Path, _size: Size, _chance: random.Random) -> str:
    """The clock goes back a day while jobs run, then forward again."""
    offset = [timedelta(0)]
    settings = Settings(data_dir=folder / "var", ocr="off", model="none")
    with closing(build(settings, now=lambda: utcnow() + offset[0])) as runtime:
        with runtime.desk.db.begin() as session:
            secret = api_keys.add(session, name="drill", scopes=[scope.value for scope in Scope])[1]
        machine = api_keys.authenticate(runtime.desk.db, secret)
        workers = Workers(runtime.desk, count=2)
        workers.start()
        for number, hours in enumerate((0, -24, -24, 24, 0)):
            offset[0] = timedelta(hours=hours)
            tickets.open_ticket(runtime.desk, machine, NewTicket(text=f"Ticket {number}"))
        _settle(runtime.desk.db)
        workers.stop()
        with runtime.desk.db.read() as session:
            triaged = Counter(session.scalars(select(TriageResult.ticket_id)))
            counts = queue.counts(session)
        _require(len(triaged) == 5 and set(triaged.values()) == {1}, f"Triaged so often: {sorted(triaged.values())}")
        _require(not counts[JobStatus.DEAD], f"{counts[JobStatus.DEAD]} jobs are dead.")
        return "5 tickets across three jumps of a day or two, each worked on once"


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """A small file system of its own, ``disk`` in the folder."""
    disk = folder / "disk"
    disk.mkdir()
    if not _mount("-t", "tmpfs", "-o", f"size={_DISK_MEGABYTES}M", "tmpfs", str(disk)):
        raise Skipped("needs root on Linux, to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True, timeout=60)  # noqa: S603, S607


def _mount(*arguments: str) -> bool:
    if shutil.which("mount") is None or os.name != "posix":
        return False
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, timeout=60)  # noqa: S603, S607
    return done.returncode == 0


DRILLS: dict[str, Callable[[Path, Size, random.Random], str]] = {
    "kill -9": killed,
    "second server": second_server,
    "SIGTERM": stopped,
    "database locked": locked,
    "storage away": storage_away,
    "disk full": full_disk,
    "read-only": read_only,
    "clock jumps": clock_jumps,
}
