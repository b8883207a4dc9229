"""How well displays are read: drawn photos of devices with one each, most of them in styles of their own."""

from __future__ import annotations

import io
from dataclasses import dataclass
from random import Random

from PIL import Image

from assistant.lab.tables import Cell, table
from assistant.lab.training.camera import shoot
from assistant.lab.training.display_lines import draw_panel, draw_reading
from assistant.lab.training.drawing import FONTS, Canvas, Edges, Item, typeface
from assistant.ports import OCR, TextLine
from assistant.progress import Progress, no_progress

FIRST_SEED = 1_000_000
_PRINTED = ("START", "Mode", "Set", "POWER", "Timer", "Model 40-B", "Lock 3s", "MAX 150 kg", "ECO", "Hold", "Tara")


@dataclass(frozen=True)
class Report:
    """Numbers of displays that were read rightly, wrongly and not at all. ``worst``: as (shown, read)."""

    right: int
    wrong: int
    silent: int
    worst: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, object]:
        return {"right": self.right, "wrong": self.wrong, "cannot_tell": self.silent, "wrong_readings": self.worst}

    def render(self) -> str:
        count = self.right + self.wrong + self.silent
        row: list[Cell] = [str(count), *(part / count for part in (self.right, self.wrong, self.silent))]
        lines = table(["displays", "right", "wrong", "cannot tell"], [row])
        return "\n".join([*lines, *(f"  {shown} read as {read}" for shown, read in self.worst[:20])])


def evaluate_displays(ocr: OCR, *, photos: int, first: int = 0, progress: Progress = no_progress) -> Report:
    """Read ``photos`` drawn photos, beginning with evaluation seed number ``first``."""
    right = wrong = 0
    worst = []
    for number in range(photos):
        photo, shown, edges = draw_photo(FIRST_SEED + first + number)
        lines = [line for line in ocr.read(photo) if _is_on(line, edges)]
        read = [line.text.replace(" ", "") for line in lines if any(sign.isdigit() for sign in line.text)]
        if any(_same(text, shown) for text in read) and len(read) == 1:
            right += 1
        elif read:
            wrong += 1
            worst.append((shown, " ".join(read)))
        progress(number + 1, photos, "Reading")
    return Report(right, wrong, photos - right - wrong, tuple(worst))


def _same(read: str, shown: str) -> bool:
    return read.upper().replace("O", "0") == shown.upper().replace("O", "0")


def _is_on(line: TextLine, edges: Edges) -> bool:
    """Whether the line's centre lies on the display's characters."""
    x, y = (line.box.left + line.box.right) / 2, (line.box.top + line.box.bottom) / 2
    return edges[0] <= x <= edges[2] and edges[1] <= y <= edges[3]


def draw_photo(seed: int) -> tuple[bytes, str, Edges]:
    """A photo (JPEG) of a device, what its display shows, and the characters' edges as fractions of the photo."""
    random = Random(f"display photo {seed}")
    shown = ""
    while not any(sign.isdigit() for sign in shown):
        shown = draw_reading(random)
    panel, (left, top, right, bottom) = draw_panel(random, shown)
    size = random.choice(((1200, 900), (900, 1200), (1600, 1200), (800, 600)))
    share = random.choice((random.uniform(0.12, 0.35), random.uniform(0.3, 0.85)))
    scale = min(share * size[0] / panel.width, 0.7 * size[1] / panel.height)
    panel = panel.resize([max(8, round(side * scale)) for side in panel.size], Image.Resampling.LANCZOS)
    x, y = (round(random.uniform(0.06, 0.94) * (most - side)) for most, side in zip(size, panel.size, strict=True))
    canvas = Canvas(Image.new("RGB", size, tuple(random.randint(30, 220) for _ in range(3))))
    _draw_device(random, canvas, (x, y, x + panel.width, y + panel.height))
    canvas.image.paste(panel, (x, y))
    edges = (x + left * scale, y + top * scale, x + right * scale, y + bottom * scale)
    corners = tuple((edges[across], edges[down]) for across, down in ((0, 1), (2, 1), (2, 3), (0, 3)))
    canvas.items.append(Item("panel", shown, corners))
    photo, (display,) = shoot(canvas, random, frame=(0, 0, *size), size=size, hard=0.7)
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=85)
    return file.getvalue(), shown, display.bounds


def _draw_device(random: Random, canvas: Canvas, panel: Edges) -> None:
    """The housing around the panel, with some print."""
    width, height = canvas.image.size
    level = random.randint(20, 240)
    body = (
        panel[0] - random.uniform(0.03, 0.4) * width, panel[1] - random.uniform(0.03, 0.3) * height,
        panel[2] + random.uniform(0.03, 0.4) * width, panel[3] + random.uniform(0.05, 0.4) * height,
    )  # fmt: skip
    canvas.draw.rounded_rectangle(body, random.uniform(0, 40), fill=(level, level, min(255, level + 8)))
    ink = (235, 235, 235) if level < 128 else (30, 30, 30)
    for _ in range(random.randint(0, 4)):
        spot = (
            random.uniform(max(0, body[0]), min(width - 80, body[2])),
            panel[3] + random.uniform(0.02, 0.25) * height,
        )
        font = typeface(random.choice(FONTS), random.randint(14, 34))
        canvas.draw.text(spot, random.choice(_PRINTED), font=font, fill=ink)
