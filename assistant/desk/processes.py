"""The processes of an installation: each tells the database how it is, so that any of them can tell of all.

A web server cannot see whether the models of a worker on another machine fail, and nobody scrapes a worker. So every
process renews a row of its own every few seconds; one that stops removes it, and one that dies is missed.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from assistant.db import Database, utcnow
from assistant.measures import Snapshot
from assistant.models import Process

BEAT_EVERY = timedelta(seconds=10)
# Three beats may be lost to a locked database before somebody is missed.
MISSED_AFTER = timedelta(seconds=40)
FORGOTTEN_AFTER = timedelta(minutes=10)


@dataclass(frozen=True)
class Identity:
    """This process, by a random id and a name for people."""

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    started_at: datetime = field(default_factory=utcnow)


@dataclass(frozen=True)
class Health:
    """``role``: web or worker. ``threads``: that take jobs. ``trouble``: why its model cannot answer, or None.
    ``model_state``: loaded, not_loaded, or the state of the breaker before a model server; None without a model.
    ``parts``: what else is installed, by name. ``engine``: figures of a local model's engine, with
    what they mean; ``engine_requests``: how its requests ended."""

    role: str
    threads: int
    version: str
    model: str
    mode: str
    trouble: str | None = None
    model_state: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    engine: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    engine_requests: Mapping[str, int] = field(default_factory=dict)
    measures: Snapshot = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Health:
        """Also what another version has stored."""
        known = {one.name for one in fields(cls)}
        empty: dict[str, Any] = {"role": "", "threads": 0, "version": "", "model": "", "mode": ""}
        return cls(**(empty | {name: value for name, value in stored.items() if name in known}))


@dataclass(frozen=True)
class State:
    id: str
    name: str
    started_at: datetime
    silent_for: timedelta
    health: Health

    def describe(self) -> str:
        health = self.health
        has = [f"{health.threads} threads for jobs" if health.threads else "no jobs", f"{health.model} ({health.mode})"]
        if health.model_state is not None:
            is_local = "loaded" in health.model_state
            has.append(f"{'' if is_local else 'breaker '}{health.model_state.replace('_', ' ')}")
        return f"{self.name}, {health.role} of version {health.version}: {', '.join([*has, *health.parts.values()])}"

    @property
    def is_missed(self) -> bool:
        return self.silent_for > MISSED_AFTER


def beat(db: Database, identity: Identity, health: Health, *, now: datetime) -> None:
    """Tell how this process is, and forget those of which nothing was heard for long."""
    row = Process(
        id=identity.id, name=identity.name, started_at=identity.started_at, beat_at=now, health=asdict(health)
    )
    with db.begin() as session:
        session.execute(delete(Process).where(Process.beat_at < now - FORGOTTEN_AFTER, Process.id != identity.id))
        session.merge(row)


def leave(db: Database, identity: Identity) -> None:
    """This process stops: nobody misses it."""
    with db.begin() as session:
        session.execute(delete(Process).where(Process.id == identity.id))


def states(session: Session, *, now: datetime) -> list[State]:
    """Of all processes, those too that are missed, in the order of their names."""
    return [
        State(
            row.id,
            row.name,
            row.started_at,
            max(timedelta(0), now - row.beat_at),
            Health.from_json(row.health),
        )
        for row in session.scalars(select(Process).order_by(Process.name))
    ]


def trouble(known: Sequence[State]) -> str | None:
    """Why work may not be done as it should, by what the living say; None if all is well, or nobody tells anything."""
    living = [one for one in known if not one.is_missed]
    workers = [one for one in living if one.health.threads]
    if living and not workers:
        return "No worker is running, so messages wait. Run: assistant worker"
    found = Counter(one.health.trouble for one in workers if one.health.trouble)
    of = "The worker" if len(workers) == 1 else f"{{}} of {len(workers)} processes with workers"
    said = [f"{of.format(many)}: {what}" for what, many in found.most_common()]
    return " ".join(said) or None
