"""A canvas for the sample's photos, drawn with Pillow alone, and the camera it is seen through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]
Point = tuple[float, float]
Edges = tuple[float, float, float, float]
SIZE = (1200, 900)
_SCALE = 2


class Scene:
    """A canvas, drawn at twice its size. Coordinates are those of the final size and may lie outside it."""

    def __init__(
        self,
        *,
        paper: Colour | None = None,
        size: tuple[int, int] = SIZE,
        wall: Colour = (0, 0, 0),
        table: Colour = (0, 0, 0),
        horizon: int = 0,
        grain: float = 0.0,
    ) -> None:
        """Plain ``paper``, or a ``wall`` above a ``table`` that may have the grain of wood."""
        width, height = size[0] * _SCALE, size[1] * _SCALE
        self.image = Image.new("RGB", (width, height), paper or wall)
        self._draw = ImageDraw.Draw(self.image)
        if paper is None:
            self.rectangle((0, horizon, *size), table)
            if grain:
                self._wood(horizon * _SCALE, grain)

    def rectangle(self, box: Edges, fill: Colour) -> None:
        self._draw.rectangle(_times(box), fill=fill)

    def ellipse(self, box: Edges, fill: Colour) -> None:
        self._draw.ellipse(_times(box), fill=fill)

    def arc(self, box: Edges, angles: tuple[float, float], width: float, fill: Colour) -> None:
        self._draw.arc(_times(box), *angles, fill=fill, width=round(width * _SCALE))

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        self._draw.polygon([(x * _SCALE, y * _SCALE) for x, y in points], fill=fill)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        large = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(large, fill=fill, width=round(width * _SCALE), joint="curve")

    def text(self, place: Point, text: str, size: float, fill: Colour, *, anchor: str = "la") -> None:
        font = ImageFont.load_default(size * _SCALE)
        self._draw.text((place[0] * _SCALE, place[1] * _SCALE), text, font=font, fill=fill, anchor=anchor)

    def panel(self, box: Edges, radius: float, top: Colour, bottom: Colour) -> None:
        """A rounded rectangle whose colour runs from ``top`` to ``bottom``."""
        left, upper, right, lower = (round(edge) for edge in _times(box))
        share = np.linspace(0, 1, lower - upper)[:, None, None]
        ramp = np.array(top) * (1 - share) + np.array(bottom) * share
        colours = np.broadcast_to(ramp, (lower - upper, right - left, 3)).astype(np.uint8)
        mask = Image.new("L", (right - left, lower - upper), 0)
        area = (0, 0, right - left - 1, lower - upper - 1)
        ImageDraw.Draw(mask).rounded_rectangle(area, radius * _SCALE, fill=255)
        self.image.paste(Image.fromarray(colours), (left, upper), mask)

    def tiles(self, box: Edges, side: int, joint: Colour) -> None:
        left, top, right, bottom = (int(edge) for edge in box)
        for x in range(left, right, side):
            self.line([(x, top), (x, bottom)], 3, joint)
        for y in range(bottom, top, -side):
            self.line([(left, y), (right, y)], 3, joint)

    def glow(self, box: Edges, colour: Colour, softness: float, strength: float) -> None:
        """A soft ellipse of light or shade, drawn at the small size: it has no detail to lose."""
        mask = Image.new("L", (self.image.width // _SCALE, self.image.height // _SCALE), 0)
        ImageDraw.Draw(mask).ellipse(box, fill=round(255 * strength))
        soft = mask.filter(ImageFilter.GaussianBlur(softness)).resize(self.image.size, Image.Resampling.BILINEAR)
        self.image.paste(colour, mask=soft)

    def shadow(self, box: Edges) -> None:
        self.glow(box, (28, 23, 20), 22, 0.55)

    def cast(self, corners: Sequence[Point]) -> None:
        """The shadow of a sheet at ``corners``."""
        mask = Image.new("L", SIZE, 0)
        ImageDraw.Draw(mask).polygon(list(corners), fill=120)
        soft = mask.filter(ImageFilter.GaussianBlur(10)).resize(self.image.size, Image.Resampling.BILINEAR)
        self.image.paste((30, 22, 16), mask=soft)

    def lamp(self, centre: Point, radius: float, colour: Colour, *, lit: bool = True) -> None:
        x, y = centre
        if lit:
            self.glow((x - 3 * radius, y - 3 * radius, x + 3 * radius, y + 3 * radius), colour, radius, 0.6)
        self.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
        if lit:
            bright = tuple(int(channel * 0.4 + 153) for channel in colour)
            self.ellipse(
                (x - radius / 2, y - radius / 2, x + radius / 3, y + radius / 3), (bright[0], bright[1], bright[2])
            )

    def button(self, centre: Point, radius: float) -> None:
        """A round metal button with a dent for the finger."""
        x, y = centre
        self.ellipse((x - radius - 3, y - radius - 3, x + radius + 3, y + radius + 3), (52, 54, 59))
        self.panel((x - radius, y - radius, x + radius, y + radius), radius, (170, 174, 181), (104, 108, 115))
        dent = radius * 0.62
        self.panel((x - dent, y - dent, x + dent, y + dent), dent, (112, 116, 123), (150, 154, 161))

    def display(self, box: Edges, text: str, *, size: float = 78) -> None:
        left, top, right, bottom = box
        self.panel((left - 4, top - 4, right + 4, bottom + 4), 14, (20, 21, 24), (40, 42, 46))
        self.panel(box, 10, (10, 20, 24), (16, 30, 34))
        middle = ((left + right) / 2, (top + bottom) / 2)
        self.glow((left + 30, top + 20, right - 30, bottom - 20), (40, 120, 130), 16, 0.35)
        self.text(middle, text, size, (136, 240, 246), anchor="mm")

    def puddle(self, outline: Sequence[Point]) -> None:
        """Water on the floor: darker, with reflections of the sky."""
        mask = Image.new("L", SIZE, 0)
        ImageDraw.Draw(mask).polygon(list(outline), fill=255)
        shape = mask.filter(ImageFilter.GaussianBlur(16)).point(lambda level: 255 if level > 128 else 0)
        edge = shape.filter(ImageFilter.GaussianBlur(1.5)).resize(self.image.size, Image.Resampling.BILINEAR)
        self.image.paste(ImageChops.multiply(self.image, Image.new("RGB", self.image.size, (176, 200, 214))), mask=edge)
        before = self.image.copy()
        self.glow((420, 770, 760, 812), (238, 246, 250), 14, 0.75)
        self.glow((800, 800, 930, 822), (238, 246, 250), 8, 0.7)
        self.image = Image.composite(self.image, before, edge)
        self._draw = ImageDraw.Draw(self.image)

    def bars(self, box: Edges, *, seed: int) -> None:
        """A fake bar code that no scanner accepts."""
        random = np.random.default_rng(seed)
        x, top, right, bottom = box
        while x < right:
            width = int(random.integers(2, 7))
            self.rectangle((x, top, min(x + width, right), bottom), (24, 24, 26))
            x += width + int(random.integers(3, 9))

    def paste(self, flat: Image.Image, quad: Sequence[Point]) -> None:
        """Paste ``flat`` with its corners (from the top left, clockwise) at ``quad``."""
        width, height = flat.size
        corners: list[Point] = [(0, 0), (width, 0), (width, height), (0, height)]
        large = [(x * _SCALE, y * _SCALE) for x, y in quad]
        coefficients = perspective(large, corners)
        warped = flat.transform(self.image.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
        mask = Image.new("L", self.image.size, 0)
        ImageDraw.Draw(mask).polygon(large, fill=255)
        self.image.paste(warped, mask=mask)

    def _wood(self, top: int, strength: float) -> None:
        """Grain along the board: noise stretched sideways."""
        width, height = self.image.width, self.image.height - top
        random = np.random.default_rng(11)
        layers = []
        for rows, columns, spread in ((height // 12, 6, 36), (height // 3, 24, 30)):
            noise = Image.fromarray(random.normal(128, spread, (rows, columns)).clip(0, 255).astype(np.uint8))
            layers.append(np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), np.float32) - 128)
        change = layers[0] * 0.30 + layers[1] * 0.16
        box = (0, top, width, self.image.height)
        board = np.asarray(self.image.crop(box), np.float32) + strength * change[..., None]
        self.image.paste(Image.fromarray(board.clip(0, 255).astype(np.uint8)), box)


def _times(box: Edges) -> Edges:
    left, top, right, bottom = (edge * _SCALE for edge in box)
    return left, top, right, bottom


def perspective(target: Sequence[Point], source: Sequence[Point]) -> list[float]:
    """The eight coefficients of the projective map that takes four ``target`` points to four ``source`` points, as
    Pillow's ``transform`` wants them."""
    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    solution = np.linalg.solve(np.array(rows), np.array(source, dtype=float).reshape(8))
    return [float(value) for value in solution]


