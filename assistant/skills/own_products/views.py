"""Views of a photo: the crops whose features are compared, and retakes, which stand for photos that nobody has taken.

A product fills a reference photo and is small in a customer's, or the other way round; crops of several sizes meet in
between. A retake is a reference photo's middle, turned, tilted, half covered, lit otherwise, in front of another photo.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from random import Random

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from assistant.sample.canvas import perspective

# Each crop: left and top edge, and the share of the photo's sides.
_WHOLE = ((0.0, 0.0, 1.0), (0.125, 0.125, 0.75))
_LARGE = tuple((left, top, 0.75) for top in (0.0, 0.25) for left in (0.0, 0.25))
_SMALL = tuple((left, top, 0.5) for top in (0.0, 0.25, 0.5) for left in (0.0, 0.25, 0.5))
_CROPS = (*_WHOLE, *_LARGE, *_SMALL)
# Numbers of the crops by which a photo is known, and of those by which one is asked about. Small crops of what is asked
# about find what is far away: with them .80 of retakes were told right among 43 products, by whole photos .31.
KNOWN = tuple(range(len(_WHOLE) + len(_LARGE)))
CROPS = len(_CROPS)
ASKED = (*range(len(_WHOLE)), *range(len(KNOWN), len(_CROPS)))
_LONGEST = 800
_RETAKE = 448


def opened(photo: bytes) -> Image.Image:
    """RGB, no larger than features need."""
    with Image.open(io.BytesIO(photo)) as image:
        image.draft("RGB", (_LONGEST, _LONGEST))
        small = image.convert("RGB")
    small.thumbnail((_LONGEST, _LONGEST))
    return small


def crops(image: Image.Image, numbers: Sequence[int] = range(len(_CROPS))) -> list[np.ndarray]:
    """(h, w, 3) uint8 each."""
    return [_crop(image, *_CROPS[number]) for number in numbers]


def place(number: int) -> tuple[float, float, float]:
    """Left and top edge of a crop, and its share of the photo's sides."""
    return _CROPS[number]


def _crop(image: Image.Image, left: float, top: float, share: float) -> np.ndarray:
    return np.asarray(_cut(image, (left, top, left + share, top + share)))


def retake(image: Image.Image, behind: Image.Image, random: Random) -> Image.Image:
    """The same thing as if photographed elsewhere, before what ``behind`` shows."""
    scene = _background(behind, random)
    thing = _middle(image, random)
    tall = random.uniform(0.4, 0.8) * _RETAKE
    wide = min(tall * thing.width / thing.height, 0.9 * _RETAKE)
    x, y = ((1 + random.uniform(-0.8, 0.8) * (1 - size / _RETAKE)) * _RETAKE / 2 for size in (wide, tall))
    scene.paste(*_turned(thing, (x, y), (wide, tall), random))
    for _ in range(random.choice((0, 1, 1, 2))):
        _cover(scene, (x, y), random)
    side = random.randint(_RETAKE // 2, _RETAKE)  # far away, or out of focus
    scene = scene.resize((side, side), Image.Resampling.BICUBIC).resize((_RETAKE, _RETAKE), Image.Resampling.BICUBIC)
    return _lit(scene, random)


def _middle(image: Image.Image, random: Random) -> Image.Image:
    """Without most of what is around the thing, which no other photo of it has."""
    across, down = random.uniform(0.5, 0.8), random.uniform(0.6, 0.9)
    left, top = random.uniform(0.3, 0.7) * (1 - across), random.uniform(0.3, 0.7) * (1 - down)
    return _cut(image, (left, top, left + across, top + down))


def _background(image: Image.Image, random: Random) -> Image.Image:
    """A corner: there is less of the other thing in it, and more of where it stands."""
    share = random.uniform(0.35, 0.5)
    left, top = random.choice((0, 1 - share)), random.choice((0, 1 - share))
    part = _cut(image, (left, top, left + share, top + share)).resize((_RETAKE, _RETAKE), Image.Resampling.BICUBIC)
    part = part.filter(ImageFilter.GaussianBlur(random.uniform(0.5, 3)))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _turned(
    image: Image.Image, at: tuple[float, float], size: tuple[float, float], random: Random
) -> tuple[Image.Image, tuple[int, int], Image.Image]:
    """Turned and tilted: what to paste, where, and where it is opaque."""
    angle, away = random.gauss(0, 0.17), random.uniform(0.62, 1)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    corners = []
    for right, down in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
        x = right * size[0] * away * random.uniform(0.9, 1.1)
        y = down * size[1] * random.uniform(0.9, 1.1)
        corners.append((at[0] + x * cos - y * sin, at[1] + x * sin + y * cos))
    width, height = image.size
    onto = perspective(corners, [(0, 0), (width, 0), (width, height), (0, height)])
    moved = image.convert("RGBA").transform(
        (_RETAKE, _RETAKE), Image.Transform.PERSPECTIVE, onto, Image.Resampling.BICUBIC
    )
    return moved, (0, 0), moved


def _cover(scene: Image.Image, at: tuple[float, float], random: Random) -> None:
    """A hand or the edge of a shelf, out of focus."""
    across, down = (random.uniform(0.1, 0.26), random.uniform(0.4, 1)) if random.random() < 0.5 else (1, 0.15)
    piece = _cut(scene, (0, 0, across, down)).filter(ImageFilter.GaussianBlur(12))
    x = at[0] - piece.width * random.random() if across < 1 else 0
    y = at[1] if across < 1 else random.choice((0, _RETAKE - piece.height))
    scene.paste(piece, (int(x), int(y)))


def _lit(scene: Image.Image, random: Random) -> Image.Image:
    """By another lamp, and with a sensor's noise."""
    scene = ImageEnhance.Color(scene).enhance(random.uniform(0.66, 1.26))
    scene = ImageEnhance.Contrast(scene).enhance(random.uniform(0.75, 1.17))
    warmth = random.gauss(0, 0.03)
    tone = random.uniform(0.75, 1.13) * np.array([1 + warmth, 1, 1 - warmth], np.float32)
    tone = tone + random.gauss(0, 0.08) * np.linspace(-1, 1, _RETAKE, dtype=np.float32)[None, :, None]
    noise = np.random.default_rng(random.getrandbits(32)).normal(0, random.uniform(0, 7), (_RETAKE, _RETAKE, 3))
    return Image.fromarray((np.asarray(scene) * tone + noise).clip(0, 255).astype(np.uint8))


def _cut(image: Image.Image, edges: tuple[float, float, float, float]) -> Image.Image:
    """By fractions of its sides: left, top, right, bottom."""
    left, top, right, bottom = edges
    width, height = image.size
    return image.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))
