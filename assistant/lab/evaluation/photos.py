"""How well photos are read, on any labelled folder: accuracy by field, exact codes, and calibrated confidence.

A set is a JSONL file or a folder of them: ``photo`` (a relative path) and ``expected``, an object. Fields of the
evidence (product, condition, lights, quality) are compared with what was read; any other (code, serial, order,
total, …) must occur in the visible text. `scenes` generates such cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from assistant.errors import AssistantError, Invalid
from assistant.lab.rows import Row, read_rows
from assistant.lab.statistics import Bin, calibration_error, reliability
from assistant.lab.tables import table
from assistant.media.files import Upload
from assistant.media.photo import Limits, Photo, normalise
from assistant.ports import Box, Capabilities, TextLine
from assistant.progress import Progress, no_progress
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence, Reading, read_photo
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy

EVIDENCE = ("product", "lights", "condition", "quality")
BINS = 10
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)
_SHOWN = ("90%", "70%", "50%")
_WORST = 24


@dataclass(frozen=True)
class Case:
    """One normalised photo and what should be read in it. ``boxes``: true regions, for some fields."""

    name: str
    photo: bytes
    expected: Mapping[str, str]
    boxes: Mapping[str, tuple[Box, ...]]


@dataclass(frozen=True)
class Outcome:
    """One field of one photo. ``alike``: share of the expected characters that were read."""

    case: str
    field: str
    expected: str
    read: str
    confidence: float  # 0 where nothing was read
    right: bool
    alike: float
    inside: float | None = None  # share of regions whose centre is in a true box; None without regions or boxes


@dataclass(frozen=True)
class FieldScore:
    field: str
    photos: int
    accuracy: float
    characters: float
    calibration_error: float
    inside: float | None
    # Accuracy among the most confident share of photos, by share: the gain of leaving the others to a person.
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
        """A text table."""
        lines = [f"{self.path}: {self.photos} photos, {self.seconds_a_photo:.2f} s each. Model: {self.model}", ""]
        header = ("", "photos", "accuracy", "characters", "ECE", "region", *(f"top {share}" for share in _SHOWN))
        lines += table(header, [
            (one.field, one.photos, one.accuracy, one.characters, one.calibration_error, one.inside,
             *(one.surest[share] for share in _SHOWN))
            for one in self.scores
        ])  # fmt: skip
        lines += [
            f"\ncharacters: share of the expected characters read. ECE: expected calibration error, {BINS} bins.",
            "region: share of regions whose centre is in the true box. top: accuracy among the most confident.",
        ]
        return "\n".join(lines)

    def plot(self, path: Path) -> None:
        """Write a reliability diagram and an abstention curve (PNG)."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 4.2), layout="constrained")
        diagram, curve = figure.subplots(1, 2)
        diagram.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
        for score in self.scores:
            sure, right = _columns(self.outcomes, score.field)
            bins = _bins(sure, right)
            means, shares = [mean for mean, *_ in bins], [share for _, share, _ in bins]
            diagram.plot(means, shares, marker="o", markersize=3, label=score.field)
            order = np.argsort(-sure, kind="stable")
            count = np.arange(1, len(order) + 1)
            curve.plot(count / len(count), right[order].cumsum() / count, label=score.field)
        diagram.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share that was right")
        curve.set(
            xlim=(0, 1), ylim=(0, 1.02), xlabel="share of photos, most confident first", ylabel="accuracy among them"
        )
        curve.legend(fontsize=7)
        figure.savefig(path, format="png", dpi=130)


def evaluate_photos(
    cases: Sequence[Case],
    *,
    path: str,
    capabilities: Capabilities,
    taxonomy: Taxonomy,
    progress: Progress = no_progress,
) -> Report:
    """Read every photo as the product does, and compare."""
    if not cases:
        raise Invalid(f"{path} holds no photos.")
    read, seconds = read_all(cases, capabilities=capabilities, taxonomy=taxonomy, progress=progress)
    outcomes = [one for case, evidence in zip(cases, read, strict=True) for one in compared(case, evidence)]
    return reported(path, capabilities.model, outcomes, photos=len(cases), seconds=seconds)


def read_all(
    cases: Sequence[Case], *, capabilities: Capabilities, taxonomy: Taxonomy, progress: Progress = no_progress
) -> tuple[list[PhotoEvidence], float]:
    """(evidence of each photo, median seconds per photo). Not the mean: the first photo waits for the model."""
    read, seconds = [], []
    for number, case in enumerate(cases, start=1):
        started = perf_counter()
        read.append(read_photo(case.photo, capabilities=capabilities, taxonomy=taxonomy))
        seconds.append(perf_counter() - started)
        progress(number, len(cases), "Reading photos")
    return read, float(np.median(seconds))


def reported(path: str, model: str, outcomes: Sequence[Outcome], *, photos: int, seconds: float) -> Report:
    """Scores each field, and all fields with the same name before a colon together."""
    fields = dict.fromkeys(outcome.field for outcome in outcomes)
    fields |= dict.fromkeys(field.split(": ")[0] for field in fields)
    return Report(path, model, photos, seconds, tuple(_score(field, outcomes) for field in fields), tuple(outcomes))


