"""What search needs of models: vectors of texts and photos, and a second look at the best passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings


@dataclass(frozen=True)
class Embedder:
    """Sentence embeddings and their name. ``name`` is identity and revision: vectors are stored under it, and those of
    different names are never compared. ``source``: the setting that loads it. ``languages`` it reads; empty: all."""

    embeddings: Embeddings
    name: str
    source: str = ""
    languages: tuple[str, ...] = ()


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
