"""Everything moves from SQLite to PostgreSQL and back, and an installation goes on with either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import Column, select, text

from assistant import backup, transfer, worker
from assistant.cli import main
from assistant.db import Base, Database, check
from assistant.desk import search
from assistant.desk.desk import Desk
from assistant.errors import Conflict
from assistant.models import Article, Customer, Evidence, Ticket
from assistant.models.vector_column import UnitVector
from assistant.retrieval.fulltext import Filters, find
from assistant.runtime import build
from assistant.settings import Settings
from tests.factories import make_agent, make_articles, make_ticket, make_upload
from tests.fakes import fake_capabilities

pytestmark = pytest.mark.postgres


@pytest.fixture
def filled(desk: Desk, tmp_path: Path) -> Desk:
    """Articles, tickets with photos that were worked on, and one that is gone."""
    make_articles(desk, tmp_path / "articles")
    make_agent(desk.db, "ada", admin=True)
    for name in ("Rosa", "Bert"):
        make_ticket(desk, f"{name}'s Quittenpresse shows E21", uploads=[make_upload()], requester_name=name)
    worker.run_until_idle(desk)
    gone = make_ticket(desk, "gone")
    with desk.db.begin() as session:
        session.delete(session.get_one(Ticket, gone.id))
        evidence = session.scalars(select(Evidence)).first()
        assert evidence is not None
        values = {"model": "m", "mode": "quoted", "fields": {}, "visible_text": []}
        session.add(Evidence(sha256=evidence.sha256, revision="corrected", corrects_id=evidence.id, **values))
    return desk


def content(db: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Of all tables, with vectors to two digits: PostgreSQL keeps half floats."""

    def told(column: Column[Any], value: Any) -> Any:
        is_vector = isinstance(column.type, UnitVector) and value is not None
        return tuple(np.frombuffer(value, dtype="<f4").round(2) + 0.0) if is_vector else value

    with db.read() as session:
        return {
            table.name: [
                tuple(map(told, table.columns, row))
                for row in session.execute(select(table).order_by(*table.primary_key))
            ]
            for table in Base.metadata.sorted_tables
        }


def test_everything_arrives_and_comes_back(filled: Desk, empty_postgres_url: str, tmp_path: Path) -> None:
    back_url = f"sqlite:///{tmp_path / 'back.db'}"
    before = content(filled.db)
    counts = transfer.move(filled.db, empty_postgres_url)
    there = Database(empty_postgres_url)
    assert counts == {name: len(rows) for name, rows in before.items()}
    assert counts["tickets"] == 2
    assert content(there) == before
    transfer.move(there, back_url)
    there.close()
    back = Database(back_url)
    assert content(back) == before
    assert check(back) == []
    back.close()


def test_tickets_and_articles_are_found_and_new_ids_are_new(
    filled: Desk, empty_postgres_url: str, tmp_path: Path
) -> None:
    transfer.move(filled.db, empty_postgres_url)
    settings = filled.settings.model_copy(update={"database_url": empty_postgres_url})
    runtime = build(settings, capabilities=fake_capabilities())
    with runtime.desk.db.read() as session:
        assert len(session.scalars(select(Ticket.id).where(search.has(session, "quittenpresse e21"))).all()) == 2
        assert find(session, ["pump"], filters=Filters(), limit=9)
    number = make_ticket(runtime.desk, "one more", requester_name="Rosa").number
    worker.run_until_idle(runtime.desk)
    with filled.db.read() as session:
        assert number > 1000 + 3, "the number of the ticket that is gone is not given out again"
    back = Database(f"sqlite:///{tmp_path / 'back.db'}")
    transfer.move(runtime.desk.db, f"sqlite:///{tmp_path / 'back.db'}")
    runtime.close()
    with back.read() as session:
        assert len(session.scalars(select(Ticket.id).where(search.has(session, "quittenpresse"))).all()) == 2
        assert session.scalar(text("SELECT seq FROM sqlite_sequence WHERE name = 'tickets'")) == number - 1000
    back.close()


def test_a_target_that_holds_something_is_left_alone(filled: Desk, empty_postgres_url: str) -> None:
    transfer.move(filled.db, empty_postgres_url)
    with pytest.raises(Conflict, match="not empty"):
        transfer.move(filled.db, empty_postgres_url)


def test_a_move_that_fails_leaves_the_target_empty(filled: Desk, empty_postgres_url: str) -> None:
    def fail(done: int, _total: int, _what: str) -> None:
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer.move(filled.db, empty_postgres_url, progress=fail)
    target = Database(empty_postgres_url)
    with target.read() as session:
        assert session.scalars(select(Customer)).all() == session.scalars(select(Article)).all() == []
    target.close()
    assert transfer.move(filled.db, empty_postgres_url)["tickets"] == 2  # and it can be tried again


def test_the_command_moves_and_says_what_to_set(
    filled: Desk, empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(filled.settings.data_dir))
    used = CliRunner().invoke(main, ["db", "move", empty_postgres_url])
    assert (used.exit_code, "in use" in used.output) == (1, True)
    filled.db.close()
    moved = CliRunner().invoke(main, ["db", "move", empty_postgres_url])
    assert moved.exit_code == 0, moved.output
    assert "ASSISTANT_DATABASE_URL" in moved.output
    again = CliRunner().invoke(main, ["db", "move", empty_postgres_url])
    assert again.exit_code == 1
    assert "not empty" in again.output


def test_a_backup_of_postgresql_is_restored_to_either(filled: Desk, empty_postgres_url: str, tmp_path: Path) -> None:
    before = content(filled.db)
    transfer.move(filled.db, empty_postgres_url)
    there = Database(empty_postgres_url)
    backup.create(filled.settings, there, filled.storage, tmp_path / "b.zip")
    with pytest.raises(Conflict, match="not empty"):
        backup.restore(tmp_path / "b.zip", filled.settings.model_copy(update={"database_url": empty_postgres_url}))
    backup.restore(tmp_path / "b.zip", Settings(data_dir=tmp_path / "sqlite"))
    restored = Database(Settings(data_dir=tmp_path / "sqlite").sqlalchemy_url)
    assert content(restored) == before
    restored.close()
    with there.engine.connect() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
        connection.commit()
    there.close()
    backup.restore(tmp_path / "b.zip", Settings(data_dir=tmp_path / "other", database_url=empty_postgres_url))
    assert content(there) == before
    there.close()
