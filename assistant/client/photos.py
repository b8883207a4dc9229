"""Files to send with a request."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

# A file's path, or its name and bytes.
GivenPhoto = str | Path | tuple[str, bytes]
Files = list[tuple[str, tuple[str, bytes]]]


def as_files(photos: Iterable[GivenPhoto]) -> Files:
    """Read once, so that a request can be sent again."""
    return [("photos", photo if isinstance(photo, tuple) else _read(Path(photo))) for photo in photos]


def _read(path: Path) -> tuple[str, bytes]:
    return path.name, path.read_bytes()
