"""Generated photos outside the sample company's world: textures, dead leaves, landscapes, pages of text, other goods.

They teach the model to say "cannot tell". Dead leaves (overlapping shapes of all sizes) and 1/f noise have the
statistics of natural images (Lee, Mumford, Huang 2001); real photos are never used.
"""

from __future__ import annotations

import math
from random import Random

import numpy as np
from PIL import Image

from assistant.lab.training.drawing import BLACK, FONTS, WHITE, Canvas, Colour, Edges, Pen, mix

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
    """A page, a poster or another shop's receipt: rows of random letters and digits."""
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
    """Everyday objects on a table: bottles, fruit, books, unlabelled boxes."""
    canvas = Canvas(clouds(random, size, exponent=1.8))
    pen = Pen(canvas, origin=(0, 0), scale=max(size) / 1000)
    pen.rectangle((-10, random.uniform(400, 640), 1010, 1010), _colour(random))
    for _ in range(random.randint(2, 7)):
        everyday_object(pen, random, (random.uniform(50, 850), random.uniform(350, 700)), random.uniform(120, 320))
    return canvas


def packshot(random: Random, size: tuple[int, int]) -> Canvas:
    """One large package in front of a plain wall: a box, tin or bottle with a name on it."""
    canvas = Canvas(_plain(random, size))
    pen = Pen(canvas, origin=(0, 0), scale=max(size) / 1000)
    wide, tall = random.uniform(260, 700), random.uniform(360, 800)
    left, top = 500 - wide / 2 + random.uniform(-80, 80), 420 - tall / 2 + random.uniform(-60, 60)
    pen.glow((left - 60, top + tall * 0.85, left + wide + 60, top + tall * 1.12), (30, 28, 26), random.uniform(0, 0.5))
    _pack(pen, random, (left, top, left + wide, top + tall))
    return canvas


def shelf(random: Random, size: tuple[int, int]) -> Canvas:
    """Rows of packages, as in a shop or a cupboard."""
    canvas = Canvas(_plain(random, size))
    pen = Pen(canvas, origin=(0, 0), scale=max(size) / 1000)
    board, row = _colour(random), random.uniform(180, 420)
    y = -random.uniform(0, row)
    while y < 1000:
        x, colours = random.uniform(-80, 0), [_colour(random) for _ in range(random.randint(1, 4))]
        while x < 1000:
            wide, tall = row * random.uniform(0.25, 0.8), row * random.uniform(0.6, 0.95)
            _pack(pen, random, (x, y + row - tall, x + wide, y + row), colour=random.choice(colours))
            x += wide + random.uniform(0, 24)
        pen.rectangle((-10, y + row, 1010, y + row * 1.08), board)
        y += row * 1.08
    return canvas


def screen(random: Random, size: tuple[int, int]) -> Canvas:
    """Windows of other programs with lists, buttons and text."""
    dark = random.random() < 0.4
    back = mix(_colour(random), BLACK if dark else WHITE, random.uniform(0.5, 0.95))
    canvas = Canvas(Image.new("RGB", size, back))
    pen = Pen(canvas, origin=(0, 0), scale=max(size) / 1000)
    accent, ink = _colour(random), mix(back, WHITE if dark else BLACK, 0.75)
    for _ in range(random.randint(1, 4)):
        left, top = random.uniform(-50, 600), random.uniform(-50, 600)
        right, bottom = left + random.uniform(250, 800), top + random.uniform(200, 700)
        pen.panel((left, top, right, bottom), mix(back, ink, random.uniform(0.02, 0.2)), mix(back, ink, 0.4), radius=10)
        pen.rectangle((left, top, right, top + random.uniform(20, 60)), accent)
        y = top + 80
        while y < bottom - 40:
            tall = random.uniform(14, 40)
            if random.random() < 0.3:
                pen.rectangle(
                    (left + 20, y, left + random.uniform(60, right - left - 10), y + tall), mix(accent, back, 0.5)
                )
            else:
                pen.text((left + 24, y), _word(random, 4, 18), tall, ink, font=random.choice(FONTS))
            y += tall * random.uniform(1.2, 2.5)
    return canvas


def pattern(random: Random, size: tuple[int, int]) -> Canvas:
    """Bricks, tiles, boards or stripes that fill the photo."""
    canvas = Canvas(_plain(random, size))
    pen = Pen(canvas, origin=(0, 0), scale=max(size) / 1000)
    one, two = _colour(random), _colour(random)
    wide, tall, joint = random.uniform(40, 260), random.uniform(30, 200), random.uniform(0, 12)
    shift = random.choice((0.0, 0.5))
    for row in range(int(1000 / tall) + 1):
        for column in range(-1, int(1000 / wide) + 1):
            x, y = (column + shift * (row % 2)) * wide, row * tall
            colour = mix(one if (row + column) % 2 else mix(one, two, 0.3), two, random.uniform(0, 0.25))
            pen.rectangle((x, y, x + wide - joint, y + tall - joint), colour)
    canvas.replace(Image.blend(canvas.image, clouds(random, size, exponent=1.0), random.uniform(0.05, 0.4)))
    return canvas


