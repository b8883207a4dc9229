"""Mutated files against a real server: does any of them end it, make it fail, or cost too much time or memory?

The server runs in a temporary folder with its workers, so that what is accepted is read, too. It is ended if it exceeds
`_MOST_MEMORY`, which counts as a death.
"""

from __future__ import annotations

import http.client
import io
import random
import socket
import struct
import subprocess
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from PIL import Image, ImageDraw

from assistant.desk import api_keys
from assistant.desk.access import Scope
from assistant.lab.bench.web import server
from assistant.progress import Progress, no_progress
from assistant.runtime import build
from assistant.settings import Settings

_MOST_MEMORY = 6 << 30
_MOST_SECONDS = 20.0
# Values at which fields of a file turn: nothing, the least, the greatest, and the sign.
_EDGES = (0, 1, 0x7F, 0x80, 0xFF)


@dataclass
class Report:
    """``answers`` by status. ``failures``: numbers of the files that were answered with 500 or more, or not at all."""

    sent: int = 0
    deaths: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    failures: list[int] = field(default_factory=list)
    slowest_seconds: float = 0.0
    slowest: int = 0
    memory_at_first_mb: float = 0.0
    memory_at_last_mb: float = 0.0
    memory_at_most_mb: float = 0.0

    @property
    def harmless(self) -> bool:
        return not self.deaths and not self.failures and self.slowest_seconds < _MOST_SECONDS

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        answers = ", ".join(f"{count} x {status}" for status, count in sorted(self.answers.items()))
        return (
            f"{self.sent} files: {answers}\n"
            f"deaths {self.deaths}, answers of 500 or none {len(self.failures)} {self.failures[:10]}\n"
            f"slowest {self.slowest_seconds:.1f} s (file {self.slowest})\n"
            f"memory {self.memory_at_first_mb:.0f} MB after 50 files, {self.memory_at_last_mb:.0f} MB at the end, "
            f"{self.memory_at_most_mb:.0f} MB at most"
        )


def fuzz(count: int, *, seeds: Sequence[bytes] = (), seed: int = 0, progress: Progress | None = None) -> Report:
    """Send ``count`` mutations of pictures drawn here and of ``seeds``, one after the other."""
    tell = progress or no_progress
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    report, all_seeds = Report(), [*drawn(), *seeds]
    with tempfile.TemporaryDirectory(prefix="assistant-fuzz-") as folder:
        settings = Settings(
            data_dir=Path(folder),
            host="127.0.0.1",
            port=port,
            workers=2,
            rate_limit="1000000 per minute",
            log_level="error",
        )
        runtime = build(settings)
        with runtime.desk.db.begin() as session:
            _, key = api_keys.add(session, name="fuzz", scopes=[scope.value for scope in Scope])
        runtime.close()
        with server(settings) as process, _watched(process, report):
            _send(port, key, 0, all_seeds[0], Report(), timeout=240)  # the models load
            for number in range(count):
                chance = random.Random(f"{seed}:{number}")
                _send(port, key, number, mutate(chance, all_seeds), report)
                if process.poll() is not None:
                    report.deaths += 1
                    break
                if number == min(50, count - 1):
                    report.memory_at_first_mb = _memory(process) / 1e6
                tell(number + 1, count, "Sending")
            report.memory_at_last_mb = _memory(process) / 1e6
    return report


def drawn() -> list[bytes]:
    """The same small picture in every format and mode that Pillow writes, and animations of it."""
    picture = Image.new("RGB", (160, 100), (240, 240, 240))
    ImageDraw.Draw(picture).text((20, 30), "E21", fill=(160, 0, 0), font_size=40)
    frames = [picture, Image.new("RGB", picture.size, "white"), picture.rotate(180)]
    formats = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "ICO", "JPEG2000", "AVIF", "PPM", "TGA", "MPO")
    modes = {"PNG": ("1", "L", "LA", "P", "RGBA", "I;16"), "JPEG": ("L", "CMYK"), "WEBP": ("RGBA",), "GIF": ("L",)}
    exif = Image.Exif()
    exif[0x0112] = 6
    found = [_encode(picture, name) for name in formats]
    found += [_encode(picture.convert(mode), name) for name, all_modes in modes.items() for mode in all_modes]
    found += [_encode(picture, name, save_all=True, append_images=frames[1:]) for name in ("GIF", "WEBP", "PNG")]
    found += [_encode(picture, name, exif=exif.tobytes()) for name in ("JPEG", "PNG", "WEBP")]
    found += [_encode(picture, "JPEG", progressive=True), _encode(picture.resize((900, 3)), "PNG")]
    return found


def _encode(picture: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def mutate(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the files after one to four changes: bytes, numbers, parts cut, doubled, moved or taken from another."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1) if chance.random() < 0.5 else chance.randrange(min(200, len(data)) + 1)
        length = chance.choice((1, 2, 4, 16, 64, 512))
        match chance.randrange(7):
            case 0:
                data[at : at + 1] = bytes([chance.choice(_EDGES)])
            case 1:
                data[at : at + 4] = struct.pack(
                    chance.choice("<>") + "I", chance.getrandbits(chance.choice((8, 16, 32)))
                )
            case 2:
                data[at : at + length] = b""
            case 3:
                data[at:at] = data[at : at + length] * chance.choice((1, 2, 50))
            case 4:
                other = chance.choice(seeds)
                data[at : at + length] = other[at : at + length]
            case 5:
                data[at : at + length] = chance.randbytes(length)
            case _:
                del data[max(1, at) :]
    return bytes(data)


def _send(port: int, key: str, number: int, data: bytes, report: Report, *, timeout: float = 60) -> None:
    boundary = uuid.uuid4().hex
    text = f'--{boundary}\r\nContent-Disposition: form-data; name="text"\r\n\r\nWhat does file {number} mean?\r\n'
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="photos"; filename="file-{number}.bin"\r\n\r\n'
    body = text.encode() + part.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": f"multipart/form-data; boundary={boundary}"}
    # Every twentieth file is read before the answer comes, the others by the workers.
    path = "/api/v1/triage" if number % 20 == 0 else "/api/v1/tickets"
    started, status = time.perf_counter(), 0
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            pass  # no answer: counted below
    seconds = time.perf_counter() - started
    report.sent += 1
    report.answers[status] += 1
    if seconds > report.slowest_seconds:
        report.slowest_seconds, report.slowest = seconds, number
    if status == 0 or status >= 500:
        report.failures.append(number)


@contextmanager
def _watched(process: subprocess.Popen[bytes], report: Report) -> Iterator[None]:
    """Note the server's greatest memory; end it if that exceeds the limit."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            used = _memory(process)
            report.memory_at_most_mb = max(report.memory_at_most_mb, used / 1e6)
            if used > _MOST_MEMORY:
                process.kill()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _memory(process: subprocess.Popen[bytes]) -> int:
    """Bytes in use by the server and every process it has started."""
    total = 0
    try:
        server_process = psutil.Process(process.pid)
        for one in (server_process, *server_process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.Error:
        pass  # it has just ended
    return total
