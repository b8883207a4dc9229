"""How well an operator's own products are recognised, from so many reference photos of each.

A set is a folder with a folder for each product, or rows with a photo (``photo`` or ``image``) and its ``product``.
Half of the products are learned, the others' photos are foreign to them; then the other way round. The first half is
what choices in the code were made on, the second was held back.

Of products with a single photo nothing is left to ask about: retakes stand in (`views.retake`), in front of photos of
the other half, their text read by OCR as ever. Where several reference photos are asked for, further ones are retakes.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import numpy as np

from assistant.errors import AssistantError, Invalid
from assistant.lab.rows import read_rows
from assistant.lab.statistics import Calibration
from assistant.lab.tables import table
from assistant.media.files import Upload
from assistant.media.photo import Limits, Photo, normalise
from assistant.ports import OCR, PhotoFeatures
from assistant.progress import Progress, no_progress
from assistant.skills.own_products import Catalogue, Recogniser, Reference, Views, learn, look_at
from assistant.skills.own_products.views import opened, retake
from assistant.skills.read_photo import confident_lines

COUNTS = (1, 3, 10)
_PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".gif"}
_MOST_ASKED = 20  # photos of a product


@dataclass(frozen=True)
class Plan:
    """``foreign``: folders of photos of other things. ``counts`` of reference photos of a product. ``retakes`` of the
    photo of a product that has only one, to ask about. ``seed`` of the choice of references."""

    foreign: Sequence[Path] = ()
    counts: Sequence[int] = COUNTS
    retakes: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Shot:
    product: str
    photo: bytes
    views: Views


@dataclass(frozen=True)
class Score:
    """``first``: share of photos whose product was the likeliest; ``five``: was among five; ``calibration`` of its
    probability. ``looks``, ``words``: ``first`` by whole photos' features and by text alone. ``claimed`` photos, and
    how many of those ``rightly``. ``related`` and ``foreign`` photos, of the other half and of other sets, of which
    nothing was claimed; None without any."""

    half: str
    references: int
    asked: str
    products: int
    photos: int
    first: float
    five: float
    calibration: Calibration
    looks: float
    words: float
    claimed: float
    rightly: float | None
    related: float | None
    foreign: float | None
    seconds: float


@dataclass(frozen=True)
class Report:
    path: str
    features: str
    scores: tuple[Score, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        header = (
            "products", "refs", "asked", "n", "photos", "first", "in 5", "ECE", "95 %", "by chance", "looks", "words",
            "claimed", "rightly", "related", "foreign", "s",
        )  # fmt: skip
        rows = [_row(score) for score in self.scores]
        lines = [f"{self.path}, features: {self.features}", "", *table(header, rows)]
        lines += [
            "\nrefs: reference photos of a product. asked: photos, or retakes of the reference. first, in 5: the right",
            "product is the likeliest, or among five. ECE: expected calibration error, bins of ten photos or more, its",
            "interval by drawing products, and what it would be if all probabilities held: so few photos make it too",
            "high. looks, words: first by whole photos' features, and by text alone. claimed: not “cannot tell”, and",
            "rightly so. related, foreign: “cannot tell” of products not learned, of other things. s: seconds to fit.",
        ]
        return "\n".join(lines)


def evaluate_products(
    path: Path,
    *,
    features: PhotoFeatures,
    ocr: OCR | None,
    limits: Limits,
    plan: Plan,
    progress: Progress = no_progress,
) -> Report:
    found = [(product, _normal(file, limits)) for product, file in _files(path)]
    others = [_normal(file, limits) for folder in plan.foreign for file in _photos(folder)]
    eyes = _Eyes(features, ocr, len(found) + len(others), progress)
    shots = [Shot(product, photo, eyes.look(photo)) for product, photo in found]
    strangers = [eyes.look(photo) for photo in others]
    by_product: dict[str, list[Shot]] = defaultdict(list)
    for shot in Random(plan.seed).sample(shots, len(shots)):
        by_product[shot.product].append(shot)
    if len(by_product) < 4:
        raise Invalid(f"{path} has photos of {len(by_product)} products. At least four are needed.")
    keys = sorted(by_product)
    scores = []
    for name, half in (("chosen on", keys[0::2]), ("held back", keys[1::2])):
        related = [shot for key in keys if key not in half for shot in by_product[key]]
        for count in plan.counts:
            groups = {key: by_product[key] for key in half if len(by_product[key]) > count}
            if len(groups) > 1:
                known = {key: own[:count] for key, own in groups.items()}
                asked = [shot for own in groups.values() for shot in own[count : count + _MOST_ASKED]]
                scores.append(_score(name, known, asked, "photos", related, strangers, features))
        if plan.retakes and all(len(by_product[key]) == 1 for key in half):
            taken = {key: [*by_product[key], *_retaken(by_product[key][0], related, plan, eyes)] for key in half}
            asked = [shot for own in taken.values() for shot in own[-plan.retakes :]]
            for count in plan.counts:
                known = {key: own[:count] for key, own in taken.items()}
                scores.append(_score(name, known, asked, "retakes", related, strangers, features))
    return Report(path.name, features.name, tuple(scores))


class _Eyes:
    """Looks at photos and reads them, once each."""

    def __init__(self, features: PhotoFeatures, ocr: OCR | None, total: int, progress: Progress) -> None:
        self._features, self._ocr, self._total, self._progress = features, ocr, total, progress
        self._done = 0

    def look(self, photo: bytes) -> Views:
        lines = confident_lines(photo, self._ocr)
        self._done += 1
        self._progress(self._done, max(self._total, self._done), "Looking at photos")
        return look_at(photo, "\n".join(line.text for line in lines), self._features)


def _retaken(shot: Shot, behind: Sequence[Shot], plan: Plan, eyes: _Eyes) -> Iterator[Shot]:
    """As many as are references, with the photo, and then those that are asked about."""
    random = Random(f"{plan.seed} {shot.product}")
    for _ in range(max(plan.counts) - 1 + plan.retakes):
        scene = retake(opened(shot.photo), opened(random.choice(behind).photo), random)
        stream = io.BytesIO()
        scene.save(stream, "JPEG", quality=88)
        yield Shot(shot.product, stream.getvalue(), eyes.look(stream.getvalue()))


def _score(
    half: str, known: dict[str, list[Shot]], asked: Sequence[Shot], kind: str, related: Sequence[Shot],
    strangers: Sequence[Views], features: PhotoFeatures,
) -> Score:  # fmt: skip
    started = perf_counter()
    photos = {f"{key} {number}": shot for key, own in known.items() for number, shot in enumerate(own)}
    references = tuple(Reference(shot.product, name, shot.views) for name, shot in photos.items())
    catalogue = Catalogue({key: (key,) for key in known}, references)
    recogniser = learn(catalogue, features, photo_of=lambda one: photos[one.sha256].photo)
    seconds = perf_counter() - started
    own = np.array([catalogue.keys.index(shot.product) for shot in asked])
    guesses = [recogniser.guess(shot.views) for shot in asked]
    shares = np.array([guess.probabilities for guess in guesses])
    ranks = (shares > shares[np.arange(len(own)), own][:, None]).sum(axis=1)
    claimed = np.array([guess.claimed for guess in guesses])
    return Score(
        half=half,
        references=len(references) // len(known),
        asked=kind,
        products=len(known),
        photos=len(asked),
        first=float((ranks == 0).mean()),
        five=float((ranks < 5).mean()),
        calibration=Calibration.of(shares.max(axis=1), (ranks == 0).astype(float), own),
        looks=_first(own, [_whole(catalogue, shot.views) for shot in asked]),
        words=_first(own, [catalogue.wording.scores(shot.views.text) for shot in asked]),
        claimed=float(claimed.mean()),
        rightly=float((ranks == 0)[claimed].mean()) if claimed.any() else None,
        related=_silent(recogniser, [shot.views for shot in related]),
        foreign=_silent(recogniser, strangers),
        seconds=seconds,
    )


def _row(score: Score) -> tuple[Any, ...]:
    values: dict[str, tuple[Any, ...]] = {name: (value,) for name, value in vars(score).items()}
    one = score.calibration
    values["calibration"] = (one.error, f"{one.low:.2f} to {one.high:.2f}", one.by_chance)
    return tuple(cell for cells in values.values() for cell in cells)


def _whole(catalogue: Catalogue, views: Views) -> np.ndarray:
    """(products,): by the features of whole photos."""
    wholes = np.array([one.views.vectors[0] for one in catalogue.references], dtype=np.float32)
    found = np.full(len(catalogue.keys), -1.0)
    np.maximum.at(found, catalogue.products, wholes @ views.vectors[0].astype(np.float32))
    return found


def _first(own: np.ndarray, scores: Sequence[np.ndarray]) -> float:
    """The share of photos whose product has the highest score; one of several such counts in part."""
    rows = np.array(scores)
    highest = rows == rows.max(axis=1, keepdims=True)
    return float((highest[np.arange(len(own)), own] / highest.sum(axis=1)).mean())


def _silent(recogniser: Recogniser, photos: Sequence[Views]) -> float | None:
    return float(np.mean([not recogniser.guess(views).claimed for views in photos])) if photos else None


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """(product, file)."""
    folders = [folder for folder in sorted(path.iterdir()) if folder.is_dir()] if path.is_dir() else []
    if path.is_file() or any(path.glob("*.jsonl")):
        for row in read_rows(path):
            product, photo = row.values.get("product"), row.values.get("photo", row.values.get("image"))
            if isinstance(product, str) and isinstance(photo, str):
                yield product, row.file.parent / photo
        return
    for folder in folders:
        for file in _photos(folder):
            yield folder.name, file


def _photos(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in _PHOTOS)


def _normal(file: Path, limits: Limits) -> bytes:
    try:
        photo = normalise(Upload(file.name, None, file.read_bytes()), limits)
    except (OSError, AssistantError) as error:
        raise Invalid(f"{file} cannot be read.") from error
    if not isinstance(photo, Photo):
        raise Invalid(f"{file} is not a photo.")
    return photo.data
