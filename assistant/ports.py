"""The seams between the product and its models, beyond LangChain's own interfaces.

Chat models, embeddings, retrievers and documents are LangChain's. What LangChain has no word for stands here:
reading text in a photo, and deciding typed questions with a probability for every option. The engine implements
these, the skills use them, the tests fake them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel


@dataclass(frozen=True)
class Box:
    """A region of a photo. Fractions of its width and height, 0 to 1, origin at the top left."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class TextLine:
    """One line of text found in a photo. ``confidence`` is the reader's own score, 0 to 1."""

    text: str
    confidence: float
    box: Box


class OCR(Protocol):
    """Reads the text in a photo, in reading order. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """Name and version of what reads: part of the model revision that evidence is kept under."""
        ...

    def read(self, photo: bytes) -> list[TextLine]:
        """``photo``: an encoded image as `media` normalises it (JPEG or PNG, RGB, upright)."""
        ...


@dataclass(frozen=True)
class Question:
    """A typed question: the answer is exactly one of ``options``.

    ``descriptions`` may say what each option means, in the same order; shown to the model, never returned.
    """

    key: str
    text: str
    options: tuple[str, ...]
    descriptions: tuple[str, ...] = ()
    kind: Literal["choice", "score", "yes_no"] = "choice"


@dataclass(frozen=True)
class Decision:
    """A probability for every option of the question with this ``key``; they sum to 1."""

    key: str
    probabilities: Mapping[str, float]

    @property
    def best(self) -> str:
        return max(self.probabilities, key=lambda option: self.probabilities[option])

    @property
    def probability(self) -> float:
        return self.probabilities[self.best]


class DecisionModel(Protocol):
    """Answers several typed questions about one state of affairs (text and photos)."""

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        """One decision a question, in order. ``photos`` are encoded images as `media` normalises them."""
        ...


class WorkPriority(IntEnum):
    """Who waits for a model's work: lower is sooner."""

    INTERACTIVE = 0  # a customer who looks at a typing sign
    DRAFT = 1  # an agent who will look at the ticket
    BATCH = 2  # nobody in particular


_priority: ContextVar[WorkPriority] = ContextVar("priority", default=WorkPriority.INTERACTIVE)


def current_priority() -> WorkPriority:
    """The priority of the work that the calling thread is about."""
    return _priority.get()


@contextmanager
def at_priority(priority: WorkPriority) -> Iterator[None]:
    """Whatever is asked of the models within is asked at this priority."""
    token = _priority.set(priority)
    try:
        yield
    finally:
        _priority.reset(token)


@dataclass(frozen=True)
class Sought:
    """Something that was read in a photo. ``kind`` says what ``value`` is: a product's key, a light's colour or a
    damage."""

    kind: Literal["product", "light", "damage"]
    value: str


@dataclass(frozen=True)
class Found:
    """Where it is, how sure that is (0 to 1), and a map of it: rows of digits from 0 (not there) to 9.

    ``parts``: where each of several things is, as lights in a row; ``box`` is around all of them then."""

    box: Box
    confidence: float
    heat: tuple[str, ...]
    parts: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What a model's own vision tells of a photo, each value with its probability.

    ``familiar``: whether the photo is like those the model learned from; if not, the rest means nothing. ``of``: a
    product's key or a sort of paper, "" for neither. ``damage``: "" for none. ``lights``: colours in reading order.
    """

    familiar: bool
    of: tuple[str, float]
    damage: tuple[str, float]
    lights: tuple[tuple[str, float], ...] = ()


class Look(Protocol):
    """One look at one photo."""

    @property
    def seen(self) -> Seen: ...

    def locate(self, sought: Sequence[Sought]) -> list[Found | None]:
        """Where the model sees what was read: one for each, in order; None for what is nowhere to be seen."""
        ...


class Sight(Protocol):
    """A model that tells what it sees without words."""

    def look(self, photo: bytes) -> Look:
        """``photo`` as `media` normalises it."""
        ...


class HandoffReason(StrEnum):
    """Why a conversation went to a person. Said to the agent, counted in reports."""

    CUSTOMER_ASKED = "customer_asked"
    MISSING_KNOWLEDGE = "missing_knowledge"  # no passage answers it
    UNSUPPORTED_ANSWER = "unsupported_answer"  # what the model wrote does not stand on its passages
    NEEDS_HUMAN = "needs_human"  # triage says so: safety, legal, anger
    ENGINE_DOWN = "engine_down"


class Mode(StrEnum):
    """The rung of the capability ladder that is installed: what the assistant may be trusted to do."""

    NO_VLM = "no_vlm"  # OCR reads photos, embeddings triage, answers are extractive
    SMALL_VLM = "small_vlm"  # the VLM reads photos and decides; answers stay extractive
    FULL_VLM = "full_vlm"  # everything, with written answers
    REMOTE = "remote"  # as FULL_VLM, through an OpenAI-compatible server


def image_block(photo: bytes) -> dict[str, str]:
    """A photo as LangChain's standard image content block. ``photo`` as `media` normalises it."""
    mime_type = "image/png" if photo.startswith(b"\x89PNG") else "image/jpeg"
    return {"type": "image", "base64": base64.b64encode(photo).decode("ascii"), "mime_type": mime_type}


