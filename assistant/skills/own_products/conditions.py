"""In which condition a recognised product is: told by reference photos of its conditions, or not at all.

Conditions exclude each other within a kind: intact or damaged, a red or a green light, a part there or missing. For
each kind of each product a ridge regression over frozen features says which one; there are few photos, so all of them
are left out in turn, each regression is made anew, and what comes out is what a margin is worth: its probability, and
the bound under which nothing is claimed. Of lights, those that `media.lights` finds count as features, too.

Where it is: the photo's places that are more like photos in this condition than like those in the other ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from assistant.ports import Box, Condition
from assistant.skills.own_products.recognition import Catalogue, Reference, Views
from assistant.skills.own_products.views import ASKED
from assistant.skills.own_products.where import difference

DAMAGE, LIGHT, PART, DISPLAY, OTHER = KINDS = ("damage", "light", "part", "display", "other")
INTACT = "intact"
_WORDS = {
    LIGHT: ("light", "lights", "led", "lamp", "licht", "lampe"),
    PART: ("part", "parts", "missing", "teil", "fehlt"),
    DISPLAY: ("display", "screen", "anzeige"),
    DAMAGE: (INTACT, "damaged", "damage", "broken", "cracked", "torn", "scratched", "crushed", "leaking", "dented",
             "ok", "beschädigt", "heil"),
}  # fmt: skip
_FEWEST = 2  # photos of a condition, of which each is left out in turn
_RIDGE = 0.05
# A margin's worth before anything is known: slope and its pull, and what is claimed: this probability and more.
_SLOPE, _PULL, _SURE = 3.0, 0.5, 0.7
# Of margins above the bound, at most this share may be wrong, as if one more were: so five photos that are told right
# must lie above it, or twelve if one is wrong.
_WRONG = 0.15


@dataclass(frozen=True)
class Trial:
    """Of the ``photos`` of a kind of conditions of a ``product``, each left out in turn: how many are right, of
    how many a condition is ``claimed``, and how many of those are right."""

    product: str
    kind: str
    conditions: Mapping[str, int]
    photos: int
    right: int
    claimed: int
    claimed_right: int


@dataclass(frozen=True)
class Worth:
    """What a margin is worth: its probability is that of a logistic curve; below the ``bound`` it is nothing."""

    slope: float = _SLOPE
    offset: float = 0.0
    bound: float = np.inf

    def probability(self, margin: float) -> float:
        return float(1 / (1 + np.exp(-(self.slope * margin + self.offset))))

    def is_claimed(self, margin: float) -> bool:
        return margin > self.bound and self.probability(margin) >= _SURE


def kind_of(condition: str) -> str:
    """What a condition is about, by the words of its name: "light red" is a light's."""
    words = condition.casefold().replace("-", " ").replace("_", " ").split()
    return next((kind for kind in (LIGHT, PART, DISPLAY, DAMAGE) if set(words) & set(_WORDS[kind])), OTHER)


class Conditions:
    """Immutable and thread-safe."""

    def __init__(self, catalogue: Catalogue, worth: Mapping[tuple[str, str], Worth] | None = None) -> None:
        """``worth`` of margins by product and kind, as `fitted` has found it; without it nothing is claimed."""
        self._worth = worth or {}
        groups: dict[tuple[str, str], list[Reference]] = {}
        for one in catalogue.references:
            if one.condition:
                groups.setdefault((one.product, one.kind), []).append(one)
        self._groups = {at: own for at, own in groups.items() if len({one.condition for one in own}) > 1}

    def __bool__(self) -> bool:
        return bool(self._groups)

    def products(self) -> set[str]:
        return {product for product, _ in self._groups}

    def kinds_of(self, product: str) -> set[str]:
        return {kind for of, kind in self._groups if of == product}

    def fitted(self) -> Conditions:
        """The same, with what margins are worth by photos that were left out."""
        found = copy(self)
        found._worth = {
            at: _worth([(margin, right) for _, margin, right in _left_out(own)]) for at, own in self._groups.items()
        }
        return found

    def to_json(self) -> list[Any]:
        """Of what was fitted; a bound that nothing exceeds is null."""
        return [
            [*at, one.slope, one.offset, one.bound if np.isfinite(one.bound) else None]
            for at, one in self._worth.items()
        ]

    @staticmethod
    def worth_of(stored: Sequence[Any]) -> dict[tuple[str, str], Worth]:
        return {
            (product, kind): Worth(slope, offset, np.inf if bound is None else bound)
            for product, kind, slope, offset, bound in stored
        }

    def trials(self) -> Iterator[Trial]:
        """As if what margins are worth had been known before: it is fitted to the same photos, with three numbers."""
        for (product, kind), own in self._groups.items():
            worth = self._worth.get((product, kind), Worth())
            out = _left_out(own)
            claims = [right for _, margin, right in out if worth.is_claimed(margin)]
            yield Trial(
                product, kind, dict(Counter(one.condition for one in own)), len(out), sum(right for *_, right in out),
                len(claims), sum(claims),
            )  # fmt: skip

    def tell(
        self, product: str, views: Views, glow: Sequence[float], looks: tuple[np.ndarray, np.ndarray]
    ) -> tuple[Condition, ...]:
        """What is claimed of a photo of the product, one of each kind at most. ``looks``: wholes and places of the
        crops that are asked about."""
        return tuple(
            found
            for (of, kind), own in self._groups.items()
            if of == product and (found := self._tell((of, kind), views, glow, looks)) is not None
        )

    def _tell(
        self, at: tuple[str, str], views: Views, glow: Sequence[float], looks: tuple[np.ndarray, np.ndarray]
    ) -> Condition | None:
        own, worth, kind = self._groups[at], self._worth.get(at, Worth()), at[1]
        if not np.isfinite(worth.bound):
            return None
        asked = _described(views, glow, kind)
        known = np.stack([_described(one.views, one.glow, kind) for one in own])
        names = [one.condition for one in own]
        best, margin = _choose(known, names, asked)
        if names.count(best) < _FEWEST or not worth.is_claimed(margin):
            return None
        like = [number for number, name in enumerate(names) if name == best]
        nearest = own[max(like, key=lambda number: float(known[number] @ asked))]
        box: Box | None = None
        heat: tuple[str, ...] = ()
        if best != INTACT:
            others = np.concatenate([one.views.vectors for one in own if one.condition != best])
            box, heat = difference(*looks, np.concatenate([own[number].views.vectors for number in like]), others)
        return Condition(kind, best, worth.probability(margin), nearest.sha256, box, heat)


