"""PostgreSQL away, read-only or locked: 503 with the cause, and everything as before once it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import create_engine, make_url

from assistant.runtime import Runtime
from tests.factories import bearer, make_key

pytestmark = pytest.mark.postgres


@contextmanager
def read_only(url: str) -> Iterator[None]:
    """As a standby is after a failover."""
    name = make_url(url).database
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    for value in ("on", "off"):
        with engine.connect() as connection:
            connection.exec_driver_sql("SET default_transaction_read_only = off")
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")
            connection.exec_driver_sql(end)
        if value == "on":
            yield
    engine.dispose()


@contextmanager
def table_locked(url: str) -> Iterator[None]:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE")
        yield
    engine.dispose()


@pytest.mark.parametrize(("fault", "cause"), [(read_only, "read_only"), (table_locked, "database_locked")])
def test_a_fault_of_the_database_refuses_a_ticket_and_the_repetition_opens_it(
    make_runtime: Callable[..., Runtime],
    make_app: Callable[..., Any],
    postgres_url: str,
    fault: Callable[[str], Any],
    cause: str,
) -> None:
    runtime = make_runtime(database_url=postgres_url)
    client: FlaskClient = make_app(runtime).test_client()
    headers = {**bearer(make_key(runtime.desk.db)), "Idempotency-Key": "one"}
    with fault(postgres_url):
        refused = client.post("/api/v1/tickets", json={"text": "It shows E21."}, headers=headers)
        assert (refused.status_code, refused.json["cause"]) == (503, cause)
        assert client.get("/readyz").status_code == (503 if cause == "read_only" else 200)
    assert client.post("/api/v1/tickets", json={"text": "It shows E21."}, headers=headers).status_code == 201
    assert client.get("/readyz").status_code == 200
