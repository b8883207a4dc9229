"""An operator's own products, recognised from a few photos of each, without a GPU and without training a network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from random import Random

import numpy as np
from PIL import Image

from assistant.media.lights import COLOURS, find_lights
from assistant.ports import Condition, PhotoFeatures, Recognised, TextLine
from assistant.progress import Progress, no_progress
from assistant.skills.own_products.conditions import DAMAGE, INTACT, KINDS, LIGHT, Conditions, Trial, kind_of
from assistant.skills.own_products.recognition import Catalogue, Guess, Recogniser, Reference, Views, Weights, fit
from assistant.skills.own_products.views import ASKED, CROPS, KNOWN, crops, opened, retake
from assistant.skills.own_products.where import where

__all__ = [
    "CROPS",
    "DAMAGE",
    "INTACT",
    "KINDS",
    "LIGHT",
    "Catalogue",
    "Conditions",
    "Guess",
    "OwnProducts",
    "Recogniser",
    "Reference",
    "Trial",
    "Views",
    "Weights",
    "ask_about",
    "conditions_of",
    "glow_of",
    "kind_of",
    "learn",
    "look_at",
    "text_of",
]

# Of a product that has one photo only.
_RETAKES = 3
# What OCR reads of a retake is guessed: each word of its photo with this probability. So OCR alone finds .41 of the
# products of a public set of groceries, and .55 among five; in other photos of the same products .33 and .61.
_READ_AGAIN = 0.15


class OwnProducts:
    """`ProductRecogniser` of a fitted recogniser. Thread-safe if the features are."""

    def __init__(self, recogniser: Recogniser, features: PhotoFeatures, *, name: str) -> None:
        self._recogniser = recogniser
        self._features = features
        self._conditions = conditions_of(recogniser)
        self.name = name

    @property
    def with_conditions(self) -> Collection[str]:
        return self._conditions.products()

    def recognise(self, photo: bytes, lines: Sequence[TextLine]) -> Recognised | None:
        looks = self._features.look(crops(opened(photo), ASKED))
        views = Views(_unit(looks.wholes), text_of(lines))
        guess = self._recogniser.guess(views)
        if not guess.claimed:
            return None
        catalogue = self._recogniser.catalogue
        key, nearest = catalogue.keys[guess.best], catalogue.references[guess.nearest]
        box, heat = where(looks.wholes, looks.places, nearest.views.vectors)
        conditions: tuple[Condition, ...] = ()
        if key in self._conditions.products():
            glow = glow_of(photo) if LIGHT in self._conditions.kinds_of(key) else ()
            conditions = self._conditions.tell(key, views, glow, (looks.wholes, looks.places))
        return Recognised(key, catalogue.names[key][0], guess.probability, nearest.sha256, box, heat, conditions)


def text_of(lines: Sequence[TextLine]) -> str:
    return "\n".join(line.text for line in lines)


def conditions_of(recogniser: Recogniser) -> Conditions:
    return Conditions(recogniser.catalogue, Conditions.worth_of(recogniser.weights.conditions))


def glow_of(photo: bytes) -> tuple[float, ...]:
    """The probability of the likeliest light of each colour."""
    chances = np.array([one.probabilities for one in find_lights(photo, least=0.05)])
    return tuple(map(float, chances.max(axis=0))) if len(chances) else (0.0,) * len(COLOURS)


def look_at(photo: bytes, text: str, features: PhotoFeatures) -> Views:
    """A photo as a reference, or one that is learned from: all its crops."""
    return Views(_unit(features.look(crops(opened(photo))).wholes), text)


def ask_about(photo: bytes, text: str, features: PhotoFeatures) -> Views:
    """A photo of which to tell the product: the crops that are asked about alone."""
    return Views(_unit(features.look(crops(opened(photo), ASKED)).wholes), text)


def learn(
    catalogue: Catalogue,
    features: PhotoFeatures,
    *,
    photo_of: Callable[[Reference], bytes],
    others: Iterable[bytes] = (),
    progress: Progress = no_progress,
) -> Recogniser:
    """Fit a recogniser. ``photo_of``: the bytes of a reference photo. ``others``: photos of other things, of which five
    views each count."""
    counts = np.bincount(catalogue.products, minlength=len(catalogue.keys))
    single = [number for number, product in enumerate(catalogue.products) if counts[product] == 1]
    behind = [photo_of(one) for one in catalogue.references[:: max(1, len(catalogue.references) // 40)]]
    random = Random(0)
    retakes = []
    for done, number in enumerate(single, start=1):
        one = catalogue.references[number]
        photo = opened(photo_of(one))
        for _ in range(_RETAKES):
            scene = retake(photo, opened(random.choice(behind)), random)
            words = " ".join(word for word in one.views.text.split() if random.random() < _READ_AGAIN)
            retakes.append((number, Views(_unit(features.look(crops(scene, ASKED)).wholes), words)))
        progress(done, len(single), "Imagining other photos")
    foreign = []
    for photo in map(opened, others):
        whole, _, *quarters = crops(photo, KNOWN)
        foreign += [
            Views(_unit(features.look(crops(Image.fromarray(part), ASKED)).wholes)) for part in (whole, *quarters)
        ]
    fitted = fit(catalogue, retakes=retakes, others=foreign)
    return Recogniser(catalogue, replace(fitted.weights, conditions=Conditions(catalogue).fitted().to_json()))


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float16)
