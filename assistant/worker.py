"""Workers: claim jobs from the queue and call the function that handles them.

`run_once` is one step, which tests call; `Workers` repeats it in threads until stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from time import monotonic, perf_counter
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from assistant import backup_schedule, tracing
from assistant.desk import (
    alerts,
    assigning,
    attachments,
    automations,
    batches,
    deadlines,
    evidence,
    inboxes,
    learning,
    likeness,
    mail,
    notifications,
    products,
    queue,
    retention,
    rollup,
    sending,
    subscribers,
    sweeping,
    tickets,
    turns,
    webhooks,
)
from assistant.desk.desk import Desk
from assistant.desk.queue import ClaimedJob
from assistant.errors import AssistantError
from assistant.faults import FAULTS, describe, passing_fault
from assistant.knowledge import embedding, gaps, indexing, sources
from assistant.measures import JOB, JOB_WAIT

log = structlog.get_logger(__name__)

# Seconds between polls for jobs enqueued by other processes. In this process a commit wakes the workers.
POLL = 1.0
RENEW_EVERY = queue.LEASE / 3
SWEEP_EVERY = timedelta(hours=1)
# Seconds between two looks whether a backup is due.
BACK_UP_EVERY = 60.0
# Seconds between two looks at the clock that are no drift any more.
_JUMP = 5.0

Handler = Callable[[Desk, dict[str, Any]], None]

HANDLERS: dict[str, Handler] = {
    subscribers.PROCESS_MESSAGE: lambda desk, payload: turns.process_message(desk, payload["message_id"]),
    turns.GIVE_UP: lambda desk, payload: turns.give_up(desk, payload["message_id"]),
    subscribers.SCAN_AGAIN: lambda desk, payload: attachments.scan_again(
        desk, payload["message_id"], tries=payload["tries"]
    ),
    attachments.READ_AGAIN: lambda desk, payload: evidence.read_again(
        desk, payload["message_id"], tries=payload["tries"]
    ),
    subscribers.MAIL_UNREAD: lambda desk, payload: notifications.mail_unread(desk, payload["conversation_id"]),
    mail.DELIVER: lambda desk, payload: mail.deliver(desk, payload["mail_id"]),
    subscribers.TELL_WEBHOOK: lambda desk, payload: webhooks.deliver(desk, **payload),
    batches.RUN: lambda desk, payload: batches.run(desk, payload["batch_id"]),
    subscribers.ALERT: lambda desk, payload: alerts.tell(desk, payload["message_id"]),
    sending.SEND: lambda desk, payload: sending.send_held(desk, payload["held_id"]),
    subscribers.WAKE: lambda desk, payload: tickets.wake(desk, payload["ticket_id"]),
    deadlines.NOTICE: lambda desk, payload: tickets.notice_breach(desk, payload["ticket_id"]),
    inboxes.RECOUNT: lambda desk, payload: tickets.recount_deadlines(desk, payload["after_id"]),
    subscribers.ASSIGN: lambda desk, payload: assigning.assign_waiting(desk, payload["team_id"]),
    subscribers.AUTOMATE: lambda desk, payload: automations.run_by_event(desk, **payload),
    automations.BY_TIME: lambda desk, _payload: automations.run_by_time(desk),
    likeness.HASH: lambda desk, _payload: likeness.hash_job(desk),
    rollup.ROLL_UP: lambda desk, _payload: rollup.roll_up_job(desk),
    retention.RETAIN: lambda desk, _payload: retention.retain_job(desk),
    learning.LEARN: lambda desk, _payload: log.info("triage.learned", **learning.learn(desk)),
    products.LEARN: lambda desk, _payload: products.learn_job(desk),
    sources.SYNC: lambda desk, payload: sources.sync_job(desk, payload["source_id"]),
    embedding.EMBED: lambda desk, _payload: embedding.embed_job(desk),
    gaps.LOOK: lambda desk, _payload: gaps.look_job(desk),
}
# Jobs that wait for machines of others, which may take their time: they have threads of their own, so that no customer
# waits behind them.
OUTWARD = frozenset({mail.DELIVER, subscribers.TELL_WEBHOOK})
OUTWARD_THREADS = 2
# The jobs that follow once one has failed for good.
LAST_RESORTS = {subscribers.PROCESS_MESSAGE: turns.GIVE_UP}


def run_once(
    desk: Desk,
    *,
    running: RunningJobs | None = None,
    take_over: bool = True,
    stopping: threading.Event | None = None,
    only: Collection[str] = (),
    but: Collection[str] = (),
) -> bool:
    """Run the most urgent due job, ``only`` or ``but`` of some names. Returns whether there was one. A failing job does
    not raise.

    Its outcome is recorded as soon as the database can be written, unless ``stopping`` is set meanwhile."""
    job = queue.claim(desk.db, now=desk.now(), last_resorts=LAST_RESORTS, take_over=take_over, only=only, but=but)
    if job is None:
        return False
    running = running or RunningJobs()
    running.add(job)
    with tracing.continuing(job.origin):
        record = _run(desk, job)
        try:
            _insist(lambda: record(desk.db, job, now=desk.now()), stopping or threading.Event())
        finally:
            running.remove(job)
    return True


def _run(desk: Desk, job: ClaimedJob) -> Callable[..., None]:
    """Run a job, count and log it. Returns how to record what came of it."""
    record, outcome = queue.finish, "done"
    desk.measures.observe(JOB_WAIT, job.waited.total_seconds(), job.name)
    started = perf_counter()
    try:
        with tracing.span(f"job {job.name}", attempt=job.attempt, waited_seconds=job.waited.total_seconds()):
            HANDLERS[job.name](desk, job.payload)
    except Exception as error:
        record, outcome = _after_failure(job, error)
    took = perf_counter() - started
    desk.measures.observe(JOB, took, job.name, outcome)
    tell = log.info if desk.settings.access_log else log.debug
    times = {"ms": round(1000 * took), "waited_ms": round(1000 * job.waited.total_seconds())}
    tell("job", job=job.name, id=job.id, outcome=outcome, attempt=job.attempt, **times)
    return record


def run_until_idle(desk: Desk) -> int:
    """Run all due jobs and the jobs they enqueue. Returns their number. For the demo and tests."""
    done = 0
    while run_once(desk):
        done += 1
    return done


class RunningJobs:
    """Jobs running in this process, whose leases must be renewed. Thread-safe."""

    def __init__(self) -> None:
        self._jobs: dict[int, ClaimedJob] = {}
        self._lock = threading.Lock()

    def add(self, job: ClaimedJob) -> None:
        with self._lock:
            self._jobs[job.id] = job

    def remove(self, job: ClaimedJob) -> None:
        with self._lock:
            self._jobs.pop(job.id, None)

    def jobs(self) -> list[ClaimedJob]:
        with self._lock:
            return list(self._jobs.values())


class Clock:
    """Notices that the clock was set, or that the machine slept. Thread-safe.

    Leases then seem to have expired although their holders live: they get the time to renew them."""

    def __init__(self, now: Callable[[], datetime], *, ticks: Callable[[], float] = monotonic) -> None:
        self._now, self._ticks = now, ticks
        self._offset = now().timestamp() - ticks()
        self._jumped_at: float | None = None
        self._lock = threading.Lock()

    def has_jumped(self) -> bool:
        """Whether it has within the time of a lease."""
        with self._lock:
            ticks = self._ticks()
            by = self._now().timestamp() - ticks - self._offset
            if abs(by) > _JUMP:
                log.warning("clock.changed", seconds=round(by))
                self._jumped_at = ticks
            self._offset += by
            return self._jumped_at is not None and ticks - self._jumped_at < queue.LEASE.total_seconds()


class Workers:
    """Worker threads and a thread that renews leases. `stop` waits up to ``timeout`` seconds for running jobs."""

    def __init__(self, desk: Desk, *, count: int) -> None:
        self._desk = desk
        self._running = RunningJobs()
        self._stopping = threading.Event()
        self._clock = Clock(desk.now)
        targets = [self._work] * count + [self._work_outward] * OUTWARD_THREADS + [self._maintain]
        if desk.settings.backup_hours:
            targets.append(self._back_up)
        self._threads = [threading.Thread(target=target, name=target.__name__, daemon=True) for target in targets]

    def start(self) -> None:
        with suppress(SQLAlchemyError), self._desk.db.begin() as session:
            likeness.request(session)
        for thread in self._threads:
            thread.start()

    def stop(self, *, timeout: float = 10.0) -> None:
        self._stopping.set()
        self._desk.db.changes.publish({queue.TOPIC})
        for thread in self._threads:
            thread.join(timeout / len(self._threads))
        if unfinished := self._running.jobs():
            with suppress(SQLAlchemyError):  # their leases expire
                queue.release(self._desk.db, unfinished, now=self._desk.now())

    def ask_to_stop(self) -> None:
        """Only sets a flag, so it is safe in a signal handler."""
        self._stopping.set()

    def run_forever(self) -> None:
        """Start, then block until `ask_to_stop` is called."""
        self.start()
        while not self._stopping.wait(1.0):
            pass

    def _work(self) -> None:
        self._work_on(but=OUTWARD)

    def _work_outward(self) -> None:
        self._work_on(only=OUTWARD)

    def _work_on(self, **share: Collection[str]) -> None:
        changes = self._desk.db.changes
        while not self._stopping.is_set():
            seen = changes.seen(queue.TOPIC)
            try:
                take_over = not self._clock.has_jumped()
                busy = run_once(
                    self._desk, running=self._running, take_over=take_over, stopping=self._stopping, **share
                )
            except Exception as error:
                # The queue itself failed (disk full, database gone): log it and retry more slowly.
                _log_trouble("worker.queue_unavailable", error)
                self._stopping.wait(5.0)
                continue
            if not busy:
                changes.wait(queue.TOPIC, seen=seen, timeout=POLL)

    def _maintain(self) -> None:
        """Renew leases, and set right what a changed clock left waiting; every hour, delete what has expired.

        Not in the hour after the clock has changed: it may be wrong, and what it says has expired would be lost."""
        swept_at = monotonic()
        while not self._stopping.wait(RENEW_EVERY.total_seconds()):
            now = self._desk.now()
            try:
                if jobs := self._running.jobs():
                    queue.renew(self._desk.db, jobs, now=now)
                queue.set_right(self._desk.db, now=now)
                if self._clock.has_jumped():
                    swept_at = monotonic()
                if monotonic() - swept_at >= SWEEP_EVERY.total_seconds():
                    swept_at = monotonic()
                    sweeping.sweep(self._desk, now=now)
                    indexing.sweep_vectors(self._desk.db)
                    retention.request(self._desk.db, now=now)
            except Exception as error:
                _log_trouble("worker.maintenance_failed", error)

    def _back_up(self) -> None:
        """Beside the jobs: a backup may take longer than anybody should wait for a worker."""
        desk = self._desk

        def progress(_done: int, _total: int, _what: str) -> None:
            if self._stopping.is_set():
                raise _StopsError

        while True:
            try:
                made = backup_schedule.make_if_due(
                    desk.settings, desk.db, desk.storage, now=desk.now(), progress=progress
                )
                if made is not None:
                    log.info("backup.made", bytes=made.stat().st_size)
            except _StopsError:
                return
            except Exception as error:
                _log_trouble("backup.failed", error)
            if self._stopping.wait(BACK_UP_EVERY):
                return


class _StopsError(Exception):
    """The workers stop: what takes long is left."""


def _after_failure(job: ClaimedJob, error: Exception) -> tuple[Callable[..., None], str]:
    """Log why a job failed; returns how to record that, and what came of it: postponed, failed or dead."""
    reason = f"{type(error).__name__}: {error}"
    if (fault := passing_fault(error)) is not None:
        FAULTS.tell(fault, error, job=job.name)
        return partial(queue.postpone, error=reason, last_resorts=LAST_RESORTS), "postponed"
    expected = isinstance(error, AssistantError)
    log.warning("job.failed", job=job.name, attempt=job.attempt, error=describe(error), exc_info=not expected and error)
    outcome = "dead" if job.is_last_attempt else "failed"
    return partial(queue.fail, error=reason, last_resorts=LAST_RESORTS), outcome


def _insist(record: Callable[[], None], stopping: threading.Event) -> None:
    """Try again while the database is away: a job that is done should not run twice."""
    pause = 1.0
    while True:
        try:
            return record()
        except Exception as error:
            if (fault := passing_fault(error)) is None or stopping.wait(pause):
                raise
            FAULTS.tell(fault, error, job="(recording its outcome)")
            pause = min(2 * pause, 30.0)


def _log_trouble(event: str, error: Exception) -> None:
    if (fault := passing_fault(error)) is not None:
        FAULTS.tell(fault, error, at=event)
    else:
        log.error(event, exc_info=error)