def reading_revision(ocr: OCR | None) -> str:
    """The revision that evidence has which OCR alone has read."""
    return ocr.name if ocr is not None else "no-ocr"


@dataclass(frozen=True)
class Embedder:
    """Sentence embeddings and what they are called. ``name`` is identity and revision: vectors are kept under it, and
    those of different names are never compared. ``source``: the setting that loads it. ``languages``: that it reads;
    none: all."""

    embeddings: Embeddings
    name: str
    source: str = ""
    languages: tuple[str, ...] = ()


class PhotoEmbedder(Protocol):
    """Makes a vector of a photo; photos that look alike lie near each other. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """Identity and revision: what vectors are kept under."""
        ...

    def embed(self, photos: Sequence[bytes]) -> list[list[float]]:
        """Unit vectors. ``photos``: encoded images as `media` normalises them."""
        ...


class Reranker(Protocol):
    """Reads question and passage together and says how well they fit. Safe to call from several threads."""

    @property
    def name(self) -> str: ...

    def scores(self, question: str, passages: Sequence[str], *, seconds: float) -> list[float]:
        """Of the first passages, as many as are read in about so many seconds; higher fits better."""
        ...


@dataclass(frozen=True)
class Capabilities:
    """What is installed. ``model`` and ``mode`` are said in every response and stored with every result.

    ``revision`` changes whenever the same input may be read differently: evidence is kept once per photo and revision.
    """

    mode: Mode
    model: str
    revision: str
    embeddings: Embeddings
    embedding_model: str
    embedding_languages: tuple[str, ...] = ()  # that the embeddings read; none: all
    embedding_source: str = ""  # the setting that loads them
    # Another embedder by its source, loaded on first use; None if it is not on this machine.
    reopen_embedder: Callable[[str], Embedder | None] = lambda _source: None
    ocr: OCR | None = None
    photo_embedder: PhotoEmbedder | None = None
    reranker: Reranker | None = None
    chat_model: BaseChatModel | None = None
    decisions: DecisionModel | None = None
    sight: Sight | None = None
    # Whether its decisions about a ticket's text count; one that only knows photos would add noise.
    triages: bool = True

    @property
    def without_model(self) -> Capabilities:
        """What is left of it while the model fails."""
        return replace(
            self,
            mode=Mode.NO_VLM,
            model=self.ocr.name if self.ocr is not None else "none",
            revision=reading_revision(self.ocr),
            chat_model=None,
            decisions=None,
            sight=None,
            triages=True,
        )

    @property
    def embedder(self) -> Embedder:
        return Embedder(self.embeddings, self.embedding_model, self.embedding_source, self.embedding_languages)

    @property
    def writes_answers(self) -> bool:
        return self.chat_model is not None and self.mode in (Mode.FULL_VLM, Mode.REMOTE)
