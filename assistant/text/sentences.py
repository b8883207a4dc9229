"""Sentences of a text."""

from __future__ import annotations

import re

_ENDS = re.compile(
    r"(?<=[.!?…؟。！？])(?:\s*\[\d+\])*\s+(?=[^a-zà-ÿ\d\s])"
    r"|(?<=[。！？])(?![」』）”\s\[])"
    r"|\n+"
)


def sentences(text: str) -> list[str]:
    """The sentences of a text. Decimals, numbered steps and most abbreviations do not end one. After a full-width stop
    there need be no space."""
    parts = _ENDS.split(text.strip())
    return [part.strip() for part in parts if part and part.strip()]
