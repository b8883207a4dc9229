"""Which models are installed: what the product asks before it uses one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from assistant.ports.decisions import DecisionModel
from assistant.ports.photos import OCR, PhotoFeatures, ProductRecogniser, Sight
from assistant.ports.search import Embedder, PhotoEmbedder, Reranker, Scale

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel


class Mode(StrEnum):
    """The installed rung of the capability ladder: what the assistant is trusted to do."""

    NO_VLM = "no_vlm"  # OCR reads photos, embeddings triage, answers are extractive
    SMALL_VLM = "small_vlm"  # the VLM reads photos and decides; answers stay extractive
    FULL_VLM = "full_vlm"  # everything, including written answers
    REMOTE = "remote"  # as FULL_VLM, through an OpenAI-compatible server


def reading_revision(ocr: OCR | None) -> str:
    """The revision of evidence that OCR alone has read."""
    return ocr.name if ocr is not None else "no-ocr"


def _also(revision: str, products: ProductRecogniser | None) -> str:
    return revision if products is None else f"{revision}+{products.name}"


@dataclass(frozen=True)
class Capabilities:
    """What is installed. ``model`` and ``mode`` are part of every response and stored with every result.

    ``revision`` changes whenever the same photo may be read differently: evidence is kept once per photo and revision.
    """

    mode: Mode
    model: str
    revision: str
    embeddings: Embeddings
    embedding_model: str
    embedding_languages: tuple[str, ...] = ()  # that the embeddings read; empty: all
    embedding_source: str = ""  # the setting that loads them
    embedding_scale: Scale | None = None  # None if they have to be calibrated
    # Another embedder by its source, loaded on first use; None if it is not on this machine.
    reopen_embedder: Callable[[str], Embedder | None] = lambda _source: None
    # Reads about a hundred languages, whatever the settings' embedder reads; None if it is not installed.
    second_embedder: Embedder | None = None
    ocr: OCR | None = None
    photo_embedder: PhotoEmbedder | None = None
    reranker: Reranker | None = None
    chat_model: BaseChatModel | None = None
    decisions: DecisionModel | None = None
    sight: Sight | None = None
    # What an operator's own products are learned by, and who knows those that were learned.
    photo_features: PhotoFeatures | None = None
    products: ProductRecogniser | None = None
    # Whether its decisions about a ticket's text count; a model that only knows photos would add noise.
    triages: bool = True
    # Whether the model is given photos. One on another machine may be given what OCR reads alone.
    sees_photos: bool = True

    @property
    def without_model(self) -> Capabilities:
        """What remains while the model fails."""
        return replace(
            self,
            mode=Mode.NO_VLM,
            model=self.ocr.name if self.ocr is not None else "none",
            revision=_also(reading_revision(self.ocr), self.products),
            chat_model=None,
            decisions=None,
            sight=None,
            triages=True,
            sees_photos=True,
        )

    def with_products(self, products: ProductRecogniser) -> Capabilities:
        """Knowing an operator's own products as well: photos may be read differently then."""
        return replace(self, products=products, revision=_also(self.revision, products))

    @property
    def parts(self) -> dict[str, str]:
        """Beside the model: what is installed, by its name."""
        parts = {
            "ocr": self.ocr,
            "second_embedder": self.second_embedder,
            "photo_embedder": self.photo_embedder,
            "photo_features": self.photo_features,
            "reranker": self.reranker,
        }
        return {"embedder": self.embedding_model} | {
            part: getattr(one, "name", type(one).__name__) for part, one in parts.items() if one is not None
        }

    @property
    def embedder(self) -> Embedder:
        return Embedder(
            self.embeddings,
            self.embedding_model,
            self.embedding_source,
            self.embedding_languages,
            self.embedding_scale,
        )

    @property
    def writes_answers(self) -> bool:
        return self.chat_model is not None and self.mode in (Mode.FULL_VLM, Mode.REMOTE)
