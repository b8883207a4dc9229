"""Drawn photos of devices with indicator lights, and of such things without any, to measure and calibrate what
`media.lights` says. No device is one of the sample company's; nothing is trained on these scenes.

Lights are added in linear light, many times brighter than white paper, spread by the lens and cut off by the sensor:
that makes white centres with coloured halos, as cameras do. Beside them are what may be taken for lights: stickers,
buttons, unlit lenses, reflections, screws.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from assistant.lab.training import foreign
from assistant.lab.training.drawing import FONTS, typeface
from assistant.ports import Box
from assistant.sample.canvas import perspective

# Linear RGB of what each emits, from several makers.
EMISSIONS = {
    "green": ((0.05, 1.0, 0.12), (0.2, 1.0, 0.05), (0.0, 0.9, 0.35)),
    "red": ((1.0, 0.02, 0.02), (1.0, 0.08, 0.03), (0.95, 0.0, 0.08)),
    "amber": ((1.0, 0.35, 0.0), (1.0, 0.5, 0.03), (1.0, 0.28, 0.02)),
    "blue": ((0.02, 0.12, 1.0), (0.05, 0.3, 1.0), (0.08, 0.05, 1.0)),
    "white": ((1.0, 0.95, 0.9), (0.9, 0.95, 1.0), (1.0, 0.9, 0.75)),
}
_OFTEN = {"green": 0.34, "red": 0.24, "amber": 0.18, "blue": 0.14, "white": 0.1}
_BODIES = ((22, 22, 24), (44, 46, 50), (90, 92, 96), (150, 152, 154), (205, 205, 200), (238, 238, 236), (190, 176, 150),
           (40, 60, 90), (120, 30, 34), (60, 80, 60))  # fmt: skip
_LABELS = ("PWR", "POWER", "STATUS", "LAN", "WAN", "LINK", "ACT", "HDD", "ALARM", "READY", "FAULT", "CHARGE", "1", "2")
# Calibration takes even numbers, evaluation odd ones.
CALIBRATION, EVALUATION = 0, 1


@dataclass(frozen=True)
class Lit:
    colour: str
    box: Box


@dataclass(frozen=True)
class LightScene:
    photo: bytes
    lights: tuple[Lit, ...]
    is_device: bool


def draw(number: int, purpose: int, *, lit: bool | None = None) -> LightScene:
    """Scene ``number`` for `CALIBRATION` or `EVALUATION`. ``lit``: with lights or without; by default a third has
    none, a few of those no device either."""
    random = Random(2 * number + purpose + 51_000_000)
    lit = random.random() < 0.67 if lit is None else lit
    long = random.choice((480, 640, 640, 960))
    size = (long, round(long * 0.75)) if random.random() < 0.6 else (round(long * 0.75), long)
    if not lit and random.random() < 0.3:
        canvas = foreign.draw(random, size).image.convert("RGB").resize(size)
        return LightScene(_exposed(np.asarray(canvas), [], random), (), is_device=False)
    canvas, lamps = _device(random, size, lit)
    shown = [lamp for lamp in lamps if lamp.colour]
    photo = _exposed(np.asarray(canvas), shown, random)
    return LightScene(photo, tuple(Lit(lamp.colour, lamp.box(size)) for lamp in shown), is_device=True)


@dataclass(frozen=True)
class _Lamp:
    """Centre and half sides in pixels; no ``colour`` if it is not lit."""

    x: float
    y: float
    wide: float
    tall: float
    colour: str

    def box(self, size: tuple[int, int]) -> Box:
        w, h = size
        return Box(
            (self.x - self.wide) / w, (self.y - self.tall) / h, (self.x + self.wide) / w, (self.y + self.tall) / h
        )


def _device(random: Random, size: tuple[int, int], lit: bool) -> tuple[Image.Image, list[_Lamp]]:
    width, height = size
    canvas = _behind(random, size)
    pen = ImageDraw.Draw(canvas)
    unit = min(size) / 100
    wide, tall = random.uniform(45, 85) * width / 100, random.uniform(25, 70) * height / 100
    left, top = random.uniform(0.03, 0.97) * (width - wide), random.uniform(0.03, 0.97) * (height - tall)
    body = tuple(int(min(255, max(0, one + random.randint(-12, 12)))) for one in random.choice(_BODIES))
    pen.rounded_rectangle((left, top, left + wide, top + tall), random.uniform(0.5, 6) * unit, fill=body)
    ink = (230, 230, 230) if sum(body) < 330 else (30, 30, 34)
    for _ in range(random.randint(1, 7)):
        _detail(pen, random, (left, top, wide, tall), unit, ink)
    lamps = _lamps(pen, random, (left, top, wide, tall), unit, ink, lit)
    corners = [
        (
            x + (random.uniform(0, 0.07) * (1 if x else -1)) * width,
            y + (random.uniform(0, 0.07) * (1 if y else -1)) * height,
        )
        for x, y in ((0, 0), (width, 0), (width, height), (0, height))
    ]
    square = [(0.0, 0.0), (float(width), 0.0), (float(width), float(height)), (0.0, float(height))]
    seen = canvas.transform(size, Image.Transform.PERSPECTIVE, perspective(square, corners), Image.Resampling.BICUBIC)
    back = perspective(corners, square)
    return seen, [_moved(lamp, back) for lamp in lamps]


def _behind(random: Random, size: tuple[int, int]) -> Image.Image:
    grey, strong = random.randint(15, 245), random.choice((6, 20, 60))
    tone = tuple(min(255, max(0, grey + random.randint(-strong, strong))) for _ in range(3))
    plain = Image.new("RGB", size, tone)
    texture = foreign.clouds(random, size, exponent=random.uniform(0.8, 2.2)).resize(size)
    behind = Image.blend(plain, texture, random.uniform(0, 0.6))
    pen = ImageDraw.Draw(behind)
    for _ in range(random.choice((0, 0, 2, 5))):
        x, y, r = random.uniform(0, size[0]), random.uniform(0, size[1]), random.uniform(0.02, 0.2) * size[0]
        shape = random.choice((pen.ellipse, pen.rectangle))
        shape((x - r, y - r, x + r, y + r), fill=tuple(random.randint(0, 255) for _ in range(3)))
    return behind


def _detail(
    pen: ImageDraw.ImageDraw, random: Random, body: tuple[float, ...], unit: float, ink: tuple[int, ...]
) -> None:
    """A port, a vent, a button, a sticker, a screw, or a name: some of them look a little like lights."""
    left, top, wide, tall = body
    x, y, r = left + random.uniform(0.1, 0.9) * wide, top + random.uniform(0.1, 0.9) * tall, random.uniform(1, 5) * unit
    match random.choice(("port", "vent", "button", "sticker", "screw", "name", "display")):
        case "port":
            pen.rectangle((x - r, y - r * 0.8, x + r, y + r * 0.8), fill=(12, 12, 12), outline=(110, 110, 110))
        case "vent":
            for row in range(5):
                pen.line(
                    (x - 2 * r, y + row * unit, x + 2 * r, y + row * unit),
                    fill=(20, 20, 20),
                    width=max(1, int(unit / 3)),
                )
        case "button":
            fill = random.choice(((200, 30, 30), (30, 140, 60), (220, 220, 220), (60, 60, 60), (30, 70, 180)))
            pen.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=(10, 10, 10))
        case "sticker":
            fill = random.choice(((240, 40, 40), (50, 200, 70), (250, 180, 20), (40, 90, 230), (250, 250, 250)))
            pen.ellipse((x - r / 2, y - r / 2, x + r / 2, y + r / 2), fill=fill)
        case "screw":
            pen.ellipse((x - r / 3, y - r / 3, x + r / 3, y + r / 3), fill=(170, 170, 172), outline=(60, 60, 60))
            pen.ellipse((x - r / 9, y - r / 6, x + r / 9, y), fill=(255, 255, 255))
        case "display":
            pen.rectangle((x - 2 * r, y - r, x + 2 * r, y + r), fill=(30, 44, 40))
        case _:
            pen.text(
                (x, y), "".join(random.choice("ABCDEKLMNORSTX0128") for _ in range(7)), fill=ink, font=_font(random, r)
            )


def _lamps(
    pen: ImageDraw.ImageDraw, random: Random, body: tuple[float, ...], unit: float, ink: tuple[int, ...], lit: bool
) -> list[_Lamp]:
    """A row or a column of lights, mostly labelled."""
    left, top, wide, tall = body
    count = random.choice((1, 1, 1, 2, 3, 4, 5))
    across = random.random() < 0.7
    wide_half = random.uniform(0.5, 1.8) * unit
    tall_half = wide_half if random.random() < 0.7 else wide_half * random.uniform(0.3, 2)
    gap = random.uniform(7, 13) * unit
    x = left + random.uniform(0.12, 0.88) * wide if not across else left + random.uniform(0.1, 0.35) * wide
    y = top + random.uniform(0.15, 0.85) * tall if across else top + random.uniform(0.1, 0.3) * tall
    labelled = random.random() < 0.6
    lamps = []
    for number in range(count):
        at = (x + number * gap, y) if across else (x, y + number * gap)
        if not (left + unit < at[0] < left + wide - unit and top + unit < at[1] < top + tall - unit):
            break
        colour = random.choices(list(_OFTEN), weights=list(_OFTEN.values()))[0]
        is_lit = lit and (number == 0 or random.random() < 0.75)
        edges = (at[0] - wide_half, at[1] - tall_half, at[0] + wide_half, at[1] + tall_half)
        lens = tuple(int(70 + 60 * one) for one in EMISSIONS[colour][0]) if random.random() < 0.5 else (60, 60, 62)
        (pen.ellipse if tall_half == wide_half else pen.rectangle)(edges, fill=lens, outline=(15, 15, 15))
        if labelled:
            pen.text((at[0], at[1] + tall_half + 0.8 * unit), random.choice(_LABELS), fill=ink,
                     font=_font(random, 2.4 * unit), anchor="mt")  # fmt: skip
        lamps.append(_Lamp(*at, wide_half, tall_half, colour if is_lit else ""))
    return lamps


def _font(random: Random, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return typeface(random.choice(FONTS), max(6, round(size)))


def _moved(lamp: _Lamp, onto: list[float]) -> _Lamp:
    a, b, c, d, e, f, g, h = onto
    depth = g * lamp.x + h * lamp.y + 1
    return _Lamp(
        (a * lamp.x + b * lamp.y + c) / depth, (d * lamp.x + e * lamp.y + f) / depth, lamp.wide, lamp.tall, lamp.colour
    )


def _exposed(canvas: np.ndarray, lamps: list[_Lamp], random: Random) -> bytes:
    """What a camera makes of it: JPEG."""
    from scipy.ndimage import gaussian_filter

    numbers = np.random.default_rng(random.getrandbits(40))
    linear = (canvas.astype(np.float32) / 255) ** 2.2
    height, width, _ = linear.shape
    linear *= random.choice((0.03, 0.12, 0.35, 0.6, 0.9))  # a dark cellar to a bright desk
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    linear *= (1 + random.gauss(0, 0.12) * x[None, :] + random.gauss(0, 0.12) * y[:, None])[..., None].clip(0.3)
    for _ in range(random.choice((0, 0, 0, 1, 3))):  # reflections of other lights
        _spot(linear, random, width, height)
    strength = random.choice((1.2, 2.0, 4.0, 8.0, 16.0))
    emitted = np.zeros_like(linear)
    columns, rows = np.arange(width)[None, :], np.arange(height)[:, None]
    for lamp in lamps:
        shape = ((columns - lamp.x) / lamp.wide) ** 2 + ((rows - lamp.y) / lamp.tall) ** 2
        soft = np.clip(1.6 - shape, 0, 1) * (1.2 - 0.5 * np.clip(shape, 0, 1))
        tint = np.array(random.choice(EMISSIONS[lamp.colour]), np.float32)
        emitted += soft[..., None] * tint * (strength * random.uniform(0.6, 1.4))
    radius = max((max(lamp.wide, lamp.tall) for lamp in lamps), default=1.0)
    near, far = random.uniform(0.06, 0.25), random.uniform(0.01, 0.06)
    spread = emitted * (1 - near - far)
    for share, sigma in ((near, radius * random.uniform(1.2, 2.5)), (far, radius * random.uniform(4, 9))):
        spread += share * _glow(emitted, sigma)
    seen = linear + spread
    if random.random() < 0.5:
        blur = random.uniform(0.4, 2.0) * max(width, height) / 800
        seen = gaussian_filter(seen, (blur, blur, 0))
    warmth, cast = random.gauss(0, 0.14), random.gauss(0, 0.04)
    seen = seen * np.array([1 + warmth, 1 + cast, 1 - warmth], np.float32)
    seen *= random.uniform(0.8, 1.25) / max(0.25, float(np.quantile(seen.max(axis=2), 0.9)))  # the camera's exposure
    if random.random() < 0.5:  # a film-like curve keeps some colour in what is too bright
        seen = seen * 1.05 / (1 + 0.15 * seen)
    seen = seen + numbers.standard_normal(seen.shape, dtype=np.float32) * random.uniform(0.001, 0.02) * np.sqrt(
        seen.clip(0.01, 1)
    )
    coded = 255 * seen.clip(0, 1) ** (1 / 2.2)
    image = Image.fromarray(coded.astype(np.uint8))
    if random.random() < 0.4:
        image = image.filter(ImageFilter.UnsharpMask(2, random.randint(40, 160)))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=random.randint(55, 95))
    return stream.getvalue()


def _glow(emitted: np.ndarray, sigma: float) -> np.ndarray:
    """Blurred, at a fourth of the size: it is smooth."""
    from scipy.ndimage import gaussian_filter

    height, width, _ = emitted.shape
    wide, tall = max(1, width // 4), max(1, height // 4)
    found = []
    for channel in np.moveaxis(emitted, 2, 0):
        small = np.asarray(Image.fromarray(channel).resize((wide, tall), Image.Resampling.BOX))
        soft = Image.fromarray(gaussian_filter(small, max(0.5, sigma / 4), truncate=3))
        found.append(np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC)))
    return np.stack(found, axis=-1).clip(0)


def _spot(linear: np.ndarray, random: Random, width: int, height: int) -> None:
    x, y, r = random.uniform(0, width), random.uniform(0, height), random.uniform(0.003, 0.03) * width
    columns, rows = np.arange(width)[None, :], np.arange(height)[:, None]
    stretched = random.uniform(0.3, 3)
    shape = ((columns - x) / r) ** 2 + ((rows - y) / (r * stretched)) ** 2
    tint = np.array([1, random.uniform(0.85, 1), random.uniform(0.75, 1.05)], np.float32)
    linear += (random.uniform(0.4, 4) * np.exp(-(shape ** random.choice((1, 2)))))[..., None] * tint
