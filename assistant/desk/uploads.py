"""Files that machines upload before they say what for: for tickets and messages to come, and for triage.

Of an upload only the key that made it knows. A ticket or message takes it: it becomes the attachment, with the same id,
so it is used once and is erased and expires with its customer's conversation. A triage only reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from assistant.db import Database
from assistant.desk import files, idempotency
from assistant.desk.access import MachinePrincipal
from assistant.desk.attachments import FILE, RejectedFile, prepare_files
from assistant.desk.desk import Desk
from assistant.desk.idempotency import Once
from assistant.errors import Invalid
from assistant.media.files import Upload
from assistant.models import UploadedFile

KEEP = timedelta(hours=24)
_AT_ONCE = 500


class NoUpload(Invalid):
    """An upload that never was one of this key, is used, or is over."""


@dataclass(frozen=True)
class Named:
    """Uploads that the machine names for a message."""

    machine: MachinePrincipal
    ids: Sequence[str] = ()


def keep(
    desk: Desk, machine: MachinePrincipal, uploads: Sequence[Upload], *, once: Once | None = None
) -> tuple[Sequence[UploadedFile], tuple[RejectedFile, ...]]:
    """Keep files until they are used, for `KEEP` at most. Returns them, and those that were refused.

    Raises `Invalid` if there is none, the first one's error if all were refused, `NotReady` if storage is away."""
    if not uploads:
        raise Invalid("There is no file in the form. Send one or several, as multipart/form-data.", field="files")
    prepared = prepare_files(desk, uploads)
    if not prepared.attachments:
        raise prepared.rejected[0].error
    expires_at = desk.now() + KEEP
    rows = [
        UploadedFile(api_key_id=machine.key_id, expires_at=expires_at, **{name: getattr(one, name) for name in FILE})
        for one in prepared.attachments
    ]
    with desk.db.begin() as session:
        session.add_all(rows)
        session.flush()
        if once is not None:
            idempotency.note(session, once, made=rows[0].public_id)
    return rows, prepared.rejected


def own(session: Session, machine: MachinePrincipal, public_id: str, *, now: datetime) -> UploadedFile | None:
    """The machine's upload with this id that is not used yet."""
    return _known(session, machine, [public_id], now=now).get(public_id)


def find(session: Session, machine: MachinePrincipal, ids: Sequence[str], *, now: datetime) -> list[UploadedFile]:
    """The machine's uploads, in this order. Raises `NoUpload` for one that there is not, `Invalid` for one twice."""
    return find_each(session, machine, [ids], now=now)[0]


def find_each(
    session: Session, machine: MachinePrincipal, lists: Sequence[Sequence[str]], *, now: datetime, lock: bool = False
) -> list[list[UploadedFile]]:
    """As `find`, for several tickets: two may name the same upload. ``lock``: none goes before the transaction ends."""
    for ids in lists:
        if twice := [one for one, times in Counter(ids).items() if times > 1]:
            raise Invalid(f"The attachment {twice[0]} is named twice. Name it once.", field="attachments")
    wanted = {one for ids in lists for one in ids}
    known = _known(session, machine, wanted, now=now, lock=lock) if wanted else {}
    if missing := sorted(wanted - known.keys()):
        raise _no_upload(missing[0])
    return [[known[one] for one in ids] for ids in lists]


def use(session: Session, ids: Collection[str]) -> None:
    """In the transaction of the message that they are attached to. Raises `NoUpload` if another has taken one."""
    for one in sorted(ids):
        if session.scalar(delete(UploadedFile).where(UploadedFile.public_id == one).returning(UploadedFile.id)) is None:
            raise _no_upload(one)


def remove(desk: Desk, upload: UploadedFile) -> None:
    """With its file, unless another row names that."""
    with desk.db.begin() as session:
        session.execute(delete(UploadedFile).where(UploadedFile.public_id == upload.public_id))
    files.remove_unnamed(desk.db, desk.storage, [one for one in (upload.sha256, upload.thumbnail_sha256) if one])


def sweep(db: Database, *, now: datetime) -> None:
    """Forget those whose time is over. `files.sweep` deletes what they named."""
    with db.begin() as session:
        session.execute(delete(UploadedFile).where(UploadedFile.expires_at <= now))


def _known(
    session: Session, machine: MachinePrincipal, ids: Iterable[str], *, now: datetime, lock: bool = False
) -> Mapping[str, UploadedFile]:
    wanted, found = sorted(set(ids)), dict[str, UploadedFile]()
    for start in range(0, len(wanted), _AT_ONCE):
        query = select(UploadedFile).where(
            UploadedFile.public_id.in_(wanted[start : start + _AT_ONCE]),
            UploadedFile.api_key_id == machine.key_id,
            UploadedFile.expires_at > now,
        )
        found |= {one.public_id: one for one in session.scalars(query.with_for_update() if lock else query)}
    return found


def _no_upload(public_id: str) -> NoUpload:
    return NoUpload(
        f"There is no unused attachment {public_id[:60]!r} of this key: it is unknown, used by a ticket or message, or "
        f"over after {KEEP // timedelta(hours=1)} hours. Upload the file again.",
        field="attachments",
    )
