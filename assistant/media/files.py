"""A file as it was sent, and as it is kept if it is not a photo."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

from assistant.text.clusters import beginning

# Most file systems allow 255 bytes; browsers add " (1)" to a name that is taken.
_MOST_NAME, _MOST_NAME_BYTES = 100, 240
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE)
_JOINERS = "\u200c\u200d"  # part of words in Persian and Indic scripts, and of emoji


@dataclass(frozen=True)
class Upload:
    """A file as it was sent. Name and content type are the sender's claims."""

    filename: str
    content_type: str | None
    data: bytes


@dataclass(frozen=True)
class StoredFile:
    """A file that is not an image: a download with a harmless name, never decoded."""

    data: bytes
    filename: str
    content_type: str = "application/octet-stream"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def safe_filename(name: str) -> str:
    """A name that is safe to show, send and save on any system, at most 100 characters and 240 bytes long: no path, no
    control characters, none that Windows reserves."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    # Direction overrides can make "gpj.exe" look like "exe.jpg", and blanks can push an extension out of sight.
    shown = "".join(" " if c.isspace() else c for c in last if c.isspace() or c.isprintable() or c in _JOINERS)
    plain = " ".join("".join(c for c in shown if c not in '<>:"|?*').split())
    plain = f"file{plain}" if plain.startswith(".") and not last.startswith(".") else plain.strip(" .")
    plain = f"_{plain}" if _RESERVED.match(plain) else plain
    stem, dot, extension = plain.rpartition(".")
    if not dot or len(extension) > 10:
        stem, extension = plain, ""
    ending = f".{extension}" if extension else ""
    stem = beginning(stem, _MOST_NAME - len(ending))
    while len((stem + ending).encode()) > _MOST_NAME_BYTES:
        stem = beginning(stem, len(stem) - 1)
    return (stem if ending else stem.rstrip(" .") or "file") + ending