def gadget(random: Random, size: tuple[int, int]) -> Canvas:
    """Another company's device: a body with knobs, keys, grilles and sockets, without lights or displays like ours."""
    canvas = Canvas(_plain(random, size))
    pen = Pen(canvas, origin=(0, 0), scale=max(size) / 1000)
    wide, tall = random.uniform(400, 900), random.uniform(300, 800)
    left, top = (1000 - wide) / 2, (800 - tall) / 2
    body = _colour(random)
    pen.panel((left, top, left + wide, top + tall), body, mix(body, BLACK, 0.4), radius=random.uniform(4, 90))
    for _ in range(random.randint(2, 7)):
        x, y = left + random.uniform(0.08, 0.75) * wide, top + random.uniform(0.08, 0.75) * tall
        part, colour = random.uniform(0.08, 0.25) * min(wide, tall), mix(body, random.choice((BLACK, WHITE)), 0.5)
        match random.randrange(4):
            case 0:
                pen.ellipse((x, y, x + part, y + part), colour)
                pen.line([(x + part / 2, y + part / 2), (x + part / 2, y)], part / 10, mix(colour, BLACK, 0.6))
            case 1:
                for number in range(random.randint(3, 9)):
                    pen.line([(x, y + number * 12), (x + part * 1.5, y + number * 12)], 5, colour)
            case 2:
                for number in range(random.randint(4, 12)):
                    column, row = number % 4, number // 4
                    pen.panel(
                        (x + column * 42, y + row * 42, x + column * 42 + 34, y + row * 42 + 34),
                        colour,
                        BLACK,
                        radius=6,
                    )
            case _:
                pen.text((x, y), _word(random, 3, 9), part / 2, colour, font=random.choice(FONTS))
    return canvas


def blurred(random: Random, size: tuple[int, int]) -> Canvas:
    """Soft shapes out of focus, such as skin, fur, cloth, food or distant lamps."""
    canvas = Canvas(clouds(random, size, exponent=2.0))
    pen = Pen(canvas, origin=(0, 0), scale=max(size) / 1000)
    for _ in range(random.randint(4, 24)):
        x, y, wide = random.uniform(-100, 1000), random.uniform(-100, 1000), random.uniform(60, 500)
        pen.glow((x, y, x + wide, y + wide * random.uniform(0.5, 1.5)), _colour(random), random.uniform(0.3, 1.0))
    return canvas


_KINDS = (
    *(noise, leaves, landscape, page, shelf, screen, pattern, blurred),
    *(still_life, packshot, gadget) * 2,
)  # fmt: skip


def clouds(random: Random, size: tuple[int, int], *, exponent: float) -> Image.Image:
    """Colour noise with amplitude 1 / frequency ** ``exponent``: 0 is white, 1 natural, 2 soft."""
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


def everyday_object(pen: Pen, random: Random, place: tuple[float, float], tall: float) -> None:
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


def _pack(pen: Pen, random: Random, edges: Edges, *, colour: Colour | None = None) -> None:
    left, top, right, bottom = edges
    wide, tall, colour = right - left, bottom - top, colour or _colour(random)
    ink = mix(colour, random.choice((WHITE, BLACK)), random.uniform(0.6, 0.95))
    pen.panel(edges, colour, mix(colour, BLACK, 0.4), radius=random.choice((2, 10, wide * 0.3)))
    for _ in range(random.randint(0, 4)):
        x, y = left + random.uniform(0, 0.7) * wide, top + random.uniform(0, 0.8) * tall
        shape = (x, y, x + random.uniform(0.1, 0.3) * wide, y + random.uniform(0.05, 0.2) * tall)
        random.choice((pen.ellipse, pen.rectangle))(shape, _colour(random))
    for _ in range(random.randint(0, 4)):
        place = (left + wide / 2, top + random.uniform(0.15, 0.85) * tall)
        pen.text(
            place, _word(random, 2, 9), wide * random.uniform(0.06, 0.22), ink, anchor="mm", font=random.choice(FONTS)
        )


def _word(random: Random, least: int, most: int) -> str:
    word = "".join(random.choice(_LETTERS) for _ in range(random.randint(least, most)))
    return random.choice((word, word.lower(), word.capitalize()))


def _plain(random: Random, size: tuple[int, int]) -> Image.Image:
    """A wall: white as in a catalogue, or any colour, more or less uniform."""
    wall = Image.new("RGB", size, WHITE if random.random() < 0.25 else _colour(random))
    return Image.blend(wall, clouds(random, size, exponent=1.8), random.uniform(0, 0.5))


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
