"""Drills: a real server of its own is killed, locked out, filled up, crowded and lied to about the time. What was
acknowledged must be there once, what was not must not be there, and everybody must be told what is wrong.

Each drill has a temporary folder and returns what it saw in a line, or raises `Failed`. The long form is for a release,
the quick one for the tests.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from assistant.errors import AssistantError
from assistant.lab.drills import crowds, deliveries, faults, kills
from assistant.lab.drills.site import Failed, Size, Skipped
from assistant.lab.tables import table
from assistant.progress import Progress, no_progress

__all__ = ["DRILLS", "LONG", "QUICK", "Failed", "Outcome", "Report", "Skipped", "run"]

QUICK = Size(
    kills=2, messages=6, locked_seconds=6, streams=10, pace=False, stops_within=10, watched=2, listeners=30, crowd=8,
    photos=60, deliveries=60,
)  # fmt: skip
LONG = Size(
    kills=200, messages=400, locked_seconds=30, streams=1000, pace=True, stops_within=5, watched=10, listeners=1000,
    crowd=200, photos=2000, deliveries=20_000,
)  # fmt: skip
DRILLS: dict[str, Callable[[Path, Size, random.Random], str]] = {
    "kill -9": kills.killed,
    "PostgreSQL": kills.postgres_killed,
    "webhooks": deliveries.delivered,
    "second server": faults.second_server,
    "SIGTERM": faults.stopped,
    "database locked": faults.locked,
    "storage away": faults.storage_away,
    "disk full": faults.full_disk,
    "read-only": faults.read_only,
    "clock jumps": faults.clock_jumps,
    "open streams": crowds.listened,
    "slow clients": crowds.dawdled,
    "crowd": crowds.crowded,
    "memory": crowds.remembered,
}


@dataclass(frozen=True)
class Outcome:
    """``result``: passed, failed or skipped; ``seen``: what was seen, in a line."""

    drill: str
    result: str
    seen: str
    seconds: float


@dataclass(frozen=True)
class Report:
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        return all(one.result != "failed" for one in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        rows = [(one.drill, one.result, f"{one.seconds:.0f} s") for one in self.outcomes]
        head, *lines = table(("drill", "result", "took"), rows)
        return "\n".join([head, *(f"{line}  {one.seen}" for line, one in zip(lines, self.outcomes, strict=True))])


def run(names: Sequence[str] = (), *, size: Size = LONG, seed: int = 0, progress: Progress = no_progress) -> Report:
    """Run these drills of `DRILLS`, or all."""
    chosen, outcomes = list(names or DRILLS), []
    for done, name in enumerate(chosen):
        progress(done, len(chosen), "Drilling")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="assistant-drill-") as folder:
            try:
                result, seen = "passed", DRILLS[name](Path(folder), size, random.Random(seed))
            except Skipped as error:
                result, seen = "skipped", str(error)
            except (Failed, AssistantError, httpx.HTTPError) as error:
                result, seen = "failed", str(error) or type(error).__name__
        outcomes.append(Outcome(name, result, seen, time.monotonic() - started))
    progress(len(chosen), len(chosen), "Drilling")
    return Report(tuple(outcomes))
