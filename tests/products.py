"""Drawn photos of an outdoor shop's products: the same thing before other walls, in other places and sizes."""

from __future__ import annotations

import io
from random import Random

from PIL import Image, ImageDraw

PRODUCTS = {
    "camp-stove": ("Camp Stove", (220, 60, 40), (250, 200, 40)),
    "head-lamp": ("Head Lamp", (40, 80, 200), (240, 240, 240)),
    "tent": ("Ridge Tent", (40, 140, 60), (20, 60, 30)),
    "bottle": ("Bottle", (240, 140, 20), (90, 30, 120)),
}


def shot(key: str, number: int) -> bytes:
    """Photo number so-and-so of a product; of something that is none of them for any other key."""
    random = Random(f"{key} {number}")
    image = Image.new("RGB", (320, 320), _colour(random))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = random.randrange(320), random.randrange(320)
        draw.rectangle((x, y, x + random.randrange(90), y + random.randrange(90)), fill=_colour(random))
    if key in PRODUCTS:
        _, body, detail = PRODUCTS[key]
        side = random.randrange(180, 280)
        x, y = random.randrange(320 - side), random.randrange(320 - side)
        draw.rounded_rectangle((x, y, x + side, y + side), side // 6, fill=body)
        draw.rectangle((x + side // 4, y + side // 3, x + side // 2, y + 2 * side // 3), fill=detail)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _colour(random: Random) -> tuple[int, int, int]:
    """Of walls and other things: none of the products is so pale."""
    grey = random.randrange(60, 230)
    return (grey + random.randrange(25), grey + random.randrange(25), grey + random.randrange(25))
