"""What search needs of models: vectors of texts and photos, and a second look at the best passages.

Every embedder has cosines of its own: two unrelated texts have about .03 by all-MiniLM-L6-v2 and .74 by E5. So nobody
compares cosines with a constant, but similarities, on a scale that all embedders share. It is that of MiniLM's cosines:
a passage and the heading of another one have about `UNRELATED`, a passage and its own heading about `RELATED`, and 1 is
the same text. A `Scale` leads there, and `calibrate` finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

# Means of MiniLM's cosines, measured on stackfaq, emanual_tv and anthropic_docs: .08, .15, .11 and .77, .62, .56.
UNRELATED, RELATED = 0.11, 0.65
# By MiniLM, own headings are 5 to 6 standard deviations of the others away from them; by random vectors, none.
_TOLD_APART = 2.0
# From so many standard deviations between own and other passages on, similarity is believed fully.
_CLEAR = 2.0


@dataclass(frozen=True)
class Scale:
    """From an embedder's cosines to similarities: ``slope * (cosine - floor)``. Cosines that are similarities already
    need no change."""

    floor: float = 0.0
    slope: float = 1.0

    def similarities(self, cosines: np.ndarray) -> np.ndarray:
        """At least -1, at most 1."""
        found: np.ndarray = ((cosines - self.floor) * self.slope).clip(-1.0, 1.0)
        return found

    def cosine(self, similarity: float) -> float:
        return self.floor + similarity / self.slope


@dataclass(frozen=True)
class Standing:
    """How far passages stand out from the rest of a knowledge base, in standard deviations of its similarities to a
    question: the best one of the article that answers (``own``), and the best one of the ``others``.

    Where every article is about the same thing, as in one long manual, the others stand out as far, and similarity says
    nothing about what answers."""

    own: float
    others: float

    def tells(self, deviations: float) -> float:
        """How much more than the best wrong passages one stands out that lies so far above the rest, in fifths of a
        deviation; less where similarity tells right from wrong less well."""
        return min(1.0, max(0.0, (self.own - self.others) / _CLEAR)) * (deviations - self.others) / 5


# Measured on the sample company's articles, by both embedders.
USUAL_STANDING = Standing(own=3.9, others=2.1)


def calibrate(unrelated: np.ndarray, related: np.ndarray) -> Scale:
    """The scale of an embedder by whose cosines questions are ``unrelated`` and ``related`` to texts: (n,) and (m,),
    at least one each. An embedder that cannot tell them apart says nothing: by it, all texts are unrelated."""
    low, high, spread = float(unrelated.mean()), float(related.mean()), float(unrelated.std())
    if high - low <= _TOLD_APART * spread:
        return Scale(floor=-1.0, slope=UNRELATED / 2)
    slope = (RELATED - UNRELATED) / (high - low)
    return Scale(low - UNRELATED / slope, slope)


@dataclass(frozen=True)
class Embedder:
    """Sentence embeddings and their name. ``name`` is identity and revision: vectors are stored under it, and those of
    different names are never compared. ``source``: the setting that loads it. ``languages`` it reads; empty: all.
    ``scale``: None if it has to be calibrated."""

    embeddings: Embeddings
    name: str
    source: str = ""
    languages: tuple[str, ...] = ()
    scale: Scale | None = None

    def reads(self, language: str) -> bool:
        return not self.languages or language in self.languages


class PhotoEmbedder(Protocol):
    """Turns photos into vectors; photos that look alike lie close together. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """Identity and revision: what vectors are stored under."""
        ...

    def embed(self, photos: Sequence[bytes]) -> list[list[float]]:
        """Unit vectors. ``photos``: encoded images as `media` normalises them."""
        ...


class Reranker(Protocol):
    """Reads question and passage together and scores how well they match. Safe to call from several threads."""

    @property
    def name(self) -> str: ...

    def scores(self, question: str, passages: Sequence[str], *, seconds: float) -> list[float]:
        """For the first passages, as many as can be read in about so many seconds; higher is better."""
        ...
