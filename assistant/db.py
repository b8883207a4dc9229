"""The database: declarative base, UTC times, short transactions on SQLite or PostgreSQL, and migrations.

`Database.begin()` opens a write transaction, `Database.read()` a read-only one; never hold either while a model runs.
On SQLite a write starts with BEGIN IMMEDIATE: by the driver's default, two readers may both decide to write and one
update is lost without an error.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import sqlite3
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import DateTime, Dialect, MetaData, create_engine, event, func, select, text
from sqlalchemy.engine import Connection, Engine, ExceptionContext, make_url
from sqlalchemy.exc import DatabaseError, DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import TypeDecorator

from assistant.changes import Changes
from assistant.errors import Conflict, NotReady
from assistant.faults import passing_fault, unavailable

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# Seconds that a transaction waits for another program's. Web requests have less: their clients can ask again.
patience: ContextVar[float] = ContextVar("patience", default=30.0)

_PROBE = 256_000  # bytes

# Crockford's base 32 in lower case, which has no letters that are confused when read aloud.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def utcnow() -> datetime:
    return datetime.now(UTC)


def new_public_id(prefix: str) -> str:
    """An unguessable public id: a prefix for its kind and 100 random bits."""
    return f"{prefix}_" + "".join(secrets.choice(_ALPHABET) for _ in range(20))


class UTCDateTime(TypeDecorator[datetime]):
    """Aware UTC times on both databases. Naive times raise `ValueError`."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("expected an aware time, got a naive one")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UTCDateTime}


def take_turns(session: Session, name: str) -> None:
    """Until the transaction ends, others that give this name wait here. Write transactions of SQLite do so anyway."""
    if session.get_bind().dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        session.execute(select(func.pg_advisory_xact_lock(key)))


def announce(session: Session, topic: str) -> None:
    """Wake those waiting for ``topic`` once this transaction is committed."""
    session.info.setdefault("topics", set()).add(topic)


