"""Charts as plain geometry, which templates draw as SVG: no script, no library, and the same figures as a table beside.

Everything is in per cent of a drawing that is stretched to its place, so it fits a phone and a wall. What is written
stands outside it and is never stretched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Rect:
    """``look``: the class of its series, or its darkness from 0 to 1 in ``shade``."""

    x: float
    y: float
    width: float
    height: float
    title: str
    look: int = 0
    shade: float = 1.0


@dataclass(frozen=True)
class Columns:
    """Stacked columns from left to right. ``ends``: what the first and the last are called."""

    kind: ClassVar[str] = "columns"
    rects: tuple[Rect, ...]
    top: float
    names: tuple[str, ...]
    ends: tuple[str, str]


@dataclass(frozen=True)
class Lines:
    kind: ClassVar[str] = "lines"
    points: tuple[str, ...]  # of each line, as SVG has them
    top: float
    names: tuple[str, ...]
    ends: tuple[str, str]


@dataclass(frozen=True)
class Bars:
    """A bar beside every row of the table; ``shares``: of the longest."""

    kind: ClassVar[str] = "bars"
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Heat:
    kind: ClassVar[str] = "heat"
    rects: tuple[Rect, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Diagonal:
    """How often something was right (y) where it was so probable (x); on the diagonal, what was said is true."""

    kind: ClassVar[str] = "diagonal"
    dots: tuple[tuple[float, float, float, str], ...]  # x, y, radius, title


Chart = Columns | Lines | Bars | Heat | Diagonal


def columns(labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]]) -> Columns:
    """``series``: each a name and a value for every label, stacked in this order from below."""
    sums = [sum(values[at] for _, values in series) for at in range(len(labels))]
    top, width = max(*sums, 1.0) if sums else 1.0, 100 / max(len(labels), 1)
    rects = []
    for at, label in enumerate(labels):
        below = 0.0
        for look, (name, values) in enumerate(series):
            height = 100 * values[at] / top
            below += height
            if height:
                title = f"{label}: {values[at]:,.0f}" + (f" {name.lower()}" if len(series) > 1 else "")
                rects.append(Rect(at * width + width * 0.1, 100 - below, width * 0.8, height, title, look))
    return Columns(
        tuple(rects), top, tuple(name for name, _ in series), (labels[0], labels[-1]) if labels else ("", "")
    )


def lines(labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]]) -> Lines:
    top = max([1.0, *(value for _, values in series for value in values)])
    step = 100 / max(len(labels) - 1, 1)
    points = tuple(
        " ".join(f"{at * step:.2f},{100 - 100 * value / top:.2f}" for at, value in enumerate(values))
        for _, values in series
    )
    return Lines(points, top, tuple(name for name, _ in series), _ends(labels))


def bars(values: Sequence[float]) -> Bars:
    longest = max([*values, 0.0]) or 1.0
    return Bars(tuple(100 * value / longest for value in values))


def heat(rows: Sequence[str], names: Sequence[str], values: Sequence[Sequence[float]]) -> Heat:
    """``values``: a row of values for each of ``rows``, one for each of ``names``."""
    most = max([value for row in values for value in row], default=0.0) or 1.0
    width, height = 100 / len(names), 100 / len(rows)
    return Heat(
        tuple(
            Rect(at * width, line * height, width, height, f"{rows[line]} {name}: {value:,.0f}", shade=value / most)
            for line, row in enumerate(values)
            for at, (name, value) in enumerate(zip(names, row, strict=True))
        ),
        tuple(rows),
        tuple(names),
    )


def diagonal(bins: Sequence[tuple[float, float, int]]) -> Diagonal:
    """``bins``: mean probability, share that was right, and of how many."""
    most = max([count for _, _, count in bins], default=1)
    return Diagonal(
        tuple(
            (
                100 * said,
                100 - 100 * right,
                2 + 4 * (count / most) ** 0.5,
                f"{said:.0%} sure, {right:.0%} right ({count})",
            )
            for said, right, count in bins
        )
    )


def _ends(labels: Sequence[str]) -> tuple[str, str]:
    return (labels[0], labels[-1]) if labels else ("", "")
