"""Who is served next: a priority queue, a table of slots, and how much of which prompt is prefilled in a step.

Pure bookkeeping: no threads, no tensors, no clock of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from assistant.ports import WorkPriority

# Seconds of waiting that outweigh one priority class, so that no request starves.
AGEING = 20.0
# Rows of a forward pass are padded to the longest: at most this share of it may be padding.
_MOST_PADDING = 0.5


class Schedulable(Protocol):
    """A sequence as the scheduler sees it: ``length`` tokens of prompt and output, ``cached`` of them in its slot."""

    priority: WorkPriority
    arrived_at: float
    cached: int

    @property
    def length(self) -> int: ...

    def chunk_end(self, end: int, *, start: int) -> int:
        """``end``, moved to where the prompt may be cut."""
        ...


class Slots(Protocol):
    """What the scheduler asks of the KV cache, to keep slots in order."""

    def move(self, source: int, target: int, length: int) -> None: ...

    def swap(self, one: int, other: int, length: int) -> None: ...


class NoSlots:
    """`Slots` where nothing is cached."""

    def move(self, source: int, target: int, length: int) -> None:
        pass

    def swap(self, one: int, other: int, length: int) -> None:
        pass


@dataclass
class Scheduler:
    """``running[i]`` owns slot i. Sequences that decode come first, those that prefill follow, so that either kind is
    contiguous in the cache."""

    slots: int = 0
    cache: Slots = field(default_factory=NoSlots)
    waiting: list[Any] = field(default_factory=list)
    running: list[Any] = field(default_factory=list)
    num_decoding: int = 0

    @property
    def decoding(self) -> Sequence[Any]:
        return self.running[: self.num_decoding]

    @property
    def prefilling(self) -> Sequence[Any]:
        return self.running[self.num_decoding :]

    def queue_position(self, sequence: Any, now: float) -> int:
        """How many are ahead of this one in the queue."""
        rank = _rank(sequence, now)
        return sum(_rank(other, now) < rank for other in self.waiting)

    def admit(self, now: float) -> Iterator[Any]:
        """Give free slots to waiting sequences, best rank first."""
        while self.waiting and len(self.running) < self.slots:
            sequence = min(self.waiting, key=lambda waiting: _rank(waiting, now))
            self.waiting.remove(sequence)
            self.running.append(sequence)
            self._advance(sequence)
            yield sequence

    def preemption_victim(self) -> Any | None:
        """The running sequence to preempt for a more important one that waits: the newest of the lowest class."""
        if len(self.running) < self.slots or not self.waiting:
            return None
        most_important = min(sequence.priority for sequence in self.waiting)
        victim = max(self.running, key=lambda sequence: (sequence.priority, sequence.arrived_at))
        return victim if victim.priority > most_important else None

    def preempt(self, sequence: Any) -> None:
        """Take its slot away and queue it again; it will be recomputed."""
        self.remove(sequence)
        sequence.cached = 0
        self.waiting.append(sequence)

    def remove(self, sequence: Any) -> None:
        """Take it off the queue, or free its slot and close the gap."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
            return
        slot = self.running.index(sequence)
        if slot < self.num_decoding:
            self.num_decoding -= 1
            self._fill(slot, self.num_decoding)
            slot = self.num_decoding
        self._fill(slot, len(self.running) - 1)
        self.running.pop()

    def start_decoding(self, sequence: Any) -> None:
        """Its prompt has been prefilled: it moves to the decoding sequences."""
        slot, target = self.running.index(sequence), self.num_decoding
        if slot != target:
            other = self.running[target]
            self.cache.swap(target, slot, max(sequence.cached, other.cached))
            self.running[target], self.running[slot] = sequence, other
        self.num_decoding += 1

    def schedule_prefill(self, budget: int) -> list[tuple[Any, int]]:
        """The sequences to prefill in this step, in slot order, and how many tokens of each.

        ``budget``: tokens of the step, padding included; exceeded only by a photo that may not be cut."""
        chosen: list[tuple[Any, int]] = []
        longest = 0
        for sequence in self.prefilling:
            start = sequence.cached
            count = sequence.chunk_end(min(sequence.length, start + budget), start=start) - start
            padded = max(longest, count) * (len(chosen) + 1)
            real = sum(tokens for _, tokens in chosen) + count
            if chosen and (padded > budget or real < (1 - _MOST_PADDING) * padded):
                break
            chosen.append((sequence, count))
            longest = max(longest, count)
        return chosen

    def clear(self) -> list[Any]:
        """Free every slot. Returns the sequences that had one."""
        running, self.running, self.num_decoding = self.running, [], 0
        return running

    def _advance(self, sequence: Any) -> None:
        """Move the newest sequence ahead of the first one of a lower class that prefills."""
        slot = len(self.running) - 1
        lower = (at for at in range(self.num_decoding, slot) if self.running[at].priority > sequence.priority)
        target = next(lower, slot)
        if target != slot:
            other = self.running[target]
            self.cache.swap(target, slot, other.cached)
            self.running[target], self.running[slot] = sequence, other

    def _fill(self, gap: int, source: int) -> None:
        """Move the sequence at ``source`` into the gap."""
        if gap != source:
            self.cache.move(source, gap, self.running[source].cached)
            self.running[gap] = self.running[source]


def _rank(sequence: Any, now: float) -> tuple[float, float]:
    """Lower is sooner: the priority class less the credit for waiting, then the order of arrival."""
    return sequence.priority - (now - sequence.arrived_at) / AGEING, sequence.arrived_at
