"""Writers of one process take turns on SQLite, and whoever waits in vain is told why."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import sleep

import pytest

from assistant.db import Database, patience
from assistant.faults import passing_fault


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "desk.sqlite3"


@pytest.fixture
def db(file: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{file}")
    with database.begin():
        pass
    yield database
    database.close()


def cause_met_by_a_writer(db: Database) -> str:
    met: list[str] = []

    def write() -> None:
        patience.set(0.1)
        try:
            with db.begin():
                pass
        except Exception as error:
            fault = passing_fault(error) or pytest.fail("not a passing fault")
            met.append(fault.cause)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(10)
    return met[0]


def test_whoever_has_waited_longest_writes_next(db: Database) -> None:
    wrote: list[int] = []

    def write(number: int) -> None:
        with db.begin():
            wrote.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    with db.begin():
        for thread in threads:
            thread.start()
            sleep(0.05)
    for thread in threads:
        thread.join(10)
    assert wrote == list(range(8))


def test_whoever_gave_up_or_failed_holds_up_nobody(db: Database) -> None:
    with db.begin():
        assert cause_met_by_a_writer(db) == "database_crowded"
    with pytest.raises(ZeroDivisionError), db.begin():
        raise ZeroDivisionError
    with db.begin():
        pass


def test_another_program_is_not_blamed_for_our_own_writers(db: Database, file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert cause_met_by_a_writer(db) == "database_locked"

        def write() -> None:
            with db.begin():
                pass

        waits = threading.Thread(target=write)
        waits.start()  # holds the turn and waits for the other program
        sleep(0.1)
        assert cause_met_by_a_writer(db) == "database_locked"
        other.execute("ROLLBACK")
    waits.join(10)
