"""Attachment bytes by their SHA-256: in a folder, or in any object store that obstore speaks to.

Writing the same bytes twice is a no-op. A file is complete or absent: obstore writes beside and renames.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from assistant.errors import NotFound, NotReady

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Storage:
    """Thread-safe; holds no open files."""

    def __init__(self, store: Any) -> None:
        self._store = store

    @classmethod
    def open(cls, url: str) -> Storage:
        """``url``: a folder, or e.g. ``s3://bucket/prefix`` (credentials from the environment)."""
        from obstore.store import LocalStore, from_url

        try:
            if "://" in url and not url.startswith("file://"):
                return cls(from_url(url))
            folder = Path(url.removeprefix("file://"))
            folder.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(folder))
        except Exception as error:
            message = f"The attachment storage cannot be opened: {error}. Check ASSISTANT_STORAGE_URL."
            raise NotReady(message) from error

    def put(self, data: bytes) -> str:
        """Store bytes; returns their SHA-256. Raises `NotReady` if they cannot be written: disk full, bucket gone."""
        import obstore

        sha256 = hashlib.sha256(data).hexdigest()
        try:
            if not self.exists(sha256):
                obstore.put(self._store, _key(sha256), data)
        except Exception as error:
            message = "The file could not be stored: the disk may be full. Please try again later."
            raise NotReady(message) from error
        return sha256

    def get(self, sha256: str) -> bytes:
        import obstore

        try:
            return bytes(obstore.get(self._store, _key(sha256)).bytes())
        except FileNotFoundError as error:
            raise NotFound("The file is no longer there.") from error

    def exists(self, sha256: str) -> bool:
        import obstore

        try:
            obstore.head(self._store, _key(sha256))
        except FileNotFoundError:
            return False
        return True

    def delete(self, sha256: str) -> None:
        """Deleting what is not there is a no-op."""
        import obstore

        try:
            obstore.delete(self._store, _key(sha256))
        except FileNotFoundError:
            return

    def check(self) -> None:
        """Write, read and delete a probe; raises `NotReady` with the reason if one of them fails."""
        probe = b"assistant storage check"
        sha256 = self.put(probe)
        if self.get(sha256) != probe:
            raise NotReady("The attachment storage does not return what was written. Check ASSISTANT_STORAGE_URL.")
        self.delete(sha256)


def _key(sha256: str) -> str:
    """Two characters of folder: no folder grows beyond what file systems like."""
    if not _SHA256.fullmatch(sha256):
        raise NotFound("The file is no longer there.")
    return f"{sha256[:2]}/{sha256[2:]}"
