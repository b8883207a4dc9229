"""Text that every database accepts."""

from __future__ import annotations


def storable(text: str) -> str:
    """The text without NUL, which PostgreSQL rejects, and lone surrogates, which UTF-8 cannot encode."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")
