"""What the small model sees in a photo, before it says a word: linear probes on the features of its vision tower.

A probe is one linear layer, trained beside the model on photos whose every patch is known (`training.patches`) and
kept in the checkpoint's folder; only the small model of `training` has them. Some tell what the whole photo is of,
some what is at a place, some where each light is. What they show is what the tower's features hold, which the answers
are made of; that an answer was made of just that place they do not prove. Their grain is a patch, a sixteenth of the
photo's side; only lights, which are as small as that, are placed within their patch.

Of a photo unlike all that it learned from, nothing that the model says means anything. How unlike a photo is: the
Mahalanobis distance of the tower's mean features to the nearest of those that photos of one product or paper have in
training (Lee et al. 2018, "A simple unified framework for detecting out-of-distribution samples").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assistant.engine.batching.chat_model import open_image
from assistant.engine.batching.engine import Engine
from assistant.engine.checkpoint import Checkpoint, files
from assistant.engine.loader import LoadedModel
from assistant.ports import Box, Found, Seen, Sought

FILE = "probes.safetensors"
# Layers that tell no classes.
UNNAMED = ("pool", "place", "offset")
# What is told of the whole photo beside its lights.
WHOLE = ("of", "damage")
# A patch belongs to a region if the probe finds it at least so likely there, and half as likely as the surest patch.
_LEAST = 0.25
# So likely damage must be, or a light and its colour, to be told.
_SURE = 0.5
# Half the side of a light's region, in patches: most are smaller than a patch.
_AROUND_LIGHT = 0.75


@dataclass(frozen=True)
class Familiar:
    """The photos that were learned from: the mean of the tower's mean features for each thing that they are of (things,
    width), the inverse covariance around them (width, width), and the distance from which on a photo is foreign."""

    means: np.ndarray
    precision: np.ndarray
    limit: float

    def distance(self, features: np.ndarray) -> float:
        """Of a photo's features (patches, width) to the nearest thing."""
        apart = features.mean(0) - self.means
        return float(np.sqrt(np.einsum("tw,wv,tv->t", apart, self.precision, apart).min()))

    def knows(self, features: np.ndarray) -> bool:
        return self.distance(features) <= self.limit


@dataclass(frozen=True)
class Probes:
    """Linear layers by name, (classes, width) and (classes,), and what each class is called; class 0 is "nothing".

    Layer ``pool`` says how much each patch counts: a row for each of `WHOLE`, then one for each light, whose colours
    are layer ``row``'s. Layer ``place`` has a row for each light too: the patches that it is in. ``offset`` (2, width)
    says how far right and down of each patch's middle what is in it stands, in patches."""

    weights: Mapping[str, tuple[np.ndarray, np.ndarray]]
    classes: Mapping[str, Sequence[str]]
    familiar: Familiar


def read_probes(checkpoint: Checkpoint) -> Probes | None:
    """None for a checkpoint that has none."""
    folder = files(checkpoint)
    if folder is None or not (folder / FILE).is_file():
        return None
    return _read(folder / FILE)


def write_probes(probes: Probes, folder: Path) -> None:
    """Beside the model's weights."""
    from safetensors.numpy import save_file

    kept = {f"{name}.{part}": values for name, pair in probes.weights.items()
            for part, values in zip(("weight", "bias"), pair, strict=True)}  # fmt: skip
    kept |= {"familiar.means": probes.familiar.means, "familiar.precision": probes.familiar.precision}
    kept["familiar.limit"] = np.array([probes.familiar.limit], np.float32)
    contiguous = {name: np.ascontiguousarray(values, np.float32) for name, values in kept.items()}
    classes = {name: list(values) for name, values in probes.classes.items()}
    save_file(contiguous, folder / FILE, metadata={"classes": json.dumps(classes)})


class EngineSight:
    """`Sight` on the engine in this process."""

    def __init__(self, engine: Engine, probes: Probes) -> None:
        self._engine = engine
        self._probes = probes

    def look(self, photo: bytes) -> EngineLook:
        image = open_image(photo)
        return EngineLook(self._engine.call(lambda loaded: tower_features(loaded, image)), self._probes)


@dataclass(frozen=True)
class EngineLook:
    """`Look`: a photo's features (patches, width), in reading order."""

    features: np.ndarray
    probes: Probes

    @property
    def seen(self) -> Seen:
        return Seen(
            familiar=self.probes.familiar.knows(self.features),
            of=_whole("of", self.features, self.probes),
            damage=_damage(self.features, self.probes),
            lights=tuple((colour, sure) for _, colour, sure in _lights(self.features, self.probes)),
        )

    def locate(self, sought: Sequence[Sought]) -> list[Found | None]:
        return [find(one, self.features, self.probes) for one in sought]


def tower_features(loaded: LoadedModel, image: Any) -> np.ndarray:
    """(patches, width) of the vision tower, in reading order."""
    import torch

    pixels = loaded.processor.image_processor(images=[[image]], return_tensors="pt")["pixel_values"][0]
    tower = loaded.model.model.vision_model
    with torch.inference_mode(), loaded.packed:
        features = tower(pixels.to(tower.device, tower.dtype)).last_hidden_state[0]
    return np.asarray(features.float().cpu().numpy())


