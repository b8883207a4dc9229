"""The camera: takes a photo of a canvas. Framing, rotation, perspective, light, glare, blur, noise, JPEG.

Items are mapped along: their outlines become fractions of the photo, and items outside the frame are dropped.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from assistant.lab.training.drawing import Canvas, Edges, Item, Point
from assistant.sample.canvas import perspective

# An item whose centre is closer than this to the photo's edge, as a fraction of its sides, is outside the frame.
_MARGIN = 0.005
_GROUND = 14.0


def shoot(
    canvas: Canvas, random: Random, *, frame: Edges, size: tuple[int, int], hard: float = 1.0, clear: bool = False
) -> tuple[Image.Image, tuple[Item, ...]]:
    """A photo of ``size`` pixels of the canvas's ``frame``. ``hard`` scales everything that makes it harder to read;
    if ``clear``, nothing gets between."""
    corners = _corners(random, frame, hard)
    width, height = size
    target: list[Point] = [(0, 0), (width, 0), (width, height), (0, height)]
    photo = canvas.image.transform(
        size,
        Image.Transform.PERSPECTIVE,
        perspective(target, corners),
        Image.Resampling.BICUBIC,
        fillcolor=(60, 58, 56),
    )
    onto = perspective(corners, target)
    items = tuple(moved for item in canvas.items if (moved := _project(item, onto, size)) is not None)
    if random.random() < 0.12 * hard and not clear:
        photo = _with_obstacle(photo, random, items)
    return _expose(photo, random, hard), items


def _corners(random: Random, frame: Edges, hard: float) -> list[Point]:
    """The frame's corners after a rotation and a tilt."""
    left, top, right, bottom = frame
    x, y = (left + right) / 2, (top + bottom) / 2
    angle = random.gauss(0, 0.07) * hard
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    tilt = 0.05 * hard
    found: list[Point] = []
    for px, py in ((left, top), (right, top), (right, bottom), (left, bottom)):
        dx = (px - x) * (1 + random.uniform(-tilt, tilt))
        dy = (py - y) * (1 + random.uniform(-tilt, tilt))
        found.append((x + dx * cos - dy * sin, y + dx * sin + dy * cos))
    return found


def _project(item: Item, onto: list[float], size: tuple[int, int]) -> Item | None:
    """The item in the photo; None outside the frame. Bodies and panels may reach beyond it."""
    a, b, c, d, e, f, g, h = onto
    points = []
    for x, y in item.outline:
        depth = g * x + h * y + 1
        points.append(((a * x + b * y + c) / depth / size[0], (d * x + e * y + f) / depth / size[1]))
    moved = Item(item.kind, item.value, tuple(points))
    x, y = moved.centre
    if item.kind in ("body", "panel"):
        return moved
    inside = _MARGIN < x < 1 - _MARGIN and _MARGIN < y < 1 - _MARGIN
    return moved if inside else None


def _with_obstacle(photo: Image.Image, random: Random, items: Sequence[Item]) -> Image.Image:
    """A finger or a cable in the picture, but never over anything that is asked about."""
    width, height = photo.size
    skin = random.choice(((224, 172, 140), (160, 110, 80), (100, 70, 52), (40, 40, 42)))
    side = random.choice((-1, 1))
    reach, thick, y = (
        random.uniform(0.1, 0.3) * width,
        random.uniform(0.05, 0.12) * height,
        random.uniform(0.1, 0.9) * height,
    )
    left, right = (0.0, reach) if side < 0 else (width - reach, float(width))
    for item in items:
        if item.kind in ("glyph", "light", "damage"):
            x0, y0, x1, y1 = item.bounds
            if x0 * width < right and x1 * width > left and y0 * height < y + thick and y1 * height > y - thick:
                return photo
    drawn = photo.copy()
    ImageDraw.Draw(drawn).rounded_rectangle(
        (left - thick * (side < 0), y - thick, right + thick * (side > 0), y + thick), thick, fill=skin
    )
    return drawn


def _expose(photo: Image.Image, random: Random, hard: float) -> Image.Image:
    if random.random() < 0.45 * hard:
        photo = photo.filter(ImageFilter.GaussianBlur(random.uniform(0.2, 0.0022 * max(photo.size)) * hard))
    pixels = np.asarray(photo, dtype=np.float32)
    numbers = np.random.default_rng(random.getrandbits(48))
    pixels = pixels * _light(random, photo.size, hard)
    if random.random() < 0.15 * hard:
        pixels = pixels + _glare(random, photo.size)
    if random.random() < 0.7:
        pixels = (
            pixels + numbers.standard_normal(pixels.shape, dtype=np.float32) * random.uniform(1, _GROUND * 0.6) * hard
        )
    photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if random.random() < 0.5:
        stream = io.BytesIO()
        photo.save(stream, "JPEG", quality=random.randint(45, 92))
        photo = Image.open(stream).convert("RGB")
    return photo


def _light(random: Random, size: tuple[int, int], hard: float) -> np.ndarray:
    """(h, w, 3) factors: brighter on one side, darker in the corners, warm or cold."""
    width, height = size
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    field = random.uniform(1 - 0.3 * hard, 1 + 0.15 * hard) + random.gauss(0, 0.09) * hard * x
    field = field + random.gauss(0, 0.09) * hard * y - random.uniform(0, 0.12) * hard * (x**2 + y**2)
    warmth = random.gauss(0, 0.035) * hard
    tone = np.array([1 + warmth, 1.0, 1 - warmth], dtype=np.float32)
    return np.asarray(field * tone, dtype=np.float32)


def _glare(random: Random, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 1) added light of a reflection: a soft spot."""
    width, height = size
    x = (np.arange(width, dtype=np.float32)[None, :, None] / width - random.random()) / random.uniform(0.05, 0.2)
    y = (np.arange(height, dtype=np.float32)[:, None, None] / height - random.random()) / random.uniform(0.05, 0.2)
    return np.asarray(random.uniform(40, 120) * np.exp(-(x**2 + y**2)), dtype=np.float32)
