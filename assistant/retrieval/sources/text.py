"""Bytes to text, and front matter."""

from __future__ import annotations

import codecs
import re

from assistant.errors import Invalid
from assistant.retrieval.sources.charset import to_text
from assistant.text.storable import storable

_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w-]+)""", re.IGNORECASE)
_FRONT_MATTER = re.compile(
    r"\A(---|\+\+\+)[^\S\n]*\n(?=[\w\"'-][^\n]{0,100}[:=]|#|\n\1)(.*?)\n(?:\1|\.\.\.)[^\S\n]*(?:\n|\Z)", re.DOTALL
)
# Without an end, what is internal or for one inbox would be published.
_UNENDED = re.compile(
    r"\A(?:---|\+\+\+)[^\S\n]*\n(?:[\w-]+\s?[:=][^\n]*\n){0,20}?(?:visibility|inbox)\s?[:=]", re.IGNORECASE
)
_QUOTED = re.compile(r"""("[^"]*"|'[^']*')\s*(?:#|\Z)""")


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
    """What a file says of itself above its text, in YAML's or TOML's simplest form."""
    match = _FRONT_MATTER.match(text)
    if match is None:
        if _UNENDED.match(text):
            raise Invalid("begins with front matter that has no end. Close it with a line ---")
        return {}, text
    mark = ":" if match.group(1) == "---" else "="
    meta: dict[str, str] = {}
    name = ""
    for line in match.group(2).splitlines():
        if line[:1].isspace() and name:  # goes on: ">" and "|" say that a longer value follows
            meta[name] = f"{meta[name].strip('>|+-')} {line.strip()}".strip()
        elif mark in line and not line.startswith("#"):
            name, _, value = line.partition(mark)
            name = name.strip().lower()
            quoted = _QUOTED.match(value.strip())
            unquoted = value.strip().split(" #", 1)[0].strip().strip("\"'")  # without the comment after it
            meta[name] = quoted.group(1)[1:-1] if quoted is not None else unquoted
    return meta, text[match.end() :]
