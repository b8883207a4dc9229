"""Business hours, against a plain count of minutes: over midnight, on holidays, and when clocks are set."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from assistant.desk.hours import Hours

OFFICE = Hours(
    zone="Europe/Berlin",
    week=dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), ("09:00-12:00", "13:00-18:00")),
    holidays=frozenset({date(2026, 12, 25)}),
)
MINUTE = timedelta(minutes=1)


def berlin(*at: int, fold: int = 0) -> datetime:
    return datetime(*at, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        (berlin(2026, 11, 27, 9, 0), berlin(2026, 11, 27, 9, 0)),  # a Friday
        (berlin(2026, 11, 27, 12, 0), berlin(2026, 11, 27, 13, 0)),
        (berlin(2026, 11, 27, 18, 0), berlin(2026, 11, 30, 9, 0)),
        (berlin(2026, 12, 24, 18, 0), berlin(2026, 12, 28, 9, 0)),
        (berlin(2026, 3, 27, 18, 0), berlin(2026, 3, 30, 9, 0)),  # the clocks are set in between
    ],
)
def test_the_next_opening(at: datetime, opens: datetime) -> None:
    assert OFFICE.next_opening(at) == opens
    assert OFFICE.is_open(at) == (at == opens)


def test_closing_time() -> None:
    assert OFFICE.closes_at(berlin(2026, 11, 27, 13, 30)) == berlin(2026, 11, 27, 18, 0)
    assert OFFICE.closes_at(berlin(2026, 11, 27, 12, 30)) is None
    always = Hours(zone="UTC", week=dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), ("00:00-24:00",)))
    assert always.closes_at(berlin(2026, 11, 27, 12, 30)) is None
    assert always.business_time(berlin(2026, 3, 1), berlin(2026, 4, 1)) == timedelta(days=31, hours=-1)


def test_nobody_opens_without_hours() -> None:
    never = Hours(zone="Europe/Berlin", week={})
    assert not never.is_open(berlin(2026, 11, 27, 12))
    assert never.next_opening(berlin(2026, 11, 27, 12)) is None
    assert never.business_time(berlin(2026, 1, 1), berlin(2027, 1, 1)) == timedelta(0)


def test_a_night_belongs_to_the_day_it_begins_on() -> None:
    club = Hours(zone="Europe/Berlin", week={"fri": ("22:00-02:00",)}, holidays=frozenset({date(2026, 11, 28)}))
    assert club.is_open(berlin(2026, 11, 28, 1, 59))
    assert not club.is_open(berlin(2026, 11, 28, 2, 0))
    assert club.business_time(berlin(2026, 11, 23), berlin(2026, 11, 30)) == timedelta(hours=4)
    closed = Hours(zone="Europe/Berlin", week={"fri": ("22:00-02:00",)}, holidays=frozenset({date(2026, 11, 27)}))
    assert closed.business_time(berlin(2026, 11, 23), berlin(2026, 11, 30)) == timedelta(0)


@pytest.mark.parametrize(
    ("night", "hours", "open_for"),
    [
        (berlin(2026, 3, 28, 12), "22:00-06:00", 7),  # an hour is skipped
        (berlin(2026, 3, 28, 12), "22:00-02:30", 4),
        (berlin(2026, 10, 24, 12), "22:00-06:00", 9),  # an hour is repeated
        (berlin(2026, 10, 24, 12), "22:00-02:30", 5),  # twice until half past two
    ],
)
def test_nights_in_which_the_clocks_are_set(night: datetime, hours: str, open_for: int) -> None:
    watch = Hours(zone="Europe/Berlin", week={"sat": (hours,)})
    assert watch.business_time(night, night.astimezone(UTC) + timedelta(days=1)) == timedelta(hours=open_for)


clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from((0, 5, 30, 59)))
intervals = st.tuples(clocks, clocks).filter(lambda pair: pair[0] != pair[1]).map("-".join)
schedules = st.builds(
    Hours,
    # Clocks set at night, at midnight, by half an hour; half-hour offsets; none.
    zone=st.sampled_from(
        ("Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")
    ),
    week=st.dictionaries(
        st.sampled_from(("mon", "tue", "wed", "thu", "fri", "sat", "sun")), st.lists(intervals, max_size=3).map(tuple)
    ),
    holidays=st.frozensets(st.dates(date(2026, 10, 20), date(2026, 11, 5)), max_size=3),
)
# Around the days on which those zones set their clocks.
moments = st.builds(
    lambda day, minutes: datetime(2026, *day, tzinfo=UTC) + minutes * MINUTE,
    st.sampled_from(((3, 7), (3, 28), (4, 4), (4, 23), (10, 3), (10, 24), (10, 29), (10, 31))),
    st.integers(0, 2 * 24 * 60),
)


@settings(max_examples=40, deadline=None)
@given(schedules, moments, st.integers(0, 3 * 24 * 60))
def test_business_time_is_the_minutes_that_it_is_open(hours: Hours, start: datetime, minutes: int) -> None:
    counted = sum(hours.is_open(start + n * MINUTE) for n in range(minutes))
    assert hours.business_time(start, start + minutes * MINUTE) == counted * MINUTE


@settings(max_examples=60, deadline=None)
@given(schedules, moments, st.integers(0, 2000), st.integers(0, 2000))
def test_business_times_add_up(hours: Hours, start: datetime, first: int, second: int) -> None:
    middle, end = start + first * MINUTE, start + (first + second) * MINUTE
    assert hours.business_time(start, middle) + hours.business_time(middle, end) == hours.business_time(start, end)
    assert hours.business_time(end, start) == (timedelta(0) if first + second else hours.business_time(start, end))


@settings(max_examples=60, deadline=None)
@given(schedules, moments)
def test_nothing_opens_before_the_next_opening(hours: Hours, at: datetime) -> None:
    opens = hours.next_opening(at)
    if opens is None:
        assert hours.business_time(at, at + timedelta(days=60)) == timedelta(0)
        return
    assert opens >= at
    assert hours.is_open(opens)
    assert hours.business_time(at, opens) == timedelta(0)
    if (closes := hours.closes_at(opens)) is not None:
        assert not hours.is_open(closes)
        assert hours.business_time(opens, closes) == closes - opens


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"zone": "Berlin"}, "Europe/Berlin"),
        ({"zone": "../../etc/passwd"}, "Europe/Berlin"),
        ({"zone": ""}, "Europe/Berlin"),
        ({"week": {"mon": ["9 to 5"]}}, "09:00-17:30"),
        ({"week": {"mon": ["09:00"]}}, "09:00-17:30"),
        ({"week": {"mon": ["09:00-25:00"]}}, "09:00-17:30"),
        ({"week": {"mon": ["09:00-09:00"]}}, "00:00-24:00"),
        ({"week": {"monday": ["09:00-17:00"]}}, "mon"),
        ({"holidays": ["Christmas"]}, "date"),
        ({"open": True}, "Extra inputs"),
    ],
)
def test_hours_that_cannot_be_meant_are_refused_with_what_to_write(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Hours.model_validate({"zone": "Europe/Berlin", "week": {}, **wrong})


def test_hours_are_stored_as_json_and_read_back() -> None:
    stored = OFFICE.model_dump(mode="json")
    assert stored["week"]["mon"] == ["09:00-12:00", "13:00-18:00"]
    assert Hours.model_validate(stored) == OFFICE
