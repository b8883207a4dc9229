"""Draws damage on a product and records it: missing parts, swollen batteries, cracks and leaks."""

from __future__ import annotations

import math
from random import Random

from assistant.lab.training.drawing import BLACK, WHITE, Colour, Edges, Pen, Point, mix, varied


def hole(pen: Pen, edges: Edges) -> None:
    """A missing part: a dark hollow with a bare frame, a connector and screw holes."""
    left, top, right, bottom = edges
    pen.rectangle(edges, (150, 146, 138), radius=6)
    pen.rectangle((left + 10, top + 10, right - 10, bottom - 10), (12, 12, 14))
    pen.polygon(
        [(left + 10, top + 10), (right - 10, top + 10), (right - 40, top + 34), (left + 40, top + 34)], (46, 44, 42)
    )
    middle = ((left + right) / 2, (top + bottom) / 2)
    pen.rectangle((middle[0] - 26, middle[1] - 10, middle[0] + 26, middle[1] + 10), (196, 160, 60))
    for x, y in ((left + 22, top + 22), (right - 22, top + 22), (left + 22, bottom - 22), (right - 22, bottom - 22)):
        pen.ellipse((x - 7, y - 7, x + 7, y + 7), (170, 172, 176))
    pen.note_box("damage", "missing part", edges)


def bulge(pen: Pen, random: Random, edges: Edges, colour: Colour) -> None:
    left, top, right, bottom = edges
    grow = random.uniform(0.04, 0.12) * (right - left)
    swollen = (left - grow, top - grow, right + grow, bottom + grow)
    pen.ellipse((swollen[0] + 14, swollen[1] + 20, swollen[2] + 14, swollen[3] + 24), mix(colour, BLACK, 0.7))
    pen.ellipse(swollen, mix(colour, BLACK, 0.2))
    pen.rectangle(edges, colour, radius=90)
    pen.glow((left, top, left + 0.8 * (right - left), top + 0.7 * (bottom - top)), WHITE, 0.7)
    pen.line([(left + 20, bottom - 14), (right - 20, bottom - 22)], 9, BLACK)
    pen.note_box("damage", "swollen battery", swollen)


def crack(pen: Pen, random: Random, body: Edges) -> None:
    """A main crack across part of the body, with branches."""
    left, top, right, bottom = body
    width, height = right - left, bottom - top
    x, y = left + width * random.uniform(0.15, 0.85), top + height * random.uniform(0.15, 0.75)
    down, aside = height * random.uniform(0.04, 0.1), width * random.uniform(-0.06, 0.06)
    points = [(x, y)]
    for _ in range(random.randint(4, 6)):
        x = min(right, max(left, x + aside + width * random.uniform(-0.07, 0.07)))
        y = min(bottom, y + down)
        points.append((x, y))
    thick = random.uniform(7, 13)
    branches = [points]
    for start in points[1:-1]:
        if random.random() < 0.75:
            reach = width * random.uniform(0.08, 0.2) * random.choice((-1, 1))
            branches.append(
                [start, (start[0] + reach / 2, start[1] + 14), (start[0] + reach, start[1] + random.uniform(10, 70))]
            )
    for branch in branches:
        pen.line([(px + 5, py + 5) for px, py in branch], thick, (232, 232, 230))
        pen.line(branch, thick * (1 if branch is points else 0.7), (18, 18, 20))
    xs, ys = zip(*(point for branch in branches for point in branch), strict=True)
    pen.note_box("damage", "crack", (min(xs) - 12, min(ys) - 12, max(xs) + 12, max(ys) + 12))


def leak(pen: Pen, random: Random, spout: Point) -> None:
    """A puddle below the spout: bright water with falling drops, or a wet and darker floor."""
    x, y = spout
    wide, high = random.uniform(260, 420), random.uniform(60, 110)
    if random.random() < 0.5:
        _wet(pen, random, spout, wide, high)
    else:
        _water(pen, random, spout, wide, high)
    pen.note_box("damage", "leak", (x - wide, y - high * 0.3, x + wide, y + high))


def _water(pen: Pen, random: Random, spout: Point, wide: float, high: float) -> None:
    x, y = spout
    water = random.choice(((120, 150, 172), (96, 128, 150), (150, 172, 186)))
    for dx, share in ((-0.4, 0.6), (0.35, 0.7), (0.0, 1.0)):
        w, h = wide * share, high * share
        pen.ellipse((x + dx * wide - w, y - h * 0.3, x + dx * wide + w, y + h), mix(water, BLACK, 0.25))
    pen.ellipse((x - wide * 0.93, y - high * 0.2, x + wide * 0.93, y + high * 0.86), water)
    pen.ellipse((x - wide * 0.6, y + high * 0.1, x + wide * 0.1, y + high * 0.35), mix(water, WHITE, 0.7))
    pen.ellipse((x + wide * 0.3, y + high * 0.3, x + wide * 0.6, y + high * 0.5), mix(water, WHITE, 0.6))
    for number in range(random.randint(2, 5)):
        drop = x + random.uniform(-0.5, 0.5) * wide
        upper = y - 40 - 45 * number
        pen.ellipse((drop - 9, upper, drop + 9, upper + 30), mix(water, WHITE, 0.4))


def _wet(pen: Pen, random: Random, spout: Point, wide: float, high: float) -> None:
    """A transparent film of water that reflects the light of the room."""
    x, y = spout[0], spout[1] + high * 0.35
    steps = random.randint(9, 16)
    outline = []
    for step in range(steps):
        angle, reach = math.tau * step / steps, random.uniform(0.75, 1.0)
        outline.append((x + math.cos(angle) * wide * reach, y + math.sin(angle) * high * 0.65 * reach))
    shade = random.randint(120, 195)
    pen.tint(outline, varied(random, (shade, shade + 18, shade + 30), 12))
    for _ in range(random.randint(1, 3)):
        left, top = x + random.uniform(-0.7, 0.3) * wide, y + random.uniform(-0.3, 0.2) * high
        pen.glow((left, top, left + wide * random.uniform(0.2, 0.6), top + high * 0.25), (236, 244, 250), 0.7)
