"""Drills of what goes wrong around a server: a second one, SIGTERM, locks, disks, storage and the clock."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from assistant.db import utcnow
from assistant.desk import api_keys, queue, tickets
from assistant.desk.access import Scope
from assistant.desk.tickets import NewTicket
from assistant.lab.drills.site import (
    PLAIN,
    Customer,
    Site,
    Size,
    Skipped,
    allow_files,
    good,
    open_site,
    own_memory,
    processor_seconds,
    require,
    settle,
)
from assistant.lab.real_server import Server
from assistant.models import (
    Attachment,
    JobStatus,
    Ticket,
    TriageResult,
)
from assistant.runtime import build
from assistant.settings import Settings
from assistant.worker import Workers

_DISK_MEGABYTES = 24
_TABS = 4  # of one customer, each with a stream


def second_server(folder: Path, _size: Size, _chance: random.Random) -> str:
    """A second server on the same folder."""
    with open_site(folder, workers=0) as site, closing(Server(folder / "var", **PLAIN)) as other:
        refused = _serve(other)
        require(refused.returncode == 1, f"It was let in ({refused.returncode}).")
        told = refused.stderr.strip().splitlines()[-1]
        require(f"process {site.server.pid}" in told and site.server.url in told, f"It does not say who: {told}")
        at_once = subprocess.run(  # noqa: S603 - ourselves
            site.server.command, env=other.environment, check=False, capture_output=True, text=True, timeout=240
        )
        require(at_once.returncode == 1, "Started without its checks, it was let in.")
        site.server.kill()
        other.start()  # nothing is left behind that would have to be removed
    return "refused, and told which process; after a kill -9 the next one starts"


def _serve(server: Server) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - ourselves
        server.command, env=server.environment, check=False, capture_output=True, text=True, timeout=240
    )


def stopped(folder: Path, size: Size, _chance: random.Random) -> str:
    """SIGTERM with open streams, and a job under way."""
    threads = max(8, size.streams * 4 // 3 + 8)  # streams get three quarters
    allow_files(2 * size.streams)
    with open_site(folder, workers=1, threads=threads) as site, ExitStack() as open_streams:
        good(site.ticket("the first one, for which everything is loaded"))
        for number in range(-(-size.streams // _TABS)):
            customer = open_streams.enter_context(closing(Customer(site.server.url, number)))
            customer.write(f"Hello {number}")
            for _ in range(min(_TABS, size.streams - number * _TABS)):
                stream = customer.listen()
                require(stream.status_code == 200, f"A stream was refused ({stream.status_code}).")
                open_streams.callback(stream.close)
        settle(site.db)
        has, load = own_memory(site.server.pid), _load_of(site.server.pid, size.watched)
        asked_at = time.monotonic()
        good(site.ticket("while they are open"))
        answered, started = time.monotonic() - asked_at, time.monotonic()
        status = site.server.stop()
        took = time.monotonic() - started
        require(status == 0, f"It ended with {status}.")
        require(took < size.stops_within, f"It took {took:.1f} s with {size.streams} streams.")
        return (
            f"{took:.1f} s with {size.streams} open streams; before, {threads} threads took {has:.0f} MB and "
            f"{load:.0%} of a core, and a ticket with a photo {answered:.1f} s"
        )


def _load_of(pid: int, seconds: float) -> float:
    """The share of a core that a process and its children take while nobody asks for anything."""
    started, before = time.monotonic(), processor_seconds(pid)
    time.sleep(seconds)
    return (processor_seconds(pid) - before) / (time.monotonic() - started)


def locked(folder: Path, size: Size, _chance: random.Random) -> str:
    """Another program locks the database."""
    with open_site(folder, workers=2) as site:
        answers = []
        with closing(sqlite3.connect(site.folder / "assistant.db", isolation_level=None, timeout=30)) as other:
            other.execute("BEGIN IMMEDIATE")
            ends_at = time.monotonic() + size.locked_seconds
            while time.monotonic() < ends_at:
                answers.append(_refused(site, "while it was locked", "database_locked"))
            require("locked" in str(site.ready().get("failures")), "/readyz does not say it.")
        good(site.ticket("while it was locked"))
        require((site.count(Ticket), site.count(Attachment)) == (1, 1), "It was stored twice, or half.")
        settle(site.db)
        require(site.count(TriageResult) == 1, "It was not worked on afterwards.")
        return f"{len(answers)} requests refused within {max(answers):.1f} s, the repetition stored once"


def _refused(site: Site, text: str, *causes: str) -> float:
    """Seconds until a ticket with a photo was refused for one of these causes."""
    started = time.monotonic()
    answer = site.ticket(text)
    told = answer.json().get("cause") if answer.status_code == 503 else answer.text[:200]
    require(told in causes, f"Answered {answer.status_code}, {told}, instead of 503, {causes[0]}.")
    return time.monotonic() - started


def storage_away(folder: Path, _size: Size, _chance: random.Random) -> str:
    """The folder of files is unmounted."""
    with open_site(folder, workers=0) as site:
        files = site.folder / "attachments"
        aside = files.rename(site.folder / "aside")
        _refused(site, "while it was away", "storage_missing")
        require("storage" in site.ready().get("failures", {}), "/readyz does not say it.")
        require((site.count(Ticket), site.count(Attachment)) == (0, 0), "Something was stored.")
        good(site.ticket("text alone", photo=False))
        shutil.rmtree(files, ignore_errors=True)
        aside.rename(files)
        good(site.ticket("while it was away"))
        require((site.count(Ticket), site.count(Attachment)) == (2, 1), "The repetition was not stored once.")
        return "503 and nothing half stored, text alone accepted, the repetition stored once"


def full_disk(folder: Path, _size: Size, _chance: random.Random) -> str:
    """No space is left."""
    with _disk(folder), open_site(folder / "disk", workers=0, disk_reserve=0) as site:
        good(site.ticket("before it was full"))
        filler = folder / "disk" / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 65_536)
        _refused(site, "while it was full", "disk_full", "disk_low")
        require("status" not in site.ready() or site.ready()["status"] == 503, "/readyz does not say it.")
        require((site.count(Ticket), site.count(Attachment)) == (1, 1), "Something was half stored.")
        filler.unlink()
        good(site.ticket("while it was full"))
        good(site.ticket("while it was full"))
        require((site.count(Ticket), site.count(Attachment)) == (2, 2), "The repetition was not stored once.")
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
            require(done.returncode == 1, f"{' '.join(module)} ended with {done.returncode}.")
            require("Traceback" not in told, f"{' '.join(module)} shows a traceback: {told[-200:]}")
            require("read-only" in told.lower(), f"{' '.join(module)} does not say it: {told[-200:]}")
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
        settle(runtime.desk.db)
        workers.stop()
        with runtime.desk.db.read() as session:
            triaged = Counter(session.scalars(select(TriageResult.ticket_id)))
            counts = queue.counts(session)
        require(len(triaged) == 5 and set(triaged.values()) == {1}, f"Triaged so often: {sorted(triaged.values())}")
        require(not counts[JobStatus.DEAD], f"{counts[JobStatus.DEAD]} jobs are dead.")
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
