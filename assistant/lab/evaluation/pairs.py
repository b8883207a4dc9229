"""Two photos of one scene, from another angle, in other light, sharpness, size and JPEG; in one of them something has
changed, or nothing. Scenes are drawn devices of the sample company, or photos, which are photographed from a print.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from assistant.lab.training.camera import shoot
from assistant.lab.training.drawing import Canvas, Colour, Edges, Item, typeface
from assistant.lab.training.scenes import draw_device, frame_of
from assistant.ports import Box

FIRST_SEED = 2_000_000
_SIDE = 1400
_MESH = 5
_LIGHTS: dict[str, Colour] = {
    "green": (60, 210, 90), "red": (230, 50, 40), "amber": (250, 170, 40), "blue": (60, 120, 240), "off": (58, 60, 64),
}  # fmt: skip
# Levels of 255 by which what has changed must differ on average, to count as a change.
_VISIBLE = 24.0


@dataclass(frozen=True)
class Pair:
    """Two JPEGs; where the ``change`` is in the second, "" and None if there is none."""

    one: bytes
    other: bytes
    change: str = ""
    place: Box | None = None


def drawn(seed: int, *, changed: bool) -> Pair:
    """Of a drawn device."""
    random = Random(f"compared device {seed}")
    canvas = draw_device(random, _SIDE).canvas
    size = random.choice(((1200, 900), (900, 1200), (1024, 768)))
    return _shot(canvas, frame_of(random, canvas, size), size, random, changed=changed)


def printed(photo: Image.Image, seed: int, *, changed: bool) -> Pair:
    """Of a photo."""
    random = Random(f"compared photo {seed}")
    photo = photo.convert("RGB")
    scale = _SIDE / max(photo.size)
    canvas = Canvas(photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC))
    width, height = canvas.image.size
    short = round(1200 * min(width, height) / max(width, height))
    size = (1200, short) if width > height else (short, 1200)
    frame = (0.06 * width, 0.06 * height, 0.94 * width, 0.94 * height)
    return _shot(canvas, frame, size, random, changed=changed)


def _shot(canvas: Canvas, frame: Edges, size: tuple[int, int], random: Random, *, changed: bool) -> Pair:
    one, _ = shoot(canvas, random, frame=_moved(frame, random), size=size, clear=True)
    again, name = canvas, ""
    if changed:
        again, name = _with_change(canvas, frame, random)
    scale = random.choice((0.6, 0.8, 1.0, 1.0))
    small = round(size[0] * scale), round(size[1] * scale)
    other, items = shoot(again, random, frame=_moved(frame, random), size=small, clear=True)
    other = _in_relief(other, random)
    place = next((item for item in items if item.kind == "change"), None)
    edges = Box(*(min(1.0, max(0.0, edge)) for edge in place.bounds)) if place is not None else None
    return Pair(_jpeg(one, random), _jpeg(other, random), name if edges else "", edges)


def _moved(frame: Edges, random: Random) -> Edges:
    """Another step nearer or farther, and to the side."""
    left, top, right, bottom = frame
    width, height = right - left, bottom - top
    zoom = random.uniform(0.85, 1.15)
    x = (left + right) / 2 + random.uniform(-0.07, 0.07) * width
    y = (top + bottom) / 2 + random.uniform(-0.07, 0.07) * height
    return x - zoom * width / 2, y - zoom * height / 2, x + zoom * width / 2, y + zoom * height / 2


def _in_relief(photo: Image.Image, random: Random) -> Image.Image:
    """From another angle, what is nearer moves farther: by up to a hundredth of the photo."""
    width, height = photo.size
    most = random.choice((0, 0.004, 0.01)) * max(photo.size)
    xs, ys = ([round(side * step / _MESH) for step in range(_MESH + 1)] for side in photo.size)
    moved = {
        (across, down): (
            _within(x + random.uniform(-most, most), width),
            _within(y + random.uniform(-most, most), height),
        )
        for across, x in enumerate(xs)
        for down, y in enumerate(ys)
    }
    mesh = []
    for across in range(_MESH):
        for down in range(_MESH):
            corners = (moved[across + dx, down + dy] for dx, dy in ((0, 0), (0, 1), (1, 1), (1, 0)))
            to = (xs[across], ys[down], xs[across + 1], ys[down + 1])
            mesh.append((to, tuple(edge for corner in corners for edge in corner)))
    return photo.transform((width, height), Image.Transform.MESH, mesh, Image.Resampling.BICUBIC)


def _within(edge: float, side: int) -> float:
    return min(max(edge, 0.0), float(side))


def _jpeg(photo: Image.Image, random: Random) -> bytes:
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=random.randint(60, 92))
    return stream.getvalue()


def _with_change(canvas: Canvas, frame: Edges, random: Random) -> tuple[Canvas, str]:
    """A copy with a change that can be seen, and what it is."""
    lights = [item for item in canvas.items if item.kind == "light" and _inside(item, frame)]
    lines = [item for item in canvas.items if item.kind == "line" and _inside(item, frame)]
    kinds: list[tuple[str, Callable[[Canvas, Edges, Random], Edges]]] = [
        ("scratch", _scratch), ("stain", _stain), ("cover", _cover), ("spot", _spot)
    ]  # fmt: skip
    if lights:
        kinds += [("light", _relit(lights))] * 3
    if lines:
        kinds += [("text", _rewritten(lines))] * 2
    while True:
        name, edit = random.choice(kinds)
        copy = Canvas(canvas.image.copy(), list(canvas.items))
        left, top, right, bottom = edit(copy, frame, random)
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        part = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
        was, now = (np.asarray(one.image.crop(part), dtype=np.float32) for one in (canvas, copy))
        differs = np.abs(was - now).max(axis=2)
        if (differs > 2 * _VISIBLE).mean() > 0.03 and differs[differs > 4].mean() > _VISIBLE:
            copy.items.append(Item("change", name, corners))
            return copy, name


def _inside(item: Item, frame: Edges) -> bool:
    left, top, right, bottom = item.bounds
    x, y = 0.12 * (frame[2] - frame[0]), 0.12 * (frame[3] - frame[1])
    return frame[0] + x < left and right < frame[2] - x and frame[1] + y < top and bottom < frame[3] - y


def _spot_in(frame: Edges, random: Random, share: float) -> tuple[float, float, float]:
    """A place well inside the frame: its middle, and ``share`` of the frame's longer side."""
    width, height = frame[2] - frame[0], frame[3] - frame[1]
    x, y = frame[0] + random.uniform(0.2, 0.8) * width, frame[1] + random.uniform(0.2, 0.8) * height
    return x, y, share * max(width, height)


