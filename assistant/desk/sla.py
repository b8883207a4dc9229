"""SLA arithmetic: when a target is due. No database, no clock of its own.

A target allows a length of time, counted in business hours (`hours`) or around the clock, while it runs. It is paused
while the ticket waits for its customer or for somebody else, and while the assistant has the conversation.

What is kept of a target is when it ran. Everything else follows from that, the policy and the hours as they are now. So
a policy or hours that change in the middle count as if they had always been so, and computing again is always right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from assistant.desk.hours import Hours


@dataclass(frozen=True)
class Stretch:
    """A time during which a target ran; ``end``: None if it still does."""

    begin: datetime
    end: datetime | None = None


Stretches = tuple[Stretch, ...]  # in order, apart; only the last may be open


def is_running(stretches: Stretches) -> bool:
    return bool(stretches) and stretches[-1].end is None


def run(stretches: Stretches, at: datetime) -> Stretches:
    """From ``at`` on it runs. A no-op if it does already."""
    if is_running(stretches):
        return stretches
    if stretches and (end := stretches[-1].end) is not None and end >= at:  # it was paused for no time at all
        return (*stretches[:-1], Stretch(stretches[-1].begin))
    return (*stretches, Stretch(at))


def pause(stretches: Stretches, at: datetime) -> Stretches:
    """From ``at`` on it does not run. A no-op if it is paused."""
    if not is_running(stretches):
        return stretches
    begin = stretches[-1].begin
    return (*stretches[:-1], Stretch(begin, at)) if at > begin else stretches[:-1]


def used(stretches: Sequence[Stretch], hours: Hours | None, now: datetime) -> timedelta:
    """How much of its time a target has used by ``now``. Without hours, all time counts."""
    return sum((_length(hours, one.begin, min(one.end or now, now)) for one in stretches), timedelta(0))


def due_at(stretches: Sequence[Stretch], goal: timedelta, hours: Hours | None) -> datetime | None:
    """The moment at which the target's time is used up: past, or to come if it goes on as it is. None if it is paused
    before that, or if nobody opens any more."""
    left = goal
    for one in stretches:
        reached = one.begin.astimezone(UTC) + left if hours is None else hours.after(one.begin, left)
        if reached is not None and (one.end is None or reached <= one.end):
            return reached
        if one.end is None:
            return None
        left -= _length(hours, one.begin, one.end)
    return None


def _length(hours: Hours | None, begin: datetime, end: datetime) -> timedelta:
    if hours is not None:
        return hours.business_time(begin, end)
    return max(end.astimezone(UTC) - begin.astimezone(UTC), timedelta(0))  # not as wall clocks show it
