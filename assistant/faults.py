"""Passing faults: what is wrong with the machine, not with the request or the program.

A locked database, a full disk or a bucket that is down heals without a change to the program. `passing_fault` tells
such errors from all others, whichever library raised them: clients are asked to try again, jobs wait, and the log gets
a line, not a traceback. Nothing here repeats an error's own message: it may quote what a customer wrote.
"""

from __future__ import annotations

import errno
import sqlite3
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import sqlalchemy.exc
import structlog

from assistant.errors import AssistantError, Unavailable

log = structlog.get_logger(__name__)

# By cause: what clients are told, and what operators are told beside it.
_SENTENCES = {
    "database_locked": ("The database is locked by another program.", "End it, or wait for it."),
    "database_crowded": (
        "The database has more changes to make than it can.",
        "If that stays so, move to PostgreSQL, or let clients send less at once.",
    ),
    "database_busy": ("The database has no free connection.", "Allow more connections, or start fewer processes."),
    "database_away": ("The database does not respond.", "Start it, and check ASSISTANT_DATABASE_URL."),
    "database_unreadable": ("The database cannot be opened.", "Check the owner and folder of its file."),
    "database_damaged": ("The database is damaged.", "Run: assistant db check, and restore a backup."),
    "disk_full": ("The disk is full.", "Free some space."),
    "disk_failing": ("The disk reports errors or is full.", "Check it and the system's log."),
    "read_only": ("The database or its folder is read-only.", "Make it writable."),
    "permission_denied": ("The server may not write to its own files.", "Check the owner of the data folder."),
    "too_many_files": ("The server has too many open files.", "Raise its limit (ulimit -n)."),
}
_SQLITE = {
    sqlite3.SQLITE_BUSY: "database_locked",
    sqlite3.SQLITE_LOCKED: "database_locked",
    sqlite3.SQLITE_PROTOCOL: "database_locked",
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_IOERR: "disk_failing",
    sqlite3.SQLITE_CANTOPEN: "database_unreadable",
    sqlite3.SQLITE_PERM: "permission_denied",
    sqlite3.SQLITE_CORRUPT: "database_damaged",
    sqlite3.SQLITE_NOTADB: "database_damaged",
}
# Beginnings of SQLSTATEs, longest first.
_POSTGRESQL = {
    "53100": "disk_full",
    "25006": "read_only",
    "55P03": "database_locked",
    "57014": "database_locked",
    "42501": "permission_denied",
    "3D000": "database_away",
    "57P": "database_away",
    "08": "database_away",
    "28": "database_away",
    "40": "database_locked",
    "53": "database_busy",
    "58": "disk_failing",
    "XX": "database_damaged",
}
_OS = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EROFS: "read_only",
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.EMFILE: "too_many_files",
    errno.ENFILE: "too_many_files",
    errno.EIO: "disk_failing",
    errno.ESTALE: "disk_failing",
}
_LOG_EVERY = 60.0


def passing_fault(error: BaseException) -> Unavailable | None:
    """The fault behind an error, with a ``cause`` for operators; None if it is none, or no passing one."""
    for one in _causes(error):
        if isinstance(one, Unavailable):
            return one
        if (cause := _cause(one)) is not None:
            return unavailable(cause)
    return None


def unavailable(cause: str) -> Unavailable:
    """The fault of that cause."""
    return Unavailable(f"{_SENTENCES[cause][0]} Please try again in a moment.", cause=cause)


def advice(fault: Unavailable) -> str:
    """What is wrong and what to do, for operators."""
    return " ".join(_SENTENCES.get(fault.cause, (fault.message,)))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__


def _cause(error: BaseException) -> str | None:
    match error:
        case sqlite3.Error():
            return _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        case sqlalchemy.exc.TimeoutError():  # no connection of the pool became free
            return "database_busy"
        case sqlalchemy.exc.DBAPIError(connection_invalidated=True, orig=orig):
            return (orig and _cause(orig)) or "database_away"
        case OSError(errno=int(number)):
            return _OS.get(number)
        case _ if type(error).__module__.startswith("psycopg"):
            import psycopg  # an optional part, loaded by whoever raised the error

            # Without a state it does not come from the server: that was not reached.
            is_away = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
            state = getattr(error, "sqlstate", None) or ("08" if is_away else "")
            return next((cause for start, cause in _POSTGRESQL.items() if state.startswith(start)), None)
    return None


def describe(error: BaseException) -> str:
    """The error's type and code. Our own errors' messages are safe to repeat; others may quote customers' texts."""
    if isinstance(error, AssistantError):
        return f"{type(error).__name__}: {error.message}"
    for one in _causes(error):
        if isinstance(one, sqlite3.Error):
            code = getattr(one, "sqlite_errorname", None)
        elif isinstance(one, OSError):
            code = errno.errorcode.get(one.errno or 0)
        else:
            code = getattr(one, "sqlstate", None)
        if code is not None:
            return f"{type(error).__name__} ({code})"
    return type(error).__name__


def traceback_of(error: BaseException) -> str:
    """Where an error was raised, and its code, but not its message: it may quote a customer's text."""
    parts = []
    for one in _causes(error):
        frames = "".join(traceback.format_tb(one.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{describe(one)}")
    return "\n\nThe above error was the cause of this one:\n\n".join(reversed(parts))


class FaultLog:
    """Logs a passing fault once a minute, however many requests and jobs meet it. Thread-safe."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._silent: Counter[str] = Counter()
        self._lock = threading.Lock()

    def tell(self, fault: Unavailable, error: BaseException, **fields: Any) -> None:
        """``fields``: where it was met. They must be safe to log."""
        with self._lock:
            now = self._clock()
            if now - self._logged_at.get(fault.cause, -_LOG_EVERY) < _LOG_EVERY:
                self._silent[fault.cause] += 1
                return
            self._logged_at[fault.cause] = now
            unsaid = self._silent.pop(fault.cause, 0)
        log.error(
            "fault", cause=fault.cause, advice=advice(fault), error=describe(error), not_logged_since=unsaid, **fields
        )


FAULTS = FaultLog()
