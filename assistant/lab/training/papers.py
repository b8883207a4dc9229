"""Draws type labels, receipts, error dialogs and parcels, each in a box of 1000 x 1000 points."""

from __future__ import annotations

from random import Random

from assistant.lab.training.drawing import BLACK, FONTS, WHITE, Colour, Pen, mix, varied
from assistant.lab.training.world import MODELS, Printed, digits, products


def label(pen: Pen, random: Random) -> Printed:
    """A type plate on the back of a product."""
    product = random.choice(list(MODELS))
    letters, model = MODELS[product]
    serial = letters + digits(random, 8)
    ground = random.choice(((44, 46, 51), (200, 202, 204), (240, 240, 238), (70, 60, 52)))
    shell = varied(random, ground)
    pen.rectangle((-400, -400, 1400, 1400), shell)
    top = random.uniform(200, 300)
    if random.random() < 0.5:
        _lid(pen, random, random.choice((top + 460, top - 460)), shell)
    paper = varied(random, random.choice(((226, 228, 231), (250, 250, 246), (236, 222, 150), (40, 42, 46))), 8)
    ink = (30, 32, 36) if sum(paper) > 380 else (230, 232, 236)
    edges = (60, top, 940, top + 420)
    pen.rectangle((56, top - 4, 944, top + 424), mix(paper, BLACK, 0.4), radius=20)
    pen.rectangle(edges, paper, radius=18)
    font = random.choice(FONTS)
    maker, rated = random.choice(("LUMORA", "Lumora", "LUMORA Home")), random.random() < 0.5
    if rated:
        maker = f"LUMORA {products()[product].name}"
    pen.text((100, top + 36), maker, 62, ink, font=font)
    typed = f"{random.choice(('Model', 'MODEL', 'Type'))} {model}"
    if rated:
        typed += f"  {random.choice(('14.4 V', '230 V', '12 V', '20 V'))}  {5 * random.randint(3, 400)} W"
    pen.text((100, top + 130), typed, random.uniform(44, 52) if rated else random.uniform(66, 84), ink, font=font)
    pen.text(
        (100, top + 232), f"{random.choice(('SN:', 'S/N', 'SN'))} {serial}", random.uniform(70, 86), ink, font=font
    )
    _bars(pen, random, (100, top + 336, random.uniform(500, 760), top + 396), ink)
    pen.text((810, top + 336), "CE", 70, ink, font="bold")
    pen.note_box("body", "label", edges)
    pen.note_box("panel", "label", edges)
    return Printed(product, serial=serial, model=model)


def _lid(pen: Pen, random: Random, top: float, shell: Colour) -> None:
    """A screwed-on lid beside the plate, with or without a word on it."""
    edges = (-20, top, 1020, top + random.uniform(280, 420))
    pen.rectangle(edges, mix(shell, BLACK, 0.35), radius=30)
    pen.rectangle((edges[0] + 6, top + 6, edges[2] - 6, edges[3] - 6), mix(shell, WHITE, 0.08), radius=26)
    middle = (top + edges[3]) / 2
    for x in (40, 960):
        pen.ellipse((x - 18, middle - 18, x + 18, middle + 18), mix(shell, WHITE, 0.5))
        pen.line([(x - 14, middle), (x + 14, middle)], 4, mix(shell, BLACK, 0.4))
    if random.random() < 0.6:
        word = random.choice(("BATTERY", "FILTER", "FUSE", "Push", "OPEN"))
        pen.text((500, middle), word, 36, mix(shell, WHITE, 0.55), anchor="mm")


def receipt(pen: Pen, random: Random) -> Printed:
    order, total = "LM-" + digits(random, 7), f"{random.randint(9, 899)}.{random.choice(('00', '50', '90', '99'))}"
    date = f"20{random.randint(24, 28)}-{random.randint(1, 12):02d}-{random.randint(1, 28):02d}"
    product = random.choice(list(MODELS))
    wood = varied(random, random.choice(((156, 117, 82), (120, 90, 64), (190, 190, 186), (70, 74, 80))))
    pen.rectangle((-400, -400, 1400, 1400), wood)
    for y in range(-300, 1400, 160):
        pen.line([(-400, y), (1400, y + random.uniform(-20, 20))], 5, mix(wood, BLACK, 0.3))
    edges = (160, 40, 840, 960)
    pen.rectangle((172, 54, 856, 976), mix(wood, BLACK, 0.6))
    paper = varied(random, (249, 247, 242), 6)
    ink = varied(random, (40, 40, 44), 16)
    pen.rectangle(edges, paper)
    font = random.choice(FONTS)
    pen.text((500, 100), "LUMORA STORE", 70, ink, font=font, anchor="mm")
    size = random.uniform(54, 62)
    rows = (
        (random.choice(("Order", "ORDER")), order),
        (random.choice(("Date", "DATE")), date),
        ("", ""),
        (products()[product].name, ""),
        ("", f"{total}"),
        ("", ""),
        (random.choice(("TOTAL", "Total", "TOTAL EUR")), total),
    )
    for index, (left, right) in enumerate(rows):
        y = 190 + 92 * index
        pen.text((200, y), left, size if right != total or left else 50, ink, font=font)
        pen.text((800, y), right, size, ink, font=font, anchor="ra")
    for y in (372, 640):
        pen.line([(200, y), (800, y)], 4, (120, 120, 122))
    _bars(pen, random, (280, 850, 720, 930), ink)
    pen.note_box("body", "receipt", edges)
    pen.note_box("panel", "receipt", (170, 60, 830, 830))
    return Printed(product, order=order, date=date, total=total)


