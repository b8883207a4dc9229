"""Pictures that a text file refers to: files beside it, and data embedded in it.

Only files below the imported folder are read. Pictures on other machines are not fetched.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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


# The picture that a text refers to; None if it is not available.
PictureFinder = Callable[[NamedPicture], Picture | None]


def no_pictures(_named: NamedPicture) -> Picture | None:
    return None


def beside(file: Path, root: Path) -> PictureFinder:
    """Finds pictures that ``file`` refers to by a relative path or embeds as data."""
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
            # Size and time stand in for the content: reading every picture at every import would cost too much.
            stat = picture.stat()
        except (OSError, ValueError):
            return None
        digest = f"{picture.relative_to(inside).as_posix()} {stat.st_size} {stat.st_mtime_ns}"
        return Picture(digest, 0, named.alt, named.caption, read=partial(_read_file, picture))

    return find


def in_data(named: NamedPicture) -> Picture | None:
    """A picture embedded as a ``data:`` URL."""
    head, comma, body = named.reference.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64") or len(body) > 2 * MOST_BYTES:
        return None
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Picture(hashlib.sha256(data).hexdigest(), 0, named.alt, named.caption, read=lambda: data)


def _read_file(path: Path) -> bytes:
    if path.stat().st_size > MOST_BYTES:
        raise TooLarge(f"the picture {path.name} is larger than {MOST_BYTES / 1e6:.0f} MB", limit=MOST_BYTES)
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"the picture {path.name} cannot be read: {error.strerror}") from error