class _Turns:
    """Who writes next: whoever has waited longest.

    SQLite lets go first whoever tries at the right moment, and its tries become rarer with time: beside a stream of
    short transactions some wait for ever. Orders the threads of this process; others compete as they always did.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._is_taken = False
        self._has_begun = False

    @contextmanager
    def take(self, within: float) -> Iterator[float]:
        """Hold the turn; yields how many of the seconds are left. Raises `Unavailable` if they are over before."""
        ends_at = monotonic() + within
        self._wait(within)
        try:
            yield max(0.0, ends_at - monotonic())
        finally:
            self._hand_on()

    def begun(self) -> None:
        """Whoever holds the turn waits for no other process any more."""
        self._has_begun = True

    def _wait(self, within: float) -> None:
        with self._guard:
            if not self._is_taken:
                self._is_taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        if mine.wait(within):
            return
        with self._guard:
            if mine.is_set():  # it came at the last moment
                return
            self._waiting.remove(mine)
            raise unavailable("database_crowded" if self._has_begun else "database_locked")

    def _hand_on(self) -> None:
        with self._guard:
            self._has_begun = False
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_taken = False


class Database:
    """A connection pool and its transactions. Thread-safe. Close it when done."""

    def __init__(self, url: str, *, echo: bool = False) -> None:
        self.engine = _create_engine(url, echo=echo)
        self.changes = Changes()
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._turns = _Turns() if self.is_sqlite else None
        self._is_damaged = False
        event.listen(self.engine, "handle_error", self._note_damage)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A write transaction: commits at the end of the block, rolls back if it raises."""
        with self._writing() as session:
            yield session
            session.commit()
            topics = session.info.pop("topics", None)
        if topics:
            self.changes.publish(topics)

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        if self._turns is None:
            with self._sessions() as session:
                session.connection(execution_options={"write": True})
                yield session
            return
        with self._turns.take(patience.get()) as left, self._sessions() as session:
            session.connection(execution_options={"write": True, "patience": left})
            self._turns.begun()
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent read-only snapshot. Changes made in it are discarded."""
        with self._sessions() as session:
            if not self.is_sqlite:  # SQLite's transactions are snapshots anyway
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    def probe(self) -> None:
        """Raise what a request would meet now: the database is away, locked, full, read-only, damaged, or of another
        version (`NotReady`). Cheap enough for each second. Damage counts once any statement has met it."""
        if self._is_damaged:
            raise unavailable("database_damaged")
        if (problem := version_problem(self)) is not None:
            raise NotReady(problem)
        if self.is_sqlite:
            if file := self.engine.url.database:
                with tempfile.TemporaryFile(dir=Path(file).parent) as probe:
                    probe.write(bytes(_PROBE))
            with self._writing():
                pass
        else:
            with self._sessions() as session:
                if session.scalar(text("SELECT current_setting('transaction_read_only')")) == "on":
                    raise unavailable("read_only")

    def truncate_log(self) -> None:
        """SQLite: bring what was committed into the database file and empty the log, where older pages may stand. Left
        to a later time if somebody is reading."""
        if self.is_sqlite:
            with closing(self.engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def require_unused(self) -> None:
        """Raises `Conflict` if another process has this SQLite database open. Its log is empty and gone afterwards. One
        that is too damaged for an answer counts as unused."""
        token = patience.set(1.0)
        try:
            with closing(self.engine.raw_connection()) as connection:
                mode = connection.cursor().execute("PRAGMA journal_mode=DELETE").fetchone()[0]
        except (sqlite3.DatabaseError, DatabaseError) as error:
            fault = passing_fault(error)
            mode = "" if fault is not None and fault.cause == "database_damaged" else "wal"
        finally:
            patience.reset(token)
        if mode == "wal":
            raise Conflict("The database is in use. Stop the server and all workers first.")

    def close(self) -> None:
        self.engine.dispose()

    def _note_damage(self, context: ExceptionContext) -> None:
        fault = passing_fault(context.original_exception)
        self._is_damaged |= fault is not None and fault.cause == "database_damaged"


def migrate(url: str, *, revision: str = "head", keep_before: bool = False) -> None:
    """Upgrade the database at ``url`` if needed. A failed migration leaves it unchanged. With ``keep_before``, a SQLite
    database with content is copied first, beside itself, in place of the copy before the last upgrade.

    Raises `NotReady` if a newer version has upgraded it, or if PostgreSQL lacks pgvector."""
    database = Database(url)
    try:
        current = current_revision(database)
        if current not in (None, *_revisions()):
            raise NotReady(version_problem(database) or "")
        if current == head_revision() and revision == "head":
            return  # without Alembic, which would load every migration
        if keep_before and current is not None and database.is_sqlite:
            _keep_before(database, current)
        command.upgrade(migration_config(url), revision)
    except DBAPIError as error:
        if "CREATE EXTENSION" not in (error.statement or ""):
            raise
        advice = "Install its package on the database server, then run as a superuser: CREATE EXTENSION vector"
        raise NotReady(f"PostgreSQL lacks the extension pgvector, or may not create it. {advice}") from error
    finally:
        database.close()


def _keep_before(database: Database, revision: str) -> None:
    """What the version before can still use, if this one does not do."""
    place, older = Path(str(database.engine.url.database)), _copies(database)
    try:
        snapshot(database, place.with_name(f"{place.name}.upgraded-from-{revision}"))
    except (OSError, sqlite3.DatabaseError) as error:
        advice = "Free some space beside it, or make room by moving old backups."
        raise NotReady(f"The database was not upgraded: it could not be copied before. {advice}") from error
    for one in older:
        if not one.name.endswith(f"-{revision}"):
            one.unlink(missing_ok=True)


def _copies(database: Database) -> list[Path]:
    place = Path(str(database.engine.url.database))
    return [*place.parent.glob(f"{place.name}.upgraded-from-*")] if database.is_sqlite else []


def drop_copies(database: Database, *, before: datetime) -> None:
    """Delete the copy from before an upgrade once nobody goes back to it any more: who was erased is in it."""
    for one in _copies(database):
        if one.stat().st_mtime < before.timestamp():
            one.unlink(missing_ok=True)


def pending(url: str) -> list[str]:
    """What `migrate` would do: each migration's name with what it is for, in order. Raises as `migrate` does."""
    database = Database(url)
    try:
        current = current_revision(database)
        if current not in (None, *_revisions()):
            raise NotReady(version_problem(database) or "")
        scripts = ScriptDirectory.from_config(migration_config(url)).iterate_revisions("head", current or "base")
        return [f"{script.revision}: {(script.doc or '').splitlines()[0]}" for script in reversed([*scripts])]
    finally:
        database.close()


def current_revision(database: Database) -> str | None:
    """The database's migration, None if it is empty."""
    with database.engine.connect() as connection:
        revision: str | None = MigrationContext.configure(connection).get_current_revision()
        return revision


def head_revision() -> str:
    """The migration this version needs."""
    return _revisions()[0]


@functools.cache
def _revisions() -> tuple[str, ...]:
    """The migrations that this version knows, newest first."""
    scripts = ScriptDirectory.from_config(migration_config("sqlite://"))
    return tuple(script.revision for script in scripts.walk_revisions())


