"""Jobs that meet a passing fault wait for its end, and clocks that jump make nothing wait for ever or run twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from structlog.testing import capture_logs

from assistant.db import utcnow
from assistant.desk import queue
from assistant.desk.desk import Desk
from assistant.models import Job, JobStatus, TriageResult
from assistant.worker import Clock, run_once, run_until_idle
from tests.factories import make_ticket, make_upload
from tests.fakes import ManualClock

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(utcnow() + SECOND)


@pytest.fixture
def timed(desk: Desk, clock: ManualClock) -> Desk:
    """The desk with a clock of the test's own."""
    return replace(desk, now=clock)


@contextmanager
def storage_away(desk: Desk) -> Iterator[None]:
    folder = Path(desk.settings.attachments_url)
    aside = folder.rename(folder.with_name("aside"))
    folder.write_text("no folder")
    yield
    folder.unlink()
    aside.rename(folder)


def the_job(desk: Desk) -> Job:
    with desk.db.read() as session:
        return session.scalars(select(Job).order_by(Job.id)).first() or pytest.fail("no job")


def test_a_job_that_meets_a_fault_keeps_its_attempts_and_is_done_once_it_is_over(
    timed: Desk, clock: ManualClock
) -> None:
    ticket = make_ticket(timed, uploads=[make_upload()])
    with storage_away(timed), capture_logs() as logs:
        for _ in range(3 * queue.MAX_ATTEMPTS):
            assert run_once(timed)
            clock.advance(timedelta(minutes=2))
        job = the_job(timed)
        assert (job.status, job.attempts) == (JobStatus.QUEUED, 0)
    assert len([line for line in logs if line["event"] == "fault"]) <= 1
    assert [line for line in logs if line.get("exc_info")] == []
    run_until_idle(timed)
    with timed.db.read() as session:
        assert session.scalars(select(TriageResult.ticket_id)).all() == [ticket.id]


def test_the_pauses_grow_and_end_with_a_minute(timed: Desk, clock: ManualClock) -> None:
    make_ticket(timed, uploads=[make_upload()])
    pauses = []
    with storage_away(timed):
        for _ in range(25):
            run_once(timed)
            pauses.append((the_job(timed).run_at - clock()).total_seconds())
            clock.at = the_job(timed).run_at
    assert pauses == sorted(pauses)
    assert (round(pauses[0]), pauses[-1]) == (2, 60)


def test_a_fault_that_lasts_for_days_is_given_to_a_person(timed: Desk, clock: ManualClock) -> None:
    make_ticket(timed, uploads=[make_upload()])
    clock.advance(queue.SPARED_FOR + HOUR)
    with storage_away(timed):
        for _ in range(queue.MAX_ATTEMPTS):
            run_once(timed)
            clock.advance(timedelta(minutes=2))
        assert the_job(timed).status is JobStatus.DEAD


def test_an_outcome_is_recorded_once_the_database_can_be_written_again(timed: Desk) -> None:
    make_ticket(timed)
    refused = []

    def refuse(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("UPDATE jobs") and "finished_at" in statement and len(refused) < 1:
            refused.append(statement)
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    event.listen(timed.db.engine, "before_cursor_execute", refuse)
    run_once(timed)
    event.remove(timed.db.engine, "before_cursor_execute", refuse)
    assert len(refused) == 1
    assert (the_job(timed).status, the_job(timed).attempts) == (JobStatus.DONE, 1)


@pytest.mark.parametrize("back", [timedelta(minutes=10), timedelta(hours=5), timedelta(days=400)])
def test_jobs_do_not_wait_after_the_clock_has_gone_back(timed: Desk, clock: ManualClock, back: timedelta) -> None:
    make_ticket(timed)
    clock.advance(-back)
    assert not run_once(timed)
    assert queue.set_right(timed.db, now=clock()) == 1
    assert run_once(timed)


def test_a_retry_does_not_wait_after_the_clock_has_gone_back_less_than_the_job_is_old(
    timed: Desk, clock: ManualClock
) -> None:
    make_ticket(timed)
    clock.advance(3 * HOUR)
    job = queue.claim(timed.db, now=clock()) or pytest.fail("nothing to do")
    queue.fail(timed.db, job, error="failed", now=clock())
    clock.advance(-HOUR)
    queue.set_right(timed.db, now=clock())
    assert run_once(timed)


def test_a_dead_workers_lease_ends_in_its_time_although_the_clock_has_gone_back(
    timed: Desk, clock: ManualClock
) -> None:
    make_ticket(timed)
    queue.claim(timed.db, now=clock())
    clock.advance(-HOUR)
    queue.set_right(timed.db, now=clock())
    clock.advance(queue.LEASE + SECOND)
    assert queue.claim(timed.db, now=clock()) is not None


def test_what_is_meant_to_run_later_still_waits(timed: Desk, clock: ManualClock) -> None:
    with timed.db.begin() as session:
        queue.enqueue(session, "learn", {}, run_at=clock() + HOUR)
    assert queue.set_right(timed.db, now=clock()) == 0
    assert not run_once(timed)


def test_a_live_workers_job_is_not_taken_over_after_the_clock_has_gone_forward(timed: Desk, clock: ManualClock) -> None:
    ticks = ManualClock(clock())
    watched = Clock(clock, ticks=lambda: ticks().timestamp())
    make_ticket(timed)
    job = queue.claim(timed.db, now=clock()) or pytest.fail("nothing to do")
    clock.advance(5 * HOUR)
    assert watched.has_jumped()
    assert queue.claim(timed.db, now=clock(), take_over=not watched.has_jumped()) is None
    queue.renew(timed.db, [job], now=clock())
    clock.advance(queue.LEASE - SECOND)
    ticks.advance(queue.LEASE - SECOND)
    assert watched.has_jumped()
    clock.advance(2 * SECOND)
    ticks.advance(2 * SECOND)
    assert not watched.has_jumped()


def test_a_clock_that_drifts_has_not_jumped(clock: ManualClock) -> None:
    ticks = ManualClock(clock())
    watched = Clock(clock, ticks=lambda: ticks().timestamp())
    for _ in range(100):
        clock.advance(timedelta(seconds=11))
        ticks.advance(timedelta(seconds=10))
        assert not watched.has_jumped()
