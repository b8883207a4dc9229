"""Migrations make the tables that the models describe, on SQLite and on PostgreSQL, from nothing and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine, inspect

from assistant.db import Database, check, migrate, migration_config


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'assistant.db'}"
    else:
        yield request.getfixturevalue("postgres_url")


def test_an_empty_database_becomes_the_one_the_models_describe(url: str) -> None:
    migrate(url)
    migrate(url)  # again does no harm
    command.check(migration_config(url))
    database = Database(url)
    assert check(database) == []
    database.close()


def test_the_way_down_leaves_nothing_behind(url: str) -> None:
    migrate(url)
    command.downgrade(migration_config(url), "base")
    engine = create_engine(url)
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    engine.dispose()
