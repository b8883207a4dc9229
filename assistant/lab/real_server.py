"""The real server, and workers, in processes of their own, started as an operator starts them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

from assistant import server, signals
from assistant.errors import AssistantError, NotReady
from assistant.settings import PREFIX, Settings

# Far longer than either takes, as the machine may be busy with other things.
STARTS_WITHIN = 240.0
STOPS_WITHIN = 120.0

# What a server imports until it has answered its first message: most of the time that it takes to start. None of them
# starts a thread, which a fork would leave behind.
IMPORTS = (
    *("assistant.server", "limits", "obstore.store", "scipy.optimize", "sklearn.feature_extraction.text"),
    *("sklearn.svm", "sentence_transformers"),
)
_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(list(IMPORTS))


class Server:
    """`assistant serve` on a free loopback port, with its data in ``folder``. Always close it.

    ``at_once`` starts what `serve` becomes after its checks, without them, as a fork of a process that has imported
    everything: in a second instead of ten.
    """

    def __init__(self, folder: Path, *, at_once: bool = False, **settings: Any) -> None:
        self._at_once = at_once
        self.command = [sys.executable, "-m", *(["assistant.server"] if at_once else ["assistant", "serve"])]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.folder = folder
        named = {"data_dir": folder, "port": self._port, **settings}
        self.environment = (
            os.environ
            | {f"{PREFIX}UNDO_SEND_SECONDS": "0"}
            | {f"{PREFIX}{name.upper()}": str(value) for name, value in named.items()}
        )
        self._log = folder.parent / "server.log"
        self._process: _Process | None = None

    def start(self) -> None:
        """Return once it answers."""
        self._begin(server.run)
        ends_at = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < ends_at and self.runs():
            try:
                with urllib.request.urlopen(f"{self.url}/livez", timeout=5):  # noqa: S310 - our own address
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.kill()
        raise NotReady(f"The server under test did not start. End of its log: {self.log()[-2000:]}")

    def _begin(self, run: Callable[[Settings], None]) -> None:
        """``run``: what the command becomes."""
        if self._at_once:
            self._process = _Fork(run, self.environment, self._log)
        else:
            self._process = _Fresh(self.command, self.environment, self._log)

    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.runs()

    @property
    def pid(self) -> int:
        """Raises `NotReady` if it is not running."""
        if self._process is None:
            raise NotReady("The server under test is not running.")
        return self._process.pid

    def kill(self) -> None:
        """``kill -9`` of the whole process group."""
        if self._process is not None:
            for kill in (os.killpg, os.kill):  # it may not have a group of its own yet
                with suppress(ProcessLookupError):
                    kill(self._process.pid, signal.SIGKILL)
            self._process.wait(STOPS_WITHIN)
            self._process = None

    def pause(self) -> None:
        """From now on it accepts connections and answers nothing."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> int:
        """Stop it as an operator does and return the exit status."""
        os.kill(self.pid, signal.SIGTERM)
        status = self._process.wait(STOPS_WITHIN) if self._process is not None else 0
        self._process = None
        return status

    def close(self) -> None:
        self.kill()

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


class Worker(Server):
    """`assistant worker` beside a server, on the same data."""

    def __init__(self, folder: Path, *, at_once: bool = False, **settings: Any) -> None:
        super().__init__(folder, at_once=at_once, **settings)
        self.command = [sys.executable, "-m", "assistant", "worker"]

    def start(self) -> None:
        """Return at once."""
        self._begin(server.work)


class _Process(Protocol):
    """The first of a session, and so of a process group, of its own."""

    pid: int

    def runs(self) -> bool: ...

    def wait(self, seconds: float) -> int:
        """Its exit status; negative, the signal that ended it."""


class _Fresh:
    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                command, env=environment, stdout=file, stderr=file, start_new_session=True
            )
        self.pid = self._process.pid

    def runs(self) -> bool:
        return self._process.poll() is None

    def wait(self, seconds: float) -> int:
        return self._process.wait(seconds)


class _Fork:
    def __init__(self, run: Callable[[Settings], None], environment: Mapping[str, str], log: Path) -> None:
        self._process = _FORKS.Process(target=_become, args=(run, dict(environment), log), daemon=True)
        self._process.start()
        assert self._process.pid is not None  # noqa: S101 - it has been started
        self.pid = self._process.pid

    def runs(self) -> bool:
        return self._process.is_alive()

    def wait(self, seconds: float) -> int:
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the server", seconds)
        return self._process.exitcode


def _become(run: Callable[[Settings], None], environment: dict[str, str], log: Path) -> None:
    """In a fork: what the command would begin with."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for standard in (sys.stdout, sys.stderr):
        os.dup2(file, standard.fileno())
    os.close(file)
    with signals.ended_when_told():
        try:
            run(Settings())
        except AssistantError as error:
            sys.exit(f"Error: {error.message}")
