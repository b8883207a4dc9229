"""SLA arithmetic, against a count of minutes: pauses, holidays, clocks that are set, policies that change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.desk import sla
from assistant.desk.hours import Hours
from assistant.desk.sla import Stretch, Stretches
from tests.desk.test_hours import MINUTE, OFFICE, berlin, moments, schedules

HOUR = timedelta(hours=1)


def ran(*bounds: datetime) -> Stretches:
    """Begin, end, begin, end, … The last may be missing."""
    ends = [*bounds[1::2], None]
    return tuple(Stretch(begin, end) for begin, end in zip(bounds[::2], ends, strict=False))


@pytest.mark.parametrize(
    ("began", "goal", "due"),
    [
        (berlin(2026, 11, 27, 10), 2 * HOUR, berlin(2026, 11, 27, 12)),  # until closing time, not the next opening
        (berlin(2026, 11, 27, 11), 2 * HOUR, berlin(2026, 11, 27, 14)),
        (berlin(2026, 11, 27, 17), 2 * HOUR, berlin(2026, 11, 30, 10)),  # over a weekend
        (berlin(2026, 11, 28, 3), 1 * HOUR, berlin(2026, 11, 30, 10)),
        (berlin(2026, 12, 24, 17), 2 * HOUR, berlin(2026, 12, 28, 10)),  # over a holiday
        (berlin(2026, 3, 27, 17), 2 * HOUR, berlin(2026, 3, 30, 10)),  # over a night in which clocks are set
        (berlin(2026, 11, 27, 10), timedelta(0), berlin(2026, 11, 27, 10)),
    ],
)
def test_a_target_is_due_when_its_business_hours_are_used_up(began: datetime, goal: timedelta, due: datetime) -> None:
    assert sla.due_at(ran(began), goal, OFFICE) == due


def test_around_the_clock_an_hour_is_an_hour_even_when_clocks_are_set() -> None:
    night = berlin(2026, 10, 25, 1)
    assert sla.due_at(ran(night), 3 * HOUR, None) == night.astimezone(UTC) + 3 * HOUR
    assert sla.due_at(ran(night), 3 * HOUR, None) == berlin(2026, 10, 25, 3)  # the hour after two comes twice


def test_a_pause_moves_the_target_by_its_business_hours() -> None:
    began, paused, resumed = berlin(2026, 11, 27, 10), berlin(2026, 11, 27, 11), berlin(2026, 11, 30, 9)
    assert sla.due_at(ran(began, paused), 2 * HOUR, OFFICE) is None
    assert sla.due_at(ran(began, paused, resumed), 2 * HOUR, OFFICE) == berlin(2026, 11, 30, 10)
    assert sla.used(ran(began, paused, resumed), OFFICE, berlin(2026, 11, 30, 9, 30)) == 1.5 * HOUR
    assert sla.due_at(ran(began, paused), HOUR / 2, OFFICE) == berlin(2026, 11, 27, 10, 30)  # missed before the pause


def test_nobody_is_late_where_nobody_ever_opens() -> None:
    never = Hours(zone="UTC", week={})
    assert sla.due_at(ran(berlin(2026, 11, 27, 10)), HOUR, never) is None
    once_a_week = Hours(zone="UTC", week={"mon": ("09:00-10:00",)})
    assert sla.due_at(ran(berlin(2026, 1, 1)), 60 * HOUR, once_a_week) == datetime(2027, 2, 22, 10, tzinfo=UTC)


def test_a_policy_that_changes_in_the_middle_counts_from_the_beginning() -> None:
    began = ran(berlin(2026, 11, 27, 9))
    eight, two = sla.due_at(began, 8 * HOUR, OFFICE), sla.due_at(began, 2 * HOUR, OFFICE)
    assert (eight, two) == (berlin(2026, 11, 27, 18), berlin(2026, 11, 27, 11))
    closed = OFFICE.model_copy(update={"holidays": frozenset({date(2026, 11, 27)})})
    assert sla.due_at(began, 2 * HOUR, closed) == berlin(2026, 11, 30, 11)


histories = st.builds(
    lambda start, lengths: tuple(start + sum(lengths[: n + 1]) * MINUTE for n in range(len(lengths))),
    moments,
    st.lists(st.integers(1, 900), min_size=1, max_size=5),
)
goals = st.integers(1, 1500).map(lambda minutes: minutes * MINUTE)
clocks = st.one_of(st.none(), schedules)


def counted(stretches: Stretches, hours: Hours | None, until: datetime) -> timedelta:
    """The same as `used`, counted minute by minute."""
    minutes = 0
    for one in stretches:
        at, end = one.begin, min(one.end or until, until)
        while at < end:
            minutes += hours is None or hours.is_open(at)
            at += MINUTE
    return minutes * MINUTE


@settings(max_examples=40, deadline=None)
@given(histories, clocks, st.integers(0, 1500))
def test_time_is_used_minute_by_minute(bounds: tuple[datetime, ...], hours: Hours | None, later: int) -> None:
    now = bounds[0] + later * MINUTE
    assert sla.used(ran(*bounds), hours, now) == counted(ran(*bounds), hours, now)


@settings(max_examples=80, deadline=None)
@given(histories, goals, clocks)
def test_a_target_is_due_at_the_first_moment_at_which_its_time_is_used(
    bounds: tuple[datetime, ...], goal: timedelta, hours: Hours | None
) -> None:
    stretches = ran(*bounds)
    due = sla.due_at(stretches, goal, hours)
    if due is None:  # paused before that, or nobody ever opens while it runs
        assert sla.used(stretches, hours, bounds[-1] + timedelta(days=400)) < goal
        assert not sla.is_running(stretches) or (hours is not None and hours.next_opening(bounds[-1]) is None)
        return
    assert sla.used(stretches, hours, due) == goal
    assert sla.used(stretches, hours, due - MINUTE) < goal


@settings(max_examples=60, deadline=None)
@given(histories, goals, clocks)
def test_a_pause_of_no_length_changes_nothing(
    bounds: tuple[datetime, ...], goal: timedelta, hours: Hours | None
) -> None:
    stretches, at = ran(*bounds), bounds[-1] + MINUTE
    there_and_back = (
        sla.run(sla.pause(stretches, at), at) if sla.is_running(stretches) else sla.pause(sla.run(stretches, at), at)
    )
    assert sla.due_at(there_and_back, goal, hours) == sla.due_at(stretches, goal, hours)
    assert sla.run(sla.run(stretches, at), at) == sla.run(stretches, at)
    assert sla.pause(sla.pause(stretches, at), at) == sla.pause(stretches, at)


@settings(max_examples=60, deadline=None)
@given(histories, goals, goals, clocks)
def test_more_time_is_never_due_earlier_and_a_pause_never_makes_it_earlier(
    bounds: tuple[datetime, ...], goal: timedelta, more: timedelta, hours: Hours | None
) -> None:
    stretches = ran(*bounds)
    due = sla.due_at(stretches, goal, hours)
    later = sla.due_at(stretches, goal + more, hours)
    assert later is None or (due is not None and later >= due)
    unpaused = sla.due_at(ran(bounds[0]), goal, hours)
    assert due is None or (unpaused is not None and unpaused <= due)


@settings(max_examples=40, deadline=None)
@given(moments, goals, goals, clocks)
def test_changing_policy_back_is_as_if_it_had_never_changed(
    began: datetime, goal: timedelta, other: timedelta, hours: Hours | None
) -> None:
    """What is kept does not depend on the policy, so no order of changes can leave a trace."""
    middle = began + other
    through = sla.run(sla.pause(ran(began), middle), middle)
    assert sla.due_at(through, goal, hours) == sla.due_at(ran(began), goal, hours)
    berlin_time = began.astimezone(ZoneInfo("Europe/Berlin"))
    assert sla.due_at(ran(berlin_time), goal, hours) == sla.due_at(ran(began), goal, hours)
