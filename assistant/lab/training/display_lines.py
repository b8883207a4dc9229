"""Draws lines of displays as a reader is given them: cut out of a photo, with what stands around them.

Seven bars a character, of any thickness, gap and slant, lit on dark or dark on light, with the bars that are off barely
seen. A part of the lines are something else (printed text, grilles, nothing), for which the right reading is none.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from assistant.engine.ocr.seven_segments import HEIGHT, MOST_WIDTH
from assistant.lab.training.drawing import FONTS, Colour, Edges, Point, mix, typeface
from assistant.sample.canvas import perspective

# Which bars make a character: a top, b and c right, d bottom, e and f left, g middle.
BARS = {
    "0": "abcdef", "1": "bc", "2": "abged", "3": "abgcd", "4": "fgbc", "5": "afgcd", "6": "afgedc", "7": "abc",
    "8": "abcdefg", "9": "abcdfg", "-": "g", "A": "abcefg", "b": "cdefg", "C": "adef", "d": "bcdeg", "E": "adefg",
    "F": "aefg", "H": "bcefg", "L": "def", "n": "ceg", "o": "cdeg", "P": "abefg", "r": "eg", "t": "defg",
    "U": "bcdef", "h": "cefg", "c": "deg", "u": "cde", "y": "bcdfg", "J": "bcde",
}  # fmt: skip
_OTHER_FORMS = {"6": "fgedc", "7": "fabc", "9": "abcfg"}
_LIT: tuple[Colour, ...] = (
    (255, 40, 30), (255, 60, 50), (60, 255, 90), (80, 190, 255), (255, 170, 40), (240, 245, 255), (120, 255, 240),
    (255, 220, 60),
)  # fmt: skip
_GLASS: tuple[Colour, ...] = (
    (178, 188, 170), (160, 172, 150), (196, 200, 196), (140, 160, 140), (120, 170, 220), (230, 150, 60), (150, 200, 90),
)  # fmt: skip
_WORDS = ("Err", "Lo", "H1", "oFF", "on", "End", "FULL", "HELP", "CAL", "5toP", "PAU5", "dr", "CH", "ConF", "LoCH")
_UNITS = (
    "kg",
    "g",
    "lb",
    "°C",
    "°F",
    "%",
    "kWh",
    "V",
    "A",
    "min",
    "bar",
    "m³",
    "mmHg",
    "AM",
    "PM",
    "SET",
    "rpm",
    "ppm",
)
_PRINTED = (
    "POWER", "START", "Serial No.", "Model 2B", "ON/OFF", "WARNING", "Made in EU", "Nº 40", "12:30", "24.5", "E21",
    "Eco 40-60", "Intensive", "IPX4", "220-240 V", "LOT 2047", "MAX 5 kg", "1 2 3 4", "mode", "1111", "Temp.", "008",
)  # fmt: skip
_H = 84.0  # height of a character while it is drawn, in pixels


def draw_display_line(random: Random) -> tuple[Image.Image, str]:
    """A crop of HEIGHT pixels and at most MOST_WIDTH, and what its display shows: "" if there is none."""
    if random.random() < 0.22:
        picture, place, text = _something_else(random)
    else:
        text = draw_reading(random)
        picture, place = draw_panel(random, text)
    return _photograph(random, picture, place), text


def draw_reading(random: Random) -> str:
    kind = random.random()
    digits = "".join(random.choice("0123456789") for _ in range(random.choice((1, 2, 2, 3, 3, 4, 4, 5, 6))))
    if kind < 0.45:
        places = random.choice((0, 0, 1, 1, 2, 2, 3))
        sign = "-" if random.random() < 0.08 else ""
        return sign + (f"{digits}.{''.join(random.choice('0123456789') for _ in range(places))}" if places else digits)
    if kind < 0.6:
        hours = str(random.randint(0, 23)) if random.random() < 0.5 else f"{random.randint(0, 99):02}"
        return f"{hours}:{random.randint(0, 59):02}" + (
            f":{random.randint(0, 59):02}" if random.random() < 0.12 else ""
        )
    if kind < 0.82:
        return (
            random.choice("EFHCPALUdbtnorh") * (2 if random.random() < 0.06 else 1)
            + random.choice(("", "", "-"))
            + digits[:3]
        )
    if kind < 0.9:
        return random.choice(_WORDS)
    return "".join(random.choice(list(BARS)) for _ in range(random.randint(1, 5)))


@dataclass(frozen=True)
class _Style:
    """How a display draws its characters; lengths in pixels, ``slant`` as a share of the height."""

    wide: float
    gap: float
    bar: float
    between_bars: float
    slant: float
    shape: str
    narrow_marks: bool  # points stand between the characters, not in places of their own
    round_marks: bool
    forms: Mapping[str, str]  # the bars of each character

    @classmethod
    def some(cls, random: Random) -> _Style:
        return cls(
            wide=_H * random.uniform(0.42, 0.64),
            gap=_H * random.uniform(0.1, 0.34),
            bar=_H * random.uniform(0.07, 0.2),
            between_bars=_H * random.choice((0.0, random.uniform(0.005, 0.05))),
            slant=random.choice((0.0, random.uniform(0.02, 0.2))),
            shape=random.choice(("hexagon", "hexagon", "square", "mitred")),
            narrow_marks=random.random() < 0.75,
            round_marks=random.random() < 0.5,
            forms=BARS | {sign: bars for sign, bars in _OTHER_FORMS.items() if random.random() < 0.25},
        )


@dataclass(frozen=True)
class _Paint:
    glass: Colour
    on: Colour
    off: Colour
    shines: bool


def draw_panel(random: Random, text: str) -> tuple[Image.Image, Edges]:
    """The glass with the text on it, perhaps in a housing, and the text's edges."""
    style, paint = _Style.some(random), _paint(random)
    cells = _cells(text, style)
    blanks = random.choice((0, 0, 0, 1, 2)) if text[0] != "-" else 0
    left, right = (_H * random.uniform(0.15, 1.2) for _ in range(2))
    above, below = (_H * random.uniform(0.12, 1.0) for _ in range(2))
    start = left + blanks * (style.wide + style.gap)
    end = start + cells[-1][1] + style.wide + style.slant * _H
    picture = Image.new("RGB", (round(end + right), round(_H + above + below)), paint.glass)
    draw = ImageDraw.Draw(picture)
    if paint.off != paint.glass:
        ghosts = [left + number * (style.wide + style.gap) for number in range(blanks)]
        for x in [*ghosts, *(start + x for sign, x in cells if sign not in ".:")]:
            _draw_bars(draw, "abcdefg", (x, above), style, paint.off)
    for sign, x in cells:
        if sign in ".:":
            _draw_marks(draw, sign, (start + x, above), style, paint.on)
        else:
            _draw_bars(draw, style.forms[sign], (start + x, above), style, paint.on)
    if paint.shines:
        picture = _shining(random, picture)
    if random.random() < 0.35:
        _write_unit(random, picture, paint, beside=(end + style.bar, above), over=(left, above))
    edge = round(_H * random.uniform(0.1, 0.5)) if random.random() < 0.45 else 0
    if edge:
        picture = _framed(random, picture, edge)
    return picture, (edge + start, edge + above, edge + end, edge + above + _H)


