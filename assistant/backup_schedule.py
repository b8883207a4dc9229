"""Backups by themselves: every so many hours into a folder, of which the newest are kept.

What is in the folder is the only record, so several processes with one folder make one backup, and nothing has to be
kept up to date. A failure is noted there, too, until a backup succeeds.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from assistant import backup
from assistant.db import Database
from assistant.errors import AssistantError
from assistant.faults import describe
from assistant.progress import Progress, no_progress
from assistant.settings import Settings
from assistant.storage import Storage

_NAME = "assistant-%Y%m%dT%H%M%SZ.zip"
_FAILED, _LOCK = "failed", "lock"
_RETRY_AFTER = timedelta(minutes=15)
# Twice the time between two is late: the newest may be as old as that while the next one is written.
_LATE = 2


@dataclass(frozen=True)
class State:
    """``last_at``: of the newest backup. ``problem``: why none is newer, if one should be."""

    last_at: datetime | None
    problem: str | None


def state(settings: Settings, *, now: datetime) -> State | None:
    """None if backups are not made by schedule."""
    if not settings.backup_hours:
        return None
    last = max(_made(settings), default=None)
    last_at = _made_at(last) if last is not None else None
    if (failed := _folder(settings) / _FAILED).exists():
        return State(last_at, failed.read_text(encoding="utf-8").strip())
    if last_at is not None and now - last_at > _LATE * timedelta(hours=settings.backup_hours):
        return State(last_at, f"The newest backup is of {last_at:%Y-%m-%d %H:%M} UTC. Is a worker running?")
    return State(last_at, None if last_at is not None else "There is no backup yet. A worker makes the first one.")


def make_if_due(
    settings: Settings, db: Database, storage: Storage, *, now: datetime, progress: Progress = no_progress
) -> Path | None:
    """Make a backup if the newest is old enough and nobody else makes one; remove those that are too many.

    Returns the backup. Raises what `backup.create` raises, after noting it for `state`; tried again after a while."""
    if not settings.backup_hours or not _is_due(settings, now):
        return None
    folder = _folder(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder) as is_alone:
        if not is_alone or not _is_due(settings, now):
            return None
        for left in folder.glob(f"{backup.PARTIAL}*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        path = folder / f"{now.astimezone(UTC):{_NAME}}"
        try:
            backup.create(settings, db, storage, path, progress=progress)
        except (AssistantError, OSError, SQLAlchemyError) as error:  # not: that the process stops
            _note(folder, error)
            raise
        (folder / _FAILED).unlink(missing_ok=True)
        for old in sorted(_made(settings))[: -settings.backup_keep]:
            old.unlink(missing_ok=True)
    return path


def _is_due(settings: Settings, now: datetime) -> bool:
    failed = _folder(settings) / _FAILED
    with suppress(FileNotFoundError):
        if now - datetime.fromtimestamp(failed.stat().st_mtime, UTC) < _RETRY_AFTER:
            return False
    last = max(_made(settings), default=None)
    return last is None or now - _made_at(last) >= timedelta(hours=settings.backup_hours)


def _folder(settings: Settings) -> Path:
    return settings.backup_folder or settings.data_dir / "backups"


def _made(settings: Settings) -> list[Path]:
    return [path for path in _folder(settings).glob("assistant-*.zip") if _is_ours(path)]


def _is_ours(path: Path) -> bool:
    try:
        return bool(_made_at(path))
    except ValueError:  # somebody's own file
        return False


def _made_at(path: Path) -> datetime:
    return datetime.strptime(path.name, _NAME).replace(tzinfo=UTC)


def _note(folder: Path, error: Exception) -> None:
    """On a full disk even that may fail; that no backup is newer is seen all the same."""
    reason = error.message if isinstance(error, AssistantError) else f"The last backup failed: {describe(error)}."
    with suppress(OSError):
        (folder / _FAILED).write_text(reason, encoding="utf-8")


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether nobody else makes a backup there now."""
    with (folder / _LOCK).open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
