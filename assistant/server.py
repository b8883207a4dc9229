"""Processes: the web server with its workers, or workers alone.

gunicorn runs one worker process with many threads: an open stream costs a thread, not a process, and a slow client
neither (`connections`). On SIGTERM open streams are closed; otherwise they would delay the shutdown by its whole grace
period.
"""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import re
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from types import FrameType
from typing import IO, Any, TextIO, cast

import psutil
import structlog
from gunicorn.app.base import BaseApplication
from sqlalchemy.engine import make_url

from assistant import __version__, signals, tracing
from assistant import runtime as wiring
from assistant.app import create_app
from assistant.connections import KEEP_ALIVE, MAX_CONNECTIONS, WaitingWorker
from assistant.db import utcnow
from assistant.desk.desk import Desk
from assistant.errors import NotReady
from assistant.faults import advice, passing_fault, traceback_of
from assistant.pulse import Pulse
from assistant.settings import PREFIX, Settings
from assistant.skills import cues
from assistant.web import bodies
from assistant.web.context import EXTENSION, STOPPING
from assistant.web.proxies import Proxies
from assistant.worker import Workers

GRACE = 10  # seconds for running requests to finish, and for jobs where nothing else runs
# The server's jobs have that time while its last replies leave, and so many seconds more. What is not done then is
# given back to the queue: a restart should not keep customers waiting.
JOBS_GRACE = 1


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; never returns. Raises `NotReady` if the installation cannot serve.

    This process is replaced by a fresh one (exec). gunicorn forks, and threads that already run (object store, models)
    do not survive a fork: the first upload would wait forever.
    """
    if (held := hold(settings)) is not None:
        held.close()  # the process that this one becomes holds it
    wiring.preflight(settings)
    check_address(settings.host, settings.port)
    chosen = {"HOST": settings.host, "PORT": str(settings.port), "COMPANY": settings.company}
    os.environ |= {f"{PREFIX}{name}": value for name, value in chosen.items()}
    _let_threads_sleep()
    sys.stdout.flush()
    signals.hold_until_replaced()
    # -P: no module that lies in the working directory is taken for one of ours.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "assistant.server"])  # noqa: S606 - our own module, no shell


def work(settings: Settings) -> None:
    """Run workers until SIGTERM or SIGINT."""
    _let_threads_sleep()
    configure_logging(settings)
    wiring.preflight(settings)
    tracing.configure(settings.otel_endpoint, version=__version__)
    runtime = wiring.build(settings)
    _warm_up(runtime)
    count = settings.workers or _default_workers(runtime.desk)
    workers = Workers(runtime.desk, count=count)
    pulse = Pulse(runtime, role="worker", threads=count)

    def stop(_number: int, _frame: FrameType | None) -> None:
        workers.ask_to_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    pulse.start()
    workers.run_forever()
    workers.stop(timeout=GRACE)
    pulse.stop()
    runtime.close()
    tracing.shut_down()


def _let_threads_sleep() -> None:
    """torch's threads wait for each other in a loop, which takes the cores from other requests and from OCR's process.
    Said before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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


def _end_when_told(arbiter: Any, worker: Any) -> None:
    """Let a worker end that is told to stop before gunicorn listens to signals in it. Until then it has its parent's
    handlers, which only take note: it would load everything, and be killed once the grace period is over."""
    signal.signal(signal.SIGTERM, worker.handle_exit)
    with suppress(queue.Empty):
        while arbiter.SIG_QUEUE.get_nowait() != signal.SIGTERM:
            pass
        os._exit(0)


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn, configured in code rather than in a second settings file."""

    def __init__(self, settings: Settings, build: Callable[[Settings], wiring.Runtime]) -> None:
        self._settings = settings
        self._build = build
        self._workers: Workers | None = None
        self._pulse: Pulse | None = None
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
            "post_fork": _end_when_told,
            "post_worker_init": self._start_workers,
            "worker_exit": self._stop_workers,
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        return create_app(self._build(self._settings))

    def _start_workers(self, worker: Any) -> None:
        app = worker.wsgi
        tracing.configure(self._settings.otel_endpoint, version=__version__)
        worker.max_body, worker.max_form = bodies.limits(self._settings)
        worker.proxies = Proxies.of(self._settings)
        _warm_up(app.extensions[EXTENSION])
        worker.has_begun = True
        desk = app.extensions[EXTENSION].desk
        count = self._settings.workers
        count = _default_workers(desk) if count is None else count
        if count:
            self._workers = Workers(desk, count=count)
            self._workers.start()
        self._pulse = Pulse(app.extensions[EXTENSION], role="web", threads=count)
        self._pulse.start()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signals.prepend_handler(number, app.extensions[STOPPING].set)
            if self._workers is not None:
                signals.prepend_handler(number, self._workers.ask_to_stop)

    def _stop_workers(self, _server: Any, worker: Any) -> None:
        if self._workers is not None:
            self._workers.stop(timeout=JOBS_GRACE)
        if self._pulse is not None:
            self._pulse.stop()
        app = getattr(worker, "wsgi", None)
        if app is not None:
            app.extensions[EXTENSION].close()
            tracing.shut_down()
            if worker.booted and not worker.alive:
                # Everything is closed. Taking the interpreter and the models apart takes seconds that a restart waits.
                logging.shutdown()
                os._exit(0)


def hold(settings: Settings) -> IO[str] | None:
    """Be the only server of a SQLite database, until the file that is returned is closed or the process ends, however
    it does. None for PostgreSQL, which serves several. Raises `NotReady` if there is one, and says which. What a killed
    one has started is waited for: it ends, too, and has the address until then."""
    url = make_url(settings.sqlalchemy_url)
    if url.get_backend_name() != "sqlite":
        return None
    path = Path(f"{url.database}.serving")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "r+")
    except OSError as error:
        fault = passing_fault(error)
        reason = advice(fault) if fault is not None else f"The data folder cannot be used: {error.strerror}."
        raise NotReady(reason) from error
    ends_at = monotonic() + 2 * GRACE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            file.seek(0)
            who = file.read().strip() or "unknown"
            if monotonic() < ends_at and _has_ended(who):
                sleep(0.1)
                continue
            file.close()
            otherwise = "Stop it, or choose another ASSISTANT_DATA_DIR. More machines need PostgreSQL."
            raise NotReady(f"Another server uses this database already: {who}. {otherwise}") from error
    file.seek(0)
    file.truncate()
    since = f"{utcnow():%Y-%m-%d %H:%M} UTC"
    file.write(f"process {os.getpid()} on {socket.gethostname()}, {settings.base_url}, since {since}")
    file.flush()
    return file


def _has_ended(who: str) -> bool:
    """Whether a process that `hold` has noted is one of this machine's that runs no more."""
    noted = re.match(rf"process (\d+) on {re.escape(socket.gethostname())},", who)
    return noted is not None and not psutil.pid_exists(int(noted[1]))


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


def run(settings: Settings, build: Callable[[Settings], wiring.Runtime] = wiring.build) -> None:
    """Serve in this process, which must not have begun any thread: the end of `serve`. ``build``: in the process that
    answers."""
    with signals.ended_when_told():
        configure_logging(settings)
        try:
            _held = hold(settings)
        except NotReady as error:
            sys.exit(f"Error: {error.message}")
        _Server(settings, build).run()


if __name__ == "__main__":  # started by `serve`
    run(Settings())
