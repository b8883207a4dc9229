"""What the small model sees in a photo before it writes a word: `probes` on the features of its vision tower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import label
from scipy.special import softmax

from assistant.engine.batching.chat_model import open_image
from assistant.engine.batching.engine import Engine
from assistant.engine.loader import LoadedModel
from assistant.engine.models.probes import WHOLE, Probes
from assistant.ports import Box, Found, Seen, Sought

# A patch belongs to a region if the probe is at least this certain, and half as certain as at its peak.
_LEAST = 0.25
# Damage, or a light and its colour, is reported from this probability on.
_CERTAIN = 0.5
# Half the side of a light's box, in patches: most lights are smaller than a patch.
_AROUND_LIGHT = 0.75


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
        damage, probability = _classify("damage", self.features, self.probes)
        if damage and probability < _CERTAIN:  # customers are not told of damage on a guess
            damage, probability = "", 1 - probability
        return Seen(
            familiar=self.probes.familiar.knows(self.features),
            of=_classify("of", self.features, self.probes),
            damage=(damage, probability),
            lights=tuple((colour, probability) for _, colour, probability in _lights(self.features, self.probes)),
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


def find(sought: Sought, features: np.ndarray, probes: Probes) -> Found | None:
    """Where the probe for its kind sees it."""
    name = {"product": "bodies", "light": "lights", "damage": "damages"}[sought.kind]
    weight, bias = probes.weights[name]
    grid = round(len(features) ** 0.5)
    shares = softmax((features @ weight.T + bias).reshape(grid, grid, -1), axis=-1)
    classes = list(probes.classes[name])
    values = sought.value.split(", ")
    wanted = [classes.index(value) + 1 for value in dict.fromkeys(values) if value in classes]
    there = shares[..., wanted].sum(-1) if wanted else 1 - shares[..., 0]
    return _find_lights(values, there, features, probes) if sought.kind == "light" else _find_region(there)


def _classify(name: str, features: np.ndarray, probes: Probes) -> tuple[str, float]:
    """The likeliest class of the whole photo, "" for class 0, with its probability."""
    rows, offsets = (part[WHOLE.index(name)] for part in probes.weights["pool"])
    weight, bias = probes.weights[name]
    shares = softmax(weight @ (softmax(features @ rows + offsets) @ features) + bias)
    best = int(shares.argmax())
    return ("", *probes.classes[name])[best], float(shares[best])


def _lights(features: np.ndarray, probes: Probes) -> list[tuple[int, str, float]]:
    """Number, colour and probability of each light that is there, in order."""
    lights = slice(len(WHOLE), len(WHOLE) + len(probes.weights["place"][1]))
    rows, offsets = (part[lights] for part in probes.weights["pool"])
    weight, bias = probes.weights["row"]
    pooled = softmax(rows @ features.T + offsets[:, None], axis=-1) @ features
    shares = softmax(pooled @ weight.T + bias, axis=-1)
    best = zip(shares.argmax(-1).tolist(), shares.max(-1).tolist(), strict=True)
    colours = probes.classes["row"]
    return [(number, colours[one - 1], share) for number, (one, share) in enumerate(best) if one and share >= _CERTAIN]


def _find_lights(colours: Sequence[str], there: np.ndarray, features: np.ndarray, probes: Probes) -> Found | None:
    """The lights of these colours, each in a box of its own."""
    lights = [(number, share) for number, colour, share in _lights(features, probes) if colour in colours]
    if not lights:
        return None
    points = _light_points(features, probes)
    reach = _AROUND_LIGHT / len(there)
    boxes = [_box(x - reach, y - reach, x + reach, y + reach) for x, y in (points[number] for number, _ in lights)]
    around = Box(
        min(box.left for box in boxes), min(box.top for box in boxes),
        max(box.right for box in boxes), max(box.bottom for box in boxes),
    )  # fmt: skip
    parts = tuple(boxes) if len(boxes) > 1 else ()
    return Found(around, min(share for _, share in lights), _digits(there), parts)


def _light_points(features: np.ndarray, probes: Probes) -> np.ndarray:
    """(lights, 2): where each would be, x and y as fractions of the photo's width and height."""
    grid = round(len(features) ** 0.5)
    rows, offsets = probes.weights["place"]
    weight, bias = probes.weights["offset"]
    down, right = np.divmod(np.arange(len(features)), grid)
    middles = np.stack([right, down], axis=-1) + 0.5  # (patches, 2)
    attention = softmax(rows @ features.T + offsets[:, None], axis=-1)
    return np.asarray(attention @ (middles + features @ weight.T + bias) / grid)


def _find_region(there: np.ndarray) -> Found | None:
    """The patch with the highest share and those connected with it; None where none is certain enough."""
    peak = float(there.max())
    if peak < _LEAST:
        return None
    regions, _ = label(there >= max(_LEAST, peak / 2))
    rows, columns = np.nonzero(regions == regions.flat[there.argmax()])
    side = len(there)
    box = _box(columns.min() / side, rows.min() / side, (columns.max() + 1) / side, (rows.max() + 1) / side)
    return Found(box, peak, _digits(there))


def _digits(there: np.ndarray) -> tuple[str, ...]:
    return tuple("".join(str(min(9, int(share * 10))) for share in row) for row in there)


def _box(*edges: float) -> Box:
    """Within the photo; in Python's own numbers, which JSON can store."""
    return Box(*(min(1.0, max(0.0, float(edge))) for edge in edges))