def _described(views: Views, glow: Sequence[float], kind: str) -> np.ndarray:
    """(d,): whole photo, mean and most of its small crops, and for a light those that shine."""
    vectors = (views.vectors[list(ASKED)] if len(views.vectors) > len(ASKED) else views.vectors).astype(np.float32)
    parts = [vectors[:2].mean(axis=0), vectors[2:].mean(axis=0), vectors[2:].max(axis=0)]
    parts = [part / max(float(np.linalg.norm(part)), 1e-9) for part in parts]
    if kind == LIGHT and len(glow):
        shining = np.array([*glow, 0.3], dtype=np.float32)
        parts.append(2 * shining / np.linalg.norm(shining))
    return np.asarray(np.concatenate(parts) / np.sqrt(len(parts)))


def _choose(known: np.ndarray, names: Sequence[str], asked: np.ndarray) -> tuple[str, float]:
    """The likeliest condition and by how much it is ahead of the next, by ridge regression on conditions that count
    alike, however many photos they have."""
    conditions = sorted(set(names))
    aims = np.array([[float(name == one) for one in conditions] for name in names])
    weights = 1 / np.array([names.count(name) for name in names])
    weights /= weights.sum()
    centre = weights @ known
    rows, point = known - centre, asked - centre
    mean = weights @ aims
    scale = np.sqrt(weights)[:, None]
    kernel = (rows * scale) @ (rows * scale).T
    level = _RIDGE * float(np.trace(kernel)) + 1e-9
    duals = np.linalg.solve(kernel + level * np.eye(len(rows)), scale * (aims - mean))
    scores = mean + ((rows * scale) @ point) @ duals
    order = np.argsort(-scores)
    return conditions[order[0]], float(scores[order[0]] - scores[order[1]])


def _left_out(own: Sequence[Reference]) -> list[tuple[str, float, bool]]:
    """What is said of each photo without it, by how much, and whether that is right. Only of conditions that have
    others."""
    names = [one.condition for one in own]
    known = np.stack([_described(one.views, one.glow, one.kind) for one in own])
    found = []
    for number, name in enumerate(names):
        if names.count(name) >= _FEWEST:
            rest = [other for other in range(len(names)) if other != number]
            said, margin = _choose(known[rest], [names[other] for other in rest], known[number])
            found.append((said, margin, said == name))
    return found


def _worth(margins: Sequence[tuple[float, bool]]) -> Worth:
    """By logistic regression with a pull towards the usual slope, as if one more had been right and one wrong."""
    from scipy.optimize import minimize

    if not margins:
        return Worth()
    sizes = np.array([margin for margin, _ in margins])
    right = np.array([float(one) for _, one in margins])
    aims = right * (1 - 2 / (len(right) + 2)) + 1 / (len(right) + 2)

    def loss(parts: np.ndarray) -> float:
        logits = parts[0] * sizes + parts[1]
        own = np.logaddexp(0, logits) - aims * logits
        return float(own.sum() + _PULL * (np.log(max(parts[0], 1e-3) / _SLOPE) ** 2 + parts[1] ** 2))

    slope, offset = minimize(loss, np.array([_SLOPE, 0.0]), method="Nelder-Mead").x
    return Worth(float(max(slope, 1e-3)), float(offset), _bound(sizes, right))


def _bound(sizes: np.ndarray, right: np.ndarray) -> float:
    """The least margin above which few are wrong."""
    order = np.argsort(-sizes)
    wrong = (1 + np.cumsum(1 - right[order])) / (3 + np.arange(len(order)))
    good = np.flatnonzero(wrong <= _WRONG)
    if not len(good):
        return np.inf
    last = int(good[-1])
    return float(sizes[order[last + 1]]) if last + 1 < len(order) else 0.0
