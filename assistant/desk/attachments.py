"""Files sent with a message: checked, normalised and stored before any row refers to them.

A bad file does not fail the message: it is refused with a reason and the rest is accepted. A fault of ours fails the
message: its sender keeps it and tries again, rather than finding it stored without the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assistant.desk.desk import Desk
from assistant.errors import AssistantError, NotReady, TooLarge
from assistant.media.files import Upload, safe_filename
from assistant.media.photo import Photo, normalise
from assistant.models import Attachment, AttachmentKind


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
