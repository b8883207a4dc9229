"""Direct supervision of the vision tower: targets for each patch of a photo, and the heads that predict them.

A photo is SIDE x SIDE pixels in patches of PATCH; glyphs are predicted for cells of half a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from assistant.lab.training.drawing import Item
from assistant.lab.training.products import PRODUCTS
from assistant.lab.training.world import DAMAGES, LIGHTS, PAPERS, Scene

SIDE, PATCH = 256, 16
GRID, CELLS = SIDE // PATCH, 2 * SIDE // PATCH
GLYPHS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-.:/"
BODIES = (*PRODUCTS, *PAPERS)
IGNORE = -100
# Names of the classes from 1 on.
CLASSES = {
    "glyphs": list(GLYPHS), "lights": list(LIGHTS), "damages": list(DAMAGES), "bodies": list(BODIES),
    "of": list(BODIES), "damage": list(DAMAGES), "row": list(LIGHTS), "code": list(GLYPHS),
}  # fmt: skip
# Targets for the photo as a whole.
WHOLE = ("of", "damage", "row", "code")
# The most lights of a device and characters of its code; each is predicted on its own.
MOST_LIGHTS, MOST_SIGNS = 4, 3
# In patches: where Huber's loss for a light's position changes from quadratic to linear.
_NEAR = 0.2
# Glyphs narrower or lower than this, in pixels of the model's input, are ignored.
_LEAST_WIDTH, _LEAST_HEIGHT = 3.5, 6.0


@dataclass(frozen=True)
class Targets:
    """Class 0 is "nothing" everywhere. Shapes: glyphs (CELLS, CELLS); lights, damages and bodies (GRID, GRID); whole
    (2,): what the photo shows, and its damage; row (MOST_LIGHTS,): the lights in order; points (MOST_LIGHTS, 2): their
    centres as fractions of width and height, NaN for missing lights; code (MOST_SIGNS,): the display's characters."""

    glyphs: np.ndarray
    lights: np.ndarray
    damages: np.ndarray
    bodies: np.ndarray
    whole: np.ndarray
    row: np.ndarray
    points: np.ndarray
    code: np.ndarray


def targets(scene: Scene) -> Targets:
    glyphs = np.zeros((CELLS, CELLS), np.int64)
    lights, damages, bodies = (np.zeros((GRID, GRID), np.int64) for _ in range(3))
    for item in scene.items:
        if item.kind == "glyph":
            _put_glyph(glyphs, item)
        elif item.kind == "light":
            _put_light(lights, item)
        elif item.kind == "damage":
            damages[_area(item)] = 1 + DAMAGES.index(item.value)
        elif item.kind == "body":
            bodies[_area(item)] = 1 + BODIES.index(item.value)
    of = scene.product if scene.kind == "product" else scene.kind
    whole = [1 + BODIES.index(of) if of in BODIES else 0, 1 + DAMAGES.index(scene.damage) if scene.damage else 0]
    row = _pad([1 + list(LIGHTS).index(light) for light in scene.lights], MOST_LIGHTS)
    code = _pad([1 + GLYPHS.index(sign) for sign in scene.code], MOST_SIGNS)
    return Targets(glyphs, lights, damages, bodies, np.array(whole), row, _centres(scene), code)


def _pad(classes: list[int], length: int) -> np.ndarray:
    return np.array((classes + [0] * length)[:length])


def _centres(scene: Scene) -> np.ndarray:
    points = np.full((MOST_LIGHTS, 2), np.nan, np.float32)
    centres = [item.centre for item in scene.items if item.kind == "light"]
    # A light outside the frame would shift the numbering of the others.
    if len(centres) == len(scene.lights) <= MOST_LIGHTS and centres:
        points[: len(centres)] = centres
    return points


def _put_light(lights: np.ndarray, item: Item) -> None:
    """In the patch of its centre; the other patches that it covers are ignored."""
    around = lights[_area(item)]
    around[around == 0] = IGNORE
    column, row = (min(GRID - 1, int(part * GRID)) for part in item.centre)
    lights[row, column] = 1 + list(LIGHTS).index(item.value)


def _put_glyph(glyphs: np.ndarray, item: Item) -> None:
    left, top, right, bottom = item.bounds
    column, row = (min(CELLS - 1, int(part * CELLS)) for part in item.centre)
    known = GLYPHS.find(item.value.upper()) + 1
    large = (right - left) * SIDE >= _LEAST_WIDTH and (bottom - top) * SIDE >= _LEAST_HEIGHT
    narrow = item.value in "1IilJj-.:/"
    readable = known and (large or (narrow and (bottom - top) * SIDE >= _LEAST_HEIGHT)) and glyphs[row, column] == 0
    glyphs[row, column] = known if readable else IGNORE


