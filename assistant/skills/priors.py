"""What triage says about a field before agents have decided any ticket: a distribution and where it comes from.

Descriptions and examples of the options speak for every field (`by_similarity`); other priors replace or join them.
The learned heads then refine whatever a prior says.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from assistant.ports import Box, Embedder
from assistant.skills.scorer import Tickets
from assistant.skills.taxonomy import Label

# In standard deviations of the similarity of unrelated sentences: a ticket that is not this far above their mean to any
# example of any option belongs to none of them.
LEAST_SIMILARITY = 2.05
# In the same unit, what similarities are divided by before a softmax. Options that have names alone need .56 to .64
# (bitext, banking77), with examples .41 to .55. Between sets its logarithm has about this standard deviation.
TEMPERATURE, _TEMPERATURES_DIFFER = 0.6, 0.25
ENOUGH_SENTENCES = 4  # of an option, to tell what one of them is like by the others


class SourceKind(StrEnum):
    """What a field's value was decided by."""

    WORDS = "words"  # a rule about what is written, or the name of a product
    PHOTO = "photo"  # what was read in a photo
    SIMILARITY = "similarity"  # to the options' descriptions and examples
    TRAINED = "trained"  # a head that ships with the product
    LEARNED = "learned"  # a head fitted on agents' decisions
    MODEL = "model"  # typed decisions of a vision-language model


@dataclass(frozen=True)
class Place:
    """Characters ``start`` to ``end`` of the text that was triaged, which are ``text``."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Shown:
    """What was read in a photo: a ``field`` of its evidence. ``photo``: which of them, from 0."""

    photo: int
    field: str
    region: Box | None = None


@dataclass(frozen=True)
class Neighbour:
    """A ticket that agents have decided. ``ticket``: its id in the database; ``similarity``: cosine, -1 to 1."""

    ticket: int
    value: str
    similarity: float


@dataclass(frozen=True)
class Source:
    """``words``: those that name the value, of `SourceKind.WORDS`; ``shown``: where photos show it, of
    `SourceKind.PHOTO`; ``decisions``: of agents, that it was learned from, and the ``nearest`` of them, of
    `SourceKind.LEARNED`."""

    kind: SourceKind
    decisions: int = 0
    words: tuple[Place, ...] = ()
    shown: tuple[Shown, ...] = ()
    nearest: tuple[Neighbour, ...] = ()


@dataclass(frozen=True)
class Prior:
    """``probabilities`` sum to 1 over the field's options. ``foreign``: the ticket is unlike all of them; ``danger``:
    the option that stands for danger, if one does."""

    probabilities: Mapping[str, float]
    source: Source
    foreign: bool = False
    danger: str | None = None


def by_similarity(vectors: np.ndarray, options: Sequence[Label], embedder: Embedder) -> Prior:
    """By the part of the ticket, a row of ``vectors`` (s, d), that is most similar to each option."""
    similarities = _similarities(vectors, options, embedder).max(axis=0)
    mean, spread = _scale(embedder)
    shares = map(float, _shares(similarities, options, embedder))
    distribution = dict(zip((label.key for label in options), shares, strict=True))
    foreign = float(similarities.max()) < mean + LEAST_SIMILARITY * spread
    return Prior(distribution, Source(SourceKind.SIMILARITY), foreign)


def shares_by_similarity(vectors: np.ndarray, options: Sequence[Label], embedder: Embedder) -> np.ndarray:
    """(n, options): the same for many tickets ``vectors`` (n, d), each taken as a whole."""
    return _shares(_similarities(vectors, options, embedder), options, embedder)


def _similarities(vectors: np.ndarray, options: Sequence[Label], embedder: Embedder) -> np.ndarray:
    """(n, options): the mean similarity of an option's two nearest sentences."""
    nearest = [
        np.sort(vectors @ sentences.T, axis=1)[:, -2:].mean(axis=1) for sentences in _prototypes(options, embedder)
    ]
    return np.stack(nearest, axis=1)


def _shares(similarities: np.ndarray, options: Sequence[Label], embedder: Embedder) -> np.ndarray:
    from scipy.special import softmax

    divisor = temperature(options, embedder) * _scale(embedder)[1]
    shares: np.ndarray = softmax(similarities / divisor, axis=-1)
    return shares


def temperature(options: Sequence[Label], embedder: Embedder) -> float:
    """How sure similarities make: as sure as the options' own sentences warrant, each of which is compared with all
    others; the fewer there are, the closer to `TEMPERATURE`."""
    key = embedder.name, tuple(options)
    if key not in _temperatures:
        _temperatures[key] = _fit_temperature(_prototypes(options, embedder), _scale(embedder)[1])
    return _temperatures[key]


