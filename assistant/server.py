"""Processes: the web server with its workers, or workers alone.

gunicorn runs one worker process with many threads: an open stream costs a thread, not a process, and a slow client
neither (`connections`). On SIGTERM open streams are closed; otherwise they would delay the shutdown by its whole grace
period.
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
from assistant.connections import KEEP_ALIVE, MAX_CONNECTIONS, WaitingWorker
from assistant.desk.desk import Desk
from assistant.errors import NotReady
from assistant.faults import traceback_of
from assistant.settings import PREFIX, Settings
from assistant.skills import cues
from assistant.web import bodies
from assistant.web.context import EXTENSION, STOPPING
from assistant.web.proxies import Proxies
from assistant.worker import Workers

GRACE = 10  # seconds for running requests and jobs to finish


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; never returns. Raises `NotReady` if the installation cannot serve.

    This process is replaced by a fresh one (exec). gunicorn forks, and threads that already run (object store, models)
    do not survive a fork: the first upload would wait forever.
    """
    wiring.preflight(settings)
    check_address(settings.host, settings.port)
    chosen = {"HOST": settings.host, "PORT": str(settings.port), "COMPANY": settings.company}
    os.environ |= {f"{PREFIX}{name}": value for name, value in chosen.items()}
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "assistant.server"])  # noqa: S606 - our own module, no shell


def work(settings: Settings) -> None:
    """Run workers until SIGTERM or SIGINT."""
    configure_logging(settings)
    wiring.preflight(settings)
    runtime = wiring.build(settings)
    _warm_up(runtime)
    workers = Workers(runtime.desk, count=settings.workers or _default_workers(runtime.desk))

    def stop(_number: int, _frame: FrameType | None) -> None:
        workers.ask_to_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    workers.run_forever()
    workers.stop(timeout=GRACE)
    runtime.close()


def _warm_up(runtime: wiring.Runtime) -> None:
    """Load what takes seconds the first time, before there are threads: the first messages would do it inside their
    transactions, for which all others would wait."""
    if runtime.installed is not None:
        runtime.installed.warm_up()
    cues.read("Hello")


def _default_workers(desk: Desk) -> int:
    """More threads with a model: they mostly wait for it, and it batches their requests."""
    return 2 if desk.capabilities.decisions is None else 8


def configure_logging(settings: Settings) -> None:
    """One line per event on standard error. Third-party libraries log from warnings up.

    Errors are logged without their messages, which may quote customers, unless the level is `debug`."""
    level = getattr(logging, settings.log_level.upper())
    handler, render = logging.StreamHandler(), structlog.processors.format_exc_info
    if level > logging.DEBUG:
        handler.addFilter(_without_messages)
        render = structlog.processors.ExceptionRenderer(lambda info: traceback_of(info[1]))
    logging.basicConfig(
        level=max(level, logging.WARNING), format="%(levelname)s %(name)s: %(message)s", handlers=[handler]
    )
    # It recommends kernels from the hub, which an offline machine cannot install.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            render,
            structlog.processors.LogfmtRenderer(bool_as_flag=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=cast("TextIO", _Log())),
    )


def _without_messages(record: logging.LogRecord) -> bool:
    """Give the formatter a traceback, so that it makes none."""
    if record.exc_info and record.exc_info[1] is not None:
        record.exc_text = traceback_of(record.exc_info[1])
    return True


class _Log:
    """Standard error, ignoring a full disk or a closed pipe: a log must not fail a request."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn, configured in code rather than in a second settings file."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: Workers | None = None
        super().__init__()

    def load_config(self) -> None:
        options = {
            "bind": f"{self._settings.host}:{self._settings.port}",
            "workers": 1,
            "worker_class": WaitingWorker,
            "worker_connections": 2 * MAX_CONNECTIONS,  # the worker keeps a lower limit itself
            "threads": self._settings.threads,
            "keepalive": KEEP_ALIVE,
            "sendfile": False,  # it would block a thread
            "forwarded_allow_ips": "",  # `web.proxies` decides whom to believe
            "graceful_timeout": GRACE,
            "timeout": 0,  # a generation may take longer than any timeout that would detect a hang
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
        worker.max_body, worker.max_form = bodies.limits(self._settings)
        worker.proxies = Proxies.of(self._settings)
        _warm_up(app.extensions[EXTENSION])
        desk = app.extensions[EXTENSION].desk
        count = self._settings.workers
        if count != 0:
            self._workers = Workers(desk, count=count or _default_workers(desk))
            self._workers.start()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            _prepend_handler(number, app.extensions[STOPPING].set)

    def _stop_workers(self, _server: Any, worker: Any) -> None:
        if self._workers is not None:
            self._workers.stop(timeout=GRACE)
        app = getattr(worker, "wsgi", None)
        if app is not None:
            app.extensions[EXTENSION].close()


def _prepend_handler(number: int, action: Any) -> None:
    """On this signal, run ``action`` before the handler already installed."""
    previous = signal.getsignal(number)

    def handle(signal_number: int, frame: FrameType | None) -> None:
        action()
        if callable(previous):
            previous(signal_number, frame)

    signal.signal(number, handle)


def check_address(host: str, port: int) -> None:
    """Raises `NotReady` if the address cannot be bound: gunicorn would retry five times, then exit with a traceback."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"Cannot listen on {host}:{port}: {reason}. Choose another port with --port or ASSISTANT_PORT."
            raise NotReady(message) from error


if __name__ == "__main__":  # started by `serve`
    _settings = Settings()
    configure_logging(_settings)
    _Server(_settings).run()
