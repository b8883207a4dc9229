"""What one machine carries: messages processed from arrival to draft, with and without a photo, by processor time.

Processor time rather than time: it is the same on a busy machine, and what more processes or machines multiply. From it
follows how many cores a load needs (`Report.cores`).
"""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
from PIL import Image

from assistant import sample, worker
from assistant.desk import api_keys, tickets
from assistant.desk.access import MachinePrincipal, Scope
from assistant.desk.tickets import NewTicket
from assistant.knowledge import sources
from assistant.lab.tables import Cell, table
from assistant.media.files import Upload
from assistant.models import SourceKind
from assistant.progress import Progress, no_progress
from assistant.runtime import Runtime, build
from assistant.settings import Settings

# Share of the cores that a steady load may use: beyond it, waits grow faster than the load.
_BUSY = 0.7


@dataclass(frozen=True)
class Load:
    """``cpu_seconds``: of one message, in all processes. ``seconds``: of all, on this machine as busy as it was."""

    name: str
    messages: int
    seconds: float
    cpu_seconds: float
    megabytes: float

    @property
    def per_minute(self) -> float:
        """Messages that one core, all of it, processes."""
        return 60 / self.cpu_seconds


@dataclass(frozen=True)
class Report:
    mode: str
    threads: int
    idle_megabytes: float
    loads: tuple[Load, ...]

    def cores(self, per_minute: float, *, with_photo: float) -> float:
        """That a steady load of so many messages needs, of which this share comes with a photo."""
        text, photo = self.loads
        mean = (1 - with_photo) * text.cpu_seconds + with_photo * photo.cpu_seconds
        return per_minute * mean / 60 / _BUSY

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        rows = [
            (one.name, one.messages, one.cpu_seconds, round(one.per_minute, 1), one.seconds, round(one.megabytes))
            for one in self.loads
        ]
        header = ("messages", "number", "CPU s each", "a core's minute", "s for all", "MB")
        needs: list[tuple[Cell, ...]] = [
            (f"{rate} a minute", *(self.cores(rate, with_photo=share) for share in (0.0, 0.3, 1.0)))
            for rate in (1, 10, 100)
        ]
        return "\n".join(
            [
                f"{self.mode}, {self.threads} threads, {self.idle_megabytes:.0f} MB before the first message",
                *table(header, rows),
                "",
                *table(("cores for a steady load of", "no photos", "30 % photos", "all photos"), needs),
            ]
        )


def measure(settings: Settings, *, messages: int = 20, threads: int = 2, progress: Progress = no_progress) -> Report:
    """On a database and storage of its own, with the models that the settings name and the sample's articles."""
    with tempfile.TemporaryDirectory() as folder:
        apart = {"data_dir": Path(folder), "database_url": None, "storage_url": None, "access_log": False}
        runtime = build(settings.model_copy(update=apart))
        try:
            return measure_on(runtime, messages=messages, threads=threads, progress=progress)
        finally:
            runtime.close()


def measure_on(runtime: Runtime, *, messages: int, threads: int, progress: Progress = no_progress) -> Report:
    """The same on a runtime of the caller's, whose database it fills."""
    desk = runtime.desk
    with desk.db.begin() as session:
        source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(sample.articles_dir()), name="sample")
        key, _ = api_keys.add(session, name="bench", scopes=[Scope.TICKETS_WRITE.value])
        machine = MachinePrincipal(key.id, key.name, frozenset({Scope.TICKETS_WRITE}))
    sources.sync(desk, source.id, progress=progress)
    worker.run_until_idle(desk)
    photos = sorted(sample.photos_dir().glob("*.[jp][pn]g"))
    texts = [one.text for one in sample.demo_tickets()]

    def open_tickets(many: int, *, first: int, with_photo: bool) -> None:
        for number in range(first, first + many):
            photo = photos[number % len(photos)]
            uploads = (Upload(photo.name, None, _variant(photo, number)),) if with_photo else ()
            text = f"{texts[number % len(texts)]} ({number})"
            tickets.open_ticket(desk, machine, NewTicket(text=text, uploads=uploads))

    open_tickets(2, first=0, with_photo=True)
    _work(runtime, threads)  # loads every model
    idle, loads = _megabytes(), list[Load]()
    for kind, with_photo in (("text", False), ("text and a photo", True)):
        progress(len(loads) * messages, 2 * messages, kind)
        open_tickets(messages, first=2 + len(loads) * messages, with_photo=with_photo)
        started, used = perf_counter(), _cpu_seconds()
        _work(runtime, threads)
        loads.append(Load(kind, messages, perf_counter() - started, (_cpu_seconds() - used) / messages, _megabytes()))
    return Report(desk.capabilities.mode.value, threads, idle, tuple(loads))


def _work(runtime: Runtime, threads: int) -> None:
    working = [threading.Thread(target=worker.run_until_idle, args=(runtime.desk,)) for _ in range(threads)]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()


def _variant(photo: Path, number: int) -> bytes:
    """The same picture as another file: a photo is read once."""
    image = Image.open(photo).convert("RGB")
    image.putpixel((0, 0), (number % 256, number // 256 % 256, 128))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _over_processes(of: Callable[[psutil.Process], float]) -> float:
    here = psutil.Process()
    total = of(here)
    for child in here.children(recursive=True):
        try:
            total += of(child)
        except psutil.Error:  # it has just ended
            continue
    return total


def _cpu_seconds() -> float:
    def spent(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    return _over_processes(spent)


def _megabytes() -> float:
    return _over_processes(lambda process: process.memory_info().rss / 1e6)
