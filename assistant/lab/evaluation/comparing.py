"""How well changes between two photos of one thing are found (`media.comparing`): pairs with a known change, pairs
without one, and pairs of two things, which cannot be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from PIL import Image

from assistant.errors import Invalid
from assistant.lab.evaluation.pairs import Pair, drawn, printed
from assistant.lab.tables import table
from assistant.media import opencv
from assistant.media.comparing import Overlaid, overlay
from assistant.ports import Box
from assistant.progress import Progress, no_progress

_PHOTOS = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Score:
    """``changed``: pairs with a change, ``found``: share of which the changed place is boxed, ``beside``: of which
    another place is; ``unchanged``: pairs without, ``false_alarms``: share of which any place is boxed; ``refused``:
    share of all these that could not be compared; ``others``: pairs of two things, ``apart``: share that was refused.
    ``missed``: pairs not found, by kind of change. ``seconds``: of a processor, median."""

    kind: str
    changed: int
    found: float
    beside: float
    unchanged: int
    false_alarms: float
    refused: float
    others: int
    apart: float
    seconds: float
    missed: dict[str, str]


@dataclass(frozen=True)
class Report:
    scores: tuple[Score, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        header = ("", "changed", "found", "beside", "unchanged", "alarms", "refused", "others", "apart", "s")
        lines = table(header, [tuple(asdict(score).values())[:-1] for score in self.scores])
        for score in self.scores:
            lines += [f"  {score.kind}, found: " + ", ".join(f"{kind} {share}" for kind, share in score.missed.items())]
        return "\n".join(lines)


def evaluate_comparing(
    folders: Sequence[Path], *, pairs: int, first: int = 0, progress: Progress = no_progress
) -> Report:
    """``pairs`` of drawn devices, and as many of the photos in ``folders``."""
    if not opencv.is_installed():
        raise Invalid("OpenCV is not installed. Run: pip install 'photo-support-assistant[demo]'")
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.suffix.lower() in _PHOTOS]
    numbers = range(first, first + pairs)
    total = pairs * (2 if files else 1)
    made: list[Pair] = []
    scores = []
    for done, number in enumerate(numbers, start=1):
        made.append(drawn(number, changed=number % 2 == 0))
        progress(done, total, "Drawing")
    scores.append(_score("drawn devices", made))
    if files:
        made = []
        for done, number in enumerate(numbers, start=pairs + 1):
            with Image.open(files[number * 7 % len(files)]) as photo:
                made.append(printed(photo, number, changed=number % 2 == 0))
            progress(done, total, "Photographing")
        scores.append(_score("photos", made))
    return Report(tuple(scores))


def _score(kind: str, pairs: Sequence[Pair]) -> Score:
    laid: list[Overlaid | None] = []
    seconds = []
    for pair in pairs:
        started = process_time()
        laid.append(overlay(pair.one, pair.other))
        seconds.append(process_time() - started)
    changed = [(pair, one) for pair, one in zip(pairs, laid, strict=True) if pair.place is not None]
    unchanged = [one for pair, one in zip(pairs, laid, strict=True) if pair.place is None]
    found = [(pair.change, _has(one, pair.place, inside=True)) for pair, one in changed]
    apart = [overlay(one.one, other.one) is None for one, other in pairwise(pairs)]
    kinds = Counter(change for change, _ in found)
    right = Counter(change for change, hit in found if hit)
    return Score(
        kind=kind,
        changed=len(changed),
        found=float(np.mean([hit for _, hit in found])),
        beside=float(np.mean([_has(one, pair.place, inside=False) for pair, one in changed])),
        unchanged=len(unchanged),
        false_alarms=float(np.mean([one is not None and bool(one.differences) for one in unchanged])),
        refused=float(np.mean([one is None for one in laid])),
        others=len(apart),
        apart=float(np.mean(apart)),
        seconds=float(np.median(seconds)),
        missed={change: f"{right[change]} of {count}" for change, count in sorted(kinds.items())},
    )


def _has(laid: Overlaid | None, place: Box | None, *, inside: bool) -> bool:
    """Whether any difference is there, or elsewhere."""
    if laid is None or place is None:
        return False
    return any(_meet(one.in_other, place) is inside for one in laid.differences)


def _meet(one: Box, other: Box) -> bool:
    return one.left < other.right and other.left < one.right and one.top < other.bottom and other.top < one.bottom
