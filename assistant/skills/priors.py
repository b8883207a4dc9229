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

from assistant.ports import Capabilities
from assistant.skills.taxonomy import Label

# Divides cosines in the softmax. MiniLM's cosines of matching and other sentences are about 0.2 apart.
TEMPERATURE = 0.07
# A ticket less similar than this to every example of every option belongs to none of them.
LEAST_SIMILARITY = 0.22


class SourceKind(StrEnum):
    """What a field's value was decided by."""

    WORDS = "words"  # a rule about what is written, or the name of a product
    PHOTO = "photo"  # what was read in a photo
    SIMILARITY = "similarity"  # to the options' descriptions and examples
    TRAINED = "trained"  # a head that ships with the product
    LEARNED = "learned"  # a head fitted on agents' decisions
    MODEL = "model"  # typed decisions of a vision-language model


@dataclass(frozen=True)
class Source:
    """``decisions``: of agents, that it was learned from; 0 unless ``kind`` is `SourceKind.LEARNED`."""

    kind: SourceKind
    decisions: int = 0


@dataclass(frozen=True)
class Prior:
    """``probabilities`` sum to 1 over the field's options. ``foreign``: the ticket is unlike all of them."""

    probabilities: Mapping[str, float]
    source: Source
    foreign: bool = False


def by_similarity(vectors: np.ndarray, options: Sequence[Label], capabilities: Capabilities) -> Prior:
    """A softmax over the options' similarities. An option's is the mean similarity of its two nearest sentences to the
    part of the ticket, a row of ``vectors`` (s, d), where that is highest."""
    from scipy.special import softmax

    scores = np.empty(len(options))
    for number, examples in enumerate(_prototypes(options, capabilities)):
        nearest = np.sort(vectors @ examples.T, axis=1)[:, ::-1][:, :2]
        scores[number] = nearest.mean(axis=1).max()
    shares = map(float, softmax(scores / TEMPERATURE))
    distribution = dict(zip((label.key for label in options), shares, strict=True))
    return Prior(distribution, Source(SourceKind.SIMILARITY), foreign=float(scores.max()) < LEAST_SIMILARITY)


_prototype_cache: dict[tuple[str, tuple[Label, ...]], list[np.ndarray]] = {}
_prototype_lock = threading.Lock()


def _prototypes(options: Sequence[Label], capabilities: Capabilities) -> list[np.ndarray]:
    """For each option the vectors (m, d) of its description and examples, embedded once per process."""
    key = (capabilities.embedding_model, tuple(options))
    with _prototype_lock:
        if key not in _prototype_cache:
            _prototype_cache[key] = [
                np.asarray(
                    capabilities.embeddings.embed_documents([f"{label.name}: {label.description}", *label.examples]),
                    dtype=np.float32,
                )
                for label in options
            ]
        return _prototype_cache[key]
