"""How well copies of a photo are found (`media.copies`, `media.likeness`), by what was done to it, and how often
another photo is taken for one: all pairs of the photos in the folders, and drawn devices photographed twice."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from assistant.desk.likeness import ALIKE
from assistant.errors import Invalid
from assistant.lab.evaluation.pairs import drawn
from assistant.lab.tables import table
from assistant.lab.training.drawing import typeface
from assistant.media import opencv
from assistant.media.copies import Original, candidates, points_of
from assistant.media.likeness import distance, hash_of
from assistant.progress import Progress, no_progress

_PHOTOS = {".jpg", ".jpeg", ".png", ".webp"}
_SIDE, _QUALITY = 2048, 80

Change = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Score:
    """Of photos that something was done to: the share that is found by the hash alone, and by all. ``hash_false`` and
    ``false``: other photos that were taken for the original. Seconds of a processor: median."""

    kind: str
    photos: int
    hash: float
    found: float
    hash_false: int
    false: int
    seconds: float


@dataclass(frozen=True)
class Report:
    """``pairs`` of different photos, of which so many were taken for copies; ``again``: of one device from two angles.
    ``seconds``: of a processor, to find the points of a photo, median."""

    scores: tuple[Score, ...]
    pairs: int
    hash_false: int
    false: int
    again: int
    hash_false_again: int
    false_again: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        header = ("", "photos", "hash", "found", "false, hash", "false", "s")
        lines = table(header, [tuple(asdict(score).values()) for score in self.scores])
        return "\n".join(
            (
                *lines,
                f"{self.pairs} pairs of different photos: {self.hash_false} by the hash, {self.false} in all",
                f"{self.again} devices photographed twice: {self.hash_false_again} by the hash, "
                f"{self.false_again} in all",
                f"Points of a photo: {self.seconds * 1000:.0f} ms",
            )
        )


class _Known:
    """Photos that are searched, as a desk searches those of its customers."""

    def __init__(self, photos: Sequence[bytes]) -> None:
        self._photos = photos
        self._hashes = [hash_of(photo) for photo in photos]
        self._points = [points_of(photo).to_bytes() for photo in photos]

    def by_hash(self, photo: bytes) -> set[int]:
        own = hash_of(photo)
        near = enumerate(self._hashes)
        return {at for at, one in near if own is not None and one is not None and distance(own, one) <= ALIKE}

    def copies(self, photo: bytes) -> set[int]:
        original, hashed = Original(photo), self.by_hash(photo)
        tried = {(one.number, one.is_mirrored) for one in candidates(points_of(photo), self._points)}
        found = set()
        for at, is_mirrored in tried | {(at, False) for at in hashed}:
            is_copy = original.is_copied_by(self._photos[at], is_mirrored=is_mirrored)
            if is_copy or (is_copy is None and at in hashed):
                found.add(at)
        return found


def evaluate_copies(
    folders: Sequence[Path], *, every: int = 1, start: int = 0, again: int = 40, progress: Progress = no_progress
) -> Report:
    """Copies of every so many-th photo, from ``start``, are sought among all of them. ``again``: drawn devices."""
    if not opencv.is_installed():
        raise Invalid("OpenCV is not installed. Run: pip install 'photo-support-assistant[demo]'")
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.suffix.lower() in _PHOTOS]
    if len(files) < 2:
        raise Invalid("The folders have no two photos.")
    images = [_opened(file) for file in files]
    photos = [_encoded(image, 90) for image in images]
    known = _Known(photos)
    chosen = range(start, len(images), every)
    scores = []
    for done, (kind, change) in enumerate(CHANGES.items()):
        progress(done, len(CHANGES) + 1, kind)
        scores.append(_score(kind, known, {at: change(images[at]) for at in chosen}))
    progress(len(CHANGES), len(CHANGES) + 1, "different photos")
    pairs = [(known.by_hash(photo), known.copies(photo), at) for at, photo in enumerate(photos)]
    shots = [drawn(number, changed=False) for number in range(again)]
    return Report(
        scores=tuple(scores),
        pairs=len(photos) * (len(photos) - 1) // 2,
        hash_false=_pairs((hashed, at) for hashed, _, at in pairs),
        false=_pairs((found, at) for _, found, at in pairs),
        again=again,
        hash_false_again=sum(bool(_Known([shot.one]).by_hash(shot.other)) for shot in shots),
        false_again=sum(bool(_Known([shot.one]).copies(shot.other)) for shot in shots),
        seconds=float(np.median([_seconds(photo) for photo in photos[::3]])),
    )


def _score(kind: str, known: _Known, changed: Mapping[int, Image.Image]) -> Score:
    hashed, found, seconds = [], [], []
    for image in changed.values():
        photo = _encoded(image, 20 if kind == "encoded anew at 20" else _QUALITY)
        started = process_time()
        found.append(known.copies(photo))
        seconds.append(process_time() - started)
        hashed.append(known.by_hash(photo))
    return Score(
        kind=kind,
        photos=len(changed),
        hash=float(np.mean([at in one for at, one in zip(changed, hashed, strict=True)])),
        found=float(np.mean([at in one for at, one in zip(changed, found, strict=True)])),
        hash_false=sum(len(one - {at}) for at, one in zip(changed, hashed, strict=True)),
        false=sum(len(one - {at}) for at, one in zip(changed, found, strict=True)),
        seconds=float(np.median(seconds)),
    )


def _pairs(found: Any) -> int:
    return len({frozenset((at, other)) for others, at in found for other in others if other != at})


def _seconds(photo: bytes) -> float:
    started = process_time()
    points_of(photo)
    return process_time() - started


def _opened(file: Path) -> Image.Image:
    with Image.open(file) as image:
        opened = ImageOps.exif_transpose(image).convert("RGB")
    opened.thumbnail((_SIDE, _SIDE))
    return opened


def _encoded(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _cut(image: Image.Image, *, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Image.Image:
    """Without these shares of it."""
    width, height = image.size
    edges = left * width, top * height, (1 - right) * width, (1 - bottom) * height
    return image.crop((round(edges[0]), round(edges[1]), round(edges[2]), round(edges[3])))


def _cut_around(image: Image.Image, share: float) -> Image.Image:
    return _cut(image, left=share, top=share, right=share, bottom=share)


def _on_a_screen(image: Image.Image) -> Image.Image:
    """As a telephone shows it, and its user takes a screenshot."""
    screen = Image.new("RGB", (900, 1600), (18, 18, 22))
    shown = ImageOps.contain(image, (900, 1100))
    screen.paste(shown, ((900 - shown.width) // 2, (1600 - shown.height) // 2))
    draw = ImageDraw.Draw(screen)
    draw.text((30, 20), "12:41   Photos   87 %", fill="white", font=typeface("pillow", 36))
    draw.text((60, 1510), "Share     Edit     Info     Delete", fill="white", font=typeface("pillow", 36))
    return screen


def _written_on(image: Image.Image) -> Image.Image:
    """A watermark over most of its width, and a date."""
    marked = image.copy()
    draw, size = ImageDraw.Draw(marked), max(12, image.width // 16)
    place = image.width * 0.1, image.height * 0.42
    draw.text(
        place, "SAMPLE shop.example", fill="white", font=typeface("pillow", size), stroke_width=2, stroke_fill="black"
    )
    draw.text(
        (image.width * 0.4, image.height * 0.85), "2026-11-30 12:41", fill=(255, 210, 0), font=typeface("pillow", size)
    )
    return marked


def _tinted(image: Image.Image) -> Image.Image:
    """Warmer, with more contrast."""
    channels = ImageEnhance.Contrast(image).enhance(1.3).split()
    factors = (1.1, 1.0, 0.8)
    curves = [[min(255, round(level * by)) for level in range(256)] for by in factors]
    return Image.merge("RGB", [one.point(curve) for one, curve in zip(channels, curves, strict=True)])


def _grey_and_dark(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image.convert("L").convert("RGB")).enhance(0.8)


def _smaller(image: Image.Image) -> Image.Image:
    return image.resize((max(1, image.width // 3), max(1, image.height // 3)), Image.Resampling.LANCZOS)


def _turned(image: Image.Image, degrees: float, *, is_whole: bool) -> Image.Image:
    return image.rotate(degrees, Image.Resampling.BICUBIC, expand=is_whole, fillcolor="white")


CHANGES: Mapping[str, Change] = {
    "encoded anew at 20": lambda image: image,
    "a third of the size": _smaller,
    "cut by 5 % at each edge": partial(_cut_around, share=0.05),
    "cut by 10 % at each edge": partial(_cut_around, share=0.1),
    "cut by 20 % at each edge": partial(_cut_around, share=0.2),
    "cut by 20 % on the left": partial(_cut, left=0.2),
    "cut by 20 % at the bottom": partial(_cut, bottom=0.2),
    "with a border": lambda image: ImageOps.expand(image, round(0.08 * max(image.size)), "white"),
    "screenshot of it": _on_a_screen,
    "turned by 3 degrees": partial(_turned, degrees=3, is_whole=True),
    "turned by 7, cut": partial(_turned, degrees=-7, is_whole=False),
    "written on": _written_on,
    "tinted": _tinted,
    "grey, darker": _grey_and_dark,
    "mirrored": ImageOps.mirror,
}
