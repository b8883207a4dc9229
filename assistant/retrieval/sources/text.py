"""Bytes to text, and front matter."""

from __future__ import annotations

import codecs
import re

from assistant.errors import Invalid
from assistant.text.storable import storable

_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w-]+)""", re.IGNORECASE)
_FRONT_MATTER = re.compile(r"\A---[^\S\n]*\n(.*?)\n---[^\S\n]*(?:\n|\Z)", re.DOTALL)


def decode(data: bytes, *, charset: str | None = None) -> str:
    """Text with plain line ends. It is read as UTF-16 if it has that byte order mark, else as UTF-8, else in the
    declared ``charset``, else as Western European."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    elif b"\0" in data[:4096]:
        raise Invalid("is not a text file")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode(charset or "cp1252", errors="replace")
    return storable(text).replace("\r\n", "\n").replace("\r", "\n")


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