def _area(item: Item) -> tuple[slice, slice]:
    left, top, right, bottom = (max(0.0, min(1.0, edge)) * GRID for edge in item.bounds)
    columns = slice(round(left), max(round(left) + 1, round(right)))
    return slice(round(top), max(round(top) + 1, round(bottom))), columns


class Heads(nn.Module):
    """From patch features (n, GRID * GRID, width) to the logits of all targets, and to ``points`` in patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.glyphs = nn.Linear(width, 4 * (1 + len(GLYPHS)))
        self.lights = nn.Linear(width, 1 + len(LIGHTS))
        self.damages = nn.Linear(width, 1 + len(DAMAGES))
        self.bodies = nn.Linear(width, 1 + len(BODIES))
        self.pool = nn.Linear(width, 2 + MOST_LIGHTS + MOST_SIGNS)
        self.of, self.damage = nn.Linear(width, 1 + len(BODIES)), nn.Linear(width, 1 + len(DAMAGES))
        self.row, self.code = nn.Linear(width, 1 + len(LIGHTS)), nn.Linear(width, 1 + len(GLYPHS))
        self.place, self.offset = nn.Linear(width, MOST_LIGHTS), nn.Linear(width, 2)
        rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
        middles = torch.stack([columns, rows], dim=-1).view(-1, 2) + 0.5
        self.register_buffer("middles", middles, persistent=False)  # (patches, 2): x and y in patches

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        count = len(features)
        weights = self.pool(features).softmax(1)  # (n, patches, 2 + MOST_LIGHTS + MOST_SIGNS)
        pooled = torch.einsum("npk,npw->nkw", weights, features)
        places = self.place(features).softmax(1)
        cells = self.glyphs(features).view(count, GRID, GRID, 2, 2, -1)
        return {
            "glyphs": cells.permute(0, 1, 3, 2, 4, 5).reshape(count, CELLS, CELLS, -1),
            "lights": self.lights(features).view(count, GRID, GRID, -1),
            "damages": self.damages(features).view(count, GRID, GRID, -1),
            "bodies": self.bodies(features).view(count, GRID, GRID, -1),
            "of": self.of(pooled[:, 0]),
            "damage": self.damage(pooled[:, 1]),
            "row": self.row(pooled[:, 2 : 2 + MOST_LIGHTS]),
            "code": self.code(pooled[:, 2 + MOST_LIGHTS :]),
            "points": torch.einsum("npk,npc->nkc", places, self.middles + self.offset(features)),
        }


def loss(logits: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
    """(sum of all losses, accuracy by target, where there is something to see)."""
    total = torch.zeros(())
    right: dict[str, float] = {}
    for name in CLASSES:
        predicted, wanted = logits[name].float().flatten(0, -2), batch[name].flatten()
        there, absent = wanted > 0, wanted == 0
        each = nn.functional.cross_entropy(predicted, wanted, ignore_index=IGNORE, reduction="none")
        if name in WHOLE:
            total = total + each.mean()
            right[name] = float((predicted.argmax(-1) == wanted).float().mean())
            continue
        few, many = max(1, int(there.sum())), max(1, int(absent.sum()))
        # Covered and uncovered patches weigh the same. But few patches have glyphs or lights: there, the root of the
        # ratio finds what is there without seeing it everywhere.
        rarity = (many / few) ** 0.5 if name in ("glyphs", "lights") else 1.0
        share = each[there].sum() / few + rarity * each[absent].sum() / many
        total = total + share * (2.0 if name == "glyphs" else 1.0) * 2 / (1 + rarity)
        if there.any():
            right[name] = float((predicted.argmax(-1) == wanted)[there].float().mean())
        if name in ("glyphs", "lights"):
            right[f"{name} false"] = float((predicted.argmax(-1) > 0)[absent].float().mean())
    found, places = logits["points"].float(), GRID * batch["points"]
    lit = ~places.isnan()
    if lit.any():
        total = total + nn.functional.smooth_l1_loss(found[lit], places[lit], beta=_NEAR)
        right["points"] = float(((found - places).abs().amax(-1) < 2 * _NEAR)[lit.all(-1)].float().mean())
    return total, right


def stack(found: Sequence[Targets]) -> dict[str, torch.Tensor]:
    """Targets by name, with the photos as first dimension."""
    maps = {
        name: torch.from_numpy(np.stack([getattr(one, name) for one in found]))
        for name in ("glyphs", "lights", "damages", "bodies")
    }
    whole, row, points, code = (
        torch.from_numpy(np.stack([getattr(one, name) for one in found])) for name in ("whole", "row", "points", "code")
    )
    return {**maps, "of": whole[:, 0], "damage": whole[:, 1], "row": row, "points": points, "code": code}
