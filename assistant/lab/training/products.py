"""Draws the eight products, each in a box of 1000 x 1000 points: intact or damaged, with lights and display.

Every product has one design with many variations (colours, proportions, fonts). What is drawn is recorded on the
canvas; `PRODUCTS` lists what each product can show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from assistant.lab.training.damages import bulge, crack, hole, leak
from assistant.lab.training.drawing import BLACK, WHITE, Colour, Edges, Pen, Point, mix, varied
from assistant.lab.training.world import LIGHTS


@dataclass(frozen=True)
class Look:
    """What one device shows: the colours of its lights ("" if it has none), the text on its display, its damage."""

    lights: tuple[str, ...]
    display: str
    damage: str
    font: str


@dataclass(frozen=True)
class Kind:
    draw: Callable[[Pen, Random, Look], None]
    lights: int
    damages: tuple[str, ...]
    stands: bool = True  # on a table or floor; otherwise seen from above


def brewmaster(pen: Pen, random: Random, look: Look) -> None:
    dark = varied(random, (64, 66, 72), 22)
    body = (230, 60, 770, 960)
    pen.panel(body, dark, mix(dark, BLACK, 0.45), radius=36)
    panel = (246, 76, 754, 330)
    pen.panel(panel, mix(dark, WHITE, 0.18), mix(dark, WHITE, 0.04), radius=26)
    pen.text((280, 96), "LUMORA", 36, (226, 229, 234), font=look.font)
    pen.text((728, 100), "BrewMaster 300", 30, (206, 210, 217), font=look.font, anchor="ra")
    _display(pen, random, (276, 160, 520, 304), look)
    _lamp(pen, random, (590, 232), 19, look.lights[0])
    _button(pen, (690, 232), 40)
    hollow = (330, 380, 670, 860)
    pen.rectangle(hollow, (20, 21, 24), radius=14)
    pen.polygon([(440, 380), (560, 380), (540, 452), (460, 452)], (120, 124, 131))
    for x in (474, 514):
        pen.rectangle((x, 452, x + 14, 478), (140, 144, 151))
    if random.random() < 0.7:
        _cup(pen, random, (500, 780))
    if look.damage == "missing part":
        hole(pen, (300, 800, 700, 900))
    else:
        pen.panel((290, 806, 710, 896), (70, 72, 78), (36, 38, 42), radius=9)
        for x in range(320, 700, 32):
            pen.line([(x, 818), (x, 884)], 7, (100, 104, 110))
    _finish(pen, random, look, body=body, panel=panel, product="brewmaster-300", spout=(500, 930))


def _cup(pen: Pen, random: Random, foot: Point) -> None:
    """Seen from the side, or from slightly above with the drink visible."""
    x, bottom = foot
    cup = varied(random, random.choice([(240, 237, 230), (250, 250, 248), (70, 110, 150), (190, 70, 60), (52, 54, 58)]))
    wide, high = random.uniform(55, 90), random.uniform(110, 180)
    top = bottom - high
    handle = x + wide * random.choice((-1, 1))
    pen.ellipse((handle - 46, top + 26, handle + 46, top + 108), None, outline=mix(cup, BLACK, 0.15), width=16)
    pen.panel((x - wide, top, x + wide, bottom), cup, mix(cup, BLACK, 0.18), radius=20)
    if random.random() < 0.6:
        rim = high * random.uniform(0.06, 0.12)
        pen.ellipse((x - wide, top - rim, x + wide, top + rim), mix(cup, WHITE, 0.3))
        drink = random.choice(((74, 48, 34), (120, 84, 60), (30, 24, 22), mix(cup, BLACK, 0.4)))
        pen.ellipse((x - wide * 0.86, top - rim * 0.7, x + wide * 0.86, top + rim * 0.7), drink)


def dustpilot(pen: Pen, random: Random, look: Look) -> None:
    """The top or, with a swollen battery or a missing part, the underside."""
    shell = varied(random, random.choice([(52, 54, 60), (60, 62, 66), (205, 208, 212)]), 12)
    body = (110, 110, 890, 890)
    pen.ellipse((100, 104, 900, 904), mix(shell, BLACK, 0.5))
    pen.ellipse(body, shell)
    ink = (220, 224, 230) if sum(shell) < 380 else (50, 54, 60)
    if look.damage in ("swollen battery", "missing part"):
        for x in (150, 760):
            pen.rectangle((x, 430, x + 90, 620), (24, 24, 26), radius=20)
        pen.rectangle((300, 640, 700, 730), (30, 80, 60), radius=30)
        for x in range(320, 690, 30):
            pen.line([(x, 645), (x + 20, 725)], 6, (200, 205, 200))
        door = (320, 300, 680, 560)
        if look.damage == "missing part":
            hole(pen, door)
        else:
            bulge(pen, random, door, mix(shell, WHITE, 0.12))
        pen.text((500, 590), "BATTERY", 34, ink, font=look.font, anchor="mm")
        pen.text((500, 240), "DustPilot R7", 40, ink, font=look.font, anchor="mm")
    else:
        pen.arc((130, 130, 870, 870), (200, 340), 26, mix(shell, BLACK, 0.35))
        pen.ellipse((390, 240, 610, 460), mix(shell, BLACK, 0.25))
        pen.ellipse((430, 280, 570, 420), mix(shell, BLACK, 0.55))
        if look.lights[0]:
            _ring(pen, random, (500, 660), look.lights[0])
        pen.text((500, 800), "LUMORA DustPilot R7", 34, ink, font=look.font, anchor="mm")
    _finish(pen, random, look, body=body, panel=(230, 230, 770, 850), product="dustpilot-r7", spout=(500, 800))


def purebreeze(pen: Pen, random: Random, look: Look) -> None:
    white = varied(random, random.choice([(244, 245, 246), (230, 232, 228), (200, 206, 210)]), 8)
    body = (300, 40, 700, 960)
    pen.panel(body, white, mix(white, BLACK, 0.14), radius=70)
    pen.ellipse((330, 60, 670, 130), mix(white, BLACK, 0.3))
    _lamp(pen, random, (500, 210), 22, look.lights[0], halo=True)
    pen.text((500, 280), "PureBreeze P2", 38, (80, 84, 90), font=look.font, anchor="mm")
    pen.text((500, 335), "LUMORA", 28, (110, 114, 120), font=look.font, anchor="mm")
    grille = (340, 400, 660, 900)
    if look.damage == "missing part":
        hole(pen, grille)
    else:
        pen.rectangle(grille, mix(white, BLACK, 0.1), radius=20)
        for y in range(420, 890, 26):
            pen.line([(356, y), (644, y)], 10, mix(white, BLACK, 0.4))
    _finish(pen, random, look, body=body, panel=(310, 130, 690, 480), product="purebreeze-p2", spout=(500, 940))


def voltbank(pen: Pen, random: Random, look: Look) -> None:
    accent = varied(random, random.choice([(240, 130, 30), (232, 160, 40), (220, 90, 40)]))
    dark = varied(random, (48, 50, 54), 10)
    body = (90, 240, 910, 860)
    if look.damage == "swollen battery":
        pen.ellipse((20, 300, 320, 800), mix(dark, WHITE, 0.1))
        pen.ellipse((680, 300, 980, 800), dark)
        pen.note_box("damage", look.damage, (20, 320, 130, 780))
        pen.note_box("damage", look.damage, (870, 320, 980, 780))
    pen.line([(250, 250), (300, 160), (700, 160), (750, 250)], 50, dark)
    pen.panel(body, mix(dark, WHITE, 0.08), dark, radius=40)
    pen.rectangle((90, 300, 910, 340), accent)
    pen.rectangle((90, 770, 910, 800), accent)
    panel = (120, 350, 880, 760)
    _display(pen, random, (160, 380, 470, 560), look)
    _lamp(pen, random, (540, 420), 22, look.lights[0])
    pen.text((600, 400), "VoltBank 500", 38, (225, 228, 232), font=look.font)
    pen.text((600, 455), "LUMORA", 30, (180, 184, 190), font=look.font)
    for x in (540, 700):
        pen.rectangle((x, 540, x + 130, 700), (226, 228, 230), radius=16)
        for dx in (35, 85):
            pen.ellipse((x + dx, 590, x + dx + 22, 650), (40, 40, 44))
    for x in range(170, 450, 80):
        if not (look.damage == "missing part" and x > 300):
            pen.rectangle((x, 620, x + 56, 680), (20, 20, 22), radius=10)
            pen.rectangle((x + 8, 640, x + 48, 660), (150, 154, 160))
    if look.damage == "missing part":
        hole(pen, (310, 596, 490, 716))
    _finish(pen, random, look, body=body, panel=panel, product="voltbank-500", spout=(500, 840))


def homelink(pen: Pen, random: Random, look: Look) -> None:
    white = varied(random, random.choice([(250, 250, 249), (236, 236, 232), (56, 58, 64)]), 6)
    ink = (90, 94, 102) if sum(white) > 380 else (220, 223, 228)
    body = (60, 290, 940, 740)
    pen.panel(body, white, mix(white, BLACK, 0.14), radius=90)
    pen.text((500, 390), "LUMORA HomeLink X1", 56, ink, font=look.font, anchor="mm")
    for number, (name, light) in enumerate(zip(("POWER", "INTERNET", "CLOUD", "DEVICES"), look.lights, strict=True)):
        x = 185 + 210 * number
        _lamp(pen, random, (x, 540), 24, light)
        pen.text((x, 630), name, 34, ink, font=look.font, anchor="mm")
    if look.damage == "missing part":
        hole(pen, (390, 668, 610, 736))
    _finish(pen, random, look, body=body, panel=(70, 300, 930, 730), product="homelink-x1", spout=(500, 720))


def washpro(pen: Pen, random: Random, look: Look) -> None:
    white = varied(random, (248, 249, 250), 8)
    body = (170, 30, 830, 970)
    pen.panel(body, white, mix(white, BLACK, 0.12), radius=22)
    panel = (184, 44, 816, 240)
    pen.panel(panel, mix(white, BLACK, 0.05), mix(white, BLACK, 0.1), radius=14)
    pen.text((206, 70), "LUMORA", 34, (60, 64, 72), font=look.font)
    pen.text((206, 124), "WashPro 8", 42, (44, 48, 56), font=look.font)
    _lamp(pen, random, (236, 204), 20, look.lights[0])
    _display(pen, random, (440, 72, 640, 214), look)
    _button(pen, (734, 142), 52)
    for inset, colour in ((0, (170, 175, 182)), (18, (226, 229, 233)), (56, (40, 50, 60))):
        pen.ellipse((270 + inset, 320 + inset, 730 - inset, 780 - inset), colour)
    if look.damage == "missing part":
        hole(pen, (640, 830, 800, 950))
    else:
        pen.glow((360, 400, 560, 560), (150, 176, 194), 0.6)
        pen.panel((690, 500, 722, 590), (196, 200, 206), (150, 155, 162), radius=10)
        pen.rectangle((650, 850, 780, 930), mix(white, BLACK, 0.18), radius=6)
    _finish(pen, random, look, body=body, panel=panel, product="washpro-8", spout=(500, 950))


def chillbox(pen: Pen, random: Random, look: Look) -> None:
    blue = varied(random, random.choice([(40, 90, 160), (30, 110, 150), (70, 120, 180)]))
    grey = varied(random, (196, 200, 206), 10)
    body = (80, 170, 920, 880)
    pen.panel((80, 360, 920, 880), blue, mix(blue, BLACK, 0.3), radius=30)
    if look.damage == "missing part":
        hole(pen, (90, 180, 910, 370))
    else:
        pen.panel((70, 170, 930, 370), grey, mix(grey, BLACK, 0.2), radius=50)
        pen.rectangle((380, 200, 620, 240), mix(grey, BLACK, 0.4), radius=16)
    for x in (170, 770):
        pen.rectangle((x, 330, x + 60, 430), (60, 62, 66), radius=8)
    pen.rectangle((110, 470, 890, 640), (28, 30, 34), radius=20)
    _display(pen, random, (140, 486, 370, 624), look)
    _lamp(pen, random, (440, 555), 22, look.lights[0])
    pen.text((500, 505), "ChillBox 45", 46, (230, 234, 240), font=look.font)
    pen.text((500, 570), "LUMORA", 34, (190, 194, 200), font=look.font)
    for y in range(690, 850, 30):
        pen.line([(580, y), (860, y)], 10, mix(blue, BLACK, 0.5))
    _finish(pen, random, look, body=body, panel=(100, 440, 900, 660), product="chillbox-45", spout=(400, 860))


def steamglide(pen: Pen, random: Random, look: Look) -> None:
    tint = varied(random, random.choice([(120, 70, 160), (60, 140, 190), (200, 80, 110), (70, 160, 120)]))
    body = (60, 300, 940, 820)
    pen.polygon([(60, 800), (140, 640), (420, 520), (880, 520), (940, 800)], mix(tint, WHITE, 0.75))
    pen.polygon([(50, 822), (72, 790), (940, 790), (946, 822)], (150, 154, 160))
    if look.damage == "missing part":
        hole(pen, (250, 560, 520, 740))
    else:
        pen.polygon([(190, 740), (240, 650), (440, 570), (540, 570), (540, 740)], mix(tint, WHITE, 0.3))
    pen.line([(360, 560), (420, 340), (820, 330), (880, 560)], 76, tint)
    pen.line([(420, 350), (800, 345)], 30, mix(tint, WHITE, 0.35))
    pen.ellipse((560, 440, 690, 570), mix(tint, BLACK, 0.35))
    pen.text((580, 610), "SteamGlide 2", 46, (70, 72, 78), font=look.font)
    pen.text((580, 680), "LUMORA", 34, (110, 112, 118), font=look.font)
    _lamp(pen, random, (860, 745), 22, look.lights[0])
    _finish(pen, random, look, body=body, panel=(430, 420, 940, 800), product="steamglide-2", spout=(300, 800))


PRODUCTS: dict[str, Kind] = {
    "brewmaster-300": Kind(brewmaster, 1, ("crack", "leak", "missing part")),
    "dustpilot-r7": Kind(dustpilot, 1, ("crack", "swollen battery", "missing part"), stands=False),
    "purebreeze-p2": Kind(purebreeze, 1, ("crack", "missing part")),
    "voltbank-500": Kind(voltbank, 1, ("crack", "swollen battery", "missing part")),
    "homelink-x1": Kind(homelink, 4, ("crack", "missing part")),
    "washpro-8": Kind(washpro, 1, ("crack", "leak", "missing part")),
    "chillbox-45": Kind(chillbox, 1, ("crack", "leak", "missing part")),
    "steamglide-2": Kind(steamglide, 1, ("crack", "leak", "missing part")),
}


def _finish(pen: Pen, random: Random, look: Look, *, body: Edges, panel: Edges, product: str, spout: Point) -> None:
    if look.damage == "crack":
        crack(pen, random, body)
    if look.damage == "leak":
        leak(pen, random, spout)
    pen.note_box("body", product, body)
    pen.note_box("panel", product, panel)


def _display(pen: Pen, random: Random, edges: Edges, look: Look) -> None:
    left, top, right, bottom = edges
    pen.rectangle((left - 6, top - 6, right + 6, bottom + 6), (20, 21, 24), radius=12)
    glass, ink = random.choice(_GLASSES) if look.display else ((16, 20, 24), (16, 20, 24))
    pen.rectangle(edges, glass, radius=8)
    if not look.display:
        return
    middle = ((left + right) / 2, (top + bottom) / 2)
    room = min((bottom - top) * 0.62, (right - left) * 0.92 / (0.72 * len(look.display)))
    known = all(character in "0123456789ACEFHLPU-" for character in look.display)
    if known and random.random() < 0.45:
        pen.segments(middle, look.display, room, ink)
    else:
        font = random.choice(("pillow", "sans", "bold", "mono-bold"))
        pen.text(middle, look.display, room * 1.25, ink, font=font, anchor="mm")


_GLASSES: tuple[tuple[Colour, Colour], ...] = (
    ((10, 22, 26), (136, 240, 246)),
    ((24, 8, 8), (255, 90, 70)),
    ((12, 20, 10), (120, 255, 120)),
    ((196, 210, 190), (30, 36, 32)),
    ((20, 24, 60), (240, 244, 255)),
    ((14, 14, 16), (255, 180, 60)),
)


def _lamp(pen: Pen, random: Random, centre: Point, radius: float, light: str, *, halo: bool = False) -> None:
    if not light:
        return
    colour = random.choice(LIGHTS[light])
    if halo and light != "off":
        x, y = centre
        pen.rectangle((x - 130, y - 12, x + 130, y + 12), mix(colour, WHITE, 0.25), radius=12)
    pen.lamp(centre, radius * random.uniform(0.85, 1.25), colour, name=light, lit=light != "off")


def _ring(pen: Pen, random: Random, centre: Point, light: str) -> None:
    x, y = centre
    colour = random.choice(LIGHTS[light])
    if light != "off":
        pen.glow((x - 170, y - 170, x + 170, y + 170), colour, 0.5)
    edges = (x - 80, y - 80, x + 80, y + 80)
    pen.ellipse(edges, None, outline=colour, width=26)
    pen.note_box("light", light, edges)


def _button(pen: Pen, centre: Point, radius: float) -> None:
    x, y = centre
    pen.ellipse((x - radius - 4, y - radius - 4, x + radius + 4, y + radius + 4), (52, 54, 59))
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), (150, 154, 161))
    dent = radius * 0.62
    pen.ellipse((x - dent, y - dent, x + dent, y + dent), (124, 128, 135))
