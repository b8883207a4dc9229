"""How well photos are read, on any labelled folder: right or wrong by field, exact codes, and honest confidence.

A set is a JSONL file, or a folder of them: ``photo`` (a path beside it) and ``expected``, an object. Fields of the
evidence (product, condition, lights, quality) are compared with what was read; any other (code, serial, order,
total, …) is a text that must be among the visible text. `generated` makes such cases from scenes never trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np

from assistant.errors import AssistantError, Invalid
from assistant.media.files import Upload
from assistant.media.photo import Limits, Photo, normalise
from assistant.ports import Box, Capabilities, TextLine
from assistant.progress import Progress
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence, Reading, read_photo
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy

EVIDENCE = ("product", "lights", "condition", "quality")
BINS = 10
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)
_WORST = 24


@dataclass(frozen=True)
class Case:
    """One photo, as `media` normalises it, and what should be read in it. ``boxes``: where, for some fields."""

    name: str
    photo: bytes
    expected: Mapping[str, str]
    boxes: Mapping[str, tuple[Box, ...]]


@dataclass(frozen=True)
class Outcome:
    """One field of one photo. ``alike``: the share of the expected characters that were read."""

    case: str
    field: str
    expected: str
    read: str
    confidence: float  # 0 where nothing was read
    right: bool
    alike: float
    inside: float | None = None  # share of its regions whose centre lies in a true box; None if there is none of either


@dataclass(frozen=True)
class FieldScore:
    field: str
    photos: int
    accuracy: float
    characters: float
    calibration_error: float
    inside: float | None
    # Accuracy of the surest share of photos, by share: what is won by passing the others to a person.
    surest: Mapping[str, float]


@dataclass(frozen=True)
class Report:
    path: str
    model: str
    photos: int
    seconds_a_photo: float
    scores: tuple[FieldScore, ...]
    outcomes: tuple[Outcome, ...]

    def to_json(self) -> dict[str, Any]:
        wrong = [asdict(outcome) for outcome in self.outcomes if not outcome.right]
        head = {name: getattr(self, name) for name in ("path", "model", "photos", "seconds_a_photo")}
        return {**head, "scores": [asdict(score) for score in self.scores], "wrong": wrong}

    def render(self) -> str:
        """A table for people."""
        lines = [f"{self.path}: {self.photos} photos, {self.seconds_a_photo:.2f} s each. Model: {self.model}", ""]
        lines.append(f"{'':16}{'photos':>7}{'right':>8}{'signs':>8}{'ECE':>7}{'region':>8}  surest 90 / 70 / 50 %")
        lines += [_line(score) for score in self.scores]
        lines.append("\nsigns: share of the expected characters read. ECE: expected calibration error, 10 bins.")
        lines.append("region: share of regions whose centre lies in the true box. surest: right among the surest.")
        return "\n".join(lines)

    def plot(self, path: Path) -> None:
        """Write a reliability diagram and the abstention curve (PNG)."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 4.2), layout="constrained")
        honest, curve = figure.subplots(1, 2)
        honest.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
        for score in self.scores:
            sure, right = _columns(self.outcomes, score.field)
            bins = list(_reliability(sure, right))
            honest.plot([one[0] for one in bins], [one[1] for one in bins], marker="o", markersize=3, label=score.field)
            order = np.argsort(-sure, kind="stable")
            kept = np.arange(1, len(order) + 1)
            curve.plot(kept / len(kept), right[order].cumsum() / kept, label=score.field)
        honest.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence given", ylabel="share that was right")
        curve.set(
            xlim=(0, 1), ylim=(0, 1.02), xlabel="share of photos answered, surest first", ylabel="right among them"
        )
        curve.legend(fontsize=7)
        figure.savefig(path, format="png", dpi=130)


def evaluate_photos(
    cases: Sequence[Case],
    *,
    path: str,
    capabilities: Capabilities,
    taxonomy: Taxonomy,
    progress: Progress | None = None,
) -> Report:
    """Read every photo as the product does and compare."""
    if not cases:
        raise Invalid(f"{path} holds no photos.")
    read, seconds = read_all(cases, capabilities=capabilities, taxonomy=taxonomy, progress=progress)
    outcomes = [one for case, evidence in zip(cases, read, strict=True) for one in compared(case, evidence)]
    return reported(path, capabilities.model, outcomes, photos=len(cases), seconds=seconds)


