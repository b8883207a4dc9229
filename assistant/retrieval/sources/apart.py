"""PDF and Word files are read in the sandbox: they come from anywhere, and a damaged one may loop forever, unpack to
gigabytes or crash a decoder. An article comes back as one JSON document, pictures included."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from assistant.retrieval.sources.article import Outline, Picture, Reading, Section
from assistant.retrieval.sources.coverage import Coverage
from assistant.sandbox import worker as sandbox

_LIMITS = sandbox.Limits(memory=3 << 30, cpu_seconds=120, seconds=240, output=200_000_000)
# All pictures of one file together, as encoded.
MOST_PICTURE_BYTES = 60_000_000


def read_apart(module: str, data: bytes, *, seconds: float = _LIMITS.seconds) -> Reading:
    """A file, read by ``read`` of the module of that name here, within so many ``seconds``.

    Raises `Invalid` or `TooLarge` with the reason, `NotReady` if the reader does not start."""
    limits = replace(_LIMITS, seconds=seconds)
    answer = json.loads(sandbox.run(f"{__package__}.{module}:read", data, limits))
    coverage = Coverage(**answer["coverage"]) if answer["coverage"] is not None else None
    return Reading(answer["title"], tuple(_section(section) for section in answer["sections"]), coverage)


def _section(data: dict[str, Any]) -> Section:
    pictures = tuple(_picture(one) for one in data["pictures"])
    return Section(tuple(data["headings"]), tuple(data["blocks"]), pictures, tuple(data["pages"]))


def _picture(data: dict[str, Any]) -> Picture:
    encoded = base64.b64decode(data.pop("data"))
    return Picture(**data, read=partial(bytes, encoded))


# In the sandbox


def to_json(data: bytes, read: Callable[[bytes, Outline], str | None]) -> bytes:
    """The article in a file. ``read`` fills the outline and may return a title for a file without a heading that names
    it."""
    outline = Outline()
    reading = outline.reading(read(data, outline))
    left = MOST_PICTURE_BYTES
    sections = []
    for section in reading.sections:
        pictures = []
        for picture in section.pictures:
            encoded = picture.read()
            left -= len(encoded)
            if left >= 0:
                fields = {name: value for name, value in vars(picture).items() if name != "read"}
                pictures.append({**fields, "data": base64.b64encode(encoded).decode("ascii")})
        sections.append({**vars(section), "pictures": pictures})
    coverage = vars(reading.coverage) if reading.coverage is not None else None
    return json.dumps({"title": reading.title, "sections": sections, "coverage": coverage}).encode()
