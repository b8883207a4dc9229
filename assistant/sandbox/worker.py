"""Starts the processes that read hostile files, and bounds them: memory, processor time, time, size of the result.

`run` reads one file in a fresh process. A `Worker` keeps its process for the next file, for readers that are slow to
start. Processes are started as new programs, never forked, so threads and gunicorn's workers do not matter.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import structlog

from assistant.errors import AssistantError, Invalid, NotReady, TooLarge, Unsupported
from assistant.sandbox import child

log = structlog.get_logger(__name__)

Resource = Literal["time", "memory", "output"]

# Seconds between two looks at a process's memory.
_GLANCE = 0.05
_CHUNK = 1 << 20
_STDERR_KEPT = 4096
# No secret of ours gets to where a hostile file is read.
_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
_REFUSALS: dict[str, type[Invalid | TooLarge | Unsupported | NotReady]] = {
    kind.code: kind for kind in (Invalid, TooLarge, Unsupported, NotReady)
}


class ReaderFailed(Invalid):
    """The reader raised an error other than those it may: the file is damaged in an unforeseen way. ``detail``: how."""

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class ReaderCrashed(ReaderFailed):
    """The process died or sent garbage. ``detail`` is the end of what it wrote to standard error."""


class OverLimit(TooLarge):
    """The file takes more than it may of ``resource``."""

    def __init__(self, message: str, *, resource: Resource) -> None:
        super().__init__(message)
        self.resource = resource


@dataclass(frozen=True)
class Limits:
    """For one file. ``memory`` in bytes; ``cpu_seconds`` of processor time; ``seconds`` by the clock; ``output`` in
    bytes; ``start_seconds`` by the clock for a process to start and load its model.

    ``counts_reserved``: address space that is reserved but not used counts as memory, which Linux enforces at once.
    False for model runtimes, which reserve far more than they use. What is in use is watched in any case.
    """

    memory: int = 2 << 30
    cpu_seconds: int = 20
    seconds: float = 30.0
    output: int = 200_000_000
    start_seconds: float = 60.0
    counts_reserved: bool = True


def run(reader: str, data: bytes, limits: Limits, **options: Any) -> bytes:
    """What `Worker.call` returns, from a process that reads this one file."""
    with Worker(reader, limits) as worker:
        return worker.call(data, **options)


class Worker:
    """A process that reads one file after another. It is started by the first call, and again after a crash or an
    exceeded limit, which cost the one call. Safe to use from several threads: one call at a time."""

    def __init__(self, reader: str, limits: Limits, *, most_calls: int = 1000) -> None:
        """``reader``: see `assistant.sandbox`. After ``most_calls`` the process is replaced: decoders leak."""
        self._reader = reader
        self._limits = limits
        self._most_calls = most_calls
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._calls = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process now, if it does not run. Raises `NotReady` if it cannot be started."""
        with self._lock:
            self._running()

    def call(self, data: bytes, **options: Any) -> bytes:
        """What the reader returns. ``options`` are its keyword arguments, as far as JSON goes.

        Raises what the reader raises of `Invalid`, `TooLarge`, `Unsupported` and `NotReady`; `OverLimit`;
        `ReaderCrashed`; `ReaderFailed` for any other error; `NotReady` if the reader cannot be started. Messages are
        predicates ("takes longer than 30 seconds to read") for the name of the file to precede.
        """
        encoded = json.dumps(options).encode()
        limits = self._limits
        header = child.REQUEST.pack(limits.cpu_seconds, limits.seconds, len(encoded), len(data))
        with self._lock:
            process = self._running()
            try:
                kind, body = process.exchange(header + encoded + data, limits.seconds)
            except BaseException as error:
                self._stop()
                if isinstance(error, ReaderCrashed):
                    log.warning("sandbox.crashed", reader=self._reader, reason=error.message, detail=error.detail)
                raise
            self._calls += 1
            if kind == child.NO_MEMORY or self._calls >= self._most_calls:
                self._stop()
        return self._result(kind, body)

    def close(self) -> None:
        """End the process. A later call starts another."""
        with self._lock:
            self._stop()

    def _running(self) -> _Process:
        if self._process is not None and not self._process.is_alive:
            self._stop()  # it died while idle: not this file's fault
        if self._process is None:
            self._process, self._calls = self._start(), 0
        return self._process

    def _start(self) -> _Process:
        process = _Process(self._reader, self._limits)
        try:
            kind, body = process.exchange(b"", self._limits.start_seconds)
            problem = None if kind == child.READY else body.decode(errors="replace")
        except AssistantError as error:
            problem = error.detail if isinstance(error, ReaderFailed) else error.message
        except BaseException:
            process.kill()
            raise
        if problem is not None:
            process.kill()
            log.error("sandbox.does_not_start", reader=self._reader, detail=problem)
            raise NotReady("cannot be read: its reader does not start. The log says why.")
        return process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _result(self, kind: bytes, body: bytes) -> bytes:
        if kind == child.RESULT:
            return body
        if kind == child.REFUSED:
            raise _refusal(body)
        if kind == child.NO_MEMORY:
            raise _over("memory", self._limits)
        if kind == child.FAILED:
            detail = body.decode(errors="replace")
            raise ReaderFailed(f"cannot be read: {detail[:200]}", detail=detail)
        raise ReaderCrashed("cannot be read: its reader answered with garbage")