def _fit_temperature(sentences: Sequence[np.ndarray], spread: float) -> float:
    """The likeliest of the ``sentences`` of each option (m, d), under a normal prior of its logarithm."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    owners = np.repeat(np.arange(len(sentences)), [len(own) for own in sentences])
    asked = np.flatnonzero(np.bincount(owners)[owners] >= ENOUGH_SENTENCES)
    if not len(asked):
        return TEMPERATURE
    everything = np.concatenate(sentences)
    pairs = everything[asked] @ everything.T
    pairs[np.arange(len(asked)), asked] = -1.0
    nearest = [np.sort(pairs[:, owners == option], axis=1)[:, -2:].mean(axis=1) for option in range(len(sentences))]
    similarities, right = np.stack(nearest, axis=1), (np.arange(len(asked)), owners[asked])

    def loss(log: float) -> float:
        said = log_softmax(similarities / (TEMPERATURE * np.exp(log) * spread), axis=1)[right]
        return -float(said.sum()) + (log / _TEMPERATURES_DIFFER) ** 2 / 2

    return float(TEMPERATURE * np.exp(minimize_scalar(loss, bounds=(-2.0, 2.0), method="bounded").x))


@dataclass(frozen=True)
class Left:
    """A description or example of the option ``key``, as if it were a ticket and no sentence of its option's.
    ``shares``: how likely each option is for it, by key."""

    text: str
    key: str
    shares: Mapping[str, float]

    @property
    def taken_for(self) -> str:
        return max(self.shares, key=lambda key: self.shares[key])


def left_out(options: Sequence[Label], embedder: Embedder) -> list[Left]:
    """Each sentence of each option, left out and triaged by the others. Of an option that has one sentence alone
    nothing can be said."""
    vectors = _prototypes(options, embedder)
    owners = np.repeat(np.arange(len(options)), [len(own) for own in vectors])
    everything = np.concatenate(vectors)
    pairs = everything @ everything.T
    np.fill_diagonal(pairs, -np.inf)  # the lowest, and so outside of the nearest two of any that has others
    similarities = np.stack([_of_nearest(pairs[:, owners == option]) for option in range(len(options))], axis=1)
    asked = np.flatnonzero(np.bincount(owners)[owners] > 1)
    shares = _shares(similarities[asked], options, embedder)
    texts = [text for label in options for text in _sentences(label)]
    keys = [label.key for label in options]
    return [
        Left(texts[at], keys[owners[at]], dict(zip(keys, map(float, row), strict=True)))
        for at, row in zip(asked, shares, strict=True)
    ]


def _of_nearest(similarities: np.ndarray) -> np.ndarray:
    """(n,): the mean of the greatest two of each row (n, m), as far as there are two that are not left out."""
    nearest = np.sort(similarities, axis=1)[:, -2:]
    is_there = np.isfinite(nearest)
    found: np.ndarray = np.where(is_there, nearest, 0.0).sum(axis=1) / np.maximum(is_there.sum(axis=1), 1)
    return found


def misread(options: Sequence[Label], embedder: Embedder) -> list[tuple[str, str, str]]:
    """(sentence, key of its option, key of another): what would be taken for another option, were it a ticket."""
    return [(one.text, one.key, one.taken_for) for one in left_out(options, embedder) if one.taken_for != one.key]


def examples(options: Sequence[Label], embedder: Embedder) -> Tickets:
    """The options' descriptions and example sentences, labelled with their option."""
    rows = [(text, label.key) for label in options for text in _sentences(label)]
    texts, labels = zip(*rows, strict=True)
    return Tickets.of(texts, np.concatenate(_prototypes(options, embedder)), labels)


_DANGER = (
    "There is smoke coming out of it.", "Someone was hurt.", "The battery is swelling up.", "It is on fire.",
    "I got an electric shock.",
)  # fmt: skip


def danger(options: Sequence[Label], embedder: Embedder) -> str | None:
    """The option that reports of danger belong to: most similar to four of five of them, and to none by chance."""
    similarities = _similarities(_known(_DANGER, embedder), options, embedder)
    first = similarities.argmax(axis=1)
    best = int(np.bincount(first).argmax())
    mean, spread = _scale(embedder)
    theirs = (first == best) & (similarities[:, best] > mean + LEAST_SIMILARITY * spread)
    return options[best].key if theirs.sum() >= len(_DANGER) - 1 else None


_cache: dict[tuple[str, tuple[Label, ...] | tuple[str, ...]], list[np.ndarray]] = {}
_temperatures: dict[tuple[str, tuple[Label, ...]], float] = {}
_lock = threading.Lock()


def _prototypes(options: Sequence[Label], embedder: Embedder) -> list[np.ndarray]:
    """For each option the vectors (m, d) of its description and examples, embedded once per process."""
    with _lock:
        key = embedder.name, tuple(options)
        if key not in _cache:
            _cache[key] = [_embed(_sentences(label), embedder) for label in options]
        return _cache[key]


def _sentences(label: Label) -> list[str]:
    return [f"{label.name}: {label.description}", *label.examples]


# They have nothing in common.
_UNRELATED = (
    "The ferry to the island leaves at noon.", "Add two eggs and a pinch of salt.", "Parliament adjourned the vote.",
    "My grandmother planted these roses.", "Prime numbers have two divisors.", "The drummer lost his left stick.",
    "Glaciers shape valleys over millennia.", "He tightened the bolts of the bridge.", "Our cat sleeps on the piano.",
    "The court rejected the appeal.", "Fold the paper along the dotted line.", "Whales sing to find each other.",
    "The goalkeeper caught a cold.", "Tax returns are due in spring.", "Mercury is the smallest planet.",
    "She painted the fence dark green.", "Bread rises faster in summer.", "The novel ends in a snowstorm.",
    "Print the form in black and white.", "Bees dance to show the way.",
)  # fmt: skip


def _scale(embedder: Embedder) -> tuple[float, float]:
    """(mean, standard deviation) of the similarity of unrelated sentences: every embedder has its own."""
    vectors = _known(_UNRELATED, embedder)
    pairs = (vectors @ vectors.T)[np.triu_indices(len(vectors), k=1)]
    return float(pairs.mean()), float(pairs.std())


def _known(sentences: tuple[str, ...], embedder: Embedder) -> np.ndarray:
    """(n, d), embedded once per process."""
    with _lock:
        key = embedder.name, sentences
        if key not in _cache:
            _cache[key] = [_embed(sentences, embedder)]
        return _cache[key][0]


def _embed(texts: Sequence[str], embedder: Embedder) -> np.ndarray:
    return np.asarray(embedder.embeddings.embed_documents(list(texts)), dtype=np.float32)