def compared(case: Case, evidence: PhotoEvidence) -> Iterator[Outcome]:
    for field, expected in case.expected.items():
        if field in EVIDENCE:
            # A field that was not read at all, such as the lights of an unfamiliar photo, claims nothing.
            reading = getattr(evidence, field) or Reading(CANNOT_TELL, 0.0)
            right = _bare(reading.value) == _bare(expected)
            outcome = Outcome(case.name, field, expected, reading.value, reading.confidence, right, float(right))
            regions = reading.parts or tuple(filter(None, [reading.region]))
        else:
            outcome, region = _in_text(case.name, field, expected, evidence.visible_text)
            regions = tuple(filter(None, [region]))
        yield replace(outcome, inside=_inside(regions, case.boxes.get(field, ())) if outcome.right else None)


def read_cases(path: Path, *, limits: Limits) -> list[Case]:
    """Raises `Invalid` that names the wrong line."""
    cases = [_case(row, limits) for row in read_rows(path)]
    if not cases:
        raise Invalid(f'{path} holds no photos. Expected *.jsonl with "photo" and "expected" on every line.')
    return cases


def contact_sheet(report: Report, cases: Sequence[Case], path: Path) -> None:
    """Write the worst misread photos, most confident mistakes first, with what was expected and read (PNG)."""
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
        expected = f"{outcome.field}: {outcome.expected[:40]}"
        read = f"read: {outcome.read[:36]} ({outcome.confidence:.0%})"
        draw.text((x + 6, y + height - 50), expected, fill=(20, 20, 20), font=font)
        draw.text((x + 6, y + height - 30), read, fill=(176, 30, 30), font=font)
    if not wrong:
        draw.text((10, 10), "Everything was read correctly.", fill=(20, 20, 20), font=font)
    sheet.save(path, "PNG")


def _case(row: Row, limits: Limits) -> Case:
    name, expected = row.values.get("photo"), row.values.get("expected")
    if not isinstance(name, str) or not isinstance(expected, dict):
        raise row.error('expected "photo", a path, and "expected", an object')
    try:
        photo = normalise(Upload(name, None, (row.file.parent / name).read_bytes()), limits)
    except (OSError, AssistantError) as error:
        raise row.error(f"{name} cannot be read") from error
    if not isinstance(photo, Photo):
        raise row.error(f"{name} is not a photo")
    texts = {
        field: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for field, value in expected.items()
    }
    if texts.get("product") in ("", NO_PRODUCT):
        texts["product"] = CANNOT_TELL
    return Case(name, photo.data, texts, {})


def _in_text(case: str, field: str, expected: str, lines: Sequence[TextLine]) -> tuple[Outcome, Box | None]:
    """Whether a line contains the expected text, and how much of it the best line has."""
    wanted = _bare(expected)
    alike, nearest = 0.0, None
    for line in lines:
        share = _similarity(wanted, _bare(line.text))
        if share > alike:
            alike, nearest = share, line
    if nearest is None:
        return Outcome(case, field, expected, "", 0.0, right=False, alike=0.0), None
    return Outcome(case, field, expected, nearest.text, nearest.confidence, alike == 1.0, alike), nearest.box


def _similarity(wanted: str, read: str) -> float:
    """The share of ``wanted`` that occurs in ``read``, in the same order."""
    if wanted in read:
        return 1.0
    blocks = SequenceMatcher(None, wanted, read, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / max(1, len(wanted))


def _inside(regions: Sequence[Box], boxes: Sequence[Box]) -> float | None:
    """The share of regions whose centre is in one of the boxes."""
    if not regions or not boxes:
        return None
    centres = [((one.left + one.right) / 2, (one.top + one.bottom) / 2) for one in regions]
    hits = [
        any(box.left <= x <= box.right and box.top <= y <= box.bottom for box in boxes)
        for x, y in centres
    ]  # fmt: skip
    return float(np.mean(hits))


def _score(field: str, outcomes: Sequence[Outcome]) -> FieldScore:
    own = _of(outcomes, field)
    sure, right = _columns(outcomes, field)
    inside = [outcome.inside for outcome in own if outcome.inside is not None]
    order = np.argsort(-sure, kind="stable")
    surest = {f"{share:.0%}": float(right[order[: max(1, round(share * len(own)))]].mean()) for share in COVERAGES}
    return FieldScore(
        field=field,
        photos=len(own),
        accuracy=float(right.mean()),
        characters=float(np.mean([outcome.alike for outcome in own])),
        calibration_error=calibration_error(_bins(sure, right)),
        inside=float(np.mean(inside)) if inside else None,
        surest=surest,
    )


def _of(outcomes: Sequence[Outcome], field: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.field == field or outcome.field.startswith(f"{field}: ")]


def _columns(outcomes: Sequence[Outcome], field: str) -> tuple[np.ndarray, np.ndarray]:
    own = _of(outcomes, field)
    return np.array([outcome.confidence for outcome in own]), np.array([outcome.right for outcome in own], dtype=float)


def _bins(confidence: np.ndarray, right: np.ndarray) -> list[Bin]:
    """Without fields that were not read: they made no claim whose confidence could be wrong."""
    return list(reliability(confidence[confidence > 0], right[confidence > 0], bins=BINS))


def _bare(text: str) -> str:
    return "".join(character for character in text.upper() if character.isalnum())
