"""Pictures that a text file names: files beside it, and those that stand in it as data.

Only files below the folder that is imported are read; pictures on other machines are not fetched.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from assistant.errors import Invalid, TooLarge
from assistant.retrieval.sources.article import Picture

MOST_BYTES = 15_000_000
_SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".heic"}


@dataclass(frozen=True)
class NamedPicture:
    """What a text says about a picture."""

    reference: str
    alt: str = ""
    caption: str = ""


# Makes a picture of what a text says about one; None for one that cannot be had.
PictureFinder = Callable[[NamedPicture], Picture | None]


def no_pictures(_named: NamedPicture) -> Picture | None:
    return None


def beside(file: Path, root: Path) -> PictureFinder:
    """Pictures that ``file`` refers to by a relative path, or carries as data."""
    inside = root.resolve()

    def find(named: NamedPicture) -> Picture | None:
        if named.reference.startswith("data:"):
            return in_data(named)
        parts = urlsplit(named.reference)
        if parts.scheme or parts.netloc or not parts.path:
            return None
        path = unquote(parts.path)
        try:
            picture = ((inside if path.startswith("/") else file.parent) / path.lstrip("/")).resolve()
            if not picture.is_relative_to(inside) or picture.suffix.lower() not in _SUFFIXES or not picture.is_file():
                return None
            # Size and time stand for the content: reading every picture at every import would cost more than it finds.
            stat = picture.stat()
        except (OSError, ValueError):
            return None
        digest = f"{picture.relative_to(inside).as_posix()} {stat.st_size} {stat.st_mtime_ns}"
        return Picture(digest, 0, named.alt, named.caption, read=lambda: _read(picture))

    return find


def in_data(named: NamedPicture) -> Picture | None:
    """A picture that stands in the text as a ``data:`` address."""
    head, comma, body = named.reference.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64") or len(body) > 2 * MOST_BYTES:
        return None
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Picture(hashlib.sha256(data).hexdigest(), 0, named.alt, named.caption, read=lambda: data)


def _read(path: Path) -> bytes:
    if path.stat().st_size > MOST_BYTES:
        raise TooLarge(f"the picture {path.name} is larger than {MOST_BYTES / 1e6:.0f} MB", limit=MOST_BYTES)
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"the picture {path.name} cannot be read: {error.strerror}") from error
