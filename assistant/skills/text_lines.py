"""Lines of text from two readers of one photo, put together.

OCR reads lines better than a small model does; what it missed altogether, the model may have read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from assistant.ports import TextLine

# A line of the model that is so much like a part of OCR's is the same, read worse.
_SAME = 0.6


def fused(ocr: Sequence[TextLine], model: Sequence[TextLine]) -> tuple[TextLine, ...]:
    """OCR's lines, and those of the model that OCR has nothing like."""
    known = [_bare(line.text) for line in ocr]
    return (*ocr, *(line for line in model if _bare(line.text) and not _is_known(_bare(line.text), known)))


def _is_known(text: str, known: Sequence[str]) -> bool:
    return any(text in other or any(_alike(text, part) for part in _parts(other, len(text))) for other in known)


def _alike(text: str, other: str) -> bool:
    return SequenceMatcher(None, text, other).ratio() >= _SAME


def _parts(line: str, length: int) -> Iterator[str]:
    """Every stretch of a line that is as long as what may stand in it."""
    return (line[start : start + length] for start in range(max(1, len(line) - length + 1)))


def _bare(text: str) -> str:
    return "".join(character for character in text.upper() if character.isalnum())
