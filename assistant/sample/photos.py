"""Draws the sample's photos: ``python -m assistant.sample.photos FOLDER``. Seeds are fixed: always the same photos."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from assistant.sample.canvas import SIZE, Colour, Point, Scene, through_camera


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scenes: dict[str, Callable[[], Image.Image]] = {
        "coffee-machine-e21.jpg": coffee_machine,
        "damaged-box.jpg": damaged_box,
        "robot-label.jpg": robot_label,
        "receipt.jpg": receipt,
        "washer-e41.jpg": washer,
        "hub-lights.jpg": hub,
    }
    for seed, (name, draw) in enumerate(scenes.items()):
        photo = through_camera(draw(), seed=seed)
        photo.save(folder / name, "JPEG", quality=85)
    update_dialog().save(folder / "update-dialog.png", "PNG", optimize=True)


def coffee_machine(code: str = "E21", *, light: Colour = (255, 40, 30)) -> Image.Image:
    """The front of a BrewMaster 300 on a worktop: display, a lit indicator, cup button, outlets and a cup."""
    scene = Scene(wall=(206, 201, 190), table=(148, 108, 74), horizon=690, grain=1.0)
    scene.tiles((0, 0, 1200, 690), 150, (190, 185, 174))
    scene.shadow((300, 715, 930, 800))
    scene.panel((340, 110, 880, 765), 38, (66, 68, 74), (34, 35, 39))
    scene.panel((354, 124, 866, 335), 28, (88, 91, 98), (56, 58, 64))
    scene.text((394, 150), "LUMORA", 32, (226, 229, 234))
    scene.text((640, 156), "BrewMaster 300", 26, (196, 200, 207))
    scene.display((388, 204, 624, 314), code)
    scene.lamp((690, 258), 15, light)
    scene.lamp((745, 258), 8, (92, 96, 102), lit=False)
    scene.button((818, 258), 31)
    scene.panel((430, 372, 790, 700), 14, (16, 17, 19), (34, 35, 39))
    scene.polygon([(556, 372), (664, 372), (644, 442), (576, 442)], (104, 107, 114))
    scene.polygon([(556, 372), (600, 372), (596, 442), (576, 442)], (136, 140, 148))
    for x in (588, 622):
        scene.rectangle((x, 442, x + 11, 464), (124, 128, 136))
    scene.arc((638, 590, 712, 664), (-90, 90), 15, (222, 217, 208))
    scene.panel((545, 562, 675, 692), 20, (246, 243, 237), (206, 201, 192))
    scene.ellipse((547, 548, 673, 580), (250, 248, 243))
    scene.ellipse((556, 553, 664, 576), (92, 62, 42))
    scene.panel((398, 694, 822, 748), 9, (58, 60, 65), (30, 31, 34))
    for x in range(420, 810, 26):
        scene.line([(x, 704), (x, 738)], 6, (84, 87, 94))
    return scene.image


def damaged_box() -> Image.Image:
    """A parcel on a doorstep: one corner crushed, torn tape, a shipping label."""
    scene = Scene(wall=(96, 118, 112), table=(150, 146, 138), horizon=540)
    for x in (190, 640):
        scene.panel((x, -60, x + 380, 480), 6, (86, 107, 102), (78, 98, 93))
        scene.panel((x + 16, -60, x + 364, 464), 4, (101, 124, 118), (92, 114, 108))
    scene.rectangle((0, 520, 1200, 552), (70, 72, 70))
    for x in range(-100, 1500, 210):
        scene.line([(x, 552), (x - 190, 900)], 4, (128, 124, 117))
    scene.line([(0, 700), (1200, 700)], 4, (128, 124, 117))
    scene.shadow((200, 690, 1030, 850))
    scene.polygon([(250, 330), (820, 300), (950, 380), (400, 420)], (214, 176, 128))
    scene.polygon([(250, 330), (400, 420), (410, 800), (265, 690)], (150, 112, 72))
    scene.polygon([(400, 420), (950, 380), (940, 730), (410, 800)], (188, 147, 100))
    scene.polygon([(800, 391), (952, 380), (946, 590), (872, 540), (896, 476)], (120, 89, 57))
    scene.polygon([(876, 402), (950, 382), (945, 478), (902, 454)], (52, 38, 25))
    scene.polygon([(800, 391), (848, 388), (902, 454), (896, 476)], (156, 119, 78))
    creases: tuple[list[Point], ...] = (
        [(800, 391), (896, 476), (872, 540), (946, 590)],
        [(848, 388), (902, 454), (945, 478)],
        [(872, 540), (800, 600), (770, 690)],
        [(896, 476), (780, 500)],
    )
    for crease in creases:
        scene.line(crease, 4, (92, 67, 41))
    scene.polygon([(520, 316), (600, 312), (720, 398), (640, 404)], (228, 206, 164))
    scene.line([(600, 312), (622, 330), (610, 340), (650, 358), (640, 372), (690, 398)], 4, (120, 92, 58))
    label = Scene(paper=(244, 242, 236), size=(520, 360))
    label.text((20, 14), "LUMORA Shipping", 38, (30, 30, 30))
    label.text((20, 70), "Order LM-2048113", 46, (20, 20, 20))
    label.text((20, 136), "VoltBank 500", 36, (40, 40, 40))
    label.text((20, 186), "FRAGILE", 46, (186, 30, 30))
    label.bars((20, 250, 500, 335), seed=3)
    scene.paste(label.image, [(462, 496), (742, 474), (738, 668), (466, 694)])
    return scene.image


def robot_label() -> Image.Image:
    """The silver type plate of a DustPilot R7, close up on dark plastic, above a bulging battery door."""
    scene = Scene(paper=(44, 46, 51), size=SIZE)
    scene.panel((-60, -60, 1260, 980), 0, (58, 60, 66), (34, 36, 40))
    scene.panel((66, 514, 1134, 872), 44, (22, 23, 26), (22, 23, 26))
    scene.panel((72, 520, 1128, 866), 40, (62, 64, 70), (42, 44, 49))
    scene.glow((330, 560, 870, 760), (150, 154, 162), 90, 0.75)
    scene.shadow((170, 760, 1030, 850))
    for x in (116, 1084):
        scene.ellipse((x - 20, 672, x + 20, 712), (136, 140, 147))
        scene.ellipse((x - 16, 676, x + 16, 708), (104, 108, 114))
        scene.line([(x - 11, 692), (x + 11, 692)], 5, (50, 52, 56))
    scene.text((600, 690), "BATTERY", 36, (196, 200, 206), anchor="mm")
    scene.panel((176, 66, 1024, 464), 20, (128, 131, 136), (128, 131, 136))
    scene.panel((180, 70, 1020, 460), 18, (226, 228, 231), (178, 182, 187))
    for text, size, y in (
        ("LUMORA  DustPilot R7", 54, 96),
        ("Model DP-R7   14.4 V   45 W", 38, 178),
        ("SN: DP40718256", 62, 250),
    ):
        scene.text((222, y), text, size, (30, 32, 36))
    scene.bars((222, 350, 762, 430), seed=9)
    scene.text((830, 352), "CE", 66, (30, 32, 36))
    return scene.image


def receipt() -> Image.Image:
    """A till receipt on a wooden table: order number, date, items, total."""
    scene = Scene(wall=(156, 117, 82), table=(156, 117, 82), horizon=0, grain=1.1)
    for y in (210, 430, 650):
        scene.line([(0, y), (1200, y + 10)], 3, (110, 80, 54))
    paper = Scene(paper=(250, 248, 243), size=(560, 860))
    paper.text((280, 54), "LUMORA STORE", 52, (28, 28, 30), anchor="mm")
    paper.text((280, 106), "Harbour Street 12", 28, (70, 70, 72), anchor="mm")
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
        y, size = 176 + 62 * index, 46 if left == "TOTAL EUR" else 36
        paper.text((40, y), left, size, (32, 32, 34))
        paper.text((520, y), right, size, (32, 32, 34), anchor="ra")
    for y in (318, 538):
        paper.line([(40, y), (520, y)], 2, (120, 120, 122))
    paper.text((280, 706), "Thank you!", 34, (60, 60, 62), anchor="mm")
    paper.bars((120, 750, 440, 820), seed=5)
    corners: list[Point] = [(330, 40), (830, 66), (802, 862), (284, 832)]
    scene.cast([(x + 10, y + 14) for x, y in corners])
    scene.paste(paper.image, corners)
    return scene.image


def washer(code: str = "E41") -> Image.Image:
    """A WashPro 8 in a tiled bathroom, its display lit, with a puddle in front of it."""
    scene = Scene(wall=(206, 218, 222), table=(146, 150, 152), horizon=700)
    scene.tiles((0, 0, 1200, 700), 120, (182, 196, 201))
    for x in range(-300, 1600, 200):
        scene.line([(x, 700), (x - 160, 900)], 4, (122, 126, 128))
    scene.line([(0, 790), (1200, 790)], 4, (122, 126, 128))
    scene.puddle([(330, 740), (520, 728), (800, 738), (1010, 778), (930, 850), (640, 872), (380, 842), (240, 790)])
    scene.shadow((250, 690, 960, 780))
    scene.panel((300, 40, 900, 742), 22, (250, 250, 251), (214, 217, 221))
    scene.panel((320, 58, 880, 190), 14, (236, 238, 241), (222, 225, 229))
    scene.text((344, 76), "LUMORA", 30, (60, 64, 72))
    scene.text((344, 122), "WashPro 8", 38, (44, 48, 56))
    scene.display((560, 76, 730, 172), code, size=70)
    scene.button((805, 124), 40)
    scene.ellipse((398, 246, 802, 650), (170, 175, 182))
    scene.ellipse((412, 260, 788, 636), (226, 229, 233))
    scene.ellipse((446, 294, 754, 602), (38, 48, 58))
    scene.glow((470, 318, 640, 440), (150, 176, 194), 40, 0.7)
    scene.glow((540, 480, 720, 590), (88, 120, 150), 26, 0.8)
    scene.panel((772, 420, 798, 480), 10, (196, 200, 206), (150, 155, 162))
    scene.line([(318, 690), (882, 690)], 3, (196, 199, 204))
    scene.panel((800, 700, 870, 730), 4, (226, 228, 231), (206, 209, 213))
    return scene.image


def hub(lights: Sequence[Colour] = ((60, 220, 90), (60, 220, 90), (255, 46, 36), (60, 220, 90))) -> Image.Image:
    """A HomeLink X1 on a shelf. ``lights``: power, internet, cloud, devices."""
    scene = Scene(wall=(96, 104, 120), table=(176, 138, 98), horizon=640, grain=1.0)
    scene.glow((700, 40, 1150, 420), (196, 190, 176), 160, 0.5)
    scene.panel((70, 320, 124, 645), 5, (128, 62, 56), (102, 50, 45))
    scene.panel((128, 350, 168, 645), 5, (60, 86, 96), (48, 69, 77))
    scene.panel((172, 300, 234, 645), 5, (190, 170, 130), (152, 136, 104))
    scene.shadow((260, 620, 1010, 740))
    scene.panel((290, 330, 970, 680), 60, (252, 252, 251), (212, 213, 214))
    scene.panel((306, 344, 954, 470), 48, (255, 255, 255), (240, 240, 240))
    scene.text((630, 408), "LUMORA HomeLink X1", 46, (70, 74, 82), anchor="mm")
    for index, (name, colour) in enumerate(zip(("POWER", "INTERNET", "CLOUD", "DEVICES"), lights, strict=True)):
        x = 390 + 160 * index
        scene.lamp((x, 540), 15, colour)
        scene.text((x, 600), name, 25, (96, 100, 108), anchor="mm")
    return scene.image


def update_dialog() -> Image.Image:
    """A screenshot of the app's error dialog."""
    scene = Scene(paper=(43, 62, 92), size=(900, 560))
    scene.panel((0, 0, 900, 560), 0, (58, 82, 120), (32, 46, 70))
    scene.rectangle((0, 0, 900, 40), (24, 36, 56))
    scene.text((16, 9), "Lumora App", 20, (226, 231, 239))
    scene.panel((150, 120, 750, 430), 12, (252, 252, 253), (252, 252, 253))
    scene.panel((150, 120, 750, 170), 12, (232, 235, 240), (232, 235, 240))
    scene.rectangle((150, 156, 750, 170), (232, 235, 240))
    scene.text((174, 132), "Firmware update", 22, (40, 44, 52))
    scene.ellipse((178, 198, 238, 258), (208, 48, 48))
    scene.line([(195, 215), (221, 241)], 6, (255, 255, 255))
    scene.line([(221, 215), (195, 241)], 6, (255, 255, 255))
    scene.text((262, 192), "Update failed", 34, (28, 31, 38))
    scene.text((262, 244), "Error 0x80A4", 28, (56, 60, 68))
    scene.text((262, 294), "The firmware file could not be verified.", 22, (84, 88, 96))
    scene.panel((462, 360, 590, 410), 8, (229, 232, 236), (229, 232, 236))
    scene.text((526, 385), "Cancel", 21, (40, 44, 52), anchor="mm")
    scene.panel((604, 360, 732, 410), 8, (44, 108, 214), (44, 108, 214))
    scene.text((668, 385), "Try again", 21, (255, 255, 255), anchor="mm")
    return scene.image.resize((900, 560), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