def _shining(random: Random, picture: Image.Image) -> Image.Image:
    glow = picture.filter(ImageFilter.GaussianBlur(_H * random.uniform(0.03, 0.16)))
    bright = np.asarray(picture, np.float32) + random.uniform(0.0, 0.9) * np.asarray(glow, np.float32)
    return Image.fromarray(np.clip(bright, 0, 255).astype(np.uint8))


def _write_unit(random: Random, picture: Image.Image, paint: _Paint, *, beside: Point, over: Point) -> None:
    """Small print on the glass, which is none of the reading."""
    font = typeface(random.choice(FONTS), round(_H * random.uniform(0.2, 0.45)))
    spot = (beside[0], beside[1] + _H * random.uniform(0.0, 0.7))
    if random.random() < 0.4:
        spot = (over[0], over[1] * random.uniform(0, 0.4))
    fill = paint.on if random.random() < 0.7 else (200, 200, 200)
    ImageDraw.Draw(picture).text(spot, random.choice(_UNITS), font=font, fill=fill)


def _cells(text: str, style: _Style) -> list[tuple[str, float]]:
    """Each sign with its left edge."""
    cells, x = [], 0.0
    for number, sign in enumerate(text):
        if sign not in ".:":
            cells.append((sign, x))
            x += style.wide + style.gap
        elif style.narrow_marks and sign == "." and number:
            cells.append((sign, x - style.gap / 2 - style.bar / 2))
        else:
            cells.append((sign, x - style.gap / 2 if number else x))
            x += style.bar + style.gap
    return cells


def _draw_bars(draw: ImageDraw.ImageDraw, bars: str, place: Point, style: _Style, ink: Colour) -> None:
    for name in bars:
        outline = _bar(name, style)
        draw.polygon([_slanted((place[0] + x, y), place[1], style) for x, y in outline], fill=ink)