ERRORS = (
    ("Update failed", "0x80A4"), ("Sign-in failed", "401"), ("No connection", "E-1002"), ("Pairing failed", "P-17"),
    ("Device offline", "D-204"), ("Download stopped", "0x51C3"),
)  # fmt: skip


def dialog(pen: Pen, random: Random) -> Printed:
    """The company's app on a computer screen, showing an error."""
    title, code = random.choice(ERRORS)
    if random.random() < 0.7:
        code = f"0x{random.choice('0123456789ABCDEF')}{digits(random, 2)}{random.choice('ABCDEF')}"
    desk = varied(random, random.choice(((58, 82, 120), (30, 60, 70), (110, 60, 90), (200, 206, 214), (40, 40, 44))))
    pen.rectangle((-400, -400, 1400, 1400), desk)
    pen.rectangle((-400, -400, 1400, 40), mix(desk, BLACK, 0.45))
    pen.text((20, 2), "Lumora App", 34, (226, 231, 239), font="sans")
    top = random.uniform(160, 260)
    edges = (80, top, 920, top + 520)
    dark = random.random() < 0.25
    paper, ink = ((48, 50, 56), (236, 238, 242)) if dark else ((252, 252, 253), (34, 37, 44))
    pen.rectangle((90, top + 12, 932, top + 534), mix(desk, BLACK, 0.5), radius=20)
    pen.rectangle(edges, paper, radius=18)
    pen.rectangle((80, top, 920, top + 84), mix(paper, BLACK, 0.09), radius=18)
    pen.text((116, top + 28), random.choice(("Firmware update", "Lumora App", "HomeLink X1")), 40, ink, font="sans")
    pen.ellipse((116, top + 130, 216, top + 230), (208, 48, 48))
    pen.line([(142, top + 156), (190, top + 204)], 12, WHITE)
    pen.line([(190, top + 156), (142, top + 204)], 12, WHITE)
    font = random.choice(("pillow", "sans", "bold"))
    pen.text((250, top + 130), title, random.uniform(62, 74), ink, font=font)
    pen.text((250, top + 230), f"Error {code}", random.uniform(62, 72), mix(ink, paper, 0.25), font=font)
    pen.text((116, top + 330), "The operation was stopped.", 40, mix(ink, paper, 0.4), font=font)
    for x, fill, word in ((430, (210, 214, 219), "Cancel"), (670, (44, 108, 214), "Try again")):
        pen.rectangle((x, top + 410, x + 210, top + 486), fill, radius=12)
        pen.text((x + 105, top + 448), word, 36, WHITE if word != "Cancel" else (40, 44, 52), font="sans", anchor="mm")
    pen.note_box("body", "error dialog", edges)
    pen.note_box("panel", "error dialog", edges)
    return Printed(error=code, title=title)


def parcel(pen: Pen, random: Random) -> Printed:
    """A cardboard box with a shipping label; about half are crushed."""
    board = varied(random, random.choice(((188, 147, 100), (204, 166, 120), (160, 124, 84))))
    crushed = random.random() < 0.55
    pen.polygon([(80, 300), (640, 250), (940, 340), (330, 410)], mix(board, WHITE, 0.25))
    pen.polygon([(80, 300), (330, 410), (340, 930), (95, 780)], mix(board, BLACK, 0.25))
    pen.polygon([(330, 410), (940, 340), (930, 820), (340, 930)], board)
    pen.polygon([(400, 272), (470, 266), (700, 366), (620, 376)], mix(board, WHITE, 0.5))
    order = "LM-" + digits(random, 7)
    product = random.choice(list(MODELS))
    font = random.choice(FONTS)
    pen.rectangle((380, 500, 880, 800), varied(random, (244, 242, 236), 8))
    ink = (26, 26, 28)
    pen.text((400, 520), "LUMORA Shipping", 44, ink, font=font)
    pen.text((400, 588), order, 74, ink, font=font)
    pen.text((400, 668), products()[product].name, 48, ink, font=font)
    _bars(pen, random, (400, 726, 840, 786), ink)
    if crushed:
        _crush(pen, random, board)
    pen.note_box("body", "parcel", (80, 250, 940, 930))
    pen.note_box("panel", "parcel", (340, 420, 930, 850))
    return Printed(product, order=order, damage="crushed box" if crushed else "")


PAPERS = {"label": label, "receipt": receipt, "error dialog": dialog, "parcel": parcel}


def _crush(pen: Pen, random: Random, board: Colour) -> None:
    """One corner pushed in and torn open."""
    x, y = random.choice(((770, 345), (90, 320), (330, 410)))
    wide, high = random.uniform(160, 230), random.uniform(120, 180)
    pen.polygon([(x - 40, y - 10), (x + wide, y - 20), (x + wide - 10, y + high), (x + wide * 0.55, y + high * 0.75),
                 (x + wide * 0.7, y + high * 0.4), (x + 20, y + high * 0.5)], mix(board, BLACK, 0.5))  # fmt: skip
    pen.polygon([(x + wide * 0.4, y), (x + wide * 0.95, y + 8), (x + wide * 0.9, y + high * 0.5)], (46, 34, 24))
    for _ in range(6):
        start = (x + random.uniform(0, wide), y + random.uniform(0, high))
        end = (start[0] + random.uniform(-90, 90), start[1] + random.uniform(30, 130))
        pen.line([start, end], 7, mix(board, BLACK, 0.55))
    pen.note_box("damage", "crushed box", (x - 40, y - 20, x + wide, y + high))


def _bars(pen: Pen, random: Random, edges: tuple[float, float, float, float], ink: Colour) -> None:
    x, top, right, bottom = edges
    while x < right:
        width = random.randint(4, 12)
        pen.rectangle((x, top, min(x + width, right), bottom), ink)
        x += width + random.randint(5, 14)