def _whole(name: str, features: np.ndarray, probes: Probes) -> tuple[str, float]:
    """The likeliest class of the photo as a whole, "" for class 0, with its probability."""
    rows, offsets = (part[WHOLE.index(name)] for part in probes.weights["pool"])
    weight, bias = probes.weights[name]
    shares = _softmax(weight @ (_softmax(features @ rows + offsets) @ features) + bias)
    best = int(shares.argmax())
    return ("", *probes.classes[name])[best], float(shares[best])


def _damage(features: np.ndarray, probes: Probes) -> tuple[str, float]:
    """Of two that are likely and neither sure, none: a customer is not told of damage on a guess."""
    damage, likely = _whole("damage", features, probes)
    return (damage, likely) if likely >= _SURE or not damage else ("", 1 - likely)


def _lights(features: np.ndarray, probes: Probes) -> list[tuple[int, str, float]]:
    """Number, colour and probability of each light that is there, in order."""
    lights = slice(len(WHOLE), len(WHOLE) + len(probes.weights["place"][1]))
    rows, offsets = (part[lights] for part in probes.weights["pool"])
    weight, bias = probes.weights["row"]
    pooled = _softmax(rows @ features.T + offsets[:, None]) @ features
    shares = _softmax(pooled @ weight.T + bias)
    best = [(int(row.argmax()), float(row.max())) for row in shares]
    colours = probes.classes["row"]
    return [(number, colours[one - 1], sure) for number, (one, sure) in enumerate(best) if one and sure >= _SURE]


def find(sought: Sought, features: np.ndarray, probes: Probes) -> Found | None:
    """Where the probe of its kind sees it."""
    name = {"product": "bodies", "light": "lights", "damage": "damages"}[sought.kind]
    shares = _shares(name, features, probes)  # (grid, grid, classes)
    classes = list(probes.classes[name])
    values = sought.value.split(", ")
    wanted = [classes.index(value) + 1 for value in dict.fromkeys(values) if value in classes]
    there = shares[..., wanted].sum(-1) if wanted else 1 - shares[..., 0]
    return _lit(values, there, features, probes) if sought.kind == "light" else _region(there)


def _lit(colours: Sequence[str], there: np.ndarray, features: np.ndarray, probes: Probes) -> Found | None:
    """The lights of these colours, each in a box of its own."""
    lights = [(number, sure) for number, colour, sure in _lights(features, probes) if colour in colours]
    if not lights:
        return None
    points = _points(features, probes)
    reach = _AROUND_LIGHT / len(there)
    boxes = [_clipped(Box(x - reach, y - reach, x + reach, y + reach)) for x, y in (points[n] for n, _ in lights)]
    around = Box(
        min(box.left for box in boxes), min(box.top for box in boxes),
        max(box.right for box in boxes), max(box.bottom for box in boxes),
    )  # fmt: skip
    return Found(around, min(sure for _, sure in lights), _digits(there), tuple(boxes) if len(boxes) > 1 else ())


def _points(features: np.ndarray, probes: Probes) -> np.ndarray:
    """(lights, 2): where each would be, x and y as fractions of the photo's width and height."""
    grid = round(len(features) ** 0.5)
    rows, offsets = probes.weights["place"]
    weight, bias = probes.weights["offset"]
    down, right = np.divmod(np.arange(len(features)), grid)
    middles = np.stack([right, down], axis=-1) + 0.5  # (patches, 2)
    return np.asarray(_softmax(rows @ features.T + offsets[:, None]) @ (middles + features @ weight.T + bias) / grid)


def _region(there: np.ndarray) -> Found | None:
    """The surest patch and those that hang together with it; None where nothing is sure enough."""
    peak = float(there.max())
    if peak < _LEAST:
        return None
    row, column = (int(place) for place in np.unravel_index(there.argmax(), there.shape))
    rows, columns = _touching(there >= max(_LEAST, peak / 2), row, column)
    side = len(there)
    box = Box(min(columns) / side, min(rows) / side, (max(columns) + 1) / side, (max(rows) + 1) / side)
    return Found(box, peak, _digits(there))


def _touching(there: np.ndarray, row: int, column: int) -> tuple[list[int], list[int]]:
    """Rows and columns of the patches that hang together with the one given."""
    waiting, known = [(row, column)], {(row, column)}
    while waiting:
        r, c = waiting.pop()
        for place in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            inside = 0 <= place[0] < len(there) and 0 <= place[1] < len(there)
            if inside and place not in known and there[place]:
                known.add(place)
                waiting.append(place)
    return [r for r, _ in known], [c for _, c in known]


def _shares(name: str, features: np.ndarray, probes: Probes) -> np.ndarray:
    weight, bias = probes.weights[name]
    grid = round(len(features) ** 0.5)
    return _softmax((features @ weight.T + bias).reshape(grid, grid, -1))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _digits(there: np.ndarray) -> tuple[str, ...]:
    return tuple("".join(str(min(9, int(share * 10))) for share in row) for row in there)


def _clipped(box: Box) -> Box:
    left, top, right, bottom = (min(1.0, max(0.0, float(edge))) for edge in (box.left, box.top, box.right, box.bottom))
    return Box(left, top, right, bottom)


def _read(path: Path) -> Probes:
    from safetensors import safe_open

    with safe_open(path, framework="np") as kept:
        classes = json.loads(kept.metadata()["classes"])
        values = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118  (no mapping)
    weights = {name: (values[f"{name}.weight"], values[f"{name}.bias"]) for name in (*classes, *UNNAMED)}
    limit = float(values["familiar.limit"][0])
    return Probes(weights, classes, Familiar(values["familiar.means"], values["familiar.precision"], limit))
