"""What a process counts about its work: how long things took and how often they happened, for `/metrics`.

Plain numbers in memory, a dictionary look-up each. A process that Prometheus does not scrape hands them over as JSON
(`snapshot`) with its sign of life; whoever is scraped shows them under that process's name.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

# Upper limits in seconds: from a query to the slowest photo and the longest wait worth telling apart.
BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
# By name and labels: of a timing [sum, one count a bucket and one beyond], of a counter [how many].
Snapshot = dict[str, list[tuple[list[str], list[float]]]]


@dataclass(frozen=True)
class Measure:
    """``labels``: few values each, none of a customer's. A timing, or a counter."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    is_timing: bool = True


JOB = Measure("assistant_job_seconds", "Time of jobs, by what came of them.", ("job", "outcome"))
JOB_WAIT = Measure("assistant_job_wait_seconds", "Time from when a job was due until a worker took it.", ("job",))
GENERATION = Measure(
    "assistant_generation_seconds",
    "Time of reading a photo, triage, an answer or draft, rewriting; by what has done it (no_vlm: no model).",
    ("purpose", "mode"),
)
TOKENS = Measure("assistant_tokens", "Tokens read and written.", ("purpose", "mode", "direction"), is_timing=False)
ALL: Mapping[str, Measure] = MappingProxyType({one.name: one for one in (JOB, JOB_WAIT, GENERATION, TOKENS)})


class Measures:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[tuple[str, ...], list[float]]] = {name: {} for name in ALL}

    def observe(self, measure: Measure, seconds: float, *labels: str) -> None:
        with self._lock:
            values = self._values[measure.name].setdefault(labels, [0.0] * (len(BUCKETS) + 2))
            values[0] += seconds
            values[1 + bisect_left(BUCKETS, seconds)] += 1

    def count(self, measure: Measure, many: float, *labels: str) -> None:
        with self._lock:
            self._values[measure.name].setdefault(labels, [0.0])[0] += many

    def snapshot(self) -> Snapshot:
        """What was counted so far, as it goes into JSON; rounded, to be short."""
        with self._lock:
            return {
                name: [([*labels], [round(value, 4) for value in values]) for labels, values in found.items()]
                for name, found in self._values.items()
                if found
            }


def is_readable(name: str, labels: Sequence[Any], values: Sequence[Any]) -> bool:
    """Whether this version knows such an entry of a snapshot, which another version may have made."""
    measure = ALL.get(name)
    if measure is None:
        return False
    length = len(BUCKETS) + 2 if measure.is_timing else 1
    return (len(labels), len(values)) == (len(measure.labels), length)
