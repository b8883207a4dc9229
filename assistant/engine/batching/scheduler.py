"""Who is served next: a queue with priorities, a table of slots, and how much of which prompt is read in a step.

Pure bookkeeping: no thread, no tensor, no clock of its own. The engine asks once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from assistant.ports import WorkPriority

# Seconds of waiting that are worth one class of priority: nobody waits for ever behind the more important.
AGEING = 20.0
# Rows of one forward pass are padded to the longest: no more than this share of it may be padding.
_MOST_PADDING = 0.5


class Work(Protocol):
    """What is scheduled. ``length`` tokens to be read or written so far, ``cached`` of them in its slot."""

    priority: WorkPriority
    arrived_at: float
    cached: int

    @property
    def length(self) -> int: ...

    def whole_blocks(self, end: int, *, start: int) -> int:
        """``end`` moved to where a prompt may be cut."""
        ...


@dataclass
class Moves:
    """What the cache has to do so that slots stay in order."""

    move: Callable[[int, int, int], None]  # from, to, tokens
    swap: Callable[[int, int, int], None]


@dataclass
class Scheduler:
    """``rows[i]`` has slot i. Those that write one token a step come first, those whose prompt is being read behind
    them, so that both kinds lie next to each other in the cache."""

    slots: int
    moves: Moves
    waiting: list[Any] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    ready: int = 0  # how many rows write

    @property
    def writing(self) -> Sequence[Any]:
        return self.rows[: self.ready]

    @property
    def reading(self) -> Sequence[Any]:
        return self.rows[self.ready :]

    def next_in_line(self, now: float) -> Any | None:
        return min(self.waiting, key=lambda work: _rank(work, now), default=None)

    def place(self, work: Any, now: float) -> int:
        """How many are before this one in the queue."""
        rank = _rank(work, now)
        return sum(_rank(other, now) < rank for other in self.waiting)

    def admit(self, now: float) -> Iterator[Any]:
        """Give free slots to those who wait, best first."""
        while len(self.rows) < self.slots and (work := self.next_in_line(now)) is not None:
            self.waiting.remove(work)
            self.rows.append(work)
            self._bring_forward(work)
            yield work

    def to_preempt(self, now: float) -> Any | None:
        """The row that should give its slot to somebody more important who waits: of the lowest class the youngest."""
        if len(self.rows) < self.slots or not self.waiting:
            return None
        most = min(work.priority for work in self.waiting)
        least = max(self.rows, key=lambda work: (work.priority, work.arrived_at))
        return least if least.priority > most else None

    def requeue(self, work: Any) -> None:
        """Take a slot away; what had been read must be read again."""
        self.remove(work)
        work.cached = 0
        self.waiting.append(work)

    def remove(self, work: Any) -> None:
        """Free a slot and close the gap."""
        if work in self.waiting:
            self.waiting.remove(work)
            return
        place = self.rows.index(work)
        if place < self.ready:
            self.ready -= 1
            self._fill(place, self.ready)
            place = self.ready
        self._fill(place, len(self.rows) - 1)
        self.rows.pop()

    def promote(self, work: Any) -> None:
        """The prompt has been read: from now on this row writes."""
        place = self.rows.index(work)
        if place != self.ready:
            other = self.rows[self.ready]
            self.moves.swap(self.ready, place, max(work.cached, other.cached))
            self.rows[self.ready], self.rows[place] = work, other
        self.ready += 1

    def read_next(self, budget: int) -> list[tuple[Any, int]]:
        """The rows, in the order of their slots, whose prompts are read in this step, and how many tokens of each.

        ``budget``: tokens of the step, padding included; at least a photo's tokens are read where they must be read
        at once."""
        chosen: list[tuple[Any, int]] = []
        longest = 0
        for work in self.reading:
            count = min(work.length - work.cached, budget)
            count = work.whole_blocks(work.cached + count, start=work.cached) - work.cached
            padded = max(longest, count) * (len(chosen) + 1)
            real = sum(tokens for _, tokens in chosen) + count
            if chosen and (padded > budget or real < (1 - _MOST_PADDING) * padded):
                break
            chosen.append((work, count))
            longest = max(longest, count)
        return chosen

    def clear(self) -> list[Any]:
        """Free every slot. Returns who had one."""
        rows, self.rows, self.ready = self.rows, [], 0
        return rows

    def _bring_forward(self, work: Any) -> None:
        """Read a prompt before those of lower classes."""
        place = len(self.rows) - 1
        ahead = next((at for at in range(self.ready, place) if self.rows[at].priority > work.priority), place)
        if ahead != place:
            self.moves.swap(ahead, place, self.rows[ahead].cached)
            self.rows[ahead], self.rows[place] = work, self.rows[ahead]

    def _fill(self, gap: int, source: int) -> None:
        """Move the row at ``source`` into the gap."""
        if gap != source:
            self.moves.move(source, gap, self.rows[source].cached)
            self.rows[gap] = self.rows[source]


def _rank(work: Any, now: float) -> tuple[float, float]:
    """Lower is sooner: the class of priority less what waiting is worth, then who came first."""
    return work.priority - (now - work.arrived_at) / AGEING, work.arrived_at
