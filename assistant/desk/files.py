"""Files in storage and the rows that name them: which are lost, and which are named by no row.

Files are stored before their rows, so a crash in between leaves a file that nobody names. `sweep` removes it later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from assistant.db import Database
from assistant.errors import Gone, Unavailable, Unsupported
from assistant.media.files import Upload
from assistant.media.photo import Limits, Photo, normalise
from assistant.models import (
    Agent,
    Attachment,
    BatchFile,
    Figure,
    Inbox,
    ProductPhoto,
    ReplyFile,
    Source,
    SourceFile,
    UploadedFile,
    WrittenPicture,
)
from assistant.settings import Settings
from assistant.storage import Storage

# Far longer than the time between storing a file and naming it, and than `storage.REWRITE_AFTER`: whoever sends the
# same bytes again has made the file young again.
SWEEP_AFTER = timedelta(hours=24)
_AT_ONCE = 500

Named = InstrumentedAttribute[str] | InstrumentedAttribute[str | None]

# Every column that names a file. A new one belongs here, or its files are swept: a test compares it with the tables.
NAMED_IN: tuple[Named, ...] = (
    Attachment.sha256,
    Attachment.thumbnail_sha256,
    ReplyFile.sha256,
    ReplyFile.thumbnail_sha256,
    UploadedFile.sha256,
    UploadedFile.thumbnail_sha256,
    BatchFile.sha256,
    Figure.sha256,
    Figure.thumbnail_sha256,
    SourceFile.sha256,
    WrittenPicture.sha256,
    ProductPhoto.sha256,
    Inbox.logo_sha256,
    Agent.picture_sha256,
)


def keep_picture(storage: Storage, settings: Settings, upload: Upload) -> str:
    """Store a picture of a brand or a person as a small JPEG without metadata. Returns its digest.

    Raises what `media.photo.normalise` raises, or `Unsupported`."""
    photo = normalise(upload, Limits(settings.photo_max_bytes, settings.photo_max_pixels))
    if not isinstance(photo, Photo):
        raise Unsupported(f"{upload.filename} is not a picture. Take a JPEG, PNG, WebP or GIF.")
    return storage.put(photo.thumbnail)


def sweep(db: Database, storage: Storage, *, now: datetime) -> int:
    """Delete old files that no row names. Returns how many there were."""
    too_young = now - SWEEP_AFTER
    old = [file for file in storage.list() if file.written_at < too_young]
    swept = 0
    for start in range(0, len(old), _AT_ONCE):
        some = old[start : start + _AT_ONCE]
        digests = [file.sha256 for file in some if file.sha256 is not None]
        with db.read() as session:
            named = _named(session, digests)
        swept += sum(storage.delete_if_older(file, too_young) for file in some if file.sha256 not in named)
    return swept


def remove_unnamed(db: Database, storage: Storage, digests: Iterable[str]) -> tuple[int, int]:
    """Delete those files that no row names any more. Returns how many are gone, and how many are left to `sweep`: the
    storage is away, or whoever stores the same bytes now may rely on a file that was written lately
    (`storage.REWRITE_AFTER`)."""
    wanted = sorted(set(digests))
    with db.read() as session:
        named = _named(session, wanted)
    gone = [_is_deleted(storage, sha256) for sha256 in wanted if sha256 not in named]
    return sum(gone), len(gone) - sum(gone)


def _is_deleted(storage: Storage, sha256: str) -> bool:
    try:
        return storage.delete_unless_young(sha256)
    except Unavailable:
        return False


def _named(session: Session, digests: Sequence[str]) -> set[str | None]:
    found: set[str | None] = set()
    for start in range(0, len(digests), _AT_ONCE):
        some = digests[start : start + _AT_ONCE]
        for column in NAMED_IN:
            found.update(session.scalars(select(column).where(column.in_(some))))
    return found


def named(session: Session) -> set[str]:
    """Digests of all files that rows name."""
    found = {sha256 for column in NAMED_IN for sha256 in session.scalars(select(column))}
    return {sha256 for sha256 in found if sha256}  # none, or an empty one, has what was removed


def lost_files(db: Database, storage: Storage) -> Iterator[str]:
    """Sentences about every file that a row names and that is missing or damaged. Reads every file."""
    with db.read() as session:
        named = list(_digests_with_names(session))
    for sha256, what in sorted(named):
        try:
            storage.get(sha256)
        except Gone as error:
            yield f"{what} is {error.condition} ({sha256[:12]}…). Restore it from a backup."


def _digests_with_names(session: Session) -> set[tuple[str, str]]:
    """Each file's digest with its name in words."""

    def rows(digest: Named, *parts: Named | ColumnElement[str]) -> Iterator[tuple[str, str]]:
        for sha256, *words in session.execute(select(digest, *parts)):
            if sha256:
                yield sha256, " ".join(words)

    thumbnail = literal("The small version of attachment")
    source = select(Source.name).where(Source.id == SourceFile.source_id).scalar_subquery()
    return {
        *rows(Attachment.sha256, literal("Attachment"), Attachment.public_id, Attachment.filename),
        *rows(Attachment.thumbnail_sha256, thumbnail, Attachment.public_id, Attachment.filename),
        *rows(ReplyFile.sha256, literal("File for a reply"), ReplyFile.public_id, ReplyFile.filename),
        *rows(ReplyFile.thumbnail_sha256, literal("The small version of file"), ReplyFile.public_id),
        *rows(UploadedFile.sha256, literal("Uploaded file"), UploadedFile.public_id, UploadedFile.filename),
        *rows(UploadedFile.thumbnail_sha256, literal("The small version of uploaded file"), UploadedFile.public_id),
        *rows(BatchFile.sha256, literal("File of a batch"), BatchFile.filename),
        *rows(Figure.sha256, literal("Figure"), Figure.public_id),
        *rows(Figure.thumbnail_sha256, literal("The small version of figure"), Figure.public_id),
        *rows(SourceFile.sha256, literal("File"), SourceFile.name, literal("of source"), source),
        *rows(WrittenPicture.sha256, literal("The picture"), WrittenPicture.name, literal("of an article")),
        *rows(Inbox.logo_sha256, literal("The logo of inbox"), Inbox.key),
        *rows(Agent.picture_sha256, literal("The picture of agent"), Agent.email),
    }
