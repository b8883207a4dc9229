"""Everything of one database in another one, of either kind: moved from SQLite to PostgreSQL and back, and backed up.

Tables are copied in the order of their foreign keys, in one transaction of the target: it is complete, or as empty as
before. The target itself indexes the words of articles; those of tickets, which our own code has cut, are copied.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Insert,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    text,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from assistant.db import Base, Database, current_revision, migrate, version_problem
from assistant.desk import search
from assistant.errors import Conflict, NotReady
from assistant.models import DEFAULT_INBOX, Inbox
from assistant.progress import Progress, no_progress

_AT_ONCE = 500  # rows


def move(source: Database, url: str, *, progress: Progress = no_progress) -> dict[str, int]:
    """Copy everything to the empty database at ``url``. Returns the number of rows by table.

    Raises `Conflict` if it holds anything, `NotReady` if the source is of another version or rows would be missing."""
    if (problem := version_problem(source)) is not None:
        raise NotReady(problem)
    target = Database(url)
    try:
        if current_revision(target) is None:
            migrate(url)
        elif (problem := version_problem(target)) is not None:
            raise Conflict(f"The target is not empty: {problem}")
        copied = copy(source, target, progress=progress)
        if not target.is_sqlite:
            with target.begin() as session:
                session.execute(text("ANALYZE"))  # by its statistics searches are planned, and words weighed
        return copied
    finally:
        target.close()


def copy(source: Database, target: Database, *, progress: Progress = no_progress) -> dict[str, int]:
    """Fill a migrated database that holds nothing. Both are of this version. Returns and raises as `move`."""
    tables = Base.metadata.sorted_tables  # each after those that it refers to
    with source.read() as reading, target.begin() as writing:
        _require_empty(writing, tables)
        counts = {table.name: _count(reading, table) for table in tables}
        total, done = sum(counts.values()), 0
        for table in tables:
            query, into = _selection(reading, table), _insertion(writing, table)
            for rows in reading.execute(query, execution_options={"yield_per": _AT_ONCE}).partitions():
                writing.execute(into, [dict(zip(map(_bound, table.columns), row, strict=True)) for row in rows])
                done += len(rows)
                progress(done, total, "Copying")
        for words in search.kept_words(reading):
            search.keep_words(writing, words)
        _set_counters(writing, _counters(reading, tables))
        for table in tables:
            if (found := _count(writing, table)) != counts[table.name]:
                raise NotReady(f"{found} of {counts[table.name]} rows of {table.name} arrived. Nothing was changed.")
    return counts


def _require_empty(session: Session, tables: list[Table]) -> None:
    """Migrations make one row, the default inbox: the other database has its own."""
    default = session.scalar(select(Inbox.key)) == DEFAULT_INBOX
    filled = [table.name for table in tables if _count(session, table) > (default and table.name == "inboxes")]
    if filled:
        raise Conflict(f"The target is not empty: it has rows in {', '.join(filled[:5])}. Name an empty database.")
    session.execute(delete(Inbox))


def _count(session: Session, table: Table) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0


def _selection(session: Session, table: Table) -> Select[Any]:
    """JSON is read as text: what is no value in SQL stays apart from JSON's ``null``."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    columns = [
        column if not _is_json(column) else type_coerce(column, Text) if is_sqlite else cast(column, Text)
        for column in table.columns
    ]
    return select(*columns).order_by(*table.primary_key)


def _insertion(session: Session, table: Table) -> Insert:
    is_sqlite = session.get_bind().dialect.name == "sqlite"

    def value(column: Column[Any]) -> Any:
        if not _is_json(column):
            return bindparam(_bound(column), type_=column.type)
        given = bindparam(_bound(column), type_=Text())
        return type_coerce(given, Text) if is_sqlite else cast(given, JSONB)

    return insert(table).values({column.name: value(column) for column in table.columns})


def _bound(column: Column[Any]) -> str:
    """The name of a column's parameter; SQLAlchemy keeps that of the column for itself."""
    return f"new_{column.name}"


def _is_json(column: Column[Any]) -> bool:
    return isinstance(column.type, JSON)


def _counters(session: Session, tables: list[Table]) -> dict[str, int]:
    """The highest id that each table has ever given out, as far as the database knows: what was deleted counts."""
    highest = {table.name: session.scalar(select(func.max(table.c.id))) or 0 for table in tables if _counts_ids(table)}
    if session.get_bind().dialect.name == "sqlite":
        known = [(name, last) for name, last in session.execute(text("SELECT name, seq FROM sqlite_sequence"))]
    else:
        last = "SELECT pg_sequence_last_value(pg_get_serial_sequence(:name, 'id')::regclass)"
        known = [(name, session.scalar(text(last), {"name": name})) for name in highest]
    return highest | {name: max(last or 0, highest[name]) for name, last in known if name in highest}


def _set_counters(session: Session, highest: dict[str, int]) -> None:
    if session.get_bind().dialect.name == "sqlite":
        counted = set(session.scalars(text("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")))
        session.execute(text("DELETE FROM sqlite_sequence"))
        for name in sorted(counted & highest.keys()):
            values = {"name": name, "last": highest[name]}
            session.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), values)
        return
    for name, last in highest.items():
        if last:
            advance = text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :last)")
            session.execute(advance, {"name": name, "last": last})


def _counts_ids(table: Table) -> bool:
    return [column.name for column in table.primary_key] == ["id"]
