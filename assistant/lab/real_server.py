"""The real server in its own process, started as an operator starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from assistant.errors import NotReady
from assistant.settings import PREFIX

# Far longer than either takes, as the machine may be busy with other things.
STARTS_WITHIN = 240.0
STOPS_WITHIN = 120.0


class Server:
    """`assistant serve` on a free loopback port, with its data in ``folder``. Always close it.

    ``at_once`` starts the process that `serve` becomes after its checks, without them: in half the time.
    """

    def __init__(self, folder: Path, *, at_once: bool = False, **settings: Any) -> None:
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
        self._log = (folder.parent / "server.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it answers."""
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            self.command, env=self.environment, stdout=self._log, stderr=self._log, start_new_session=True
        )
        ends_at = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < ends_at and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/livez", timeout=5):  # noqa: S310 - our own address
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.kill()
        raise NotReady(f"The server under test did not start. End of its log: {self.log()[-2000:]}")

    @property
    def pid(self) -> int:
        """Raises `NotReady` if it is not running."""
        if self._process is None:
            raise NotReady("The server under test is not running.")
        return self._process.pid

    def kill(self) -> None:
        """``kill -9`` of the whole process group."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
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
        self._log.close()

    def log(self) -> str:
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace")
