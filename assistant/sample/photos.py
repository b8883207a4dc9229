"""Draws the sample's photos: ``python -m assistant.sample.photos FOLDER``.

Scenes are drawn at twice their size with Pillow alone, then seen through a camera: perspective, uneven light, blur,
noise. Fixed seeds: the same photos every time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]
_SIZE = (1200, 900)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scenes: dict[str, Callable[[], Image.Image]] = {
        "coffee-machine-e21.jpg": coffee_machine,
        "damaged-box.jpg": damaged_box,
        "robot-label.jpg": robot_label,
        "receipt.jpg": receipt,
    }
    for seed, (name, draw) in enumerate(scenes.items()):
        photo = _through_camera(draw(), seed=seed)
        photo.save(folder / name, "JPEG", quality=85)
    update_dialog().save(folder / "update-dialog.png", "PNG", optimize=True)


def coffee_machine(code: str = "E21", *, light: Colour = (255, 40, 30)) -> Image.Image:
    """The front of a BrewMaster 300 on a worktop: display, cup button, a lit indicator, outlets and a cup."""
    image, draw = _room(wall=(196, 190, 178), table=(146, 112, 82), horizon=700)
    _shadow(image, (330, 720, 900, 800))
    draw.rounded_rectangle((340, 120, 880, 760), 36, fill=(46, 48, 53))
    draw.rounded_rectangle((352, 132, 868, 330), 28, fill=(60, 63, 69))
    draw.text((392, 150), "LUMORA", font=_font(30), fill=(190, 194, 200))
    draw.text((650, 156), "BrewMaster 300", font=_font(24), fill=(150, 155, 162))
    draw.rounded_rectangle((390, 205, 620, 310), 10, fill=(12, 22, 24))
    draw.text((505, 257), code, font=_font(74), fill=(120, 235, 240), anchor="mm")
    _lamp(image, (690, 257), 15, light)
    _lamp(image, (750, 257), 9, (80, 84, 90), lit=False)
    draw.ellipse((790, 227, 850, 287), fill=(78, 82, 90), outline=(110, 115, 122), width=3)
    draw.arc((808, 245, 832, 269), 300, 240, fill=(200, 204, 210), width=3)
    draw.rounded_rectangle((430, 370, 790, 700), 14, fill=(24, 25, 28))
    draw.polygon([(560, 370), (660, 370), (640, 440), (580, 440)], fill=(80, 83, 90))
    draw.rectangle((590, 440, 600, 462), fill=(104, 108, 115))
    draw.rectangle((620, 440, 630, 462), fill=(104, 108, 115))
    draw.rounded_rectangle((545, 560, 675, 690), 18, fill=(236, 232, 224))
    draw.ellipse((552, 548, 668, 580), fill=(210, 205, 196))
    draw.arc((655, 590, 725, 660), 270, 90, fill=(236, 232, 224), width=14)
    draw.rounded_rectangle((400, 695, 820, 745), 8, fill=(34, 35, 39))
    for x in range(420, 810, 26):
        draw.line((x, 703, x, 735), fill=(66, 69, 75), width=6)
    return image


def damaged_box() -> Image.Image:
    """A parcel at a door: one corner crushed, torn tape, a shipping label."""
    image, draw = _room(wall=(120, 128, 134), table=(98, 96, 92), horizon=560)
    for x in range(0, _SIZE[0], 170):
        draw.line((x, 560, x - 130, 900), fill=(88, 86, 82), width=4)
    _shadow(image, (220, 700, 1010, 840))
    draw.polygon([(250, 330), (820, 300), (950, 380), (400, 420)], fill=(205, 166, 118))
    draw.polygon([(250, 330), (400, 420), (410, 800), (265, 690)], fill=(150, 114, 74))
    draw.polygon([(400, 420), (950, 380), (940, 730), (410, 800)], fill=(182, 142, 96))
    draw.polygon([(815, 392), (952, 380), (946, 560), (880, 520), (900, 470)], fill=(120, 90, 58))
    draw.polygon([(880, 400), (950, 382), (945, 470), (905, 450)], fill=(62, 46, 30))
    for start, end in (((815, 392), (900, 470)), ((900, 470), (880, 520)), ((880, 520), (946, 560)), ((850, 395), (905, 450))):
        draw.line((*start, *end), fill=(84, 62, 38), width=5)
    draw.polygon([(520, 316), (600, 312), (720, 398), (640, 404)], fill=(222, 196, 150))
    draw.line([(600, 312), (622, 330), (610, 340), (650, 358), (640, 372), (690, 398)], fill=(110, 84, 52), width=5)
    draw.polygon([(470, 500), (735, 478), (732, 665), (474, 692)], fill=(240, 238, 232))
    label = Image.new("RGB", (520, 360), (240, 238, 232))
    pen = ImageDraw.Draw(label)
    pen.text((20, 14), "LUMORA Shipping", font=_font(36), fill=(30, 30, 30))
    pen.text((20, 70), "Order LM-2048113", font=_font(44), fill=(20, 20, 20))
    pen.text((20, 136), "VoltBank 500", font=_font(34), fill=(40, 40, 40))
    pen.text((20, 186), "FRAGILE", font=_font(44), fill=(180, 30, 30))
    _bars(pen, (20, 250, 500, 330), seed=3)
    _paste_quad(image, label, [(470, 500), (735, 478), (732, 665), (474, 692)])
    return image


def robot_label() -> Image.Image:
    """The silver type plate of a DustPilot R7, close up on dark plastic, beside a bulging battery door."""
    image = Image.new("RGB", _SIZE, (38, 40, 44))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((60, 520, 1140, 860), 40, fill=(50, 52, 57), outline=(24, 25, 28), width=6)
    for inset in range(0, 120, 4):
        tone = 52 + inset // 3
        draw.ellipse((120 + 3 * inset, 540 + inset, 1080 - 3 * inset, 850 - inset), fill=(tone, tone + 2, tone + 6))
    for x in (110, 1090):
        draw.ellipse((x - 18, 670, x + 18, 706), fill=(120, 124, 130))
        draw.line((x - 11, 688, x + 11, 688), fill=(60, 62, 66), width=5)
    draw.text((600, 690), "BATTERY", font=_font(34), fill=(150, 154, 160), anchor="mm")
    draw.rounded_rectangle((180, 70, 1020, 460), 18, fill=(196, 199, 203), outline=(140, 143, 148), width=4)
    lines = (("LUMORA  DustPilot R7", 54), ("Model DP-R7   14.4 V   45 W", 36), ("SN: DP40718256", 58))
    for (text, size), y in zip(lines, (105, 195, 255), strict=True):
        draw.text((220, y), text, font=_font(size), fill=(34, 36, 40))
    _bars(draw, (220, 350, 760, 430), seed=9)
    draw.text((800, 360), "CE", font=_font(60), fill=(34, 36, 40))
    return image


def receipt() -> Image.Image:
    """A till receipt on a wooden table: order number, date, item, total."""
    image, draw = _room(wall=(152, 118, 86), table=(152, 118, 86), horizon=0)
    for y in range(40, 900, 120):
        draw.line((0, y, 1200, y + 14), fill=(128, 96, 66), width=3)
    paper = Image.new("RGB", (560, 860), (246, 244, 238))
    pen = ImageDraw.Draw(paper)
    pen.text((280, 50), "LUMORA STORE", font=_font(50), fill=(28, 28, 30), anchor="mm")
    pen.text((280, 104), "Harbour Street 12", font=_font(28), fill=(70, 70, 72), anchor="mm")
    rows = (
        ("Order", "LM-2051877"),
        ("Date", "2026-11-09"),
        ("", ""),
        ("SteamGlide 2", "79.00"),
        ("Descaler 500 ml", "12.50"),
        ("", ""),
        ("TOTAL EUR", "91.50"),
        ("Card", "**** 4417"),
    )
    for index, (left, right) in enumerate(rows):
        y, size = 180 + 62 * index, 44 if left == "TOTAL EUR" else 36
        pen.text((40, y), left, font=_font(size), fill=(32, 32, 34))
        pen.text((520, y), right, font=_font(size), fill=(32, 32, 34), anchor="ra")
    pen.text((280, 730), "Thank you!", font=_font(34), fill=(60, 60, 62), anchor="mm")
    _bars(pen, (120, 770, 440, 830), seed=5)
    _paste_quad(image, paper, [(330, 40), (830, 70), (800, 860), (280, 830)])
    return image


def update_dialog() -> Image.Image:
    """A screenshot of the app's error dialog."""
    image = Image.new("RGB", (900, 560), (43, 62, 92))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 900, 40), fill=(30, 44, 66))
    draw.text((16, 10), "Lumora App", font=_font(20), fill=(220, 226, 236))
    draw.rounded_rectangle((150, 120, 750, 430), 12, fill=(250, 250, 251))
    draw.rounded_rectangle((150, 120, 750, 168), 12, fill=(232, 234, 238))
    draw.text((174, 132), "Firmware update", font=_font(22), fill=(40, 44, 52))
    draw.ellipse((178, 198, 238, 258), fill=(206, 48, 48))
    draw.line((194, 214, 222, 242), fill="white", width=7)
    draw.line((222, 214, 194, 242), fill="white", width=7)
    draw.text((262, 196), "Update failed", font=_font(32), fill=(30, 33, 40))
    draw.text((262, 246), "Error 0x80A4", font=_font(28), fill=(60, 64, 72))
    draw.text((262, 292), "The firmware file could not be verified.", font=_font(22), fill=(80, 84, 92))
    for x, text, fill, ink in ((470, "Cancel", (228, 230, 234), (40, 44, 52)), (610, "Try again", (44, 108, 214), (255, 255, 255))):
        draw.rounded_rectangle((x, 362, x + 124, 408), 8, fill=fill)
        draw.text((x + 62, 385), text, font=_font(20), fill=ink, anchor="mm")
    return image


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _room(*, wall: Colour, table: Colour, horizon: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A wall above a table, both a little uneven."""
    height = np.arange(_SIZE[1])[:, None, None]
    shade = 1.0 - 0.12 * np.abs(np.linspace(-1, 1, _SIZE[0]))[None, :, None]
    base = np.where(height < horizon, np.array(wall), np.array(table)) * shade
    image = Image.fromarray(base.clip(0, 255).astype(np.uint8), "RGB")
    return image, ImageDraw.Draw(image)


def _shadow(image: Image.Image, box: tuple[int, int, int, int]) -> None:
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).ellipse(box, fill=130)
    image.paste((30, 24, 20), mask=mask.filter(ImageFilter.GaussianBlur(24)))


def _lamp(image: Image.Image, centre: tuple[int, int], radius: int, colour: Colour, *, lit: bool = True) -> None:
    x, y = centre
    if lit:
        glow = Image.new("L", image.size, 0)
        ImageDraw.Draw(glow).ellipse((x - 3 * radius, y - 3 * radius, x + 3 * radius, y + 3 * radius), fill=150)
        image.paste(colour, mask=glow.filter(ImageFilter.GaussianBlur(radius)))
    draw = ImageDraw.Draw(image)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    if lit:
        draw.ellipse((x - radius // 2, y - radius // 2, x + radius // 3, y + radius // 3), fill=(255, 190, 180))


def _bars(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], *, seed: int) -> None:
    """Something like a bar code: no reader will take it for one."""
    random = np.random.default_rng(seed)
    x, top, right, bottom = box
    while x < right:
        width = int(random.integers(2, 7))
        draw.rectangle((x, top, min(x + width, right), bottom), fill=(24, 24, 26))
        x += width + int(random.integers(3, 9))


def _paste_quad(image: Image.Image, flat: Image.Image, quad: list[tuple[int, int]]) -> None:
    """Paste ``flat`` so that its corners (from the top left, clockwise) lie at ``quad``."""
    width, height = flat.size
    coefficients = _perspective(quad, [(0, 0), (width, 0), (width, height), (0, height)])
    warped = flat.transform(image.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).polygon(quad, fill=255)
    image.paste(warped, mask=mask)


def _perspective(target: list[tuple[int, int]], source: list[tuple[int, int]]) -> list[float]:
    """Pillow's eight coefficients of the projective map that takes ``target`` points to ``source`` points."""
    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    solution = np.linalg.solve(np.array(rows), np.array(source, dtype=float).reshape(8))
    return [float(value) for value in solution]


def _through_camera(scene: Image.Image, *, seed: int) -> Image.Image:
    """A hand-held photo of the scene: tilted a little, lit from one side, slightly soft, with noise."""
    random = np.random.default_rng(seed)
    width, height = scene.size
    shift = random.integers(10, 42, size=(4, 2))
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    inward = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    seen = [
        (x + int(dx * sx), y + int(dy * sy))
        for (x, y), (dx, dy), (sx, sy) in zip(corners, inward, shift, strict=True)
    ]
    tilted = scene.transform(
        scene.size, Image.Transform.PERSPECTIVE, _perspective(corners, seen), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(tilted.filter(ImageFilter.GaussianBlur(0.8)), dtype=np.float32)
    across = np.linspace(0.86, 1.1, width)[None, :, None]
    down = np.linspace(1.04, 0.9, height)[:, None, None]
    noise = random.normal(0, 4.0, size=pixels.shape)
    return Image.fromarray((pixels * across * down + noise).clip(0, 255).astype(np.uint8), "RGB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
