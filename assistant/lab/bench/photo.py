"""How long a photo takes through a running server: evidence and triage of one that nobody has seen before.

A server of its own, on a database of its own with the sample's articles. Asked over HTTP: the first photo after the
start, others one after the other, and several at once. For comparison, in a process of its own, what rapidocr takes to
read the same photos as its makers configure it, and nothing else.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import numpy as np
import psutil

from assistant import sample
from assistant.desk import api_keys
from assistant.desk.access import Scope
from assistant.errors import NotReady
from assistant.knowledge import sources
from assistant.lab.bench.web import photos, server
from assistant.lab.tables import table
from assistant.models import SourceKind
from assistant.progress import Progress, no_progress
from assistant.runtime import build
from assistant.settings import Settings

SIZE = (1600, 1200)
_TEXT = "What does it show, and what should I do?"
_PATIENCE, _WARM_UP = 600.0, 2
# Reads the photos in a folder twice, and prints the seconds of the second time.
_PEER = """
import json, sys, time
from pathlib import Path
from rapidocr import RapidOCR
engine = RapidOCR(params={"Global.log_level": "error"})
files = [file.read_bytes() for file in sorted(Path(sys.argv[1]).iterdir())]
engine(files[0])
seconds, used = [], time.process_time()
for file in files:
    started = time.perf_counter()
    engine(file)
    seconds.append(time.perf_counter() - started)
print(json.dumps([seconds, (time.process_time() - used) / len(files)]))
"""


@dataclass(frozen=True)
class Report:
    """Seconds. ``first``: from the start of the server to the answer about a photo that is sent as soon as it listens;
    ``loaded``: until all models are; ``seconds``: of photos one after the other; ``cpu``: of a processor for each of
    these, in all processes, which is about the same on a busy machine; ``parts``: what the server says of these;
    ``together``: until the last of so many at once is answered; ``peer``: rapidocr alone, as it comes. ``memory``:
    bytes that all processes hold after that, what they share counted once."""

    mode: str
    listens: float
    first: float
    loaded: float
    seconds: tuple[float, ...]
    cpu: float
    parts: dict[str, float]
    at_once: int
    together: float
    peer: tuple[float, ...]
    peer_cpu: float
    memory: int

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"median": self.median, "times_one": self.together / self.median}

    def render(self) -> str:
        p95 = float(np.percentile(self.seconds, 95))
        rows = [
            ("from the start until it listens", self.listens),
            ("from the start until all models are loaded", self.loaded),
            ("from the start to the first photo's answer", self.first),
            (f"one photo, median of {len(self.seconds)}", self.median),
            ("one photo, p95", p95),
            *((f"  of it {name}, median", seconds) for name, seconds in self.parts.items()),
            ("one photo, processor time", self.cpu),
            (f"{self.at_once} at once, until the last is answered", self.together),
            ("  as a multiple of one", self.together / self.median),
            ("rapidocr as it comes, text alone, median", float(np.median(self.peer))),
            ("  its processor time", self.peer_cpu),
        ]
        lines = [f"{self.mode}, photos of {SIZE[0]} x {SIZE[1]}", "", *table(("", "seconds"), rows)]
        return "\n".join([*lines, f"\nmemory of all processes together: {self.memory / 1e9:.2f} GB"])


def measure(settings: Settings, *, requests: int = 24, at_once: int = 10, progress: Progress = no_progress) -> Report:
    """With the models that the settings name."""
    with tempfile.TemporaryDirectory(prefix="assistant-bench-") as folder:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        apart = {"data_dir": Path(folder), "database_url": None, "host": "127.0.0.1", "port": port}
        given = settings.model_dump(exclude_unset=True) | apart
        own = Settings(**given | {"rate_limit": "100000 per minute", "log_level": "error", "access_log": False})
        key = _prepare(own)
        shown = _photos()
        progress(0, 1, "Starting")
        started = monotonic()
        with server(own) as process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_PATIENCE) as client:
            client.headers["Authorization"] = f"Bearer {key}"
            ask = partial(_ask, client)
            listens = monotonic() - started
            mode = ask(next(shown))["triage"]["mode"]
            first = monotonic() - started
            while client.get("/readyz").json().get("loading"):
                sleep(0.1)
            loaded = monotonic() - started
            for _ in range(_WARM_UP):
                ask(next(shown))
            used = _cpu_seconds(process.pid)
            timed = [_timed(ask, photo, progress, (done, requests)) for done, photo in _first(shown, requests)]
            used = (_cpu_seconds(process.pid) - used) / requests
            together = _together(ask, [next(shown) for _ in range(at_once)])
            memory = sum(one.memory_full_info().pss for one in _processes(process.pid))
        peer = _peer([photo for _, photo in _first(shown, min(requests, 12))])
    seconds, timings = zip(*timed, strict=True)
    parts = {name: float(np.median([one[name] for one in timings])) for name in timings[0]}
    return Report(mode, listens, first, loaded, tuple(seconds), used, parts, at_once, together, *peer, memory)


def _prepare(settings: Settings) -> str:
    """A database with articles, as far as search needs. Returns the key of a machine."""
    runtime = build(settings)
    try:
        with runtime.desk.db.begin() as session:
            folder = str(sample.articles_dir())
            source = sources.add_source(session, kind=SourceKind.FOLDER, location=folder, name="sample")
            _, key = api_keys.add(session, name="bench", scopes=[Scope.TRIAGE.value])
        sources.sync(runtime.desk, source.id)
        return key
    finally:
        runtime.close()


def _photos() -> Iterator[bytes]:
    """Of the sample's photos in turn, each as if it had been taken anew; without end."""
    kinds = [photos(file.name, SIZE, "JPEG") for file in sorted(sample.photos_dir().glob("*.jpg"))]
    return (next(kind) for kind in cycle(kinds))


