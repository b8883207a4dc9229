"""A file as it was sent, and as it is kept if it is not a photo."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass


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
    """A name that is safe to show, send in a header and save: no path, no control characters, at most 100 long."""
    last = re.split(r"[/\\]", name)[-1]
    # Direction overrides can make "gpj.exe" look like "exe.jpg": only printable characters stay.
    printable = "".join(c for c in last if c.isprintable() and c not in '<>:"|?*').strip(" .")
    stem, dot, extension = printable.rpartition(".")
    if not dot or len(extension) > 10:
        return printable[:100].rstrip(" .") or "file"
    return f"{stem[: 99 - len(extension)]}.{extension}"
