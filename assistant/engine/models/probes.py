"""Linear probes on the features of the small model's vision tower, and the file that keeps them beside its weights.

A probe is one linear layer, trained beside the model on photos whose every patch is known (`lab.training.patches`);
only the small model has them. Some classify the whole photo, some each patch, some the place of each light. They show
what the tower's features hold, which the model's answers are based on; they do not prove that an answer was based on
that very place. Their resolution is one patch, a sixteenth of the photo's side; only lights, which are that small, are
located within their patch.

For a photo unlike anything in training, nothing the model says means anything. How unlike it is: the Mahalanobis
distance of the tower's mean features to the nearest of the means of each product or document in training (Lee et al.
2018, "A simple unified framework for detecting out-of-distribution samples").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assistant.engine.checkpoint import Checkpoint, files

FILE = "probes.safetensors"
# Layers that do not classify.
UNNAMED = ("pool", "place", "offset")
# What is classified for the whole photo, besides its lights.
WHOLE = ("of", "damage")


@dataclass(frozen=True)
class Familiar:
    """The photos of training: the mean of the tower's mean features for each thing they show (things, width), the
    inverse covariance around them (width, width), and the distance beyond which a photo is foreign."""

    means: np.ndarray
    precision: np.ndarray
    limit: float

    def distance(self, features: np.ndarray) -> float:
        """From a photo's features (patches, width) to the nearest thing."""
        apart = features.mean(0) - self.means
        return float(np.sqrt(np.einsum("tw,wv,tv->t", apart, self.precision, apart).min()))

    def knows(self, features: np.ndarray) -> bool:
        return self.distance(features) <= self.limit


@dataclass(frozen=True)
class Probes:
    """Linear layers by name, (classes, width) and (classes,), and the name of each class; class 0 is "nothing".

    Layer ``pool`` weighs the patches: a row for each of `WHOLE`, then one for each light, whose colours are classified
    by layer ``row``. Layer ``place``, too, has a row for each light: the patches it is in. ``offset`` (2, width): how
    far right of and below a patch's middle its content is, in patches."""

    weights: Mapping[str, tuple[np.ndarray, np.ndarray]]
    classes: Mapping[str, Sequence[str]]
    familiar: Familiar


def read_probes(checkpoint: Checkpoint) -> Probes | None:
    """None for a checkpoint without probes."""
    folder = files(checkpoint)
    if folder is None or not (folder / FILE).is_file():
        return None
    from safetensors import safe_open

    with safe_open(folder / FILE, framework="np") as file:
        classes = json.loads(file.metadata()["classes"])
        values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    weights = {name: (values[f"{name}.weight"], values[f"{name}.bias"]) for name in (*classes, *UNNAMED)}
    limit = float(values["familiar.limit"][0])
    return Probes(weights, classes, Familiar(values["familiar.means"], values["familiar.precision"], limit))


def write_probes(probes: Probes, folder: Path) -> None:
    """Beside the model's weights."""
    from safetensors.numpy import save_file

    values = {"familiar.means": probes.familiar.means, "familiar.precision": probes.familiar.precision}
    values["familiar.limit"] = np.array([probes.familiar.limit], np.float32)
    for name, (weight, bias) in probes.weights.items():
        values |= {f"{name}.weight": weight, f"{name}.bias": bias}
    contiguous = {name: np.ascontiguousarray(array, np.float32) for name, array in values.items()}
    classes = {name: list(names) for name, names in probes.classes.items()}
    save_file(contiguous, folder / FILE, metadata={"classes": json.dumps(classes)})
