"""Addresses that people follow."""

from __future__ import annotations

import re

_WEB = re.compile(r"https?://[^\s/?#\\\x00-\x1f\x7f][^\x00-\x1f\x7f]*", re.IGNORECASE)


def web_address(text: str | None) -> str | None:
    """The address if a link may lead there: whole, and over HTTP. Others run what they hold (``javascript:``,
    ``data:``), open something else, or lead to another place from each page that shows them."""
    bare = (text or "").strip()
    return bare if _WEB.fullmatch(bare) else None
