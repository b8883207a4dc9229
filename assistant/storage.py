"""Attachment bytes by their SHA-256: in a folder, or in any object store that obstore supports.

Writing the same bytes again soon is a no-op. A file is complete or absent, and once `put` has returned it outlives a
power cut. What is read is checked against its name, so that a damaged disk is noticed here and not in a photo.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from assistant.errors import Gone, NotFound, NotReady, Unavailable

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
    (r"os error 13|Errno 13|Operation not permitted", "permission_denied", "permission denied"),
    (r"NoSuchBucket|bucket does not exist", "storage_missing", "there is no such bucket"),
    (
        r"PermissionDenied|Unauthenticated|AccessDenied|InvalidAccessKey|SignatureDoesNotMatch|"
        r"status(?: code:)? 40[13]",
        "storage_refuses",
        "access is denied: check its credentials and the bucket's policy",
    ),
    (
        r"scheme is not allowed|BadScheme",
        "storage_refuses",
        "plain http is not allowed: use https, or AWS_ALLOW_HTTP=true",
    ),
    (r"dns error|lookup address|Name or service", "storage_away", "its host is not known"),
    (r"timed out|TimedOut", "storage_away", "it does not respond in time"),
    (r"status code: 5\d\d", "storage_away", "it answers with an error of its own"),
    (r"error sending request|[Cc]onnection|connect error", "storage_away", "it cannot be reached"),
    (r"Not a directory|os error 20\b|File exists|os error 17\b", "storage_missing", "its folder is not a directory"),
    (r"Unable to recognise URL", "storage_missing", "its address is invalid"),
)

# Bytes that are put again are written again if they are older than this. So no sweep of old files removes what is being
# stored at the same moment (`desk.files`), and a file that was damaged is mended by whoever sends it again.
REWRITE_AFTER = timedelta(hours=1)


@dataclass(frozen=True)
class Stored:
    """A file in storage: ``sha256`` is None for what a killed writer left behind."""

    path: str
    sha256: str | None
    size: int
    written_at: datetime


class Storage:
    """Thread-safe; holds no open files. ``folder``: where the store is, if it is one."""

    def __init__(self, store: Any, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder

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
            return cls(LocalStore(folder), folder)
        except Exception as error:
            message = f"The attachment storage cannot be opened: {_cause(error)[1]}. Check ASSISTANT_STORAGE_URL."
            raise NotReady(message) from error

    def put(self, data: bytes) -> str:
        """Store bytes and return their SHA-256. Raises `Unavailable` if the disk is full, say."""
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            if not self._has_lately(sha256, len(data)):
                self._write(_key(sha256), data)
        except Unavailable:
            raise
        except Exception as error:
            raise _unavailable("The file could not be stored", error) from error
        return sha256

    def get(self, sha256: str) -> bytes:
        """Raises `Gone` if it is missing or differs from what was written, `Unavailable` if it cannot be read now."""
        import obstore

        try:
            data = bytes(obstore.get(self._store, _key(sha256)).bytes())
        except FileNotFoundError as error:
            if self._folder is not None and not self._folder.is_dir():
                raise _unavailable("The file could not be read", _no_folder()) from error
            raise Gone(_GONE, condition="missing") from error
        except NotFound:
            raise
        except Exception as error:
            raise _unavailable("The file could not be read", error) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Gone("The stored file is damaged: it differs from what was written.", condition="damaged")
        return data

    def exists(self, sha256: str) -> bool:
        """Raises `Unavailable` if the storage cannot tell."""
        return self._head(sha256) is not None

    def delete(self, sha256: str) -> None:
        """Deleting a file that does not exist is a no-op."""
        self._delete(_key(sha256))

    def list(self) -> Iterator[Stored]:
        """Every file, in no particular order."""
        import obstore

        for batch in obstore.list(self._store):
            for found in batch:
                name = str(found["path"]).replace("/", "")
                sha256 = name if _SHA256.fullmatch(name) else None
                yield Stored(str(found["path"]), sha256, int(found["size"]), found["last_modified"])

    def delete_if_older(self, file: Stored, than: datetime) -> bool:
        """Delete a file from `list`, unless it has been written again since. Returns whether it is gone."""
        import obstore

        try:
            if obstore.head(self._store, file.path)["last_modified"] >= than:
                return False
        except FileNotFoundError:
            return True
        self._delete(file.path)
        return True

    def delete_unless_young(self, sha256: str) -> bool:
        """Delete a file unless it was written within `REWRITE_AFTER`. Returns whether it is gone."""
        found = self._head(sha256)
        if found is not None and datetime.now(UTC) - found["last_modified"] < REWRITE_AFTER:
            return False
        self.delete(sha256)
        return True

    def free_bytes(self) -> int | None:
        """What the disk below the folder has left; None for an object store."""
        if self._folder is None:
            return None
        try:
            return shutil.disk_usage(self._folder).free
        except OSError as error:
            raise _unavailable("The storage could not be read", error) from error

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
        """Raises `Unavailable` if files cannot be stored now. Cheap enough for each second: nothing is forced to the
        disk, and a bucket is only asked for a name, as writing costs money there."""
        if self._folder is None:
            self._head("0" * 64)
            return
        try:
            with tempfile.TemporaryFile(dir=self._folder) as probe:
                probe.write(bytes(_PROBE))
        except OSError as error:
            raise _unavailable("The file could not be stored", error) from error

    def _has_lately(self, sha256: str, size: int) -> bool:
        found = self._head(sha256)
        # A power cut can leave an empty file behind: only one of the right size counts.
        return (
            found is not None and found["size"] == size and datetime.now(UTC) - found["last_modified"] < REWRITE_AFTER
        )

    def _head(self, sha256: str) -> Any:
        import obstore

        try:
            return obstore.head(self._store, _key(sha256))
        except FileNotFoundError:
            return None
        except NotFound:
            raise
        except Exception as error:
            raise _unavailable("The file could not be read", error) from error

    def _write(self, key: str, data: bytes) -> None:
        import obstore

        if self._folder is None:
            obstore.put(self._store, key, data)
        elif not self._folder.is_dir():  # unmounted: what is written below it now would be lost
            raise _no_folder()
        else:
            _write_durably(self._folder / key, data)

    def _delete(self, key: str) -> None:
        import obstore

        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except Exception as error:
            raise _unavailable("The file could not be deleted", error) from error


def _no_folder() -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "its folder does not exist")


def _write_durably(path: Path, data: bytes) -> None:
    """Write a file that is complete and on the disk, or absent: obstore renames too, but does not call fsync."""
    try:
        path.parent.mkdir()
    except FileExistsError:
        pass
    else:
        sync_folder(path.parent.parent)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix="partial-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
