"""Photos that are not of the sample company's world, made of nothing: textures, dead leaves, landscapes, pages of text.

They teach to say "cannot tell". Dead leaves (overlapping shapes of all sizes) and noise with a 1/f spectrum have the
statistics of natural photos (Lee, Mumford, Huang 2001); real photos are never used.
"""

from __future__ import annotations

import math
from random import Random

import numpy as np
from PIL import Image

from assistant.training.drawing import FONTS, Canvas, Colour, Pen, mix
from assistant.training.products import BLACK, WHITE

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def draw(random: Random, size: tuple[int, int]) -> Canvas:
    return random.choice(_KINDS)(random, size)


def noise(random: Random, size: tuple[int, int]) -> Canvas:
    """Coloured noise, from white to soft clouds."""
    return Canvas(clouds(random, size, exponent=random.choice((0.0, 0.5, 1.0, 1.0, 1.5, 2.0))))


def leaves(random: Random, size: tuple[int, int]) -> Canvas:
    canvas = Canvas(clouds(random, size, exponent=1.5))
    pen = Pen(canvas, origin=(0, 0), scale=max(size) / 1000)
    palette = [_colour(random) for _ in range(random.randint(3, 9))]
    for number in range(random.randint(25, 140)):
        radius = 320 / (1 + number) ** random.uniform(0.3, 0.6)
        _leaf(pen, random, radius, mix(random.choice(palette), random.choice((WHITE, BLACK)), random.uniform(0, 0.4)))
    return canvas


def landscape(random: Random, size: tuple[int, int]) -> Canvas:
    """Sky, hills, water or a street, trees or houses."""
    sky = mix((120, 170, 230), random.choice(((250, 200, 150), (90, 100, 120), WHITE)), random.uniform(0, 0.8))
    canvas = Canvas(Image.blend(Image.new("RGB", size, sky), clouds(random, size, exponent=1.6), 0.25))
    pen = Pen(canvas, origin=(0, 0), scale=max(size) / 1000)
    for layer in range(random.randint(2, 5)):
        base, ground = 350 + 120 * layer, mix(_colour(random), (70, 110, 60), 0.6)
        points = [
            (x, base + 70 * math.sin(x / random.uniform(60, 200) + layer) + random.uniform(-20, 20))
            for x in range(-20, 1060, 60)
        ]
        pen.polygon([*points, (1100, 1100), (-100, 1100)], mix(ground, sky, max(0.0, 0.6 - 0.2 * layer)))
        for _ in range(random.randint(0, 12)):
            x, y, tall = random.uniform(0, 1000), base + random.uniform(-10, 60), random.uniform(30, 150)
            if random.random() < 0.6:
                pen.line([(x, y), (x, y - tall / 2)], tall / 12, (80, 60, 44))
                pen.ellipse((x - tall / 3, y - tall, x + tall / 3, y - tall / 3), mix(ground, BLACK, 0.4))
            else:
                pen.rectangle((x, y - tall, x + tall * 0.8, y), _colour(random))
                pen.polygon(
                    [(x - 8, y - tall), (x + tall * 0.4, y - tall * 1.5), (x + tall * 0.8 + 8, y - tall)], (140, 70, 60)
                )
    return canvas


def page(random: Random, size: tuple[int, int]) -> Canvas:
    """A page, a poster or a foreign receipt: rows of letters and digits that mean nothing."""
    dark = random.random() < 0.3
    paper = mix(_colour(random), BLACK if dark else WHITE, random.uniform(0.6, 0.97))
    ink = mix(_colour(random), WHITE if dark else BLACK, random.uniform(0.55, 0.95))
    canvas = Canvas(Image.new("RGB", size, paper))
    if random.random() < 0.3:
        canvas.replace(Image.blend(canvas.image, clouds(random, size, exponent=1.2), random.uniform(0.1, 0.35)))
    pen = Pen(canvas, origin=(0, 0), scale=max(size) / 1000)
    y = random.uniform(10, 60)
    while y < 960:
        size_of_row = random.uniform(44, 130)
        x, row = random.uniform(10, 120), ""
        while x < 900:
            word = "".join(random.choice(_LETTERS) for _ in range(random.randint(1, 9)))
            if random.random() < 0.25:
                word = word.capitalize() if random.random() < 0.5 else word.lower()
            row = random.choice(("", "", "-", ".", ":")) + word
            if random.random() < 0.15 and set(word) <= set("0123456789ACEFHLPU"):
                pen.segments((x + size_of_row * len(word) * 0.36, y + size_of_row * 0.4), word, size_of_row * 0.8, ink)
                x += size_of_row * len(word) * 0.72
            else:
                x = pen.text((x, y), row, size_of_row, ink, font=random.choice(FONTS))[2]
            x += random.uniform(16, 70)
        y += size_of_row * random.uniform(1.0, 1.7)
    return canvas


