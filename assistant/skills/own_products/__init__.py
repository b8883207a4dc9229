"""An operator's own products, recognised from a few photos of each, without a GPU and without training a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

import numpy as np
from PIL import Image

from assistant.ports import PhotoFeatures, Recognised, TextLine
from assistant.progress import Progress, no_progress
from assistant.skills.own_products.recognition import Catalogue, Guess, Recogniser, Reference, Views, Weights, fit
from assistant.skills.own_products.views import ASKED, CROPS, KNOWN, crops, opened, retake
from assistant.skills.own_products.where import where

__all__ = [
    "CROPS",
    "Catalogue",
    "Guess",
    "OwnProducts",
    "Recogniser",
    "Reference",
    "Views",
    "Weights",
    "ask_about",
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
        self.name = name

    def recognise(self, photo: bytes, lines: Sequence[TextLine]) -> Recognised | None:
        looks = self._features.look(crops(opened(photo), ASKED))
        guess = self._recogniser.guess(Views(_unit(looks.wholes), text_of(lines)))
        if not guess.claimed:
            return None
        catalogue = self._recogniser.catalogue
        key, nearest = catalogue.keys[guess.best], catalogue.references[guess.nearest]
        box, heat = where(looks.wholes, looks.places, nearest.views.vectors)
        return Recognised(key, catalogue.names[key][0], guess.probability, nearest.sha256, box, heat)


def text_of(lines: Sequence[TextLine]) -> str:
    return "\n".join(line.text for line in lines)


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
    return fit(catalogue, retakes=retakes, others=foreign)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float16)