def _scratch(canvas: Canvas, frame: Edges, random: Random) -> Edges:
    x, y, long = _spot_in(frame, random, random.uniform(0.08, 0.2))
    angle = random.uniform(0, math.tau)
    ink = random.choice(((20, 20, 22), (236, 236, 232)))
    width = max(4, round(long * random.uniform(0.05, 0.1)))
    points = [(x, y)]
    for _ in range(4):
        angle += random.gauss(0, 0.5)
        points.append((points[-1][0] + long / 4 * math.cos(angle), points[-1][1] + long / 4 * math.sin(angle)))
    canvas.draw.line(points, ink, width, joint="curve")
    return _around(points, width)


def _stain(canvas: Canvas, frame: Edges, random: Random) -> Edges:
    """Something spilled: tinted, with a ragged edge."""
    x, y, wide = _spot_in(frame, random, random.uniform(0.04, 0.1))
    points = []
    for step in range(14):
        reach = wide * random.uniform(0.7, 1.0)
        points.append((x + reach * math.cos(math.tau * step / 14), y + reach * math.sin(math.tau * step / 14)))
    mask = Image.new("L", canvas.image.size, 0)
    ImageDraw.Draw(mask).polygon(points, fill=random.randint(150, 220))
    mask = mask.filter(ImageFilter.GaussianBlur(wide * 0.06))
    canvas.image.paste(random.choice(((70, 44, 24), (20, 24, 30), (120, 30, 26), (200, 190, 150))), mask=mask)
    return _around(points, 2)


def _cover(canvas: Canvas, frame: Edges, random: Random) -> Edges:
    """Something is gone, or hidden: there is now what was beside it."""
    x, y, wide = _spot_in(frame, random, random.uniform(0.08, 0.16))
    high = wide * random.uniform(0.5, 1.0)
    box = (round(x - wide / 2), round(y - high / 2), round(x + wide / 2), round(y + high / 2))
    dx, dy = random.choice(((1.2 * wide, 0), (-1.2 * wide, 0), (0, 1.2 * high), (0, -1.2 * high)))
    beside = canvas.image.crop((box[0] + round(dx), box[1] + round(dy), box[2] + round(dx), box[3] + round(dy)))
    canvas.image.paste(beside, box[:2])
    return box


def _spot(canvas: Canvas, frame: Edges, random: Random) -> Edges:
    """A sticker, a button, a coin."""
    x, y, wide = _spot_in(frame, random, random.uniform(0.015, 0.05))
    canvas.draw.ellipse((x - wide, y - wide, x + wide, y + wide), tuple(random.randint(0, 255) for _ in range(3)))
    return x - wide, y - wide, x + wide, y + wide


def _relit(lights: Sequence[Item]) -> Callable[[Canvas, Edges, Random], Edges]:
    def edit(canvas: Canvas, _frame: Edges, random: Random) -> Edges:
        light = random.choice(lights)
        left, top, right, bottom = light.bounds
        colour = _LIGHTS[random.choice([name for name in _LIGHTS if name != light.value])]
        canvas.draw.ellipse(light.bounds, colour)
        inset = (right - left) / 4
        bright = tuple(round(0.45 * channel + 0.55 * 255) for channel in colour)
        if colour != _LIGHTS["off"]:
            canvas.draw.ellipse((left + inset, top + inset, right - 1.4 * inset, bottom - 1.4 * inset), bright)
        return light.bounds

    return edit


def _rewritten(lines: Sequence[Item]) -> Callable[[Canvas, Edges, Random], Edges]:
    def edit(canvas: Canvas, _frame: Edges, random: Random) -> Edges:
        line = random.choice(lines)
        left, top, right, bottom = (round(edge) for edge in line.bounds)
        part = np.asarray(canvas.image.crop((left, top, max(right, left + 1), max(bottom, top + 1))))
        ground = np.median(part.reshape(-1, 3), axis=0)
        canvas.draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), tuple(int(level) for level in ground))
        ink = (240, 240, 240) if ground.mean() < 128 else (24, 24, 28)
        if random.random() < 0.7:
            text = "".join(random.choice("ABCEHKLMNRTX0123456789") for _ in line.value)
            canvas.draw.text((left, bottom), text, font=typeface("sans", max(6, bottom - top)), fill=ink, anchor="ls")
        return left - 2, top - 2, right + 2, bottom + 2

    return edit


def _around(points: Sequence[tuple[float, float]], margin: float) -> Edges:
    xs, ys = zip(*points, strict=True)
    return min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin
