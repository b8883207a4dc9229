"""Workers: claim jobs from the queue and call the function that handles them.

`run_once` is one step, which tests call; `Workers` repeats it in threads until stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from assistant.desk import attachments, evidence, feed, files, learning, queue, subscribers, turns
from assistant.desk.desk import Desk
from assistant.desk.queue import ClaimedJob
from assistant.errors import AssistantError
from assistant.knowledge import embedding, gaps, indexing, sources

log = structlog.get_logger(__name__)

# Seconds between polls for jobs enqueued by other processes. In this process a commit wakes the workers.
POLL = 1.0
RENEW_EVERY = queue.LEASE / 3
SWEEP_EVERY = timedelta(hours=1)

Handler = Callable[[Desk, dict[str, int]], None]

HANDLERS: dict[str, Handler] = {
    subscribers.PROCESS_MESSAGE: lambda desk, payload: turns.process_message(desk, payload["message_id"]),
    turns.GIVE_UP: lambda desk, payload: turns.give_up(desk, payload["message_id"]),
    attachments.READ_AGAIN: lambda desk, payload: evidence.read_again(
        desk, payload["message_id"], tries=payload["tries"]
    ),
    learning.LEARN: lambda desk, _payload: log.info("triage.learned", **learning.learn(desk)),
    sources.SYNC: lambda desk, payload: sources.sync_job(desk, payload["source_id"]),
    embedding.EMBED: lambda desk, _payload: embedding.embed_job(desk),
    gaps.LOOK: lambda desk, _payload: gaps.look_job(desk),
}
# The jobs that follow once one has failed for good.
LAST_RESORTS = {subscribers.PROCESS_MESSAGE: turns.GIVE_UP}


def run_once(desk: Desk, *, running: RunningJobs | None = None) -> bool:
    """Run the most urgent due job. Returns whether there was one. A failing job does not raise."""
    job = queue.claim(desk.db, now=desk.now(), last_resorts=LAST_RESORTS)
    if job is None:
        return False
    running = running or RunningJobs()
    running.add(job)
    try:
        HANDLERS[job.name](desk, job.payload)
    except Exception as error:
        _record_failure(desk, job, error)
    else:
        queue.finish(desk.db, job, now=desk.now())
    finally:
        running.remove(job)
    return True


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


class Workers:
    """Worker threads and a thread that renews leases. `stop` waits up to ``timeout`` seconds for running jobs."""

    def __init__(self, desk: Desk, *, count: int) -> None:
        self._desk = desk
        self._running = RunningJobs()
        self._stopping = threading.Event()
        targets = [self._work] * count + [self._maintain]
        self._threads = [threading.Thread(target=target, name=target.__name__, daemon=True) for target in targets]

    def start(self) -> None:
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
        changes = self._desk.db.changes
        while not self._stopping.is_set():
            seen = changes.seen(queue.TOPIC)
            try:
                busy = run_once(self._desk, running=self._running)
            except Exception:
                # The queue itself failed (disk full, database gone): log it and retry more slowly.
                log.exception("worker.queue_unavailable")
                self._stopping.wait(5.0)
                continue
            if not busy:
                changes.wait(queue.TOPIC, seen=seen, timeout=POLL)

    def _maintain(self) -> None:
        """Renew leases; every hour, delete what has expired."""
        swept_at = self._desk.now()
        while not self._stopping.wait(RENEW_EVERY.total_seconds()):
            now = self._desk.now()
            try:
                if jobs := self._running.jobs():
                    queue.renew(self._desk.db, jobs, now=now)
                if now - swept_at >= SWEEP_EVERY:
                    swept_at = now
                    queue.sweep(self._desk.db, now=now)
                    if swept := files.sweep(self._desk.db, self._desk.storage, now=now):
                        log.info("storage.swept", files=swept)
                    feed.sweep(self._desk.db, now=now)
                    indexing.sweep_vectors(self._desk.db)
            except Exception:
                log.exception("worker.maintenance_failed")


def _record_failure(desk: Desk, job: ClaimedJob, error: Exception) -> None:
    reason, expected = f"{type(error).__name__}: {error}", isinstance(error, AssistantError)
    log.warning("job.failed", job=job.name, attempt=job.attempt, error=reason, exc_info=not expected)
    queue.fail(desk.db, job, error=reason, now=desk.now(), last_resorts=LAST_RESORTS)
