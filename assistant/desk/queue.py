"""Background work that survives ``kill -9``: rows in the `jobs` table, leased to a worker.

A job is enqueued in the transaction that makes it necessary. A worker claims it under a lease, which it renews while it
works; if the worker dies, the lease expires and another worker claims the job. So a job runs at least once, and every
handler must be safe to run again. Failures are retried with growing pauses; after the last attempt the job is dead, and
its last resort, another job, is enqueued with its death.

A job whose process died may be what killed it. Such suspects run one at a time, those with the fewest crashes first: a
message that crashes whatever reads it takes nothing else down with it twice, and is dead after `MAX_CRASHES`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import structlog
from sqlalchemy import and_, delete, exists, false, func, or_, select, true, update
from sqlalchemy.orm import Session, aliased

from assistant.db import Database, announce, utcnow
from assistant.models import Job, JobStatus
from assistant.ports import WorkPriority
from assistant.tracing import origin

log = structlog.get_logger(__name__)

TOPIC = "jobs"

MAX_ATTEMPTS = 5
MAX_CRASHES = 3
LEASE = timedelta(seconds=30)
_LONGEST_LINE = 500
KEEP_FINISHED = timedelta(days=2)
# How long after its creation a job is spared the count of attempts that fail for want of database, disk or storage.
SPARED_FOR = timedelta(days=1)
_SHORTEST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=2), timedelta(minutes=1)
# Clocks of several machines differ this much without anybody having set one.
_SKEW = timedelta(seconds=5)
NO_LAST_RESORTS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class NewJob:
    """Work to enqueue, due after ``delay``; see `enqueue`."""

    name: str
    payload: dict[str, Any]
    key: str | None = None
    priority: WorkPriority = WorkPriority.DRAFT
    delay: timedelta = timedelta(0)


@dataclass(frozen=True)
class ClaimedJob:
    """A job that a worker holds. ``attempt`` counts from 1 and distinguishes this claim from others of the same job."""

    id: int
    name: str
    payload: dict[str, Any]
    attempt: int
    waited: timedelta = timedelta(0)  # since it was due
    origin: dict[str, str] | None = None

    @property
    def is_last_attempt(self) -> bool:
        return self.attempt >= MAX_ATTEMPTS


def enqueue(
    session: Session,
    name: str,
    payload: dict[str, Any],
    *,
    key: str | None = None,
    priority: WorkPriority = WorkPriority.DRAFT,
    run_at: datetime | None = None,
) -> None:
    """Add a job to the caller's transaction, due at ``run_at`` (default: now). With a ``key``, a job that is already
    queued is not added again but becomes due at the earlier of both times."""
    run_at = run_at or utcnow()
    if key is not None:
        waiting = session.scalar(select(Job).where(Job.key == key))
        if waiting is not None and waiting.status is JobStatus.QUEUED:
            waiting.run_at = min(waiting.run_at, run_at)
            announce(session, TOPIC)
            return
        if waiting is not None:
            waiting.key = None  # running or finished: it may have missed what this one is about
            session.flush()
    session.add(Job(name=name, payload=payload, key=key, priority=priority, run_at=run_at, origin=origin()))
    announce(session, TOPIC)


def cancel(session: Session, key: str) -> None:
    """Remove a job that has not started. A no-op if there is none."""
    session.execute(delete(Job).where(Job.key == key, Job.status == JobStatus.QUEUED))


def claim(
    db: Database,
    *,
    now: datetime,
    lease: timedelta = LEASE,
    last_resorts: Mapping[str, str] = NO_LAST_RESORTS,
    take_over: bool = True,
    only: Collection[str] = (),
    but: Collection[str] = (),
) -> ClaimedJob | None:
    """Claim the most urgent job that is due, or whose lease has expired if ``take_over``; None if there is none. Of
    those of the names ``only``, if any are given, and of none of those of ``but``.

    Jobs that crashed for the last time are dead instead. ``last_resorts``: names of jobs to names of what follows their
    death, with the same payload."""
    abandoned = and_(Job.status == JobStatus.RUNNING, Job.leased_until < now, true() if take_over else false())
    named = and_(Job.name.in_(only) if only else true(), Job.name.not_in(but) if but else true())
    due = and_(or_(and_(Job.status == JobStatus.QUEUED, Job.run_at <= now), abandoned), named)
    is_suspect = or_(Job.crashes > 0, abandoned)
    held = aliased(Job)
    suspect_runs = exists().where(held.status == JobStatus.RUNNING, held.leased_until >= now, held.crashes > 0)
    claimable = and_(due, or_(~is_suspect, ~suspect_runs))
    query = select(Job).where(claimable).order_by(Job.priority, Job.crashes, Job.run_at, Job.id).limit(1)
    with db.read() as session:  # most polls find nothing: they need no write lock
        if session.scalar(select(Job.id).where(due).limit(1)) is None:
            return None
    with db.begin() as session:
        while (job := session.scalar(query.with_for_update(skip_locked=True))) is not None:
            job.crashes += job.status is JobStatus.RUNNING
            if job.crashes < MAX_CRASHES:
                job.status = JobStatus.RUNNING
                job.attempts += 1
                job.leased_until = now + lease
                waited = max(timedelta(0), now - job.run_at)
                return ClaimedJob(job.id, job.name, dict(job.payload), job.attempts, waited, job.origin)
            job.error = f"The process died {job.crashes} times while it ran this job."
            log.error("job.dead", job=job.name, id=job.id, error=job.error)
            job.status, job.finished_at, job.leased_until, job.key = JobStatus.DEAD, now, None, None
            _enqueue_last_resort(session, job.name, job.payload, last_resorts)
        return None


def renew(db: Database, jobs: Sequence[ClaimedJob], *, now: datetime, lease: timedelta = LEASE) -> None:
    """Extend the leases of jobs in progress."""
    with db.begin() as session:
        for job in jobs:
            session.execute(_ours(job).values(leased_until=now + lease))


def finish(db: Database, job: ClaimedJob, *, now: datetime) -> None:
    """Mark done. A no-op if the lease was lost and another worker has the job."""
    with db.begin() as session:
        session.execute(_ours(job).values(status=JobStatus.DONE, finished_at=now, leased_until=None, key=None))


def release(db: Database, jobs: Sequence[ClaimedJob], *, now: datetime) -> None:
    """Give back jobs that this process will not finish, because it stops: that is no crash, and nobody need wait."""
    with db.begin() as session:
        for job in jobs:
            session.execute(_ours(job).values(status=JobStatus.QUEUED, run_at=now, leased_until=None))


def postpone(
    db: Database, job: ClaimedJob, *, error: str, now: datetime, last_resorts: Mapping[str, str] = NO_LAST_RESORTS
) -> None:
    """Run the job again later: a passing fault, not the job, made it fail. Costs no attempt during its first day.

    The pause grows with the job's age, from 2 seconds to a minute."""
    with db.begin() as session:
        age = now - session.get_one(Job, job.id).created_at
        if age <= SPARED_FOR:
            run_at = now + min(max(age / 4, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            values = {"status": JobStatus.QUEUED, "run_at": run_at, "attempts": Job.attempts - 1}
            session.execute(_ours(job).values(error=error[:2000], leased_until=None, **values))
            announce(session, TOPIC)
            return
    fail(db, job, error=error, now=now, last_resorts=last_resorts)


def fail(
    db: Database, job: ClaimedJob, *, error: str, now: datetime, last_resorts: Mapping[str, str] = NO_LAST_RESORTS
) -> None:
    """Retry after 1, 4, 16, 64 seconds; after the last attempt the job is dead, and its last resort is enqueued."""
    with db.begin() as session:
        if job.is_last_attempt:
            values: dict[str, Any] = {"status": JobStatus.DEAD, "finished_at": now, "key": None}
        else:
            values = {"status": JobStatus.QUEUED, "run_at": now + timedelta(seconds=4 ** (job.attempt - 1))}
        ours = _ours(job).values(error=error[:2000], leased_until=None, **values).returning(Job.id)
        if session.scalar(ours) is not None and job.is_last_attempt:
            _enqueue_last_resort(session, job.name, job.payload, last_resorts)
        announce(session, TOPIC)


def _enqueue_last_resort(
    session: Session, name: str, payload: Mapping[str, Any], last_resorts: Mapping[str, str]
) -> None:
    if name in last_resorts:
        enqueue(session, last_resorts[name], dict(payload), priority=WorkPriority.INTERACTIVE)


def set_right(db: Database, *, now: datetime) -> int:
    """After the clock has gone back, let no job wait for a time that has become far away. Returns how many did.

    No lease ends later than one that begins now; a job made "later" than now, or tried before and waiting for longer
    than any pause, is due."""
    late_lease = and_(Job.status == JobStatus.RUNNING, Job.leased_until > now + LEASE + _SKEW)
    retried = and_(Job.attempts > 0, Job.run_at > now + 2 * _LONGEST_PAUSE)
    from_the_future = or_(Job.created_at > now + _SKEW, retried)
    waiting = and_(Job.status == JobStatus.QUEUED, Job.run_at > now, from_the_future)
    with db.read() as session:
        if session.scalar(select(Job.id).where(or_(late_lease, waiting)).limit(1)) is None:
            return 0
    with db.begin() as session:
        session.execute(update(Job).where(late_lease).values(leased_until=now + LEASE))
        due = session.execute(update(Job).where(waiting).values(run_at=now).returning(Job.id)).all()
        announce(session, TOPIC)
    return len(due)


def sweep(db: Database, *, now: datetime) -> int:
    """Remove old finished jobs; dead ones stay until an operator has seen them."""
    with db.begin() as session:
        old = delete(Job).where(Job.status == JobStatus.DONE, Job.finished_at < now - KEEP_FINISHED)
        return len(session.execute(old.returning(Job.id)).all())


def retry_dead(db: Database) -> int:
    """Queue every dead job again with all its attempts. Returns how many there were."""
    with db.begin() as session:
        values = {"status": JobStatus.QUEUED, "attempts": 0, "crashes": 0, "run_at": utcnow(), "finished_at": None}
        revived = session.execute(update(Job).where(Job.status == JobStatus.DEAD).values(**values).returning(Job.id))
        announce(session, TOPIC)
        return len(revived.all())


def counts(session: Session) -> dict[JobStatus, int]:
    """Number of jobs by status."""
    rows = session.execute(select(Job.status, func.count()).group_by(Job.status)).all()
    return dict.fromkeys(JobStatus, 0) | dict(rows)


def jobs_ahead(session: Session, name: str, payload: dict[str, Any], *, now: datetime) -> int | None:
    """How many due jobs run before this one; None if it is not waiting: it is running or finished.

    Counted up to 500; beyond that, None."""
    due = select(Job.name, Job.payload).where(Job.status == JobStatus.QUEUED, Job.run_at <= now)
    waiting = session.execute(due.order_by(Job.priority, Job.run_at, Job.id).limit(_LONGEST_LINE)).all()
    return next((place for place, row in enumerate(waiting) if tuple(row) == (name, payload)), None)


@dataclass(frozen=True)
class Backlog:
    """``overdue``: how long the oldest due job has waited. ``has_worker``: some worker holds a live lease."""

    waiting: int
    dead: int
    overdue: timedelta
    has_worker: bool


def backlog(session: Session, *, now: datetime) -> Backlog:
    """State of the queue, for `readyz` and the metrics."""
    count = counts(session)
    due = select(func.min(Job.run_at)).where(Job.status == JobStatus.QUEUED, Job.run_at <= now)
    oldest = session.execute(due).scalar_one()
    held = select(Job.id).where(Job.status == JobStatus.RUNNING, Job.leased_until >= now).limit(1)
    overdue = now - oldest if oldest is not None else timedelta(0)
    return Backlog(count[JobStatus.QUEUED], count[JobStatus.DEAD], overdue, session.scalar(held) is not None)


def _ours(job: ClaimedJob) -> Any:
    """An update that applies only while this claim holds: another claim has another attempt number."""
    return update(Job).where(Job.id == job.id, Job.status == JobStatus.RUNNING, Job.attempts == job.attempt)
