"""Attachment bytes by their SHA-256: in a folder, or in any object store that obstore supports.

Writing the same bytes twice is a no-op. A file is complete or absent: obstore writes to a temporary file and renames
it. What is read is checked against its name, so that a damaged disk is noticed here and not in a photo.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from assistant.errors import NotFound, NotReady, Unavailable

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GONE = "The file no longer exists."
# By default obstore retries for three minutes: a request would hang that long on a bucket that is down.
_CLIENT = {"timeout": "20s", "connect_timeout": "5s"}
_RETRIES = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
_PROBE = 256_000  # bytes: about a photo
# What obstore's messages say, the cause, and words that are safe to show: the messages contain paths and addresses.
_CAUSES = (
    (r"No space left|os error 28|Disk quota|os error 122", "disk_full", "the disk is full"),
    (r"Read-only file system|os error 30", "read_only", "its folder is read-only"),
    (r"Too many open files|os error 24", "too_many_files", "the server has too many open files"),
    (r"Input/output error|os error 5\b", "disk_failing", "the disk reports errors"),
    (r"os error 13|Operation not permitted", "permission_denied", "permission denied"),
    (r"NoSuchBucket|bucket does not exist", "storage_missing", "there is no such bucket"),
    (
        r"PermissionDenied|Unauthenticated|AccessDenied|InvalidAccessKey|SignatureDoesNotMatch|status 40[13]|\b403\b",
        "storage_refuses",
        "access is denied: check its credentials and the bucket's policy",
    ),
    (
        r"scheme is not allowed|BadScheme",
        "storage_refuses",
        "plain http is not allowed: use https, or AWS_ALLOW_HTTP=true",
    ),
    (r"dns error|lookup address|Name or service", "storage_away", "its host is not known"),
    (r"timed out|timeout", "storage_away", "it does not respond in time"),
    (r"error sending request|[Cc]onnection|connect error", "storage_away", "it cannot be reached"),
    (r"Not a directory|os error 20\b|File exists|os error 17\b", "storage_missing", "its folder is not a directory"),
    (r"Unable to recognise URL", "storage_missing", "its address is invalid"),
)


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
                return cls(from_url(url, client_options=_CLIENT | _plain_http(), retry_config=_RETRIES))
            folder = Path(url2pathname(urlsplit(url).path) if url.startswith("file://") else url)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls(LocalStore(folder))
        except Exception as error:
            message = f"The attachment storage cannot be opened: {_cause(error)[1]}. Check ASSISTANT_STORAGE_URL."
            raise NotReady(message) from error

    def put(self, data: bytes) -> str:
        """Store bytes and return their SHA-256. Raises `Unavailable` if the disk is full, say."""
        import obstore

        sha256 = hashlib.sha256(data).hexdigest()
        try:
            # A power failure can leave an empty file behind: only one of the right size counts.
            if self._size(sha256) != len(data):
                obstore.put(self._store, _key(sha256), data)
        except Unavailable:
            raise
        except Exception as error:
            raise _unavailable("The file could not be stored", error) from error
        return sha256

    def get(self, sha256: str) -> bytes:
        """Raises `NotFound` if it does not exist, `NotReady` if it differs from what was written, and `Unavailable` if
        it cannot be read now."""
        import obstore

        try:
            data = bytes(obstore.get(self._store, _key(sha256)).bytes())
        except FileNotFoundError as error:
            raise NotFound(_GONE) from error
        except NotFound:
            raise
        except Exception as error:
            raise _unavailable("The file could not be read", error) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise NotReady("The stored file is damaged: it differs from what was written. Restore it from a backup.")
        return data

    def exists(self, sha256: str) -> bool:
        """Raises `Unavailable` if the storage cannot tell."""
        return self._size(sha256) is not None

    def delete(self, sha256: str) -> None:
        """Deleting a file that does not exist is a no-op."""
        import obstore

        key = _key(sha256)
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except Exception as error:
            raise _unavailable("The file could not be deleted", error) from error

    def check(self) -> None:
        """Write, read and delete a probe; raises `NotReady` with the reason if one of them fails."""
        try:
            sha256 = self.put(secrets.token_bytes(_PROBE))
            self.get(sha256)
            self.delete(sha256)
        except NotFound as error:
            message = "The attachment storage does not return what was written. Check ASSISTANT_STORAGE_URL."
            raise NotReady(message) from error

    def probe(self) -> None:
        """Raises `Unavailable` if files cannot be stored now. Cheap enough for each second: a bucket is only asked for
        a name, as writing costs money there."""
        from obstore.store import LocalStore

        if isinstance(self._store, LocalStore):
            self.check()
        else:
            self._size("0" * 64)

    def _size(self, sha256: str) -> int | None:
        import obstore

        try:
            return int(obstore.head(self._store, _key(sha256))["size"])
        except FileNotFoundError:
            return None
        except NotFound:
            raise
        except Exception as error:
            raise _unavailable("The file could not be read", error) from error


def _plain_http() -> dict[str, Any]:
    """Our client options replace those from the environment, so what it says of plain http is repeated. An endpoint
    that is named with http:// is meant so: a MinIO in a private network."""
    endpoint = (
        os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT")
    )
    allowed = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1", "yes", "on")
    return {"allow_http": True} if allowed or (endpoint or "").startswith("http://") else {}


def _key(sha256: str) -> str:
    """In a folder of two characters, so that no folder grows larger than file systems handle well."""
    if not _SHA256.fullmatch(sha256):
        raise NotFound(_GONE)
    return f"{sha256[:2]}/{sha256[2:]}"


def _unavailable(what: str, error: Exception) -> Unavailable:
    cause, reason = _cause(error)
    return Unavailable(f"{what}: {reason}. Please try again later.", cause=cause)


def _cause(error: Exception) -> tuple[str, str]:
    """One word for operators, and the reason."""
    text = f"{type(error).__name__}: {error}"
    for pattern, cause, reason in _CAUSES:
        if re.search(pattern, text):
            return cause, reason
    if isinstance(error, OSError) and error.strerror:
        return "storage_missing", error.strerror.lower()
    if isinstance(error, FileNotFoundError):  # written to a bucket that is gone
        return "storage_missing", "there is no such bucket"
    return "storage_away", "the storage does not respond as expected"