def read_all(
    cases: Sequence[Case], *, capabilities: Capabilities, taxonomy: Taxonomy, progress: Progress | None = None
) -> tuple[list[PhotoEvidence], float]:
    """The evidence of each photo, and the seconds one takes: the median, because the first waits for the model."""
    from time import perf_counter

    read, seconds = [], []
    for number, case in enumerate(cases, start=1):
        started = perf_counter()
        read.append(read_photo(case.photo, capabilities=capabilities, taxonomy=taxonomy))
        seconds.append(perf_counter() - started)
        if progress is not None:
            progress(number, len(cases), "Reading photos")
    return read, float(np.median(seconds))


def reported(path: str, model: str, outcomes: Sequence[Outcome], *, photos: int, seconds: float) -> Report:
    """Also scores all fields together that are named alike up to a colon."""
    fields = dict.fromkeys(outcome.field for outcome in outcomes)
    fields |= dict.fromkeys(field.split(": ")[0] for field in fields)
    return Report(path, model, photos, seconds, tuple(_scored(field, outcomes) for field in fields), tuple(outcomes))


def compared(case: Case, evidence: PhotoEvidence) -> Iterator[Outcome]:
    for field, expected in case.expected.items():
        if field in EVIDENCE:
            # A field that was not read at all, as the lights of a foreign photo, claims nothing.
            reading = getattr(evidence, field) or Reading(CANNOT_TELL, 0.0)
            right = _bare(reading.value) == _bare(expected)
            outcome = Outcome(case.name, field, expected, reading.value, reading.confidence, right, float(right))
            regions = reading.parts or tuple(filter(None, [reading.region]))
        else:
            outcome, region = _in_text(case.name, field, expected, evidence.visible_text)
            regions = tuple(filter(None, [region]))
        yield replace(outcome, inside=_inside(regions, case.boxes.get(field, ())) if outcome.right else None)


def read_cases(path: Path, *, limits: Limits) -> list[Case]:
    """Raises `Invalid` and says which line is wrong."""
    cases = []
    for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                cases.append(_case(file, number, line, limits))
    if not cases:
        raise Invalid(f'{path} holds no photos: JSON objects with "photo" and "expected", one a line, in *.jsonl.')
    return cases


