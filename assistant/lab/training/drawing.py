"""A canvas that records what is drawn on it: every light, glyph, damage and body with its place.

Objects are drawn in their own coordinates (points); a `Pen` maps them to the canvas. Knows nothing about products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]
Point = tuple[float, float]
Edges = tuple[float, float, float, float]
WHITE, BLACK = (255, 255, 255), (0, 0, 0)

# The smallest font size, in pixels.
_LEAST_FONT = 5


@dataclass(frozen=True)
class Item:
    """One thing on the canvas or, after the camera, in the photo. ``outline``: corners in clockwise order.

    ``kind``: ``glyph`` (value: the character), ``line`` (the text), ``light`` (its colour), ``damage``, ``body`` (what
    it is) or ``panel`` (what a close-up may show).
    """

    kind: str
    value: str
    outline: tuple[Point, ...]

    @property
    def centre(self) -> Point:
        xs, ys = zip(*self.outline, strict=True)
        return sum(xs) / len(xs), sum(ys) / len(ys)

    @property
    def bounds(self) -> Edges:
        xs, ys = zip(*self.outline, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


@dataclass
class Canvas:
    """An image and the items on it, in the canvas's pixels."""

    image: Image.Image
    items: list[Item] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = ImageDraw.Draw(self.image)

    def replace(self, image: Image.Image) -> None:
        self.image = image
        self.draw = ImageDraw.Draw(image)


