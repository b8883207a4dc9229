"""Sentences of a text."""

from __future__ import annotations

import re


def sentences(text: str) -> list[str]:
    """The sentences of a text. Decimals, numbered steps and most abbreviations do not end one."""
    parts = re.split(r"(?<=[.!?…])(?:\s*\[\d+\])*\s+(?=[^a-zà-ÿ\d\s])|\n+", text.strip())
    return [part.strip() for part in parts if part and part.strip()]
