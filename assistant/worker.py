"""Workers: take jobs from the queue and call the service that does them.

`run_once` is one step and is what tests call; `run_forever` repeats it in threads until told to stop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import structlog

from assistant.desk import conversations, events, evidence, learning, queue, turns
from assistant.desk.desk import Desk
from assistant.desk.queue import ClaimedJob
from assistant.errors import AssistantError
from assistant.knowledge import embedding, gaps, indexing, sources

log = structlog.get_logger(__name__)

# How long a job enqueued by another process may wait unseen, in seconds; in this process a commit wakes the worker.
POLL = 1.0
RENEW_EVERY = queue.LEASE / 3
SWEEP_EVERY = timedelta(hours=1)

Handler = Callable[[Desk, dict[str, int]], None]

HANDLERS: dict[str, Handler] = {
    conversations.PROCESS_MESSAGE: lambda desk, payload: turns.process_message(desk, payload["message_id"]),
    evidence.READ_AGAIN: lambda desk, payload: evidence.read_again(desk, payload["message_id"], tries=payload["tries"]),
    learning.LEARN: lambda desk, _payload: _learn(desk),
    sources.SYNC: lambda desk, payload: sources.sync_job(desk, payload["source_id"]),
    embedding.EMBED: lambda desk, _payload: embedding.embed_job(desk),
    gaps.LOOK: lambda desk, _payload: gaps.look_job(desk),
}
# What is done when a job has failed for good.
LAST_RESORTS: dict[str, Handler] = {
    conversations.PROCESS_MESSAGE: lambda desk, payload: turns.give_up(desk, payload["message_id"]),
}


def run_once(desk: Desk, *, in_hand: InHand | None = None) -> bool:
    """Do the most urgent job that is due. Returns whether there was one. Never raises for a job's failure."""
    job = queue.claim(desk.db, now=desk.now())
    if job is None:
        return False
    in_hand = in_hand or InHand()
    in_hand.add(job)
    try:
        HANDLERS[job.name](desk, job.payload)
    except Exception as error:
        _failed(desk, job, error)
    else:
        queue.finish(desk.db, job, now=desk.now())
    finally:
        in_hand.remove(job)
    return True


def run_until_idle(desk: Desk) -> int:
    """Do every job that is due, and those they lead to. Returns how many. For the demo and for tests."""
    done = 0
    while run_once(desk):
        done += 1
    return done


class InHand:
    """The jobs that threads of this process are working on, whose leases must be renewed."""

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
    """Worker threads and one that renews leases. `stop` waits for the jobs in hand, at most ``timeout`` seconds."""

    def __init__(self, desk: Desk, *, count: int) -> None:
        self._desk = desk
        self._in_hand = InHand()
        self._stopping = threading.Event()
        targets = [self._work] * count + [self._keep]
        self._threads = [threading.Thread(target=target, name=target.__name__, daemon=True) for target in targets]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, *, timeout: float = 10.0) -> None:
        self._stopping.set()
        self._desk.db.changes.publish({queue.TOPIC})
        for thread in self._threads:
            thread.join(timeout / len(self._threads))

    def ask_to_stop(self) -> None:
        """Only sets a flag: safe in a signal handler."""
        self._stopping.set()

    def run_forever(self) -> None:
        """Block until `ask_to_stop` is called, e.g. by a signal handler."""
        self.start()
        while not self._stopping.wait(1.0):
            pass

    def _work(self) -> None:
        changes = self._desk.db.changes
        while not self._stopping.is_set():
            seen = changes.seen(queue.TOPIC)
            try:
                busy = run_once(self._desk, in_hand=self._in_hand)
            except Exception:
                # The queue itself failed (disk full, database gone): say so, and try again more slowly.
                log.exception("worker.queue_unavailable")
                self._stopping.wait(5.0)
                continue
            if not busy:
                changes.wait(queue.TOPIC, seen=seen, timeout=POLL)

    def _keep(self) -> None:
        """Renew leases and, now and then, sweep what is old."""
        swept_at = self._desk.now()
        while not self._stopping.wait(RENEW_EVERY.total_seconds()):
            now = self._desk.now()
            try:
                if jobs := self._in_hand.jobs():
                    queue.renew(self._desk.db, jobs, now=now)
                if now - swept_at >= SWEEP_EVERY:
                    swept_at = now
                    queue.sweep(self._desk.db, now=now)
                    events.sweep(self._desk.db, now=now)
                    indexing.sweep_vectors(self._desk.db)
            except Exception:
                log.exception("worker.keeping_failed")


def _failed(desk: Desk, job: ClaimedJob, error: Exception) -> None:
    reason = f"{type(error).__name__}: {error}"
    log.warning("job.failed", job=job.name, attempt=job.attempt, error=reason, exc_info=not _expected(error))
    dead = queue.fail(desk.db, job, error=reason, now=desk.now())
    if dead and job.name in LAST_RESORTS:
        LAST_RESORTS[job.name](desk, job.payload)


def _expected(error: Exception) -> bool:
    return isinstance(error, AssistantError)


def _learn(desk: Desk) -> None:
    fitted = learning.learn(desk)
    log.info("triage.learned", **fitted)
