"""Files sent with a message: checked, normalised and stored before any row refers to them; and read again.

A bad file does not fail the message: it is refused with a reason and the rest is accepted. A fault of ours fails the
message: its sender keeps it and tries again, rather than finding it stored without the file. A file that is lost later
costs nothing but itself: whoever reads it records that, and goes on without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.desk import feed, queue, usage
from assistant.desk.desk import Desk
from assistant.desk.events import MessageUpdated
from assistant.desk.subscribers import SCAN_AGAIN
from assistant.errors import AssistantError, Gone, Invalid, NotReady, TooLarge, Unsupported
from assistant.media.files import StoredFile, Upload, safe_filename
from assistant.media.formats import sniff
from assistant.media.kinds import DEFAULT_EXTENSIONS, Risk, risk_of
from assistant.media.photo import Limits, Photo, normalise
from assistant.models import Attachment, AttachmentKind, FileCondition, ReplyFile, UploadedFile
from assistant.settings import Settings
from assistant.wording import Notice

log = structlog.get_logger(__name__)

READ_AGAIN = "read_again"  # the job that reads photos which the model, or nobody, could read before
_LONGEST_PAUSE = timedelta(hours=1)  # between two calls of a scanner that is away
# What a file is, whatever it is attached to.
FILE = (
    *("kind", "sha256", "thumbnail_sha256", "filename", "content_type", "byte_size"),
    *("width", "height", "condition", "risk"),
)
LOST = (FileCondition.MISSING, FileCondition.DAMAGED)
_WITHHELD = {
    FileCondition.INFECTED: "contains malware and is not handed out",
    FileCondition.REMOVED: "was removed: its inbox keeps files for some time only",
}


@dataclass(frozen=True)
class RejectedFile:
    filename: str
    error: AssistantError


@dataclass(frozen=True)
class CheckedFile:
    """A good file, not stored yet."""

    filename: str
    content: Photo | StoredFile
    risk: Risk | None = None

    @property
    def size(self) -> int:
        return len(self.content.data) + (len(self.content.thumbnail) if isinstance(self.content, Photo) else 0)


@dataclass(frozen=True)
class CheckedFiles:
    files: tuple[CheckedFile, ...] = ()
    rejected: tuple[RejectedFile, ...] = ()


@dataclass(frozen=True)
class PreparedFiles:
    """Attachments that belong to no message yet, their bytes already stored, and the refused files. ``used``: ids of
    the uploads among them, which `uploads.use` takes in the message's transaction."""

    attachments: tuple[Attachment, ...] = ()
    rejected: tuple[RejectedFile, ...] = ()
    used: tuple[str, ...] = ()


def attached(file: Attachment | ReplyFile | UploadedFile, position: int = 0) -> Attachment:
    """The same file, on another message. An uploaded one keeps its id."""
    same = {"public_id": file.public_id} if isinstance(file, UploadedFile) else {}
    return Attachment(position=position, **same, **{name: getattr(file, name) for name in FILE})


def check_files(desk: Desk, uploads: Sequence[Upload], *, besides: int = 0) -> CheckedFiles:
    """Normalise uploads and judge their risks. Stores nothing: for a repeated message this is all. ``besides``: how
    many files there are already.

    Raises `NotReady` if a good file cannot be read now."""
    files: list[CheckedFile] = []
    rejected: list[RejectedFile] = []
    for upload in uploads:
        try:
            if besides + len(files) >= desk.settings.photos_per_message:
                raise _too_many(desk)
            files.append(_check(desk.settings, upload, desk.photo_limits))
        except NotReady:
            raise
        except AssistantError as error:
            rejected.append(RejectedFile(safe_filename(upload.filename), error))
    return CheckedFiles(tuple(files), tuple(rejected))


def prepare_files(
    desk: Desk,
    uploads: Sequence[Upload],
    *,
    uploaded: Sequence[UploadedFile] = (),
    conversation_id: int | None = None,
    visitor: str | None = None,
) -> PreparedFiles:
    """Check, scan and store uploads, after those that were ``uploaded`` before, within the limits of conversation and
    ``visitor``. What no row names in the end is swept later (`files`).

    Raises `NotReady` if a good file cannot be read or stored now."""
    most = desk.settings.photos_per_message
    known = uploaded[:most]
    checked = check_files(desk, uploads, besides=len(known))
    refused = [RejectedFile(one.filename, _too_many(desk)) for one in uploaded[most:]] + list(checked.rejected)
    scanned = [(file, _scan(desk, file)) for file in checked.files]
    infected = [file for file, condition in scanned if condition is FileCondition.INFECTED]
    refused += [
        RejectedFile(file.filename, Invalid(Notice("file_infected", {"name": file.filename}), field="photos"))
        for file in infected
    ]
    clean = [(file, condition) for file, condition in scanned if condition is not FileCondition.INFECTED]
    sizes = [*(one.byte_size for one in known), *(file.size for file, _ in clean)]
    within = usage.admit(desk, sizes, conversation_id=conversation_id, visitor=visitor, stored=len(known))
    names = [*(one.filename for one in known), *(file.filename for file, _ in clean)]
    refused += [RejectedFile(name, error) for name, error in zip(names, within, strict=True) if error is not None]
    used = [one for one, error in zip(known, within, strict=False) if error is None]
    good = [pair for pair, error in zip(clean, within[len(known) :], strict=True) if error is None]
    attachments = [attached(one, place) for place, one in enumerate(used)]
    attachments += [_store(desk, *pair, position=place) for place, pair in enumerate(good, len(used))]
    return PreparedFiles(tuple(attachments), tuple(refused), tuple(one.public_id for one in used))