def _first(shown: Iterator[bytes], count: int) -> Iterator[tuple[int, bytes]]:
    return ((number, next(shown)) for number in range(count))


def _ask(client: httpx.Client, photo: bytes) -> dict[str, Any]:
    answer = client.post("/api/v1/triage", data={"text": _TEXT}, files={"photos": ("photo.jpg", photo, "image/jpeg")})
    if answer.status_code != 200:
        raise NotReady(f"A photo was not assessed: {answer.status_code} {answer.text[:200]}")
    return dict(answer.json())


def _timed(
    ask: Callable[[bytes], dict[str, Any]], photo: bytes, progress: Progress, step: tuple[int, int]
) -> tuple[float, dict[str, float]]:
    progress(*step, "Asking")
    started = monotonic()
    answer = ask(photo)
    return monotonic() - started, answer["timing"]


def _processes(pid: int) -> list[psutil.Process]:
    """A process and those that it has started and that run."""
    server = psutil.Process(pid)
    return [server, *server.children(recursive=True)]


def _cpu_seconds(pid: int) -> float:
    """Of a process and of those that it has started."""
    times = [one.cpu_times() for one in _processes(pid)]
    return float(sum(one.user + one.system for one in times))


def _together(ask: Callable[[bytes], Any], many: Sequence[bytes]) -> float:
    with ThreadPoolExecutor(len(many)) as pool:
        started = monotonic()
        for asked in [pool.submit(ask, photo) for photo in many]:
            asked.result()
        return monotonic() - started


def _peer(some: Sequence[bytes]) -> tuple[tuple[float, ...], float]:
    """Seconds, and processor seconds of one."""
    with tempfile.TemporaryDirectory() as folder:
        for number, photo in enumerate(some):
            (Path(folder) / f"{number:03}.jpg").write_bytes(photo)
        done = subprocess.run([sys.executable, "-c", _PEER, folder], capture_output=True, check=True)  # noqa: S603
    seconds, cpu = json.loads(done.stdout.splitlines()[-1])
    return tuple(seconds), float(cpu)
