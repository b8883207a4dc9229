"""Files sent with a message: checked, normalised and stored before any row refers to them; and read again.

A bad file does not fail the message: it is refused with a reason and the rest is accepted. A fault of ours fails the
message: its sender keeps it and tries again, rather than finding it stored without the file. A file that is lost later
costs nothing but itself: whoever reads it records that, and goes on without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import select

from assistant.desk import feed, queue
from assistant.desk.desk import Desk
from assistant.desk.events import MessageUpdated
from assistant.errors import AssistantError, Gone, NotReady, TooLarge
from assistant.media.files import Upload, safe_filename
from assistant.media.photo import Photo, normalise
from assistant.models import Attachment, AttachmentKind, FileCondition

READ_AGAIN = "read_again"  # the job that reads photos which the model, or nobody, could read before
LOST = (FileCondition.MISSING, FileCondition.DAMAGED)


@dataclass(frozen=True)
class RejectedFile:
    filename: str
    error: AssistantError


@dataclass(frozen=True)
class PreparedFiles:
    """Attachments that belong to no message yet, their bytes already stored, and the refused files."""

    attachments: tuple[Attachment, ...] = ()
    rejected: tuple[RejectedFile, ...] = ()


def prepare_files(desk: Desk, uploads: Sequence[Upload]) -> PreparedFiles:
    """Normalise and store uploads. Opens no transaction; bytes that no row refers to do no harm.

    Raises `NotReady` if a good file cannot be read or stored now."""
    attachments: list[Attachment] = []
    rejected: list[RejectedFile] = []
    for upload in uploads:
        try:
            if len(attachments) >= desk.settings.photos_per_message:
                limit = desk.settings.photos_per_message
                raise TooLarge(f"A message takes at most {limit} files. Send this one in another message.", limit=limit)
            attachments.append(_prepare(desk, upload, position=len(attachments)))
        except NotReady:
            raise
        except AssistantError as error:
            rejected.append(RejectedFile(safe_filename(upload.filename), error))
    return PreparedFiles(tuple(attachments), tuple(rejected))


def _prepare(desk: Desk, upload: Upload, *, position: int) -> Attachment:
    file = normalise(upload, desk.photo_limits)
    attachment = Attachment(
        position=position,
        filename=safe_filename(upload.filename),
        content_type=file.content_type,
        byte_size=len(file.data),
        sha256=desk.storage.put(file.data),
        kind=AttachmentKind.FILE,
    )
    if isinstance(file, Photo):
        attachment.kind = AttachmentKind.PHOTO
        attachment.thumbnail_sha256 = desk.storage.put(file.thumbnail)
        attachment.width, attachment.height = file.width, file.height
    return attachment


def read_file(desk: Desk, attachment: Attachment, *, thumbnail: bool = False) -> bytes:
    """An attachment's bytes. Opens a transaction if what is known of them changes: everybody is told.

    Raises `Gone` if they are missing, damaged or infected."""
    name = attachment.filename
    if attachment.condition is FileCondition.INFECTED:
        raise Gone(f"{name} contains malware and is not handed out.", condition=attachment.condition.value)
    if thumbnail and attachment.thumbnail_sha256 is not None:
        with suppress(Gone):  # the photo itself will do
            return desk.storage.get(attachment.thumbnail_sha256)
    try:
        data = desk.storage.get(attachment.sha256)
    except Gone as error:
        record_condition(desk, attachment, FileCondition(error.condition))
        raise Gone(f"{name} is lost: {error.message} Ask for it again.", condition=error.condition) from error
    if attachment.condition in LOST:
        record_condition(desk, attachment, FileCondition.READY)
    return data


def read_files(desk: Desk, attachments: Iterable[Attachment]) -> list[bytes]:
    """The bytes of those that can still be had, in order."""
    found = []
    for attachment in attachments:
        with suppress(Gone):
            found.append(read_file(desk, attachment))
    return found


def record_condition(desk: Desk, attachment: Attachment, condition: FileCondition) -> None:
    """Record and tell what became of a file, for every attachment with the same bytes. A photo that is back is read."""
    with desk.db.begin() as session:
        same = select(Attachment).where(Attachment.sha256 == attachment.sha256, Attachment.condition != condition)
        for row in session.scalars(same.where(Attachment.condition != FileCondition.INFECTED)):
            is_back = row.condition in LOST and row.kind is AttachmentKind.PHOTO
            row.condition = condition
            feed.append(session, row.message.conversation_id, MessageUpdated(row.message))
            if is_back:
                payload = {"message_id": row.message_id, "tries": 0}
                queue.enqueue(session, READ_AGAIN, payload, key=f"{READ_AGAIN}:{row.message_id}")