def _too_many(desk: Desk) -> TooLarge:
    limit = desk.settings.photos_per_message
    return TooLarge(Notice("files_too_many", {"n": limit}), limit=limit)


def accepted_extensions(settings: Settings) -> list[str]:
    """Of files that are not photos: in lower case, without a dot."""
    allowed = DEFAULT_EXTENSIONS if settings.file_types is None else settings.file_types
    return [extension.lower().lstrip(".") for extension in allowed]


def _check(settings: Settings, upload: Upload, limits: Limits) -> CheckedFile:
    name = safe_filename(upload.filename)
    is_drawing = settings.risky_files == "mark" and len(upload.data) <= limits.max_bytes and sniff(upload.data) == "SVG"
    content = StoredFile(upload.data, name) if is_drawing else normalise(upload, limits)
    if isinstance(content, Photo):
        return CheckedFile(name, content)
    risk = risk_of(name, upload.data, allowed=accepted_extensions(settings))
    if risk is not None and settings.risky_files == "refuse":
        raise Unsupported(Notice("file_kind", {"name": name}))
    return CheckedFile(name, content, risk)


def _scan(desk: Desk, file: CheckedFile) -> FileCondition:
    """Photos are not scanned: nothing but their pixels is kept."""
    if isinstance(file.content, Photo):
        return FileCondition.READY
    try:
        malware = desk.scanner.scan(file.content.data)
    except NotReady as error:
        log.warning("scanner.away", error=error.message)
        return FileCondition.UNSCANNED
    if malware is None:
        return FileCondition.READY
    log.warning("scanner.found", malware=malware, file=file.content.sha256)
    return FileCondition.INFECTED


def _store(desk: Desk, file: CheckedFile, condition: FileCondition, *, position: int) -> Attachment:
    content = file.content
    attachment = Attachment(
        position=position,
        filename=file.filename,
        content_type=content.content_type,
        byte_size=len(content.data),
        sha256=desk.storage.put(content.data),
        kind=AttachmentKind.FILE,
        condition=condition,
        risk=file.risk,
    )
    if isinstance(content, Photo):
        attachment.kind = AttachmentKind.PHOTO
        attachment.thumbnail_sha256 = desk.storage.put(content.thumbnail)
        attachment.width, attachment.height = content.width, content.height
    return attachment


def scan_again(desk: Desk, message_id: int, *, tries: int) -> None:
    """Job: scan a message's files that the scanner has not seen. While it is away, try again at growing intervals."""
    with desk.db.read() as session:
        unscanned = select(Attachment).where(
            Attachment.message_id == message_id, Attachment.condition == FileCondition.UNSCANNED
        )
        waiting = session.scalars(unscanned).all()
    try:
        for attachment in waiting:
            with suppress(Gone):
                malware = desk.scanner.scan(read_file(desk, attachment))
                condition = FileCondition.READY if malware is None else FileCondition.INFECTED
                record_condition(desk, attachment, condition)
    except NotReady:
        pause = min(timedelta(seconds=15) * 2**tries, _LONGEST_PAUSE)
        with desk.db.begin() as session:
            _scan_later(session, message_id, tries=min(tries + 1, 20), run_at=desk.now() + pause)


def _scan_later(session: Session, message_id: int, *, tries: int = 0, run_at: datetime | None = None) -> None:
    payload = {"message_id": message_id, "tries": tries}
    queue.enqueue(session, SCAN_AGAIN, payload, key=f"{SCAN_AGAIN}:{message_id}", run_at=run_at)


def read_file(desk: Desk, attachment: Attachment, *, thumbnail: bool = False) -> bytes:
    """An attachment's bytes. Opens a transaction if what is known of them changes: everybody is told.

    Raises `Gone` if they are missing, damaged, infected or removed."""
    name = attachment.filename
    if attachment.condition in _WITHHELD:
        raise Gone(f"{name} {_WITHHELD[attachment.condition]}.", condition=attachment.condition.value)
    if thumbnail and attachment.thumbnail_sha256 is not None:
        with suppress(Gone):  # the photo itself will do
            return desk.storage.get(attachment.thumbnail_sha256)
    try:
        data = desk.storage.get(attachment.sha256)
    except Gone as error:
        record_condition(desk, attachment, FileCondition(error.condition))
        raise Gone(f"{name} is lost: {error.message} Ask for it again.", condition=error.condition) from error
    if attachment.condition in LOST:
        is_photo = attachment.kind is AttachmentKind.PHOTO
        record_condition(desk, attachment, FileCondition.READY if is_photo else FileCondition.UNSCANNED)
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
            feed.append(session, row.message.conversation_id, MessageUpdated(row.message, files=True))
            if is_back:
                payload = {"message_id": row.message_id, "tries": 0}
                queue.enqueue(session, READ_AGAIN, payload, key=f"{READ_AGAIN}:{row.message_id}")
            if condition is FileCondition.UNSCANNED:
                _scan_later(session, row.message_id)
