"""Drawn photos of an outdoor shop's products: the same thing before other walls, in other places and sizes."""

from __future__ import annotations

import io
from random import Random

import numpy as np
from PIL import Image, ImageDraw

PRODUCTS = {
    "camp-stove": ("Camp Stove", (220, 60, 40), (250, 200, 40)),
    "head-lamp": ("Head Lamp", (40, 80, 200), (240, 240, 240)),
    "tent": ("Ridge Tent", (40, 140, 60), (20, 60, 30)),
    "bottle": ("Bottle", (240, 140, 20), (90, 30, 120)),
}
# All that the shop has.
SHOP = PRODUCTS | {
    "kettle": ("Kettle", (150, 150, 160), (30, 30, 30)),
    "rucksack": ("Rucksack", (60, 90, 60), (230, 210, 60)),
    "sleeping-mat": ("Sleeping Mat", (170, 40, 110), (240, 190, 220)),
    "compass": ("Compass", (30, 60, 60), (240, 240, 220)),
}


def shot(key: str, number: int, condition: str = "") -> bytes:
    """Photo number so-and-so of a product; of something that is none of them for any other key. ``condition``:
    "damaged", or the colour of a light on it."""
    random = Random(f"{key} {number}")
    image = Image.new("RGB", (320, 320), _colour(random))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = random.randrange(320), random.randrange(320)
        draw.rectangle((x, y, x + random.randrange(90), y + random.randrange(90)), fill=_colour(random))
    if key in SHOP:
        side = random.randrange(180, 280)
        x, y = random.randrange(320 - side), random.randrange(320 - side)
        _draw(draw, key, x, y, side)
        if condition == "damaged":
            points = [(x + side * (0.2 + 0.09 * i), y + side * (0.25 if i % 2 else 0.75)) for i in range(7)]
            draw.line(points, fill=(5, 5, 5), width=side // 14)
        elif condition:
            image = _shining(image, condition, (x + side / 2, y + side * 0.88), side / 22)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _draw(draw: ImageDraw.ImageDraw, key: str, x: int, y: int, side: int) -> None:
    _, body, detail = SHOP[key]

    def at(*shares: float) -> list[float]:
        return [start + share * side for share, start in zip(shares, (x, y) * (len(shares) // 2), strict=True)]

    draw.rounded_rectangle(at(0, 0, 1, 1), side // 6, fill=body)
    match key:
        case "tent":
            draw.polygon(at(0.1, 0.9, 0.5, 0.1, 0.9, 0.9), fill=detail)
            draw.polygon(at(0.4, 0.9, 0.5, 0.5, 0.6, 0.9), fill=body)
        case "bottle":
            draw.rounded_rectangle(at(0.35, 0.3, 0.65, 0.9), side // 10, fill=detail)
            draw.rectangle(at(0.43, 0.1, 0.57, 0.3), fill=detail)
        case "camp-stove":
            draw.ellipse(at(0.1, 0.1, 0.9, 0.9), fill=detail)
            draw.ellipse(at(0.3, 0.3, 0.7, 0.7), fill=body)
        case "kettle":
            draw.polygon(at(0.2, 0.85, 0.35, 0.3, 0.65, 0.3, 0.8, 0.85), fill=detail)
            draw.arc(at(0.3, 0.1, 0.7, 0.5), 180, 360, fill=detail, width=side // 20)
        case "rucksack":
            draw.rounded_rectangle(at(0.15, 0.2, 0.85, 0.9), side // 8, fill=detail)
            draw.rounded_rectangle(at(0.3, 0.5, 0.7, 0.8), side // 12, fill=body)
        case "sleeping-mat":
            for stripe in range(4):
                draw.rectangle(at(0.1, 0.12 + 0.2 * stripe, 0.9, 0.22 + 0.2 * stripe), fill=detail)
        case "compass":
            draw.ellipse(at(0.1, 0.1, 0.9, 0.9), outline=detail, width=side // 12)
            draw.polygon(at(0.5, 0.2, 0.6, 0.5, 0.4, 0.5), fill=(220, 40, 40))
            draw.polygon(at(0.5, 0.8, 0.6, 0.5, 0.4, 0.5), fill=detail)
        case _:
            draw.rectangle(at(0.1, 0.4, 0.9, 0.6), fill=detail)
            draw.rectangle(at(0.4, 0.1, 0.6, 0.9), fill=detail)


def _shining(image: Image.Image, colour: str, at: tuple[float, float], radius: float) -> Image.Image:
    """A light, as a camera sees it: the middle burnt out, around it a glow."""
    tint = {"red": (1.0, 0.05, 0.03), "green": (0.08, 1.0, 0.15)}[colour]
    rows, columns = np.mgrid[0 : image.height, 0 : image.width]
    away = np.hypot(columns - at[0], rows - at[1]) / radius
    light = 6 * np.clip(1.3 - away, 0, 1) + 0.5 * np.exp(-(away**2) / 8)
    linear = 0.5 * (np.asarray(image) / 255.0) ** 2.2 + light[..., None] * np.array(tint)
    return Image.fromarray((255 * linear.clip(0, 1) ** (1 / 2.2)).astype(np.uint8))


def _colour(random: Random) -> tuple[int, int, int]:
    """Of walls and other things: none of the products is so pale."""
    grey = random.randrange(60, 230)
    return (grey + random.randrange(25), grey + random.randrange(25), grey + random.randrange(25))
