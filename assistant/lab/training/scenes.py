"""One photo from one seed: a scene of the sample company's world, or outside it, with the truth about it.

A seed gives the same photo on every machine with the same fonts. See `world.FIRST_EVALUATION_SEED`.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from PIL import Image

from assistant.lab.training import foreign
from assistant.lab.training.camera import shoot
from assistant.lab.training.drawing import BLACK, WHITE, Canvas, Edges, Item, Pen, mix, varied
from assistant.lab.training.papers import PAPERS
from assistant.lab.training.products import PRODUCTS, Look
from assistant.lab.training.world import CODES, LIGHTS, Printed, Scene, code_for

KINDS = {"product": 0.54, "label": 0.08, "receipt": 0.07, "error dialog": 0.06, "parcel": 0.06, "foreign": 0.19}
_FONTS_ON_DEVICES = ("pillow", "pillow", "sans", "bold")
# Share of single-light devices drawn without their light.
_UNLIT = 0.1
_IDLE = ("", "", "", "12:45", "00:30", "60", "-18")
_WALLS = (
    (206, 201, 190),
    (206, 218, 222),
    (96, 104, 120),
    (230, 226, 216),
    (150, 170, 150),
    (180, 150, 130),
    (70, 72, 80),
)
_TABLES = ((148, 108, 74), (176, 138, 98), (146, 150, 152), (90, 70, 56), (214, 210, 204), (60, 64, 70))


def photograph(seed: int, *, long_side: int = 336, kind: str | None = None) -> tuple[Image.Image, Scene]:
    """(photo, truth). ``long_side`` in pixels; ``kind``: one of `KINDS` or ``page``, by default a random one."""
    random = Random(seed)
    kind = kind or random.choices(list(KINDS), weights=list(KINDS.values()))[0]
    portrait = random.random() < {"receipt": 0.8, "product": 0.4}.get(kind, 0.15)
    short = round(long_side * random.choice((0.75, 0.75, 0.8, 1.0)))
    size = (short, long_side) if portrait else (long_side, short)
    side = round(long_side * 1.4)
    if kind in ("foreign", "page"):
        draw = foreign.page if kind == "page" else foreign.draw
        canvas = draw(random, (side, side * size[1] // size[0]))
        photo, items = shoot(canvas, random, frame=(0, 0, *canvas.image.size), size=size)
        return photo, Scene(text=_lines(items), items=items)
    if kind == "product":
        return _product(random, side, size)
    return _paper(random, kind, side, size)


@dataclass(frozen=True)
class Device:
    """A device of ``product``, drawn on a canvas in a room, with what it shows."""

    canvas: Canvas
    product: str
    code: str
    damage: str


def draw_device(random: Random, side: int) -> Device:
    """``side``: that of the canvas in pixels."""
    product = random.choice(list(PRODUCTS))
    of = PRODUCTS[product]
    damage = random.choice(of.damages) if random.random() < 0.4 else ""
    colours = list(LIGHTS)
    lights = tuple(random.choice(colours) for _ in range(of.lights))
    if of.lights > 1 and random.random() < 0.6:  # mostly green
        lights = tuple(colours[0] if random.random() < 0.75 else random.choice(colours[1:3]) for _ in lights)
    code = code_for(random, product) if product in CODES and random.random() < 0.55 else ""
    display = code or (random.choice(_IDLE) if product in CODES else "")
    if of.lights == 1 and random.random() < _UNLIT:
        lights = ("",)
    canvas = _room(random, side, stands=of.stands)
    scale = side / 1000 * random.uniform(0.7, 0.95)
    pen = Pen(canvas, origin=(side / 2 - 500 * scale, side / 2 - 500 * scale), scale=scale)
    if random.random() < 0.5:
        _background_object(canvas, random, side)
    if of.stands:
        pen.glow((0, 700, 1000, 1100), (28, 23, 20), 0.5)
    of.draw(pen, random, Look(lights, display, damage, random.choice(_FONTS_ON_DEVICES)))
    return Device(canvas, product, code, damage)


def _product(random: Random, side: int, size: tuple[int, int]) -> tuple[Image.Image, Scene]:
    device = draw_device(random, side)
    frame = frame_of(random, device.canvas, size, whole=bool(device.damage))
    photo, items = shoot(device.canvas, random, frame=frame, size=size)
    seen = [item for item in items if item.kind == "light"]
    texts = _lines(items)
    return photo, Scene(
        kind="product",
        product=device.product,
        lights=tuple(item.value for item in seen),
        code=device.code if device.code in texts else "",
        damage=device.damage if any(item.kind == "damage" for item in items) else "",
        text=texts,
        items=items,
    )


def _paper(random: Random, kind: str, side: int, size: tuple[int, int]) -> tuple[Image.Image, Scene]:
    canvas = _room(random, side, stands=True)
    scale = side / 1000 * 0.9
    pen = Pen(canvas, origin=(side * 0.05, side * 0.05), scale=scale)
    printed: Printed = PAPERS[kind](pen, random)
    frame = frame_of(random, canvas, size, aside=random.random() < 0.5)
    photo, items = shoot(canvas, random, frame=frame, size=size, hard=0.3 if kind == "error dialog" else 1.0)
    texts = _lines(items)
    joined = " ".join(texts)
    known = {
        name: value for name in ("serial", "model", "order", "date", "total", "title", "error")
        if (value := getattr(printed, name)) and value in joined
    }  # fmt: skip
    named = printed.model in joined if kind == "label" else False
    return photo, Scene(
        kind=kind, product=printed.product if named else "", damage=printed.damage, text=texts, items=items, **known
    )


def _room(random: Random, side: int, *, stands: bool) -> Canvas:
    """A wall and a table, or a floor."""
    wall, table = varied(random, random.choice(_WALLS)), varied(random, random.choice(_TABLES))
    if random.random() < 0.3:
        image = foreign.clouds(random, (side, side), exponent=random.uniform(1.0, 2.0))
        image = Image.blend(image, Image.new("RGB", (side, side), wall), random.uniform(0.2, 0.8))
    else:
        image = Image.new("RGB", (side, side), wall)
    canvas = Canvas(image)
    pen = Pen(canvas, origin=(0, 0), scale=side / 1000)
    if random.random() < 0.4:
        step, joint = random.uniform(80, 200), mix(wall, random.choice((BLACK, WHITE)), 0.2)
        for number in range(int(1000 / step) + 1):
            pen.line([(number * step, 0), (number * step, 1000)], 4, joint)
            pen.line([(0, number * step), (1000, number * step)], 4, joint)
    if stands:
        horizon = random.uniform(600, 820)
        pen.rectangle((0, horizon, 1000, 1000), table)
        for _ in range(random.choice((0, 0, 6, 14))):
            y = random.uniform(horizon, 1000)
            pen.line([(0, y), (1000, y + random.uniform(-30, 30))], 3, mix(table, BLACK, 0.2))
    return canvas


def _background_object(canvas: Canvas, random: Random, side: int) -> None:
    pen = Pen(canvas, origin=(0, 0), scale=side / 1000)
    foreign.everyday_object(
        pen,
        random,
        (random.choice((20, 760)) + random.uniform(-20, 60), random.uniform(300, 600)),
        random.uniform(150, 300),
    )


def frame_of(
    random: Random, canvas: Canvas, size: tuple[int, int], *, whole: bool = False, aside: bool = False
) -> Edges:
    """The camera's frame, with the photo's aspect ratio: the object or a close-up of its panel, off centre if
    ``aside``. ``whole``: the whole object with its damage."""
    near = not whole and random.random() < 0.45
    target = next(item for item in canvas.items if item.kind == ("panel" if near else "body"))
    left, top, right, bottom = target.bounds
    if whole:
        for item in canvas.items:
            if item.kind == "damage":
                x0, y0, x1, y1 = item.bounds
                left, top, right, bottom = min(left, x0), min(top, y0), max(right, x1), max(bottom, y1)
    room = random.uniform(1.04, 1.2 if near else 1.7)
    width, height = (right - left) * room, (bottom - top) * room
    aspect = size[0] / size[1]
    if width / height < aspect:
        width = height * aspect
    else:
        height = width / aspect
    # A close-up of a flat panel fills the width and shows what is above and below it.
    across = (width - right + left) * 0.4 if aside else width * 0.04
    down = (height - bottom + top) * 0.4 if aside else height * 0.04
    x = (left + right) / 2 + random.uniform(-across, across)
    y = (top + bottom) / 2 + random.uniform(-down, down)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _lines(items: tuple[Item, ...]) -> tuple[str, ...]:
    """Lines that are completely within the frame, from top to bottom."""
    lines = [item for item in items if item.kind == "line" and all(0 < edge < 1 for edge in item.bounds)]
    return tuple(item.value for item in sorted(lines, key=lambda item: (round(item.centre[1] * 25), item.centre[0])))
