"""How well the lights of devices that nobody has learned are told (`media.lights`), on drawn devices and on photos of
other things; and the fit of what finds them, on drawn devices of other numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assistant.lab.evaluation.light_scenes import CALIBRATION, EVALUATION, LightScene, draw
from assistant.lab.statistics import calibration_error, reliability
from assistant.lab.tables import table
from assistant.media import lights
from assistant.media.files import Upload
from assistant.media.lights import COLOURS, DEPTH, SHAPE, TINT, Candidate, candidates
from assistant.media.photo import Limits, Photo, normalise
from assistant.progress import Progress, no_progress
from assistant.skills.lights import claimed

if TYPE_CHECKING:
    from sklearn.ensemble import GradientBoostingClassifier

BINS = 10
_PHOTOS = {".jpg", ".jpeg", ".png", ".webp"}
_TREES, _FOLDS = 300, 5
# A light may be found as its core or with its glow.
_LOOSE = 0.6


@dataclass(frozen=True)
class Score:
    """Of ``lights`` in ``photos`` the share that was ``claimed``; of what was claimed the share whose colour and place
    are ``right``, and its calibration error. ``whole``: of the photos of which something was claimed, those of which
    all was right and nothing left out. ``dark``: photos without lights of which something was claimed, of ``unlit``."""

    of: str
    photos: int
    lights: int
    claimed: float
    right: float
    calibration_error: float
    whole: float
    dark: int
    unlit: int


@dataclass(frozen=True)
class Foreign:
    """Photos of a folder without lights, and those of which some are ``claimed``, by whether their product is
    recognised."""

    folder: str
    photos: int
    claimed: int
    of_product: int


@dataclass(frozen=True)
class Report:
    scores: tuple[Score, ...]
    foreign: tuple[Foreign, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        header = ("device", "photos", "lights", "claimed", "right", "ECE", "photo right", "false", "unlit")
        lines = [*table(header, [tuple(asdict(one).values()) for one in self.scores])]
        lines += [
            "\nclaimed: share of the lights. right: of those, colour and place. photo right: of photos with a claim,",
            "all lights and no others. false: photos without lights of which some were claimed, of so many.",
        ]
        if self.foreign:
            columns = ("photos of other things", "photos", "claimed", "if a product were recognised")
            lines += ["", *table(columns, [tuple(asdict(one).values()) for one in self.foreign])]
        return "\n".join(lines)


def evaluate_lights(count: int, foreign: Sequence[Path], *, progress: Progress = no_progress) -> Report:
    """On ``count`` drawn scenes, and of what is claimed of the photos in folders of other things."""
    scenes, found = [], []
    for number in range(count):
        scenes.append(draw(number, EVALUATION))
        found.append(lights.find_lights(scenes[-1].photo, least=0.0))
        progress(number + 1, count, "Looking for lights")
    scores = tuple(
        _score(of, scenes, [claimed(own, is_known=is_known) for own in found])
        for of, is_known in (("unknown", False), ("recognised", True))
    )
    return Report(scores, tuple(_foreign(folder) for folder in foreign))


def fit(count: int, file: Path, *, progress: Progress = no_progress) -> None:
    """Fit what finds lights to ``count`` scenes, and write its file."""
    rows, truths, scene_of = [], [], []
    for number in range(count):
        scene = draw(number, CALIBRATION)
        for one, truth in labelled(scene, candidates(scene.photo)):
            rows.append(one.described)
            truths.append(truth)
            scene_of.append(number)
        progress(number + 1, count, "Drawing devices")
    parts: dict[str, Any] = fitted(np.stack(rows), np.array(truths), np.array(scene_of))
    np.savez_compressed(file, **parts)


def fitted(described: np.ndarray, truths: np.ndarray, scenes: np.ndarray) -> dict[str, np.ndarray]:
    """What `media.lights.Finder` knows, fitted to (n, features) candidates, their (n,) ``truths``, 0 for no light, and
    the numbers of their ``scenes``: what the trees say of scenes that they were not fitted to becomes a probability."""
    from sklearn.linear_model import LogisticRegression

    shape, lit = described[:, SHAPE], truths > 0
    said = np.zeros(len(shape))
    for fold in range(_FOLDS):
        held = scenes % _FOLDS == fold
        said[held] = _boosted(shape[~held], lit[~held]).decision_function(shape[held])
    worth = LogisticRegression(C=1e3).fit(said[:, None], lit)
    trees = _boosted(shape, lit)
    tints = described[lit][:, TINT]
    mean, spread = tints.mean(axis=0), tints.std(axis=0) + 1e-6
    colours = LogisticRegression(C=1.0, max_iter=3000).fit(((tints - mean) / spread).clip(-5, 5), truths[lit])
    features, thresholds, leaves = (np.stack(one) for one in zip(*map(_heap, trees.estimators_[:, 0]), strict=True))
    start = float(trees.decision_function(shape[:1])[0]) - trees.learning_rate * float(
        sum(tree.predict(shape[:1].astype(np.float32))[0] for tree in trees.estimators_[:, 0])
    )
    slope, offset = float(worth.coef_[0, 0]), float(worth.intercept_[0])
    return {
        "features": features.astype(np.uint8), "thresholds": thresholds.astype(np.float32),
        "leaves": (trees.learning_rate * leaves).astype(np.float32),
        "worth": np.array([slope, offset + slope * start], dtype=np.float32),
        "mean": mean, "spread": spread, "weights": colours.coef_.T.astype(np.float32),
        "bias": colours.intercept_.astype(np.float32),
    }  # fmt: skip


def _boosted(shape: np.ndarray, lit: np.ndarray) -> GradientBoostingClassifier:
    from sklearn.ensemble import GradientBoostingClassifier

    trees = GradientBoostingClassifier(
        n_estimators=_TREES, learning_rate=0.05, max_depth=DEPTH, subsample=0.6, max_features=8, min_samples_leaf=5,
        random_state=0,
    )  # fmt: skip
    return trees.fit(shape, lit)


def _heap(regressor: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tree as a full one: features and thresholds of its inner nodes, values of its leaves. Where it ends early,
    nodes that send everything on stand in."""
    tree, inner = regressor.tree_, 2**DEPTH - 1
    features, thresholds = np.zeros(inner, dtype=int), np.full(inner, np.inf)
    leaves = np.zeros(inner + 1)
    nodes = {0: 0}
    for at in range(2 * inner + 1):
        node = nodes[at]
        is_leaf = tree.children_left[node] < 0
        if at >= inner:
            leaves[at - inner] = tree.value[node].item()
        else:
            nodes[2 * at + 1] = node if is_leaf else int(tree.children_left[node])
            nodes[2 * at + 2] = node if is_leaf else int(tree.children_right[node])
            if not is_leaf:
                features[at], thresholds[at] = tree.feature[node], tree.threshold[node]
    return features, thresholds, leaves


