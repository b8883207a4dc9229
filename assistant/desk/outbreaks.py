"""Faults that come up much more often than they used to: of a product with a code, with what photos show, or
with a category.

They are read from the counts of reports, so finding them costs the same however many tickets there are. The last seven
days are compared with the four weeks before. If a fault is as frequent as ever, its tickets are spread over both as
time is, and the number of recent ones is binomial: the exact conditional test of two Poisson rates (J. Przyborowski and
H. Wilenski, Homogeneity of results in testing samples from Poisson series, Biometrika 31, 1940):

    chance = P(X >= recent),  X ~ Binomial(recent + before, share),  share = 7 / (7 + 28)

A desk that is younger than that has fewer days before. Where everything has become more frequent, nothing stands out:
the share is that of all other tickets if it is larger. Of many faults, some would stand out by chance alone, so the
chance is multiplied by the number of faults (Bonferroni) before it is compared with `SURE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import exp, lgamma, log

from sqlalchemy.orm import Session

from assistant import payloads
from assistant.desk import counting, reports
from assistant.desk.access import MachinePrincipal
from assistant.desk.conditions import Asking
from assistant.desk.counting import Measure
from assistant.desk.reports import Asked
from assistant.desk.similar import WITHIN, Compared, Fault, similar_to
from assistant.skills.captions import FAULT_SHOWN

RECENT = WITHIN.days
BEFORE = 28
SURE = 0.01
# Fewer are no outbreak, however rare they were.
FEWEST = 4
_NEGLIGIBLE = 1e-18
_ALMOST_ALL = 0.99


@dataclass(frozen=True)
class Outbreak:
    """``by_day``: tickets of each day, the last of which is today; ``usual``: how many there would be in seven days;
    ``chance``: that any of the faults would stand out so far although nothing has changed."""

    fault: Fault
    by_day: Sequence[int]
    usual: float
    chance: float

    @property
    def recent(self) -> int:
        return sum(self.by_day[-RECENT:])


def find(session: Session, *, today: date) -> list[Outbreak]:
    """What stands out now, the least likely first; nothing until all days have been counted once."""
    if reports.progress(session)[0] is None:
        return []
    asked = Asked(today - timedelta(days=RECENT + BEFORE - 1), today)
    days = [asked.since + timedelta(days=number) for number in range(asked.days)]
    opened = [counts.get("", 0) for counts in _of_days(reports.by_day(session, asked, Measure.OPENED), days)]
    first = next((at for at, count in enumerate(opened) if count), len(days))
    if first >= BEFORE:
        return []  # nothing to compare with
    by_fault = _by_fault(_of_days(reports.by_day(session, asked, Measure.FAULT), days))
    tested = {key: series for key, series in by_fault.items() if sum(series) >= FEWEST}
    found = []
    for key, series in tested.items():
        recent, before = sum(series[-RECENT:]), sum(series[:-RECENT])
        share = _share(opened, series, by_time=RECENT / (len(days) - first))
        chance = min(1.0, len(tested) * tail(recent, recent + before, share))
        if recent >= FEWEST and chance < SURE:
            found.append(Outbreak(_fault_of(key), series, before * share / (1 - share), chance))
    found.sort(key=lambda one: (one.chance, -one.recent))
    return [one for one in found if not _is_explained(one, found)]


def about(session: Session, fault: Fault, *, now: datetime) -> Outbreak | None:
    """The outbreak of this fault, if there is one now."""
    for one in find(session, today=today_of(session, now)):
        if one.fault.product == fault.product and _is_same(one.fault, fault):
            return one
    return None


def show_similar(session: Session, compared: Compared, asking: Asking) -> payloads.Similar:
    """What something has in common with tickets, as a client sees it."""
    found = similar_to(session, compared, asking)
    fault, sees_all = found.fault, not isinstance(asking.by, MachinePrincipal) or asking.by.inbox_ids is None
    outbreak = None
    if fault is not None and sees_all and found.count >= FEWEST - 1:
        outbreak = about(session, fault, now=asking.now)
    return payloads.Similar(
        fault=payloads.Fault(
            product=fault.product, codes=fault.codes, shows=fault.shows, category=fault.category, query=fault.query
        )
        if fault is not None
        else None,
        tickets=found.count,
        newest=tuple(map(payloads.TicketReference.of, found.newest)),
        photos=tuple(
            payloads.AlikePhoto(
                ticket=payloads.TicketReference.of(one.ticket),
                attachment_id=one.photo.public_id,
                same=one.is_same,
            )
            for one in found.photos
        ),
        outbreak=payloads.Outbreak(recent=outbreak.recent, usual=round(outbreak.usual, 2), chance=outbreak.chance)
        if outbreak is not None
        else None,
    )


def today_of(session: Session, now: datetime) -> date:
    """As reports count days."""
    return counting.day_of(now, reports.progress(session)[2])


def tail(at_least: int, of: int, share: float) -> float:
    """P(X >= at_least) of X ~ Binomial(of, share)."""
    total = 0.0
    for count in range(max(at_least, 0), of + 1):
        ways = lgamma(of + 1) - lgamma(count + 1) - lgamma(of - count + 1)
        term = exp(ways + count * log(share) + (of - count) * log(1 - share))
        total += term
        if count > of * share and term < _NEGLIGIBLE * total:
            break
    return min(total, 1.0)


def _of_days(counts: Mapping[date, Mapping[str, int]], days: Sequence[date]) -> list[Mapping[str, int]]:
    return [counts.get(day, {}) for day in days]


def _by_fault(counts: Sequence[Mapping[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, of_day in enumerate(counts):
        for key, count in of_day.items():
            found.setdefault(key, [0] * len(counts))[number] = count
    return found


def _fault_of(key: str) -> Fault:
    """What `Measure.FAULT` counts by this key."""
    product, kind, value = key.split("|", 2)
    match kind:
        case "code":
            return Fault(product, codes=(value,))
        case "shows":
            return Fault(product, shows=(value,))
        case _:
            return Fault(product, category=value)


def _is_same(one: Fault, fault: Fault) -> bool:
    if fault.codes:
        return not set(fault.codes).isdisjoint(one.codes)
    if fault.shows:
        return not set(fault.shows).isdisjoint(one.shows)
    return one.category is not None and one.category == fault.category


def _share(opened: Sequence[int], series: Sequence[int], *, by_time: float) -> float:
    """The share of tickets that would be recent if nothing but the number of all others had changed."""
    others = [every - own for every, own in zip(opened, series, strict=True)]
    recent, total = sum(others[-RECENT:]), sum(others)
    return min(max(by_time, recent / total), _ALMOST_ALL) if recent < total else by_time


def _is_explained(one: Outbreak, found: Sequence[Outbreak]) -> bool:
    """Whether a fault only stands out because one of the same product does that says more."""
    more = one.recent - one.usual
    others = [other for other in found if other.fault.product == one.fault.product]
    telling = [other for other in others if _says(other.fault) > _says(one.fault)]
    return any(other.recent - other.usual >= more / 2 for other in telling)


def _says(fault: Fault) -> int:
    """How much: a code the most, a category the least."""
    if fault.codes:
        return 3
    return (1 if fault.shows == (FAULT_SHOWN,) else 2) if fault.shows else 0