class _Process:
    """One running child: request in, reply out, within limits. After an error it is good for nothing but `kill`."""

    def __init__(self, reader: str, limits: Limits) -> None:
        self._limits = limits
        self._stderr = b""
        self._glances_at = 0.0
        address_space = limits.memory if limits.counts_reserved else 0
        command = [sys.executable, "-P", "-m", child.__name__, reader, str(address_space)]
        root = str(Path(__file__).parents[2])  # where our package lies
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join([root, *(entry for entry in sys.path if entry)])
        try:
            self._process = subprocess.Popen(  # noqa: S603  (our own program)
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=environment,
                start_new_session=True,  # so that whatever the reader starts ends with it
            )
        except OSError as error:
            raise NotReady(f"cannot be read now: no process can be started ({error.strerror})") from error
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._stdin, self._stdout, self._errors = (pipe for pipe in pipes if pipe is not None)
        os.set_blocking(self._stdin.fileno(), False)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def exchange(self, request: bytes, seconds: float) -> tuple[bytes, bytes]:
        """Send the request; kind and body of the reply. Raises `OverLimit` or `ReaderCrashed`."""
        ends_at = time.monotonic() + seconds
        unsent, reply = memoryview(request), bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            selector.register(self._errors, selectors.EVENT_READ)
            if unsent:
                selector.register(self._stdin, selectors.EVENT_WRITE)
            while (size := self._reply_size(reply)) is None or len(reply) < size:
                self._check(ends_at, seconds)
                for key, _ in selector.select(_GLANCE):
                    if key.fileobj is self._stdin:
                        unsent = self._send(unsent)
                        if not unsent:
                            selector.unregister(self._stdin)
                    elif key.fileobj is self._errors:
                        if not self._drain_stderr():
                            selector.unregister(self._errors)
                    else:
                        reply += self._receive()
        if len(reply) > size:
            raise self._crash()
        kind, _ = child.REPLY.unpack_from(reply)
        return kind, bytes(memoryview(reply)[child.REPLY.size :])

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS: not permitted once they are zombies
            os.killpg(self._process.pid, signal.SIGKILL)
        for stream in (self._stdin, self._stdout, self._errors):
            stream.close()
        self._process.wait()

    def _reply_size(self, reply: bytearray) -> int | None:
        """Of the whole reply, in bytes; None before its header is complete."""
        if len(reply) < child.REPLY.size:
            return None
        _, body = child.REPLY.unpack_from(reply)
        if body > self._limits.output:
            raise _over("output", self._limits)
        return child.REPLY.size + int(body)

    def _check(self, ends_at: float, seconds: float) -> None:
        now = time.monotonic()
        if now >= ends_at:
            raise OverLimit(f"takes longer than {seconds:g} seconds to read", resource="time")
        if now >= self._glances_at:
            self._glances_at = now + _GLANCE
            if _memory(self._process.pid) > self._limits.memory:
                raise _over("memory", self._limits)

    def _send(self, unsent: memoryview) -> memoryview:
        """The rest, of which nothing is left if nobody reads it any more."""
        try:
            return unsent[os.write(self._stdin.fileno(), unsent[:_CHUNK]) :]
        except BlockingIOError:
            return unsent
        except BrokenPipeError:
            return unsent[:0]

    def _receive(self) -> bytes:
        chunk = os.read(self._stdout.fileno(), _CHUNK)
        if not chunk:
            raise self._crash()
        return chunk

    def _drain_stderr(self) -> bytes:
        chunk = os.read(self._errors.fileno(), _CHUNK)
        self._stderr = (self._stderr + chunk)[-_STDERR_KEPT:]
        return chunk

    def _crash(self) -> AssistantError:
        """Why there is no proper reply."""
        try:
            status = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return ReaderCrashed("cannot be read: its reader answered with garbage")
        if status == -signal.SIGXCPU:
            message = f"takes more than {self._limits.cpu_seconds} seconds of processor time to read"
            return OverLimit(message, resource="time")
        os.set_blocking(self._errors.fileno(), False)
        with suppress(BlockingIOError):
            self._drain_stderr()
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        detail = self._stderr.decode(errors="replace").strip()
        return ReaderCrashed(f"cannot be read: its reader crashed ({how})", detail=detail)


def _memory(pid: int) -> int:
    """Bytes in use; 0 for a process that is gone."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _over(resource: Literal["memory", "output"], limits: Limits) -> OverLimit:
    if resource == "memory":
        return OverLimit(f"takes more than {limits.memory / 2**30:g} GB of memory to read", resource=resource)
    return OverLimit(f"unpacks to more than {limits.output / 1e6:g} MB", resource=resource)


def _refusal(body: bytes) -> AssistantError:
    """The reader's own error. What comes from the process is trusted no more than the file."""
    try:
        said = json.loads(body)
        return _REFUSALS[said["code"]](str(said["message"])[:500], **said["fields"])
    except (ValueError, KeyError, TypeError):
        return ReaderCrashed("cannot be read: its reader answered with garbage")
