"""Who is served next, step for step: no model, no thread, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.batching.scheduler import AGEING, Moves, Scheduler
from assistant.ports import WorkPriority


@dataclass(eq=False)
class Request:
    name: str
    priority: WorkPriority = WorkPriority.INTERACTIVE
    arrived_at: float = 0.0
    length: int = 10
    cached: int = 0

    def whole_blocks(self, end: int, *, start: int) -> int:
        return end


@dataclass
class Desk:
    """A scheduler whose moves are made on a list, as the cache makes them on its slots."""

    slots: int
    contents: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(slots=self.slots, moves=Moves(self._move, self._swap))

    def _move(self, source: int, target: int, _tokens: int) -> None:
        self.contents[target] = self.contents[source]

    def _swap(self, one: int, other: int, _tokens: int) -> None:
        self.contents[one], self.contents[other] = self.contents.get(other, ""), self.contents.get(one, "")

    def come(self, *requests: Request) -> None:
        self.scheduler.waiting += requests

    def admit(self, now: float = 0.0) -> list[str]:
        admitted = []
        for request in self.scheduler.admit(now):
            self.contents[self.scheduler.rows.index(request)] = request.name
            admitted.append(request.name)
        return admitted

    def check(self) -> None:
        """Every row's slot holds what is its own."""
        assert [self.contents[place] for place in range(len(self.scheduler.rows))] == [
            row.name for row in self.scheduler.rows
        ]


def test_the_more_important_come_first_and_of_equals_who_came_first() -> None:
    desk = Desk(slots=3)
    desk.come(
        Request("batch", WorkPriority.BATCH, 0.0),
        Request("draft", WorkPriority.DRAFT, 1.0),
        Request("late", WorkPriority.INTERACTIVE, 3.0),
        Request("early", WorkPriority.INTERACTIVE, 2.0),
    )
    assert desk.admit(now=4.0) == ["early", "late", "draft"]
    assert [request.name for request in desk.scheduler.waiting] == ["batch"]


def test_waiting_makes_more_important_so_that_nobody_waits_for_ever() -> None:
    desk = Desk(slots=1)
    desk.come(Request("old", WorkPriority.BATCH, 0.0), Request("new", WorkPriority.INTERACTIVE, 3 * AGEING))
    assert desk.admit(now=3 * AGEING) == ["old"]


def test_a_request_knows_its_place() -> None:
    desk = Desk(slots=0)
    first, second = Request("first", arrived_at=1.0), Request("second", arrived_at=2.0)
    draft = Request("draft", WorkPriority.DRAFT, 0.0)
    desk.come(second, draft, first)
    assert [desk.scheduler.place(request, 3.0) for request in (first, second, draft)] == [0, 1, 2]


def test_of_the_least_important_the_youngest_gives_way_and_only_to_somebody_more_important() -> None:
    desk = Desk(slots=2)
    older, younger = Request("older", WorkPriority.BATCH, 0.0), Request("younger", WorkPriority.BATCH, 1.0)
    desk.come(older, younger)
    desk.admit()
    assert desk.scheduler.to_preempt(2.0) is None
    desk.come(Request("same", WorkPriority.BATCH, 2.0))
    assert desk.scheduler.to_preempt(3.0) is None
    desk.come(Request("urgent", WorkPriority.INTERACTIVE, 3.0))
    assert desk.scheduler.to_preempt(3.0) is younger
    younger.cached = 7
    desk.scheduler.requeue(younger)
    assert younger.cached == 0  # what was read must be read again
    assert desk.admit(now=3.0) == ["urgent"]


def test_prompts_are_read_together_within_the_budget_and_without_much_padding() -> None:
    desk = Desk(slots=4)
    desk.come(*(Request(name, length=length) for name, length in (("a", 100), ("b", 90), ("c", 10), ("d", 80))))
    desk.admit()

    def read(budget: int) -> list[tuple[str, int]]:
        return [(request.name, count) for request, count in desk.scheduler.read_next(budget)]

    assert read(40) == [("a", 40)]
    assert read(1000) == [("a", 100), ("b", 90), ("c", 10), ("d", 80)]  # 280 tokens of 400: worth it
    desk.scheduler.rows[1].length = 5
    assert read(1000) == [("a", 100), ("b", 5)]  # with c it would be mostly padding


def test_a_photo_that_must_be_read_at_once_is() -> None:
    class Photo(Request):
        def whole_blocks(self, end: int, *, start: int) -> int:
            return max(end, 50)

    desk = Desk(slots=1)
    desk.come(Photo("photo", length=80))
    desk.admit()
    assert [count for _, count in desk.scheduler.read_next(8)] == [50]


def test_the_more_important_is_read_before_what_was_begun_earlier() -> None:
    desk = Desk(slots=3)
    batch = Request("batch", WorkPriority.BATCH, cached=4)
    desk.come(batch)
    desk.admit()
    desk.come(Request("urgent", WorkPriority.INTERACTIVE, 1.0))
    desk.admit()
    assert [request.name for request in desk.scheduler.reading] == ["urgent", "batch"]
    desk.check()


@given(st.lists(st.tuples(st.sampled_from(["come", "admit", "promote", "remove", "requeue"]), st.integers(0, 9))))
def test_whatever_happens_every_slot_holds_its_own_and_writers_come_first(steps: list[tuple[str, int]]) -> None:
    desk = Desk(slots=4)
    scheduler = desk.scheduler
    writing: set[str] = set()
    for number, (step, which) in enumerate(steps):
        rows: list[Any] = scheduler.rows
        if step == "come":
            desk.come(Request(str(number), WorkPriority(which % 3), float(number)))
        elif step == "admit":
            desk.admit(float(number))
        elif step == "promote" and scheduler.reading:
            request = scheduler.reading[which % len(scheduler.reading)]
            scheduler.promote(request)
            writing.add(request.name)
        elif step in ("remove", "requeue") and rows:
            request = rows[which % len(rows)]
            writing.discard(request.name)
            scheduler.remove(request) if step == "remove" else scheduler.requeue(request)
        desk.check()
        assert {row.name for row in scheduler.writing} == writing
        assert len(scheduler.rows) <= scheduler.slots


def test_clearing_frees_every_slot_and_says_who_had_one() -> None:
    desk = Desk(slots=2)
    desk.come(Request("a"), Request("b"), Request("c"))
    desk.admit()
    assert [request.name for request in desk.scheduler.clear()] == ["a", "b"]
    assert desk.admit() == ["c"]


def test_removing_who_waits_leaves_the_slots_alone() -> None:
    desk = Desk(slots=1)
    waiting = Request("waiting", arrived_at=1.0)
    desk.come(Request("served"), waiting)
    desk.admit()
    desk.scheduler.remove(waiting)
    assert [row.name for row in desk.scheduler.rows] == ["served"]
    with pytest.raises(ValueError, match="not in list"):
        desk.scheduler.remove(waiting)
