"""What is read in a photo, and where: text by OCR, objects by a model's own vision. Photos are encoded images as
`media` normalises them (JPEG or PNG, RGB, upright)."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np


@dataclass(frozen=True)
class Box:
    """A region of a photo. Fractions of its width and height, 0 to 1, origin at the top left."""

    left: float
    top: float
    right: float
    bottom: float

    def turned_back(self, degrees: int) -> Box:
        """The same region of the photo before it was turned clockwise by 0, 90, 180 or 270 degrees."""
        match degrees:
            case 90:
                return Box(self.top, 1 - self.right, self.bottom, 1 - self.left)
            case 180:
                return Box(1 - self.right, 1 - self.bottom, 1 - self.left, 1 - self.top)
            case 270:
                return Box(1 - self.bottom, self.left, 1 - self.top, self.right)
        return self


@dataclass(frozen=True)
class TextLine:
    """One line of text found in a photo. ``confidence`` is the reader's own score, 0 to 1; without text it is 0: what
    is in the box could not be read. ``turn``: by how many degrees the photo must be turned clockwise to be
    upright, as the reader guesses from the text; the box is that in the photo as it is."""

    text: str
    confidence: float
    box: Box
    turn: int = 0


class OCR(Protocol):
    """Reads the text in a photo, in reading order. Safe to call from several threads. Raises an `EngineError` or
    `NotReady` with the reason for a photo that cannot be read."""

    @property
    def name(self) -> str:
        """Name and version of the reader: part of the model revision that evidence is stored under."""
        ...

    def read(self, photo: bytes) -> list[TextLine]: ...


@dataclass(frozen=True)
class Sought:
    """Something that was read in a photo. ``kind`` says what ``value`` is: a product's key, the colour of a light or a
    kind of damage."""

    kind: Literal["product", "light", "damage"]
    value: str


@dataclass(frozen=True)
class Found:
    """Where it is, how certain that is (0 to 1), and a heat map: rows of digits from 0 (not there) to 9.

    ``parts``: the place of each if there are several, such as lights in a row; ``box`` then encloses them all."""

    box: Box
    confidence: float
    heat: tuple[str, ...]
    parts: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What a model's own vision finds in a photo, each value with its probability.

    ``familiar``: whether the photo resembles those the model was trained on; if not, the rest is meaningless. ``of``: a
    product's key or a kind of document, "" for neither. ``damage``: "" for none. ``lights``: colours in reading order.
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
        """Where the model sees what was read: one result each, in order; None for what it sees nowhere."""
        ...


class Sight(Protocol):
    """A model that reports what it sees without writing text."""

    def look(self, photo: bytes) -> Look: ...


@dataclass(frozen=True)
class Looks:
    """Features of pictures: ``wholes`` (n, d), and ``places`` (n, h, w, e) of their places, both float32."""

    wholes: np.ndarray
    places: np.ndarray


class PhotoFeatures(Protocol):
    """Features that somebody else has trained: what looks alike has similar ones. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """Identity and revision: what is fitted to the features of one is nothing to those of another."""
        ...

    def look(self, pictures: Sequence[np.ndarray]) -> Looks:
        """``pictures``: at least one, RGB, (height, width, 3) uint8, of any size."""
        ...


@dataclass(frozen=True)
class Condition:
    """What a product's condition is, of one ``kind`` ("damage", "light", …), in the operator's own words, with the
    ``reference`` photo that says so and where it is seen, as of `Recognised`."""

    kind: str
    value: str
    probability: float
    reference: str
    box: Box | None = None
    heat: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recognised:
    """A product of the operator's own, by its key and name, with the probability that it is what the photo shows.

    ``reference``: sha256 of the reference photo that is most like it. ``box`` and ``heat``: where they are alike, as in
    `Found`; None if nothing says where."""

    product: str
    name: str
    probability: float
    reference: str
    box: Box | None = None
    heat: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()


class ProductRecogniser(Protocol):
    """Knows an operator's own products from reference photos. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """Version: part of the revision that evidence is stored under."""
        ...

    @property
    def with_conditions(self) -> Collection[str]:
        """Keys of the products of which it may tell conditions."""
        ...

    def recognise(self, photo: bytes, lines: Sequence[TextLine]) -> Recognised | None:
        """The product that the photo shows, by its look and its text; None if that cannot be told."""
        ...


def image_block(photo: bytes) -> dict[str, str]:
    """A photo as LangChain's standard image content block."""
    mime_type = "image/png" if photo.startswith(b"\x89PNG") else "image/jpeg"
    return {"type": "image", "base64": base64.b64encode(photo).decode("ascii"), "mime_type": mime_type}
