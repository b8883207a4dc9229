"""The circuit breaker, by a clock that is moved by hand."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.remote.breaker import Breaker, Permit, State


@dataclass
class Seconds:
    at: float = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def breaker(clock: Seconds) -> Breaker:
    return Breaker(failures=3, cool_down=10.0, clock=clock)


def entered(breaker: Breaker) -> Permit:
    permit = breaker.enter()
    assert permit is not None
    return permit


def opened(breaker: Breaker) -> Breaker:
    while breaker.state is State.CLOSED:
        breaker.failed(entered(breaker))
    return breaker


def test_it_opens_at_the_failure_that_is_one_too_many(breaker: Breaker) -> None:
    assert [breaker.failed(entered(breaker)) for _ in range(3)] == [False, False, True]
    assert breaker.state is State.OPEN
    assert breaker.enter() is None
    assert breaker.wait() == 10.0


def test_a_success_forgets_the_failures_before_it(breaker: Breaker) -> None:
    for outcome in (breaker.failed, breaker.failed, breaker.succeeded, breaker.failed, breaker.failed):
        outcome(entered(breaker))
    assert breaker.state is State.CLOSED
    assert breaker.wait() == 0.0


def test_after_the_cool_down_one_may_try_and_the_others_wait(breaker: Breaker, clock: Seconds) -> None:
    opened(breaker)
    clock.at += 9.9
    assert breaker.enter() is None
    clock.at += 0.1
    assert entered(breaker).is_trial
    assert breaker.state is State.HALF_OPEN
    assert breaker.enter() is None
    assert breaker.wait() > 0


def test_a_trial_that_succeeds_closes_it(breaker: Breaker, clock: Seconds) -> None:
    opened(breaker)
    clock.at += 10
    assert breaker.succeeded(entered(breaker))
    assert breaker.state is State.CLOSED
    assert not entered(breaker).is_trial


def test_a_trial_that_fails_opens_it_for_another_cool_down(breaker: Breaker, clock: Seconds) -> None:
    opened(breaker)
    clock.at += 25
    assert breaker.failed(entered(breaker))
    assert breaker.wait() == 10.0


def test_a_trial_of_which_nothing_came_leaves_it_to_the_next(breaker: Breaker, clock: Seconds) -> None:
    opened(breaker)
    clock.at += 10
    breaker.gave_up(entered(breaker))
    assert entered(breaker).is_trial


def test_what_comes_late_of_an_earlier_state_counts_no_more(breaker: Breaker, clock: Seconds) -> None:
    late = [entered(breaker) for _ in range(3)]
    opened(breaker)
    clock.at += 10
    trial = entered(breaker)
    assert not breaker.failed(late[0])
    assert not breaker.succeeded(late[1])
    breaker.rest(late[2], 99)
    assert breaker.state is State.HALF_OPEN
    assert breaker.succeeded(trial)


def test_it_rests_for_as_long_as_it_is_asked_to(breaker: Breaker, clock: Seconds) -> None:
    breaker.rest(entered(breaker), 60)
    assert (breaker.state, breaker.wait()) == (State.OPEN, 60)
    clock.at += 60
    assert entered(breaker).is_trial


def test_of_many_at_once_one_gets_the_trial(breaker: Breaker, clock: Seconds) -> None:
    opened(breaker)
    clock.at += 10
    permits: list[Permit | None] = []
    start = threading.Barrier(16)

    def enter() -> None:
        start.wait()
        permits.append(breaker.enter())

    threads = [threading.Thread(target=enter) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(permit is not None for permit in permits) == 1


@given(st.lists(st.sampled_from(["enter", "succeeded", "failed", "gave_up", "later"]), max_size=60))
def test_whatever_happens_it_opens_by_failures_in_a_row_only_and_never_for_good(events: list[str]) -> None:
    clock = Seconds()
    breaker = Breaker(failures=3, cool_down=10.0, clock=clock)
    under_way: list[Permit] = []
    in_a_row = 0
    for event in events:
        before = breaker.state
        if event == "later":
            clock.at += 6
        elif event == "enter":
            under_way += [permit for permit in [breaker.enter()] if permit is not None]
        elif under_way:
            getattr(breaker, event)(under_way.pop())
            in_a_row = in_a_row + 1 if event == "failed" else 0 if event == "succeeded" else in_a_row
        if before is State.CLOSED and breaker.state is State.OPEN:
            assert in_a_row >= 3
    for permit in under_way:
        breaker.gave_up(permit)
    clock.at += 10
    assert breaker.succeeded(entered(breaker)) or breaker.state is State.CLOSED
    assert breaker.state is State.CLOSED
