"""Everything of an installation in one file, and back: database, files, list of erasures, scripts that sites have
pinned, and the secret key if wanted.

The file is a ZIP archive with a manifest of the SHA-256 of all that is in it. Its database is SQLite's whichever is in
use, so it can be checked anywhere, and restored to either. A backup is complete, or there is none of that name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import gmtime
from typing import IO, Any, cast

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError

from assistant import __version__, transfer
from assistant.db import (
    Database,
    current_revision,
    damage,
    is_from_newer_version,
    migrate,
    snapshot,
    utcnow,
    version_problem,
)
from assistant.desk import erasure, files
from assistant.desk.retention import Retention
from assistant.desk.taxonomies import Taxonomies
from assistant.errors import AssistantError, Conflict, Gone, Invalid, NotReady
from assistant.faults import advice, passing_fault
from assistant.progress import Progress, no_progress
from assistant.settings import Settings
from assistant.skills.taxonomy import load_taxonomy
from assistant.storage import Storage, sync_folder

_MANIFEST, _DATABASE, _ERASURES, _SECRET = "manifest.json", "assistant.db", erasure.LIST, "secret.key"
_FILES, _WIDGET = "files/", "widget/"
_SEALED = "secret.key.sealed"
_FORMAT = 1
PARTIAL = ".partial-"  # begins the names of what is not complete yet
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


@dataclass(frozen=True)
class Entry:
    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """``revision``: of the tables. ``entries``: by their names in the archive. ``lost``: digests of files that the
    database names and that were missing or damaged already when the backup was made."""

    made_at: str
    version: str
    revision: str
    entries: dict[str, Entry]
    lost: tuple[str, ...]

    @property
    def has_secret(self) -> bool:
        return _SECRET in self.entries or _SEALED in self.entries

    @property
    def files(self) -> int:
        return sum(name.startswith(_FILES) for name in self.entries)


@dataclass(frozen=True)
class Restored:
    """``erased``: ids of customers who were erased again. ``aside``: where the database of before is, if there was one.
    ``has_secret``: the secret key is that of the backup."""

    manifest: Manifest
    files: int
    erased: tuple[str, ...]
    aside: Path | None
    has_secret: bool


def create(
    settings: Settings,
    db: Database,
    storage: Storage,
    path: Path,
    *,
    with_secret: bool = False,
    passphrase: str | None = None,
    progress: Progress = no_progress,
) -> Manifest:
    """Write a backup to ``path``, while everything is in use. With a ``passphrase`` the secret key is encrypted.

    Raises `Conflict` if that exists, `NotReady` if it cannot be written or a part cannot be read."""
    if path.exists():
        raise _taken(path)
    if (problem := version_problem(db)) is not None:
        raise NotReady(problem)
    with _told("The backup could not be written"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=PARTIAL) as folder:
            copied, partial = Path(folder, _DATABASE), Path(folder, "backup.zip")
            secret = _secret_entry(settings, passphrase) if with_secret else {}
            _copy_database(db, copied, progress)
            with _private(partial) as file:
                with zipfile.ZipFile(file, "w") as archive:
                    manifest = _fill(archive, copied, {**_small_files(settings), **secret}, storage, progress)
                file.flush()
                os.fsync(file.fileno())
            _publish(partial, path)
    return manifest


def verify(path: Path) -> Manifest:
    """Read all of it: every sum is right, and the database in it undamaged. Raises `Invalid` if not."""
    with _told("The backup could not be checked"), tempfile.TemporaryDirectory() as folder, _open(path) as archive:
        return _verified(archive, path, Path(folder))


def restore(
    path: Path,
    settings: Settings,
    *,
    replace: bool = False,
    passphrase: str | None = None,
    progress: Progress = no_progress,
) -> Restored:
    """Put everything back, after all of it was checked; until the last step nothing that is in use changes.

    Whoever was erased, by the list in the backup or the one in the data folder, is not brought back. The database is
    upgraded to this version. Raises `Conflict` if there is a database already, unless ``replace`` is given, and if it
    is in use; `NotReady` if a newer version made the backup; `Invalid` if it is damaged or the passphrase is wrong."""
    with _told("The backup could not be restored"):
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=PARTIAL) as name, _open(path) as archive:
            folder = Path(name)
            manifest = _read_manifest(archive, path)
            if is_from_newer_version(manifest.revision):
                raise NotReady(
                    f"This backup was made by a newer version ({manifest.version}). Install that version, then restore."
                )
            _require_free(settings, replace=replace)
            secret = _secret_of(archive, settings, passphrase)
            _verified(archive, path, folder)
            erased = _bring_up_to_date(archive, settings, folder)
            stored = _restore_files(archive, settings, folder, progress)
            _restore_small_files(archive, settings, secret)
            aside = _restore_database(settings, folder / _DATABASE, progress)
    return Restored(manifest, stored, erased, aside, secret is not None)


# Making one


def _copy_database(db: Database, path: Path, progress: Progress) -> None:
    if db.is_sqlite:
        snapshot(db, path)
        return
    migrate(_url(path))
    with closing(Database(_url(path))) as copied:
        transfer.copy(db, copied, progress=progress)


def _fill(
    archive: zipfile.ZipFile, copied: Path, small: Mapping[str, bytes], storage: Storage, progress: Progress
) -> Manifest:
    with closing(Database(_url(copied))) as database:
        revision = current_revision(database)
        with database.read() as session:
            named = sorted(files.named(session))
    entries: dict[str, Entry] = {}
    lost = []
    member = _member(_DATABASE, zipfile.ZIP_DEFLATED)
    with copied.open("rb") as file, archive.open(member, "w", force_zip64=True) as into:
        entries[_DATABASE] = Entry(hashlib.file_digest(file, "sha256").hexdigest(), file.tell())
        file.seek(0)
        shutil.copyfileobj(file, into)
    for name, data in small.items():
        entries[name] = _add(archive, name, data)
    for done, sha256 in enumerate(named, start=1):
        try:
            entries[_FILES + sha256] = _add(archive, _FILES + sha256, storage.get(sha256))
        except Gone:
            lost.append(sha256)
        progress(done, len(named), "Copying files")
    manifest = Manifest(utcnow().isoformat(), __version__, revision or "", entries, tuple(lost))
    _add(archive, _MANIFEST, json.dumps({"format": _FORMAT, **asdict(manifest)}, indent=1).encode())
    return manifest


def _small_files(settings: Settings) -> dict[str, bytes]:
    scripts = sorted((settings.data_dir / _WIDGET).glob("*.js"))
    found = {_WIDGET + script.name: script.read_bytes() for script in scripts}
    if (listed := settings.data_dir / _ERASURES).exists():
        found[_ERASURES] = listed.read_bytes()
    return found


def _secret_entry(settings: Settings, passphrase: str | None) -> dict[str, bytes]:
    secret = settings.signing_key().encode()
    if passphrase is None:
        return {_SECRET: secret}
    salt = os.urandom(16)
    return {_SEALED: salt + _cipher(passphrase, salt).encrypt(secret)}


def _cipher(passphrase: str, salt: bytes) -> Fernet:
    key = hashlib.scrypt(passphrase.encode(), salt=salt, n=1 << 16, r=8, p=1, maxmem=1 << 27, dklen=32)
    return Fernet(base64.urlsafe_b64encode(key))


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> Entry:
    archive.writestr(_member(name, zipfile.ZIP_STORED), data)
    return Entry(hashlib.sha256(data).hexdigest(), len(data))


def _member(name: str, compression: int) -> zipfile.ZipInfo:
    """Photos are compressed already."""
    member = zipfile.ZipInfo(name, gmtime()[:6])
    member.compress_type = compression
    member.external_attr = 0o600 << 16
    return member


def _publish(partial: Path, path: Path) -> None:
    """Give a complete file its name, which nobody may have taken meanwhile."""
    try:
        os.link(partial, path)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError:  # a file system without links
        partial.replace(path)
    sync_folder(path.parent)


def _taken(path: Path) -> Conflict:
    return Conflict(f"{path} already exists. Choose another name.")


# Reading one


@contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _DAMAGE as error:
        raise _no_backup(path) from error


def _no_backup(path: Path) -> Invalid:
    return Invalid(f"{path} is no backup, or damaged, or was cut off. Take another one.")


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    try:
        told: dict[str, Any] = json.loads(archive.read(_MANIFEST))
        if told.pop("format") != _FORMAT:
            raise NotReady(f"{path} is a backup of another kind, of version {told.get('version')}. Use that version.")
        entries = {name: Entry(**entry) for name, entry in told.pop("entries").items()}
        return Manifest(**{**told, "entries": entries, "lost": tuple(told["lost"])})
    except (KeyError, ValueError, TypeError) as error:
        raise _no_backup(path) from error


def _verified(archive: zipfile.ZipFile, path: Path, folder: Path) -> Manifest:
    """The manifest, after everything was compared with it. The database is in ``folder`` afterwards."""
    manifest = _read_manifest(archive, path)
    if sorted(archive.namelist()) != sorted([*manifest.entries, _MANIFEST]) or _DATABASE not in manifest.entries:
        raise Invalid(f"{path} is damaged: files are missing in it, or too many. Take another one.")
    for name, entry in manifest.entries.items():
        with archive.open(name) as member:
            if hashlib.file_digest(cast("Any", member), "sha256").hexdigest() != entry.sha256:
                raise Invalid(f"{path} is damaged: {name} differs from what was written. Take another one.")
    copied = folder / _DATABASE
    with archive.open(_DATABASE) as member, _private(copied) as into:
        shutil.copyfileobj(member, into)
    with closing(Database(_url(copied))) as database:
        if problems := damage(database):
            raise Invalid(f"The database in {path} is damaged. {problems[0]}")
    return manifest


# Putting it back


def _require_free(settings: Settings, *, replace: bool) -> None:
    place = _place(settings)
    if place is not None and not place.exists():
        return
    with closing(Database(settings.sqlalchemy_url)) as database:
        if _is_empty(database):
            return
        if place is None:
            advice = "Create another one, and name it in ASSISTANT_DATABASE_URL."
            raise Conflict(f"The PostgreSQL database is not empty. {advice}")
        if not replace:
            advice = "Choose another ASSISTANT_DATA_DIR, or use --replace: it is set aside then."
            raise Conflict(f"There is a database already. {advice}")
        database.require_unused()


def _place(settings: Settings) -> Path | None:
    """The file of a SQLite database, which need not be there; None for PostgreSQL."""
    url = make_url(settings.sqlalchemy_url)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _is_empty(database: Database) -> bool:
    """One that cannot be read counts as full."""
    try:
        return current_revision(database) is None
    except DatabaseError:
        return False


def _bring_up_to_date(archive: zipfile.ZipFile, settings: Settings, folder: Path) -> tuple[str, ...]:
    """Upgrade the database, and erase again what was erased: before it is in use, and before the files are there."""
    if _ERASURES in archive.namelist():
        erasure.add_to_list(settings.data_dir, archive.read(_ERASURES).decode())
    url = _url(folder / _DATABASE)
    migrate(url)
    with closing(Database(url)) as database:
        storage = Storage.open(str(folder / "none"))
        receipt = erasure.repeat(database, storage, settings.data_dir)
        taxonomy = Taxonomies(database, load_taxonomy(settings.taxonomy)).current()
        Retention(database, storage, settings.data_dir, taxonomy).repeat(now=utcnow())
    return receipt.customers if receipt is not None else ()


def _restore_files(archive: zipfile.ZipFile, settings: Settings, folder: Path, progress: Progress) -> int:
    storage = Storage.open(settings.attachments_url)
    with closing(Database(_url(folder / _DATABASE))) as database, database.read() as session:
        named = [_FILES + sha256 for sha256 in sorted(files.named(session))]
    wanted = [name for name in named if name in archive.NameToInfo]
    for done, name in enumerate(wanted, start=1):
        storage.put(archive.read(name))
        progress(done, len(wanted), "Copying files")
    return len(wanted)


def _secret_of(archive: zipfile.ZipFile, settings: Settings, passphrase: str | None) -> bytes | None:
    """The secret key to restore; None if there is none, or if this installation has one already."""
    if settings.secret_key is not None or (settings.data_dir / _SECRET).exists():
        return None
    if _SECRET in archive.NameToInfo:
        return archive.read(_SECRET)
    if _SEALED not in archive.NameToInfo:
        return None
    if passphrase is None:
        raise Invalid("The secret key in this backup is encrypted. Give its passphrase (--passphrase).")
    sealed = archive.read(_SEALED)
    try:
        return _cipher(passphrase, sealed[:16]).decrypt(sealed[16:])
    except InvalidToken as error:
        raise Invalid("The passphrase is wrong. Nothing was changed.") from error


def _restore_small_files(archive: zipfile.ZipFile, settings: Settings, secret: bytes | None) -> None:
    """What is not there yet."""
    names = [name for name in archive.namelist() if name.startswith(_WIDGET)]
    contents = {_WIDGET + Path(name).name: archive.read(name) for name in names}
    for name, data in {**contents, **({_SECRET: secret} if secret is not None else {})}.items():
        path = settings.data_dir / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=PARTIAL) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(file.name, path)


def _restore_database(settings: Settings, restored: Path, progress: Progress) -> Path | None:
    """The last step, after which everything is back. Returns where the database of before is."""
    place = _place(settings)
    if place is None:
        with closing(Database(_url(restored))) as source:
            transfer.move(source, settings.sqlalchemy_url, progress=progress)
        return None
    aside = None
    if place.exists():
        with closing(Database(settings.sqlalchemy_url)) as database:
            is_empty = _is_empty(database)
            database.require_unused()
        aside = None if is_empty else place.with_name(f"{place.name}.before-{utcnow():%Y%m%dT%H%M%SZ}")
    if aside is not None:
        _publish(place, aside)
        for log in ("-wal", "-shm"):  # of a damaged database: it must not be taken for the new one's
            with suppress(FileNotFoundError):
                place.with_name(place.name + log).rename(aside.with_name(aside.name + log))
    restored.replace(place)
    sync_folder(place.parent)
    return aside


def _url(path: Path) -> str:
    return f"sqlite:///{path.resolve()}"


def _private(path: Path) -> IO[bytes]:
    """A new file that its owner alone may read."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Faults of the machine as our errors, which say what they met."""
    try:
        yield
    except AssistantError:
        raise
    except Exception as error:
        fault = passing_fault(error)
        if fault is None and not isinstance(error, OSError):
            raise
        reason = advice(fault) if fault is not None else f"{getattr(error, 'strerror', None) or error}."
        raise NotReady(f"{what}. {reason} What was there before has not changed.") from error
