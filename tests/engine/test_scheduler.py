"""Who is served next, step for step: no model, no thread, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.batching.scheduler import AGEING, Scheduler
from assistant.ports import WorkPriority


@dataclass(eq=False)
class Request:
    name: str
    priority: WorkPriority = WorkPriority.INTERACTIVE
    arrived_at: float = 0.0
    length: int = 10
    cached: int = 0

    def chunk_end(self, end: int, *, start: int) -> int:
        return end


@dataclass
class Table:
    """A scheduler whose slots are a dictionary instead of a cache."""

    slots: int
    contents: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(slots=self.slots, cache=self)

    def move(self, source: int, target: int, length: int) -> None:
        self.contents[target] = self.contents[source]

    def swap(self, one: int, other: int, length: int) -> None:
        self.contents[one], self.contents[other] = self.contents.get(other, ""), self.contents.get(one, "")

    def come(self, *requests: Request) -> None:
        self.scheduler.waiting += requests

    def admit(self, now: float = 0.0) -> list[str]:
        admitted = []
        for request in self.scheduler.admit(now):
            self.contents[self.scheduler.running.index(request)] = request.name
            admitted.append(request.name)
        return admitted

    def check(self) -> None:
        """Every slot holds its own sequence."""
        assert [self.contents[place] for place in range(len(self.scheduler.running))] == [
            row.name for row in self.scheduler.running
        ]


def test_the_more_important_come_first_and_of_equals_who_came_first() -> None:
    table = Table(slots=3)
    table.come(
        Request("batch", WorkPriority.BATCH, 0.0),
        Request("draft", WorkPriority.DRAFT, 1.0),
        Request("late", WorkPriority.INTERACTIVE, 3.0),
        Request("early", WorkPriority.INTERACTIVE, 2.0),
    )
    assert table.admit(now=4.0) == ["early", "late", "draft"]
    assert [request.name for request in table.scheduler.waiting] == ["batch"]


def test_waiting_makes_more_important_so_that_nobody_waits_for_ever() -> None:
    table = Table(slots=1)
    table.come(Request("old", WorkPriority.BATCH, 0.0), Request("new", WorkPriority.INTERACTIVE, 3 * AGEING))
    assert table.admit(now=3 * AGEING) == ["old"]


def test_a_request_knows_its_queue_position() -> None:
    table = Table(slots=0)
    first, second = Request("first", arrived_at=1.0), Request("second", arrived_at=2.0)
    draft = Request("draft", WorkPriority.DRAFT, 0.0)
    table.come(second, draft, first)
    assert [table.scheduler.queue_position(request, 3.0) for request in (first, second, draft)] == [0, 1, 2]


def test_the_newest_of_the_least_important_is_preempted_and_only_for_a_more_important_one() -> None:
    table = Table(slots=2)
    older, younger = Request("older", WorkPriority.BATCH, 0.0), Request("younger", WorkPriority.BATCH, 1.0)
    table.come(older, younger)
    table.admit()
    assert table.scheduler.preemption_victim() is None
    table.come(Request("same", WorkPriority.BATCH, 2.0))
    assert table.scheduler.preemption_victim() is None
    table.come(Request("urgent", WorkPriority.INTERACTIVE, 3.0))
    assert table.scheduler.preemption_victim() is younger
    younger.cached = 7
    table.scheduler.preempt(younger)
    assert younger.cached == 0  # to be recomputed
    assert table.admit(now=3.0) == ["urgent"]


def test_prompts_are_read_together_within_the_budget_and_without_much_padding() -> None:
    table = Table(slots=4)
    table.come(*(Request(name, length=length) for name, length in (("a", 100), ("b", 90), ("c", 10), ("d", 80))))
    table.admit()

    def read(budget: int) -> list[tuple[str, int]]:
        return [(request.name, count) for request, count in table.scheduler.schedule_prefill(budget)]

    assert read(40) == [("a", 40)]
    assert read(1000) == [("a", 100), ("b", 90), ("c", 10), ("d", 80)]  # 280 tokens of 400: worth it
    table.scheduler.running[1].length = 5
    assert read(1000) == [("a", 100), ("b", 5)]  # with c it would be mostly padding


def test_a_photo_that_must_be_read_at_once_is() -> None:
    class Photo(Request):
        def chunk_end(self, end: int, *, start: int) -> int:
            return max(end, 50)

    table = Table(slots=1)
    table.come(Photo("photo", length=80))
    table.admit()
    assert [count for _, count in table.scheduler.schedule_prefill(8)] == [50]


def test_the_more_important_is_read_before_what_was_begun_earlier() -> None:
    table = Table(slots=3)
    batch = Request("batch", WorkPriority.BATCH, cached=4)
    table.come(batch)
    table.admit()
    table.come(Request("urgent", WorkPriority.INTERACTIVE, 1.0))
    table.admit()
    assert [request.name for request in table.scheduler.prefilling] == ["urgent", "batch"]
    table.check()


@given(st.lists(st.tuples(st.sampled_from(["come", "admit", "start", "remove", "preempt"]), st.integers(0, 9))))
def test_whatever_happens_every_slot_holds_its_own_and_decoding_ones_come_first(steps: list[tuple[str, int]]) -> None:
    table = Table(slots=4)
    scheduler = table.scheduler
    decoding: set[str] = set()
    for number, (step, which) in enumerate(steps):
        rows: list[Any] = scheduler.running
        if step == "come":
            table.come(Request(str(number), WorkPriority(which % 3), float(number)))
        elif step == "admit":
            table.admit(float(number))
        elif step == "start" and scheduler.prefilling:
            request = scheduler.prefilling[which % len(scheduler.prefilling)]
            scheduler.start_decoding(request)
            decoding.add(request.name)
        elif step in ("remove", "preempt") and rows:
            request = rows[which % len(rows)]
            decoding.discard(request.name)
            scheduler.remove(request) if step == "remove" else scheduler.preempt(request)
        table.check()
        assert {row.name for row in scheduler.decoding} == decoding
        assert len(scheduler.running) <= scheduler.slots


def test_clearing_frees_every_slot_and_says_who_had_one() -> None:
    table = Table(slots=2)
    table.come(Request("a"), Request("b"), Request("c"))
    table.admit()
    assert [request.name for request in table.scheduler.clear()] == ["a", "b"]
    assert table.admit() == ["c"]


def test_removing_who_waits_leaves_the_slots_alone() -> None:
    table = Table(slots=1)
    waiting = Request("waiting", arrived_at=1.0)
    table.come(Request("served"), waiting)
    table.admit()
    table.scheduler.remove(waiting)
    assert [row.name for row in table.scheduler.running] == ["served"]
    with pytest.raises(ValueError, match="not in list"):
        table.scheduler.remove(waiting)
