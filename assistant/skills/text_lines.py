"""Lines of text from two readers of one photo, put together.

OCR reads lines better than a small model does; what it missed altogether, the model may have read.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from assistant.ports import TextLine

# A line of the model that is so much like one of OCR's is the same line, read worse.
_SAME = 0.6


def fused(ocr: Sequence[TextLine], model: Sequence[TextLine]) -> tuple[TextLine, ...]:
    """OCR's lines, and those of the model that OCR has nothing like."""
    known = [_bare(line.text) for line in ocr]
    return (*ocr, *(line for line in model if _bare(line.text) and not _is_known(_bare(line.text), known)))


def _is_known(text: str, known: Sequence[str]) -> bool:
    return any(text in other or SequenceMatcher(None, text, other).ratio() >= _SAME for other in known)


def _bare(text: str) -> str:
    return "".join(character for character in text.upper() if character.isalnum())