class Pen:
    """Draws an object in its own coordinates: the object's origin is at ``origin`` of the canvas."""

    def __init__(self, canvas: Canvas, *, origin: Point, scale: float) -> None:
        self.canvas = canvas
        self._x, self._y = origin
        self.scale = scale

    def at(self, point: Point) -> Point:
        return self._x + point[0] * self.scale, self._y + point[1] * self.scale

    def box(self, edges: Edges) -> Edges:
        left, top = self.at((edges[0], edges[1]))
        right, bottom = self.at((edges[2], edges[3]))
        return left, top, right, bottom

    def note(self, kind: str, value: str, outline: Sequence[Point]) -> None:
        """Record an item at ``outline`` (the object's coordinates)."""
        self.canvas.items.append(Item(kind, value, tuple(self.at(point) for point in outline)))

    def note_box(self, kind: str, value: str, edges: Edges) -> None:
        left, top, right, bottom = edges
        self.note(kind, value, [(left, top), (right, top), (right, bottom), (left, bottom)])

    def rectangle(self, edges: Edges, fill: Colour, *, radius: float = 0) -> None:
        box = self.box(edges)
        if radius:
            self.canvas.draw.rounded_rectangle(box, radius * self.scale, fill=fill)
        else:
            self.canvas.draw.rectangle(box, fill=fill)

    def panel(self, edges: Edges, top: Colour, bottom: Colour, *, radius: float = 0) -> None:
        """A rounded rectangle lit from above, in two tones."""
        self.rectangle(edges, bottom, radius=radius)
        left, upper, right, lower = edges
        self.rectangle((left, upper, right, upper + (lower - upper) * 0.55), top, radius=radius)
        mixed = mix(top, bottom, 0.5)
        self.rectangle((left, upper + (lower - upper) * 0.42, right, upper + (lower - upper) * 0.66), mixed)

    def ellipse(self, edges: Edges, fill: Colour | None, *, outline: Colour | None = None, width: float = 0) -> None:
        self.canvas.draw.ellipse(self.box(edges), fill=fill, outline=outline, width=max(1, round(width * self.scale)))

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        self.canvas.draw.polygon([self.at(point) for point in points], fill=fill)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        drawn = [self.at(point) for point in points]
        self.canvas.draw.line(drawn, fill=fill, width=max(1, round(width * self.scale)), joint="curve")

    def arc(self, edges: Edges, angles: tuple[float, float], width: float, fill: Colour) -> None:
        self.canvas.draw.arc(self.box(edges), *angles, fill=fill, width=max(1, round(width * self.scale)))

    def glow(self, edges: Edges, colour: Colour, strength: float) -> None:
        """A soft ellipse of light or shade."""
        left, top, right, bottom = (round(edge) for edge in self.box(edges))
        width, height = max(2, right - left), max(2, bottom - top)
        self.canvas.image.paste(colour, (left, top), _soft(strength).resize((width, height)))

    def tint(self, outline: Sequence[Point], colour: Colour) -> None:
        """Tint everything within a smoothed outline, as if seen through coloured glass."""
        image = self.canvas.image
        mask = Image.new("L", image.size, 0)
        ImageDraw.Draw(mask).polygon([self.at(point) for point in outline], fill=255)
        soft = mask.filter(ImageFilter.GaussianBlur(12 * self.scale)).point(lambda level: 255 if level > 110 else 0)
        image.paste(ImageChops.multiply(image, Image.new("RGB", image.size, colour)), mask=soft)

    def text(
        self, place: Point, text: str, size: float, fill: Colour, *, font: str = "sans", anchor: str = "la"
    ) -> Edges:
        """Write one line and record it with all its glyphs. Returns its edges (the object's coordinates)."""
        pixels = max(_LEAST_FONT, round(size * self.scale))
        face = typeface(font, pixels)
        advances = [glyph_width(font, pixels, character) / self.scale for character in text]
        width, height = sum(advances), size * 0.74
        left = place[0] - (width / 2 if anchor[0] == "m" else width if anchor[0] == "r" else 0)
        top = place[1] - (height / 2 if anchor[1] == "m" else 0)
        base = self.at((left, top + height))
        self.canvas.draw.text(base, text, font=face, fill=fill, anchor="ls")
        x = left
        for character, advance in zip(text, advances, strict=True):
            if character != " ":
                self.note_box("glyph", character, (x, top, x + advance, top + height))
            x += advance
        edges = (left, top, left + width, top + height)
        if text.strip():
            self.note_box("line", text, edges)
        return edges

    def segments(self, place: Point, text: str, size: float, fill: Colour) -> Edges:
        """Write on a seven-segment display centred at ``place``. Characters it cannot show stay blank."""
        width, gap = size * 0.52, size * 0.2
        total = len(text) * (width + gap) - gap
        left, top = place[0] - total / 2, place[1] - size / 2
        for number, character in enumerate(text):
            x = left + number * (width + gap)
            for segment in _SEVEN.get(character, ""):
                self._segment(segment, (x, top, x + width, top + size), size * 0.13, fill)
            self.note_box("glyph", character, (x, top, x + width, top + size))
        edges = (left, top, left + total, top + size)
        self.note_box("line", text, edges)
        return edges

    def _segment(self, name: str, edges: Edges, width: float, fill: Colour) -> None:
        left, top, right, bottom = edges
        middle, half = (top + bottom) / 2, width / 2
        ends: dict[str, tuple[Point, Point]] = {
            "a": ((left + half, top), (right - half, top)),
            "b": ((right, top + half), (right, middle - half)),
            "c": ((right, middle + half), (right, bottom - half)),
            "d": ((left + half, bottom), (right - half, bottom)),
            "e": ((left, middle + half), (left, bottom - half)),
            "f": ((left, top + half), (left, middle - half)),
            "g": ((left + half, middle), (right - half, middle)),
        }
        self.line(ends[name], width, fill)

    def lamp(self, centre: Point, radius: float, colour: Colour, *, name: str, lit: bool = True) -> None:
        """An indicator light, recorded as ``name``."""
        x, y = centre
        if lit:
            self.glow((x - 3 * radius, y - 3 * radius, x + 3 * radius, y + 3 * radius), colour, 0.6)
        self.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
        if lit:
            bright = mix(colour, (255, 255, 255), 0.55)
            self.ellipse((x - radius / 2, y - radius / 2, x + radius / 3, y + radius / 3), bright)
        self.note_box("light", name, (x - radius, y - radius, x + radius, y + radius))


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The first colour with ``share`` of the second mixed in."""
    red, green, blue = (round(a * (1 - share) + b * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def varied(random: Random, colour: Colour, amount: int = 14) -> Colour:
    """A similar colour: brighter or darker, with a slightly different tone."""
    shift = random.randint(-amount, amount)
    red, green, blue = (max(0, min(255, part + shift + random.randint(-5, 5))) for part in colour)
    return red, green, blue


# Fonts: Pillow's own and those bundled with matplotlib.

_FONTS = {
    "sans": "DejaVuSans.ttf",
    "bold": "DejaVuSans-Bold.ttf",
    "mono": "DejaVuSansMono.ttf",
    "mono-bold": "DejaVuSansMono-Bold.ttf",
    "serif": "DejaVuSerif.ttf",
    "times": "STIXGeneral.ttf",
}
FONTS = ("pillow", *_FONTS)


@cache
def typeface(name: str, pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if name == "pillow":
        return ImageFont.load_default(pixels)
    return ImageFont.truetype(str(_font_folder() / _FONTS[name]), pixels)


@cache
def glyph_width(name: str, pixels: int, character: str) -> float:
    return float(typeface(name, pixels).getlength(character))


@cache
def _font_folder() -> Path:
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf"


@cache
def _soft(strength: float) -> Image.Image:
    mask = Image.new("L", (48, 48), 0)
    ImageDraw.Draw(mask).ellipse((8, 8, 40, 40), fill=round(255 * strength))
    return mask.filter(ImageFilter.GaussianBlur(5))


_SEVEN = {
    "0": "abcdef", "1": "bc", "2": "abged", "3": "abgcd", "4": "fgbc", "5": "afgcd", "6": "afgedc", "7": "abc",
    "8": "abcdefg", "9": "abcdfg", "A": "abcefg", "C": "afed", "E": "afged", "F": "afge", "H": "fbgec", "L": "fed",
    "P": "abfge", "U": "fbedc", "-": "g",
}  # fmt: skip