def version_problem(database: Database) -> str | None:
    """Why this version cannot use the database's tables, and what to do; None if it can."""
    revision = current_revision(database)
    if revision == head_revision():
        return None
    if revision is not None and revision not in _revisions():
        return f"A newer version has upgraded the database (to {revision}). Install that version, or restore a backup."
    return (
        f"The tables are at {revision or 'no revision'}; this version needs {head_revision()}. "
        "Run: assistant db upgrade"
    )


def is_from_newer_version(revision: str) -> bool:
    """Whether only a newer version than this one knows such tables."""
    return revision not in _revisions()


def check(database: Database) -> list[str]:
    """The problems found, as sentences that say what to do."""
    if found := damage(database):
        return found
    outdated = version_problem(database)
    return [outdated] if outdated is not None else []


def damage(database: Database) -> list[str]:
    """What is wrong with the database's content, whatever version it is of: sentences that say what to do."""
    try:
        return list(_damage(database))
    except DatabaseError as error:
        reason = " ".join(str(error.orig).split())[:200]
        advice = "Restore a backup" if database.is_sqlite else "Start it"
        return [f"The database cannot be read: {reason}. {advice}, or check ASSISTANT_DATABASE_URL."]


def _damage(database: Database) -> Iterator[str]:
    with database.engine.connect() as connection:
        if database.is_sqlite:
            for line in connection.exec_driver_sql("PRAGMA integrity_check").scalars():
                if line != "ok":
                    yield f"The file is damaged: {line}. Restore a backup."
            for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
                yield f"A row of {row[0]} points at a missing row of {row[2]}."


def snapshot(database: Database, path: Path) -> None:
    """Copy a SQLite database to ``path``, even while it is in use. Leaves a complete copy or none."""
    partial = path.with_name(path.name + ".partial")
    try:
        _make_private(partial)
        with database.engine.connect() as connection, closing(sqlite3.connect(partial)) as copy:
            connection.connection.driver_connection.backup(copy)  # type: ignore[union-attr]
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def migration_config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_migrations_dir()))
    config.attributes["url"] = url
    return config


@contextmanager
def connect_for_migration(config: Config) -> Iterator[Connection]:
    """The connection for `migrations/env.py`, committed at the end."""
    from assistant.settings import Settings

    # The `alembic` command line passes no address: take the configured one.
    engine = _create_engine(config.attributes.get("url") or Settings().sqlalchemy_url, echo=False)
    if engine.dialect.name == "sqlite":
        # Batch operations copy a table and drop the old one. With foreign keys on, that would cascade to its children.
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys=OFF"))
    with engine.connect().execution_options(write=True) as connection:
        yield connection
        connection.commit()
    engine.dispose()


def _migrations_dir() -> Path:
    """In a checkout beside the package, in a wheel inside it."""
    package = Path(__file__).parent
    beside = package.parent / "migrations"
    return beside if (beside / "env.py").exists() else package / "_migrations"


def _create_engine(url: str, *, echo: bool) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(
            parsed,
            echo=echo,
            hide_parameters=True,  # they are customers' texts, and errors are logged
            pool_pre_ping=True,
            pool_size=20,
            max_overflow=40,
            pool_timeout=10,
            connect_args={"connect_timeout": 5, "tcp_user_timeout": 15_000},  # a server that vanished is noticed
        )
        event.listen(engine, "connect", _configure_postgresql)
        return engine
    if parsed.database not in (None, "", ":memory:"):
        _make_private(Path(parsed.database))
    engine = create_engine(
        parsed,
        echo=echo,
        hide_parameters=True,
        pool_size=20,
        max_overflow=300,
        connect_args={"check_same_thread": False},
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(file: Path) -> None:
    """Create the file if it is missing, for its owner only: SQLite gives its other files the same mode."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _configure_postgresql(connection: Any, _record: Any) -> None:
    """Nobody waits for ever for a table that an administrator has locked."""
    connection.autocommit = True
    connection.execute("SET lock_timeout = '5s'")
    connection.autocommit = False


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # `_begin_sqlite` sends BEGIN; the driver would begin late and deferred.
    connection.isolation_level = None
    cursor = connection.cursor()
    # FULL: a commit is on the disk when it returns, and outlives a power cut. `fullfsync` says the same to macOS. The
    # cost was lost in the noise of a busy machine: 0.65 to 2.05 times the posts a second of NORMAL, median 1.0.
    durable = ("journal_mode=WAL", "synchronous=FULL", "fullfsync=ON", "checkpoint_fullfsync=ON")
    # What is deleted is overwritten: most builds do so by themselves.
    for pragma in (_busy_timeout(patience.get()), *durable, "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA {_busy_timeout(options.get('patience', patience.get()))}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("write", False) else "BEGIN")


def _busy_timeout(seconds: float) -> str:
    return f"busy_timeout={round(seconds * 1000)}"
