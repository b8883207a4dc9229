"""Attachment bytes by their SHA-256: in a folder, or in any object store that obstore supports.

Writing the same bytes twice is a no-op. A file is complete or absent: obstore writes to a temporary file and renames
it. What is read is checked against its name, so that a damaged disk is noticed here and not in a photo.
"""

from __future__ import annotations

import errno
import hashlib
import re
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from assistant.errors import NotFound, NotReady

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GONE = "The file no longer exists."
# By default obstore retries for three minutes: a request would hang that long on a bucket that is down.
_CLIENT = {"timeout": "20s", "connect_timeout": "5s"}
_RETRIES = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}


class Storage:
    """Thread-safe; holds no open files."""

    def __init__(self, store: Any) -> None:
        self._store = store

    @classmethod
    def open(cls, url: str) -> Storage:
        """``url``: a folder, created if missing, or e.g. ``s3://bucket/prefix`` (credentials from the environment).

        Raises `NotReady` if the folder cannot be created or the address is invalid. A bucket is not contacted yet.
        """
        from obstore.store import LocalStore, from_url

        try:
            if "://" in url and not url.startswith("file://"):
                return cls(from_url(url, client_options=_CLIENT, retry_config=_RETRIES))
            folder = Path(url2pathname(urlsplit(url).path) if url.startswith("file://") else url)
            folder.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(folder))
        except Exception as error:
            message = f"The attachment storage cannot be opened: {_reason(error)}. Check ASSISTANT_STORAGE_URL."
            raise NotReady(message) from error

    def put(self, data: bytes) -> str:
        """Store bytes and return their SHA-256. Raises `NotReady` if they cannot be written: disk full, bucket gone."""
        import obstore

        sha256 = hashlib.sha256(data).hexdigest()
        try:
            # A power failure can leave an empty file behind: only one of the right size counts.
            if self._size(sha256) != len(data):
                obstore.put(self._store, _key(sha256), data)
        except Exception as error:
            message = f"The file could not be stored: {_reason(error)}. Please try again later."
            raise NotReady(message) from error
        return sha256

    def get(self, sha256: str) -> bytes:
        """Raises `NotFound` if it does not exist, `NotReady` if it cannot be read or differs from what was written."""
        import obstore

        try:
            data = bytes(obstore.get(self._store, _key(sha256)).bytes())
        except FileNotFoundError as error:
            raise NotFound(_GONE) from error
        except NotFound:
            raise
        except Exception as error:
            message = f"The file could not be read: {_reason(error)}. Please try again later."
            raise NotReady(message) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise NotReady("The stored file is damaged: it differs from what was written. Restore it from a backup.")
        return data

    def exists(self, sha256: str) -> bool:
        return self._size(sha256) is not None

    def delete(self, sha256: str) -> None:
        """Deleting a file that does not exist is a no-op."""
        import obstore

        try:
            obstore.delete(self._store, _key(sha256))
        except FileNotFoundError:
            return

    def check(self) -> None:
        """Write, read and delete a probe; raises `NotReady` with the reason if one of them fails."""
        sha256 = self.put(secrets.token_bytes(32))
        try:
            self.get(sha256)
            self.delete(sha256)
        except Exception as error:
            message = f"The attachment storage does not return what was written: {_reason(error)}."
            raise NotReady(f"{message} Check ASSISTANT_STORAGE_URL.") from error

    def _size(self, sha256: str) -> int | None:
        import obstore

        try:
            return int(obstore.head(self._store, _key(sha256))["size"])
        except FileNotFoundError:
            return None


def _key(sha256: str) -> str:
    """In a folder of two characters, so that no folder grows larger than file systems handle well."""
    if not _SHA256.fullmatch(sha256):
        raise NotFound(_GONE)
    return f"{sha256[:2]}/{sha256[2:]}"


def _reason(error: Exception) -> str:
    """In words that are safe to show: obstore's own messages contain paths and addresses."""
    text = str(error)
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in text or "os error 28" in text:
        return "the disk is full"
    if isinstance(error, PermissionError) or "Permission denied" in text or "os error 13" in text:
        return "permission denied"
    if "Unable to recognise URL" in text:
        return "its address is invalid"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "the storage does not respond as expected"
