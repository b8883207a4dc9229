"""Processes: the web server with its workers in one, or workers alone.

gunicorn with one worker process and many threads: an open stream costs a thread, not a process. On SIGTERM open
streams are told to end, or they would hold up the shutdown for its whole grace period.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, TextIO, cast

import structlog
from gunicorn.app.base import BaseApplication

from assistant import runtime as wiring
from assistant.app import create_app
from assistant.desk.desk import Desk
from assistant.errors import NotReady
from assistant.settings import PREFIX, Settings
from assistant.web.context import EXTENSION, STOPPING
from assistant.worker import Workers

GRACE = 10  # seconds that requests and jobs in hand get to finish


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; never returns. Raises `NotReady` before that if the installation is not usable.

    The server is this process begun anew. gunicorn forks, and what has run before (the threads of the attachment
    storage and of the models, the demo's work) does not live on in a fork: the first photo would wait forever.
    """
    wiring.preflight(settings)
    check_address(settings.host, settings.port)
    os.environ |= {f"{PREFIX}HOST": settings.host, f"{PREFIX}PORT": str(settings.port)}
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "assistant.server"])  # noqa: S606 - ourselves, no shell


def work(settings: Settings) -> None:
    """Work on jobs until SIGTERM or SIGINT."""
    configure_logging(settings)
    wiring.preflight(settings)
    runtime = wiring.build(settings)
    workers = Workers(runtime.desk, count=settings.workers or _usual_workers(runtime.desk))

    def stop(_number: int, _frame: FrameType | None) -> None:
        workers.ask_to_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    workers.run_forever()
    workers.stop(timeout=GRACE)
    runtime.close()


def _usual_workers(desk: Desk) -> int:
    """Threads that work on messages. With a model more of them: they wait for it, and it answers several at once."""
    return 2 if desk.capabilities.decisions is None else 8


def configure_logging(settings: Settings) -> None:
    """One line an event on standard error. Third-party libraries speak only from warnings up."""
    level = getattr(logging, settings.log_level.upper())
    logging.basicConfig(level=max(level, logging.WARNING), format="%(levelname)s %(name)s: %(message)s")
    # It asks the operator to install kernels from the hub, which a machine without a network cannot have.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(bool_as_flag=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=cast("TextIO", _Log())),
    )


class _Log:
    """Standard error; but a log on a disk that is full, or that nobody reads any more, is no request's failure."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn, configured in code: there is no second file of settings to keep in step."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: Workers | None = None
        super().__init__()

    def load_config(self) -> None:
        options = {
            "bind": f"{self._settings.host}:{self._settings.port}",
            "workers": 1,
            "worker_class": "gthread",
            "threads": self._settings.threads,
            "graceful_timeout": GRACE,
            "timeout": 0,  # threads generate for longer than any timeout that would catch a hang
            "control_socket_disable": True,
            "loglevel": "warning",
            "post_worker_init": self._start_workers,
            "worker_exit": self._stop_workers,
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        return create_app(wiring.build(self._settings))

    def _start_workers(self, worker: Any) -> None:
        app = worker.wsgi
        desk = app.extensions[EXTENSION].desk
        count = self._settings.workers
        if count != 0:
            self._workers = Workers(desk, count=count or _usual_workers(desk))
            self._workers.start()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            _before(number, app.extensions[STOPPING].set)

    def _stop_workers(self, _server: Any, worker: Any) -> None:
        if self._workers is not None:
            self._workers.stop(timeout=GRACE)
        app = getattr(worker, "wsgi", None)
        if app is not None:
            app.extensions[EXTENSION].close()


def _before(number: int, action: Any) -> None:
    """Run ``action`` first when the signal comes, then whatever was to happen."""
    previous = signal.getsignal(number)

    def handle(signal_number: int, frame: FrameType | None) -> None:
        action()
        if callable(previous):
            previous(signal_number, frame)

    signal.signal(number, handle)


def check_address(host: str, port: int) -> None:
    """Raises `NotReady` if nothing can listen there: gunicorn would try five times and then exit with a traceback."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"Cannot listen on {host}:{port}: {reason}. Choose another with --port or ASSISTANT_PORT."
            raise NotReady(message) from error


if __name__ == "__main__":  # as `serve` begins it
    _settings = Settings()
    configure_logging(_settings)
    _Server(_settings).run()
