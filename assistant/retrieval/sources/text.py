"""Bytes to text, and front matter."""

from __future__ import annotations

import codecs
import re

from assistant.retrieval.sources.charset import to_text
from assistant.text.storable import storable

_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w-]+)""", re.IGNORECASE)
_FRONT_MATTER = re.compile(r"\A---[^\S\n]*\n(.*?)\n---[^\S\n]*(?:\n|\Z)", re.DOTALL)


def decode(data: bytes, *, charset: str | None = None) -> str:
    """Text with plain line ends. ``charset``: the declared one. Raises `Invalid` if the text cannot be told."""
    return storable(to_text(data, declared=charset)).replace("\r\n", "\n").replace("\r", "\n")


def declared_charset(data: bytes) -> str | None:
    match = _CHARSET.search(data[:4096])
    return known_charset(match.group(1).decode("ascii")) if match else None


def known_charset(name: str) -> str | None:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None


def front_matter(text: str) -> tuple[dict[str, str], str]:
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    pairs = (line.split(":", 1) for line in match.group(1).splitlines() if ":" in line)
    meta = {name.strip().lower(): value.strip().strip("\"'") for name, value in pairs}
    return meta, text[match.end() :]