def still_life(random: Random, size: tuple[int, int]) -> Canvas:
    """Everyday objects on a table: bottles, fruit, books, boxes without a name."""
    canvas = Canvas(clouds(random, size, exponent=1.8))
    pen = Pen(canvas, origin=(0, 0), scale=max(size) / 1000)
    pen.rectangle((-10, random.uniform(400, 640), 1010, 1010), _colour(random))
    for _ in range(random.randint(2, 7)):
        _object(pen, random, (random.uniform(50, 850), random.uniform(350, 700)), random.uniform(120, 320))
    return canvas


_KINDS = (noise, leaves, leaves, landscape, page, still_life, still_life)


def clouds(random: Random, size: tuple[int, int], *, exponent: float) -> Image.Image:
    """Colour noise whose amplitude falls with frequency to the ``exponent``: 0 is white, 1 natural, 2 soft."""
    width, height = 128, 96
    numbers = np.random.default_rng(random.getrandbits(48))
    spectrum = np.fft.rfft2(numbers.standard_normal((3, height, width)))
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    shaped = np.fft.irfft2(spectrum / np.maximum(np.hypot(fx, fy), 1 / width) ** exponent, s=(height, width))
    shaped = shaped / (shaped.std() + 1e-9)
    shared = random.uniform(0, 0.9)  # how much the channels have in common
    mixed = shared * shaped[:1] + (1 - shared) * shaped
    pixels = np.array(_colour(random))[:, None, None] + mixed * random.uniform(12, 60)
    small = Image.fromarray(pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
    return small.resize(size, Image.Resampling.BICUBIC)


def _object(pen: Pen, random: Random, place: tuple[float, float], tall: float) -> None:
    x, y = place
    colour, wide = _colour(random), tall * random.uniform(0.3, 0.9)
    pen.glow((x - wide * 0.3, y + tall * 0.8, x + wide * 1.3, y + tall * 1.15), (20, 16, 14), 0.5)
    match random.randrange(4):
        case 0:
            pen.ellipse((x, y, x + tall, y + tall), colour)
            pen.glow((x + tall * 0.1, y + tall * 0.1, x + tall * 0.6, y + tall * 0.6), WHITE, 0.5)
        case 1:
            pen.panel((x, y + tall * 0.35, x + wide, y + tall), colour, mix(colour, BLACK, 0.3), radius=20)
            pen.rectangle((x + wide * 0.35, y, x + wide * 0.65, y + tall * 0.4), mix(colour, BLACK, 0.1), radius=6)
            pen.rectangle((x, y + tall * 0.55, x + wide, y + tall * 0.8), mix(colour, WHITE, 0.7))
        case 2:
            pen.panel((x, y, x + wide, y + tall), colour, mix(colour, BLACK, 0.4), radius=8)
            if random.random() < 0.5:
                word = "".join(random.choice(_LETTERS) for _ in range(random.randint(2, 6)))
                pen.text((x + wide / 2, y + tall / 2), word, min(60, wide / 3), mix(colour, WHITE, 0.8), anchor="mm")
        case _:
            pen.polygon([(x, y + tall), (x + wide * 0.5, y), (x + wide, y + tall)], colour)


def _leaf(pen: Pen, random: Random, radius: float, colour: Colour) -> None:
    x, y = random.uniform(-50, 1050), random.uniform(-50, 1050)
    if random.random() < 0.4:
        pen.ellipse((x - radius, y - radius * random.uniform(0.4, 1), x + radius, y + radius), colour)
        return
    turn, corners = random.uniform(0, 6.3), random.randint(3, 6)
    angles = [turn + 6.283 * number / corners for number in range(corners)]
    stretch = random.uniform(0.3, 1)
    pen.polygon([(x + radius * math.cos(angle), y + stretch * radius * math.sin(angle)) for angle in angles], colour)


def _colour(random: Random) -> Colour:
    return random.randint(0, 255), random.randint(0, 255), random.randint(0, 255)