def _draw_marks(draw: ImageDraw.ImageDraw, mark: str, place: Point, style: _Style, ink: Colour) -> None:
    middles = (_H * 0.3 - style.bar / 2, _H * 0.7 - style.bar / 2)
    for y in (_H - style.bar,) if mark == "." else middles:
        left, top = _slanted((place[0], y), place[1], style)
        box = (left, top, left + style.bar, top + style.bar)
        if style.round_marks:
            draw.ellipse(box, fill=ink)
        else:
            draw.rectangle(box, fill=ink)


def _slanted(point: Point, above: float, style: _Style) -> Point:
    return point[0] + style.slant * (_H - point[1]), point[1] + above


def _bar(name: str, style: _Style) -> list[Point]:
    """The outline of one bar of a character that stands upright at 0, 0."""
    half, middle = style.bar / 2, _H / 2
    rows = {"a": half, "g": middle, "d": _H - half}
    if name in rows:
        ends = (half + style.between_bars, rows[name]), (style.wide - half - style.between_bars, rows[name])
        across, along = (0.0, half), (half, 0.0)
    else:
        side = half if name in "ef" else style.wide - half
        top, bottom = (half, middle) if name in "fb" else (middle, _H - half)
        ends = (side, top + style.between_bars), (side, bottom - style.between_bars)
        across, along = (half, 0.0), (0.0, half)
    ((x1, y1), (x2, y2)), (ax, ay), (dx, dy) = ends, across, along
    if style.shape == "square":
        return [(x1 - ax, y1 - ay), (x2 - ax, y2 - ay), (x2 + ax, y2 + ay), (x1 + ax, y1 + ay)]
    if style.shape == "hexagon" or name == "g":
        return [
            (x1, y1), (x1 + dx - ax, y1 + dy - ay), (x2 - dx - ax, y2 - dy - ay), (x2, y2),
            (x2 - dx + ax, y2 - dy + ay), (x1 + dx + ax, y1 + dy + ay),
        ]  # fmt: skip
    # Mitred: the outer edge is longer than the inner one.
    ox, oy = (-ax, -ay) if name in "aef" else (ax, ay)
    return [
        (x1 - dx + ox, y1 - dy + oy), (x2 + dx + ox, y2 + dy + oy),
        (x2 - dx - ox, y2 - dy - oy), (x1 + dx - ox, y1 + dy - oy),
    ]  # fmt: skip


def _paint(random: Random) -> _Paint:
    """Lit on dark, or dark on light; seldom white on blue."""
    if random.random() < 0.5:
        level = random.randint(4, 60)
        glass = (level + random.randint(0, 20), level + random.randint(0, 8), level + random.randint(0, 12))
        on = mix(random.choice(_LIT), glass, random.choice((0.0, random.uniform(0, 0.5))))
        return _Paint(glass, on, mix(glass, on, random.choice((0.0, random.uniform(0.02, 0.2)))), shines=True)
    glass = mix(random.choice(_GLASS), (0, 0, 0), random.uniform(0, 0.5))
    dark: Colour = (random.randint(8, 50),) * 3
    if random.random() < 0.15:
        glass, dark = (random.randint(10, 40), random.randint(30, 80), random.randint(120, 220)), (225, 235, 250)
    on = mix(dark, glass, random.uniform(0.0, 0.6))
    return _Paint(glass, on, mix(glass, on, random.choice((0.0, random.uniform(0.03, 0.22)))), shines=False)


def _framed(random: Random, picture: Image.Image, edge: int) -> Image.Image:
    """The glass in a housing, which the crop may show."""
    level, rim = random.randint(10, 245), random.randint(2, 8) if random.random() < 0.5 else 0
    blue = min(255, level + random.randint(0, 12))
    housing = Image.new("RGB", (picture.width + 2 * edge, picture.height + 2 * edge), (level, level, blue))
    corners = (edge - rim, edge - rim, housing.width - edge + rim, housing.height - edge + rim)
    ImageDraw.Draw(housing).rectangle(corners, fill=(random.randint(0, 255),) * 3)
    housing.paste(picture, (edge, edge))
    return housing


def _something_else(random: Random) -> tuple[Image.Image, Edges, str]:
    """Printed text, a grille, a row of buttons, or a plain surface."""
    width, height = random.randint(120, 620), 170
    ground, ink = (random.randint(0, 255),) * 3, (random.randint(0, 255),) * 3
    picture = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(picture)
    kind = random.random()
    if kind < 0.6:
        text = (
            random.choice(_PRINTED)
            if random.random() < 0.5
            else "".join(random.choice("0123456789.:-ABCEFHLP ") for _ in range(random.randint(2, 8)))
        )
        font = typeface(random.choice(FONTS), random.randint(60, 110))
        draw.text((20, height / 2), text, font=font, fill=ink if ink != ground else (0, 0, 0), anchor="lm")
        end = min(width, 20 + font.getlength(text))
        return picture, (20, height / 2 - _H / 2, max(60.0, end), height / 2 + _H / 2), ""
    if kind < 0.85:
        step, thick, is_upright = random.randint(10, 50), random.randint(3, 14), random.random() < 0.5
        for start in range(0, width if is_upright else height, step):
            draw.rectangle(
                (start, 30, start + thick, 140) if is_upright else (20, start, width - 20, start + thick), fill=ink
            )
    else:
        for _ in range(random.randint(0, 5)):
            x, y, r = random.uniform(0, width), random.uniform(40, 130), random.uniform(8, 36)
            draw.ellipse((x - r, y - r, x + r, y + r), outline=ink, width=random.randint(2, 8))
    return picture, (width * 0.1, 43, width * 0.9, 43 + _H), ""


