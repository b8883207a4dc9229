"""How much of names and addresses is masked, and how often something is masked that is neither.

Rows with ``spans`` (type, start, end) say what there is to find: `PERSON` and `STREET_ADDRESS`. Of rows without,
nothing is told but how many have anything masked as a name or address; in support talk without people those are false
alarms. Some support talk does name people: with lists of first names, rows are counted apart in which something is
masked that has none of them, whatever the set says of itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from assistant.errors import Invalid
from assistant.lab.cues.examples import examples
from assistant.lab.rows import read_rows
from assistant.lab.tables import Cell, table
from assistant.progress import Progress, no_progress
from assistant.skills.personal_data import Kind, Span, find

_WANTED = {Kind.NAME: "PERSON", Kind.ADDRESS: "STREET_ADDRESS"}
_TEXTS = ("text", "question", "body", "subject")
_WORD = re.compile(r"\w+")
_LANGUAGES = ("lang", "language")


@dataclass
class Counts:
    """Of one set, or of its rows in one language. ``whole``: all letters and digits masked; ``half``: of them half."""

    name: str
    rows: int = 0
    seconds: float = 0.0
    alarmed: Counter[Kind] = field(default_factory=Counter)
    alarmed_rows: int = 0
    nameless_rows: int | None = None  # of those, the ones with anything that has no known first name
    real: Counter[Kind] = field(default_factory=Counter)
    whole: Counter[Kind] = field(default_factory=Counter)
    half: Counter[Kind] = field(default_factory=Counter)
    told: Counter[Kind] = field(default_factory=Counter)
    right: Counter[Kind] = field(default_factory=Counter)
    alarms: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def cells(self) -> list[Cell]:
        cells: list[Cell] = [self.name, self.rows]
        for kind in _WANTED:
            cells += [_share(self.whole[kind], self.real[kind]), _share(self.half[kind], self.real[kind])]
            cells += [_share(self.right[kind], self.told[kind]) if self.real else None]
        if self.real:
            cells += [None, None, None, None]
        else:
            cells += [self.alarmed[kind] / self.rows for kind in _WANTED] + [self.alarmed_rows / self.rows]
            cells += [None if self.nameless_rows is None else self.nameless_rows / self.rows]
        return [*cells, f"{1000 * self.seconds / self.rows:.2f}"]

    def to_json(self) -> dict[str, Any]:
        shares = {
            kind.value: {"whole": self.whole[kind], "half": self.half[kind], "of": self.real[kind]} for kind in _WANTED
        }
        told = {kind.value: {"right": self.right[kind], "of": self.told[kind]} for kind in _WANTED}
        alarms = {kind.value: self.alarmed[kind] for kind in _WANTED} | {"either": self.alarmed_rows}
        alarms |= {} if self.nameless_rows is None else {"without a first name": self.nameless_rows}
        found = {"recall": shares, "precision": told} if self.real else {"alarmed_rows": alarms}
        return {"set": self.name.strip(), "rows": self.rows, **found, "ms": 1000 * self.seconds / max(1, self.rows)}


_COLUMNS = (
    "set", "rows", "names: whole", "half", "precision", "addresses: whole", "half", "precision",
    "alarms: names", "addresses", "either", "no first name", "ms",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    sets: Sequence[Counts]

    def to_json(self) -> list[dict[str, Any]]:
        return [one.to_json() for one in self.sets]

    def render(self, show: int = 0) -> str:
        lines = table(_COLUMNS, [one.cells() for one in self.sets if one.rows])
        for one in self.sets:
            if show and (one.alarms or one.missed):
                lines += ["", one.name, *(f"  {text}" for text in (*one.alarms[:show], *one.missed[:show]))]
        return "\n".join(lines)


def evaluate_masking(
    paths: Sequence[Path],
    *,
    every: int = 1,
    first_names: frozenset[str] | None = None,
    progress: Progress = no_progress,
) -> Report:
    """Each of ``paths`` is JSONL, or a folder of it; without any, our own messages, by language. ``every``: measure
    each n-th row only. ``first_names``: in small letters."""
    sets: list[Counts] = []
    for path in paths:
        sets += _measure(path.stem, list(_rows(path))[::every], first_names, progress)
    if not paths:
        own = [({"text": one.text, "lang": one.language}, one.text) for one in examples()]
        sets += _measure("our own messages", own[::every], first_names, progress)
    return Report(sets)


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    found = False
    for row in read_rows(path):
        text = next((row.values[name] for name in _TEXTS if isinstance(row.values.get(name), str)), "")
        if text.strip():
            found = True
            yield row.values, text
    if not found:
        raise Invalid(f"{path} has no rows with any of these fields: {', '.join(_TEXTS)}.")


def first_names(folder: Path) -> frozenset[str]:
    """Those in the packages that `training.people_lists` names, in small letters."""
    from assistant.lab.training.people_lists import read_countries

    return frozenset(name.lower() for country in read_countries(folder) for name in country.firsts)


def _measure(
    name: str, rows: Sequence[tuple[dict[str, Any], str]], known: frozenset[str] | None, progress: Progress
) -> list[Counts]:
    """All rows, then those of each language if the rows name one."""
    whole, languages = Counts(name), dict[str, Counts]()
    for number, (values, text) in enumerate(rows, start=1):
        language = next((values[key] for key in _LANGUAGES if isinstance(values.get(key), str)), None)
        counted = [whole] if language is None else [whole, languages.setdefault(language, Counts(f"  {language}"))]
        started = perf_counter()
        spans = find(text)
        seconds = perf_counter() - started
        for one in counted:
            one.rows += 1
            one.seconds += seconds
            _count(one, text, spans, values.get("spans"), known)
        progress(number, len(rows), name)
    return [whole, *(languages[key] for key in sorted(languages))]


def _count(
    counts: Counts,
    text: str,
    spans: Sequence[Span],
    marked: list[dict[str, Any]] | None,
    known: frozenset[str] | None,
) -> None:
    masked = {place for span in spans for place in range(span.start, span.end)}
    kinds = {span.kind for span in spans if span.kind in _WANTED}
    if marked is None:
        counts.alarmed.update(kinds)
        counts.alarmed_rows += bool(kinds)
        if known is not None:
            told = [span for span in spans if span.kind in _WANTED]
            counts.nameless_rows = (counts.nameless_rows or 0) + any(not _is_named(text, one, known) for one in told)
        counts.alarms += [
            f"{span.kind}: {text[span.start : span.end]!r} in {text[:150]!r}" for span in spans if span.kind in _WANTED
        ]
        return
    for kind, wanted in _WANTED.items():
        real = [(one["start"], one["end"]) for one in marked if one["type"] == wanted]
        told = [span for span in spans if span.kind is kind]
        counts.told[kind] += len(told)
        counts.right[kind] += sum(any(span.start < end and start < span.end for start, end in real) for span in told)
        for start, end in real:
            signs = [place for place in range(start, end) if text[place].isalnum()]
            share = sum(place in masked for place in signs) / max(1, len(signs))
            counts.real[kind] += 1
            counts.whole[kind] += share == 1
            counts.half[kind] += share >= 0.5
            if share < 1:
                counts.missed.append(f"missed {kind}, {share:.0%} masked: {text[start:end]!r} in {text[:150]!r}")


def _is_named(text: str, span: Span, known: frozenset[str]) -> bool:
    words = _WORD.findall(text[span.start : span.end].lower())
    return span.kind is Kind.NAME and not known.isdisjoint(words)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