def labelled(scene: LightScene, found: Sequence[Candidate]) -> Iterator[tuple[Candidate, int]]:
    """Each candidate with 0 for no light, else the number of its colour, from 1."""
    for one in found:
        own = _shown(one.box, scene)
        yield one, 0 if own is None else 1 + COLOURS.index(scene.lights[own].colour)


def _shown(edges: tuple[float, ...], scene: LightScene) -> int | None:
    """The number of the light that a box shows."""
    left, top, right, bottom = edges
    for number, one in enumerate(scene.lights):
        box, x, y = one.box, (left + right) / 2, (top + bottom) / 2
        wide, tall = box.right - box.left, box.bottom - box.top
        near = (
            abs(x - (box.left + box.right) / 2) < _LOOSE * wide and abs(y - (box.top + box.bottom) / 2) < _LOOSE * tall
        )
        if near and right - left < 5 * wide and bottom - top < 5 * tall:
            return number
    return None


def _score(of: str, scenes: Sequence[LightScene], found: Sequence[Sequence[lights.Light]]) -> Score:
    sure, right, whole, taken = [], [], [], 0
    for scene, own in zip(scenes, found, strict=True):
        shown = [_shown(one.box, scene) for one in own]
        fits = [
            number is not None and scene.lights[number].colour == one.colour
            for number, one in zip(shown, own, strict=True)
        ]
        sure += [one.probability for one in own]
        right += fits
        taken += len({number for number in shown if number is not None})
        if own:
            whole.append(all(fits) and len(set(shown)) == len(scene.lights))
    unlit = [own for scene, own in zip(scenes, found, strict=True) if not scene.lights]
    total = sum(len(scene.lights) for scene in scenes)
    truth = np.array(right, dtype=float)
    return Score(
        of, len(scenes), total, taken / max(total, 1), float(truth.mean()) if right else 0.0,
        calibration_error(reliability(np.array(sure), truth, bins=BINS)) if right else 0.0,
        float(np.mean(whole)) if whole else 0.0, sum(map(bool, unlit)), len(unlit),
    )  # fmt: skip


def _foreign(folder: Path) -> Foreign:
    counts: Counter[str] = Counter()
    for file in sorted(one for one in folder.rglob("*") if one.suffix.lower() in _PHOTOS):
        photo = normalise(Upload(file.name, None, file.read_bytes()), Limits())
        if isinstance(photo, Photo):
            found = lights.find_lights(photo.data, least=0.0)
            counts["photos"] += 1
            counts["claimed"] += bool(claimed(found, is_known=False))
            counts["of_product"] += bool(claimed(found, is_known=True))
    return Foreign(folder.name, counts["photos"], counts["claimed"], counts["of_product"])
