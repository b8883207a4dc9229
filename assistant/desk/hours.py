"""Business hours: pure arithmetic on what somebody's clock shows. No clock of its own, no database.

Whether it is open follows from the wall clock alone. So an hour that the change to winter time repeats is open twice if
it is open at all, one that the change to summer time skips is not there, and all times agree with `is_open`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = timedelta(days=1)
# A year and a day: whoever does not open within that does not open.
_LOOK_AHEAD = 367


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:  # there is none, or the name is a path
        raise ValueError("is no time zone; write for example Europe/Berlin") from error
    return name


def _interval(text: str) -> str:
    try:
        begin, end = text.split("-")
        length = _offset(end) - _offset(begin)
    except ValueError as error:
        raise ValueError(f"{text!r} are no hours; write for example 09:00-17:30, or 22:00-02:00") from error
    if not length:
        raise ValueError(f"{text!r} is no time at all; write 00:00-24:00 for a whole day")
    return text.replace(" ", "")


def _listed(value: Any) -> Any:
    """JSON has lists only."""
    return tuple(value) if isinstance(value, list) else value


Intervals = Annotated[tuple[Annotated[str, AfterValidator(_interval)], ...], BeforeValidator(_listed)]


class Hours(BaseModel):
    """When somebody is there. An interval that ends no later than it begins goes on until the next day."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    zone: Annotated[str, AfterValidator(_zone)] = Field(description="Time zone of the hours, e.g. `Europe/Berlin`.")
    week: dict[Day, Intervals] = Field(
        description='By day, e.g. `{"mon": ["09:00-12:00", "13:00-18:00"], "fri": ["22:00-02:00"]}`.'
    )
    holidays: Annotated[frozenset[date], BeforeValidator(_listed)] = Field(
        frozenset(), description="Days on which nobody opens, e.g. `2026-12-25`."
    )

    @field_validator("week")
    @classmethod
    def _in_order(cls, week: dict[Day, Intervals]) -> dict[Day, Intervals]:
        return {day: week[day] for day in _DAYS if week.get(day)}

    def is_open(self, at: datetime) -> bool:
        shown = at.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
        return any(begin <= shown < end for begin, end in self._openings(shown.date() - _DAY, shown.date()))

    def next_opening(self, at: datetime) -> datetime | None:
        """``at`` itself while it is open. None if nobody opens within a year."""
        horizon = at.astimezone(UTC) + _LOOK_AHEAD * _DAY
        return next((begin for begin, _ in self._open_times(at, horizon)), None)

    def closes_at(self, at: datetime) -> datetime | None:
        """When an opening that contains ``at`` ends. None while it is closed, or if it never closes."""
        if not self.is_open(at):
            return None
        horizon = at.astimezone(UTC) + _LOOK_AHEAD * _DAY
        ends_at = next(end for _, end in self._open_times(at, horizon))
        return ends_at if ends_at < horizon else None

    def business_time(self, start: datetime, end: datetime) -> timedelta:
        """How long it is open between two times. Zero if ``end`` is not after ``start``."""
        return sum((last - first for first, last in self._open_times(start, end)), timedelta(0))

    def after(self, start: datetime, length: timedelta) -> datetime | None:
        """The first moment by which it has been open for ``length`` since ``start``. None if nobody opens any more
        before that."""
        at, left = start.astimezone(UTC), length
        while left > timedelta(0):
            opened, horizon = False, at + _LOOK_AHEAD * _DAY
            for begin, end in self._open_times(at, horizon):
                if end - begin >= left:
                    return begin + left
                opened, left = True, left - (end - begin)
            if not opened:
                return None
            at = horizon
        return at

    def _openings(self, first: date, last: date) -> Iterator[tuple[datetime, datetime]]:
        """What begins on those days, as the wall clock shows it."""
        day = first
        while day <= last:
            for interval in () if day in self.holidays else self.week.get(_DAYS[day.weekday()], ()):
                begin, end = (datetime.combine(day, time()) + _offset(text) for text in interval.split("-"))
                yield begin, end if end > begin else end + _DAY
            day += _DAY

    def _open_times(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The times in UTC, within the bounds, in order, those that touch joined."""
        start, end, opened = start.astimezone(UTC), end.astimezone(UTC), None
        for at in self._changes(start, end) if start < end else ():
            is_open = at < end and self.is_open(at)
            if is_open and opened is None:
                opened = at
            elif not is_open and opened is not None:
                yield opened, at
                opened = None

    def _changes(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Times from ``start`` to ``end``, both included, in order, between which nothing opens or closes. A day at a
        time, so that a caller who has found what it looks for need not see them all."""
        zone, known = ZoneInfo(self.zone), start
        yield start
        day, last = start.astimezone(zone).date(), end.astimezone(zone).date()
        while day <= last:
            shown = {clock for opening in self._openings(day - _DAY, day) for clock in opening if clock.date() == day}
            for at in sorted({at for clock in shown for at in _instants(clock, zone)}):
                if known < at < end:
                    yield at
                    known = at
            day += _DAY
        yield end


def _instants(clock: datetime, zone: ZoneInfo) -> set[datetime]:
    """When a wall clock shows this. If it is set around that time, also when: it may skip over a time or repeat it."""
    first, second = (clock.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return {first}
    early, late = min(first, second), max(first, second)
    before = early.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) / 2
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return {first, second, late.replace(microsecond=0)}


def _offset(text: str) -> timedelta:
    """``09:30`` as a time since midnight. ``24:00`` is the end of a day."""
    if text.strip() == "24:00":
        return _DAY
    at = time.fromisoformat(text.strip())
    if at.tzinfo is not None or at.second or at.microsecond or ":" not in text:
        raise ValueError("expected hours and minutes")
    return timedelta(hours=at.hour, minutes=at.minute)