def _photograph(random: Random, picture: Image.Image, edges: Edges) -> Image.Image:
    """The crop around the edges, as roughly as they are found, through a camera."""
    left, top, right, bottom = edges
    height = bottom - top
    left -= height * random.uniform(0.02, 0.5)
    right += height * random.uniform(0.02, 0.6)
    top -= height * random.uniform(0.03, 0.4)
    bottom += height * random.uniform(0.03, 0.4)
    turn, tilt = random.gauss(0, 0.035), 0.05
    x, y = (left + right) / 2, (top + bottom) / 2
    corners: list[Point] = []
    for px, py in ((left, top), (right, top), (right, bottom), (left, bottom)):
        dx, dy = (px - x) * (1 + random.uniform(-tilt, tilt) * 0.6), (py - y) * (1 + random.uniform(-tilt, tilt) * 2)
        corners.append((x + dx - dy * turn, y + dy + dx * turn))
    squeeze = random.uniform(0.75, 1.25)
    aspect = (right - left) / (bottom - top) * squeeze
    seen = max(9, round(random.uniform(12, 60) * (bottom - top) / height))
    size = (max(8, round(seen * aspect)), seen)
    target: list[Point] = [(0, 0), (size[0], 0), size, (0, size[1])]
    # Shrunk first, so that sampling does not leave out pixels.
    shrink = max(1, int((bottom - top) / seen))
    small = picture.reduce(shrink) if shrink > 1 else picture
    corners = [(px / shrink, py / shrink) for px, py in corners]
    fill = small.getpixel((0, 0))
    photo = small.transform(
        size, Image.Transform.PERSPECTIVE, perspective(target, corners), Image.Resampling.BICUBIC, fillcolor=fill
    )
    return _crop_of(_exposed(random, photo))


def _crop_of(photo: Image.Image) -> Image.Image:
    """Scaled to the reader's height; what is too long is squeezed."""
    width = max(8, min(MOST_WIDTH, round(photo.width * HEIGHT / photo.height)))
    return photo.resize((width, HEIGHT), Image.Resampling.BILINEAR)


def _exposed(random: Random, photo: Image.Image) -> Image.Image:
    """Blur, uneven light, glare, noise, JPEG."""
    if random.random() < 0.6:
        photo = photo.filter(ImageFilter.GaussianBlur(random.uniform(0.2, max(0.3, 0.05 * photo.height))))
    if random.random() < 0.12:
        shift = random.randint(1, max(1, photo.height // 12))
        photo = Image.blend(
            photo,
            photo.transform(photo.size, Image.Transform.AFFINE, (1, 0, shift, 0, 1, random.choice((0, shift)))),
            0.5,
        )
    pixels: np.ndarray = np.asarray(photo, np.float32)
    height, width = pixels.shape[:2]
    across, down = np.linspace(-1, 1, width)[None, :, None], np.linspace(-1, 1, height)[:, None, None]
    pixels = pixels * (1 + random.uniform(-0.35, 0.35) * across + random.uniform(-0.2, 0.2) * down)
    if random.random() < 0.25:
        centre, spread = random.uniform(-1.2, 1.2), random.uniform(0.05, 0.6)
        glare = np.exp(-(((across - centre + random.uniform(-1, 1) * down) / spread) ** 2))
        pixels = pixels + random.uniform(30, 170) * glare
    pixels = pixels * random.uniform(0.45, 1.35) + random.uniform(-20, 45)
    pixels = pixels * np.array([random.uniform(0.85, 1.15) for _ in range(3)], np.float32)
    noise = np.random.default_rng(random.getrandbits(32)).normal(0, random.choice((0, 3, 8, 14)), pixels.shape[:2])
    photo = Image.fromarray(np.clip(pixels + noise[:, :, None], 0, 255).astype(np.uint8))
    if random.random() < 0.6:
        file = io.BytesIO()
        photo.save(file, "JPEG", quality=random.randint(25, 90))
        photo = Image.open(file).convert("RGB")
    return photo
