"""Processes that are told to stop while they are still starting, and what comes after one that was killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from assistant import server
from assistant.errors import NotReady
from assistant.lab.real_server import STARTS_WITHIN, Server
from assistant.runtime import open_database
from assistant.server import hold
from assistant.settings import Settings

STOPS_WITHIN = 8.0  # seconds; gunicorn would give up after ten

Moment = Callable[[Server, int], bool]


def opens_the_database(server: Server, _pid: int) -> bool:
    return (server.folder / "assistant.db").exists()


def has_become_the_server(_server: Server, pid: int) -> bool:
    return b"assistant.server" in Path(f"/proc/{pid}/cmdline").read_bytes()


def listens_but_loads(server: Server, _pid: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=5):
        return True
    return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc, to see what a process has become")
@pytest.mark.parametrize(
    ("command", "moment"),
    [
        (["assistant", "worker"], opens_the_database),
        (["assistant", "serve"], has_become_the_server),
        (["assistant.server"], listens_but_loads),
    ],
    ids=["worker", "serve", "loading"],
)
def test_it_ends_at_once_with_status_zero_and_nothing_is_broken(
    tmp_path: Path, command: list[str], moment: Moment
) -> None:
    its = Server(tmp_path / "var", ocr="off", model="none")
    with (tmp_path / "log").open("wb") as log:
        begun = [sys.executable, "-m", *command]
        begun_at = time.monotonic()
        process = subprocess.Popen(begun, env=its.environment, stdout=log, stderr=log)
    try:
        ends_at = time.monotonic() + STARTS_WITHIN
        while not moment(its, process.pid):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < ends_at, "it never starts"
            time.sleep(0.02)
        told_at = time.monotonic()
        process.terminate()
        assert process.wait(60) == 0, (tmp_path / "log").read_text()
        # On a busy machine: no longer than it took to come so far.
        assert time.monotonic() - told_at < max(STOPS_WITHIN, told_at - begun_at)
    finally:
        process.kill()
    assert "Traceback" not in (tmp_path / "log").read_text()
    open_database(Settings(data_dir=its.folder)).close()


# Told to stop when the worker has been forked and does not listen to signals yet.
TOLD_EARLY = """
import os, runpy, signal, sys, time
from pathlib import Path
from gunicorn import util

def told(title):
    if title.startswith("worker"):
        Path(sys.argv[1]).touch()
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(1)

util._setproctitle = told
runpy.run_module("assistant.server", run_name="__main__")
"""


@pytest.mark.slow
def test_a_worker_that_is_told_before_it_listens_to_signals_loads_nothing(tmp_path: Path) -> None:
    its, told = Server(tmp_path / "var", ocr="off", model="none"), tmp_path / "told"
    process = subprocess.Popen([sys.executable, "-c", TOLD_EARLY, str(told)], env=its.environment)
    try:
        ends_at = time.monotonic() + STARTS_WITHIN
        while not told.exists():
            assert process.poll() is None
            assert time.monotonic() < ends_at, "it never starts"
            time.sleep(0.02)
        told_at = time.monotonic()
        assert process.wait(60) == 0
        assert time.monotonic() - told_at < STOPS_WITHIN
    finally:
        process.kill()


def test_who_comes_after_a_killed_server_waits_for_what_that_has_started(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    before = hold(settings) or pytest.fail("not held")
    with pytest.raises(NotReady, match=f"process {os.getpid()} on"):
        hold(settings)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    noted = tmp_path / "assistant.db.serving"
    noted.write_text(noted.read_text().replace(f"process {os.getpid()}", f"process {gone.pid}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "GRACE", 0)
        with pytest.raises(NotReady):
            hold(settings)
    threading.Timer(0.5, before.close).start()
    after = hold(settings) or pytest.fail("not held")
    assert f"process {os.getpid()} on" in noted.read_text()
    assert str(gone.pid) not in noted.read_text()
    after.close()