def contact_sheet(report: Report, cases: Sequence[Case], path: Path) -> None:
    """Write the photos that were read worst, surest mistakes first, with what was expected and what was read (PNG)."""
    import io

    from PIL import Image, ImageDraw, ImageFont

    photos = {case.name: case.photo for case in cases}
    wrong = sorted((one for one in report.outcomes if not one.right), key=lambda one: -one.confidence)[:_WORST]
    columns, width, height = 4, 320, 300
    rows = max(1, -(-len(wrong) // columns))
    sheet = Image.new("RGB", (columns * width, rows * height), (250, 250, 250))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, outcome in enumerate(wrong):
        x, y = number % columns * width, number // columns * height
        with Image.open(io.BytesIO(photos[outcome.case])) as photo:
            small = photo.convert("RGB")
            small.thumbnail((width - 10, height - 60))
        sheet.paste(small, (x + 5, y + 5))
        said = (f"{outcome.field}: {outcome.expected[:40]}", f"read: {outcome.read[:36]} ({outcome.confidence:.0%})")
        draw.text((x + 6, y + height - 50), said[0], fill=(20, 20, 20), font=font)
        draw.text((x + 6, y + height - 30), said[1], fill=(176, 30, 30), font=font)
    if not wrong:
        draw.text((10, 10), "Everything was read right.", fill=(20, 20, 20), font=font)
    sheet.save(path, "PNG")


def _case(file: Path, number: int, line: str, limits: Limits) -> Case:
    try:
        row = json.loads(line)
        name, expected = str(row["photo"]), dict(row["expected"])
    except (ValueError, KeyError, TypeError) as error:
        wanted = 'a JSON object with "photo" and "expected" is expected'
        raise Invalid(f"{file.name}, line {number}: {wanted}.") from error
    try:
        photo = normalise(Upload(name, None, (file.parent / name).read_bytes()), limits)
    except (OSError, AssistantError) as error:
        raise Invalid(f"{file.name}, line {number}: {name} cannot be read.") from error
    if not isinstance(photo, Photo):
        raise Invalid(f"{file.name}, line {number}: {name} is not a photo.")
    return Case(name, photo.data, {field: _value(field, value) for field, value in expected.items()}, {})


def _value(field: str, value: Any) -> str:
    said = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    return CANNOT_TELL if field == "product" and said in ("", NO_PRODUCT) else said


def _in_text(case: str, field: str, expected: str, lines: Sequence[TextLine]) -> tuple[Outcome, Box | None]:
    """Whether a line has the expected text in it, and how much of it the best line has."""
    wanted = _bare(expected)
    best: tuple[float, TextLine | None] = (0.0, None)
    for line in lines:
        alike = 1.0 if wanted in _bare(line.text) else _alike(wanted, _bare(line.text))
        if alike > best[0]:
            best = (alike, line)
    alike, nearest = best
    if nearest is None:
        return Outcome(case, field, expected, "", 0.0, right=False, alike=0.0), None
    return Outcome(case, field, expected, nearest.text, nearest.confidence, alike == 1.0, alike), nearest.box


def _alike(wanted: str, read: str) -> float:
    """The share of ``wanted`` that stands in ``read`` in the same order."""
    blocks = SequenceMatcher(None, wanted, read, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / max(1, len(wanted))


def _inside(regions: Sequence[Box], boxes: Sequence[Box]) -> float | None:
    """The share of regions whose centre lies in one of the boxes."""
    if not regions or not boxes:
        return None
    return float(np.mean([any(_holds(box, region) for box in boxes) for region in regions]))


def _holds(box: Box, region: Box) -> bool:
    x, y = (region.left + region.right) / 2, (region.top + region.bottom) / 2
    return box.left <= x <= box.right and box.top <= y <= box.bottom


def _scored(field: str, outcomes: Sequence[Outcome]) -> FieldScore:
    own = _of(outcomes, field)
    sure, right = _columns(outcomes, field)
    inside = [outcome.inside for outcome in own if outcome.inside is not None]
    order = np.argsort(-sure, kind="stable")
    surest = {f"{share:.0%}": float(right[order[: max(1, round(share * len(own)))]].mean()) for share in COVERAGES}
    bins = list(_reliability(sure, right))
    error = sum(abs(said - true) * count for said, true, count in bins) / max(1, sum(count for *_, count in bins))
    return FieldScore(
        field=field,
        photos=len(own),
        accuracy=float(right.mean()),
        characters=float(np.mean([outcome.alike for outcome in own])),
        calibration_error=float(error),
        inside=float(np.mean(inside)) if inside else None,
        surest=surest,
    )


def _of(outcomes: Sequence[Outcome], field: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.field == field or outcome.field.startswith(f"{field}: ")]


def _columns(outcomes: Sequence[Outcome], field: str) -> tuple[np.ndarray, np.ndarray]:
    own = _of(outcomes, field)
    return np.array([outcome.confidence for outcome in own]), np.array([outcome.right for outcome in own], dtype=float)


def _reliability(sure: np.ndarray, right: np.ndarray) -> Iterator[tuple[float, float, int]]:
    """(mean confidence, share right, photos) of each bin that has some; where nothing was read, no probability was
    given that could be wrong."""
    sure, right = sure[sure > 0], right[sure > 0]
    places = np.minimum((sure * BINS).astype(int), BINS - 1)
    for place in np.unique(places):
        inside = places == place
        yield float(sure[inside].mean()), float(right[inside].mean()), int(inside.sum())


def _bare(text: str) -> str:
    return "".join(character for character in text.upper() if character.isalnum())


def _line(score: FieldScore) -> str:
    inside = f"{score.inside:.3f}" if score.inside is not None else ""
    surest = " / ".join(f"{score.surest[share]:.3f}" for share in ("90%", "70%", "50%"))
    return (
        f"{score.field:16}{score.photos:>7}{score.accuracy:>8.3f}{score.characters:>8.3f}"
        f"{score.calibration_error:>7.3f}{inside:>8}  {surest}"
    )