def through_camera(scene: Image.Image, *, seed: int) -> Image.Image:
    """A hand-held photo of the scene at `SIZE`: slightly tilted, unevenly lit, a little soft and noisy."""
    random = np.random.default_rng(seed)
    width, height = scene.size
    corners: list[Point] = [(0, 0), (width, 0), (width, height), (0, height)]
    inward = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    shift = random.integers(8, 36, size=(4, 2)) * _SCALE
    seen: list[Point] = [
        (x + int(dx * sx), y + int(dy * sy)) for (x, y), (dx, dy), (sx, sy) in zip(corners, inward, shift, strict=True)
    ]
    coefficients = perspective(corners, seen)
    tilted = scene.transform(scene.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
    small = tilted.resize(SIZE, Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.6))
    return _expose(np.asarray(small, dtype=np.float32), random)


def _expose(pixels: np.ndarray[tuple[int, ...], np.dtype[np.float32]], random: np.random.Generator) -> Image.Image:
    """Light from the upper left, darker corners, noise in single pixels and in patches."""
    height, width = pixels.shape[:2]
    x, y = np.linspace(-1, 1, width)[None, :], np.linspace(-1, 1, height)[:, None]
    light = 1.04 - 0.07 * x - 0.05 * y - 0.13 * (x**2 + y**2) / 2
    patches = random.normal(0, 14, (height // 6, width // 6)).clip(-60, 60) + 128
    mottle = Image.fromarray(patches.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    noise = random.normal(0, 3.2, pixels.shape) + (np.asarray(mottle, np.float32)[..., None] - 128) * 0.16
    return Image.fromarray((pixels * light[..., None] + noise).clip(0, 255).astype(np.uint8))
