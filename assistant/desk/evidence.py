"""Evidence: each photo is read once per model revision, kept and shown.

An agent's correction (`corrections`) is never overwritten by a later reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from time import perf_counter

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from assistant.desk import feed, likeness, products, queue, reports
from assistant.desk.attachments import READ_AGAIN, read_file
from assistant.desk.desk import Desk
from assistant.desk.events import EvidenceRead
from assistant.errors import Gone
from assistant.models import Attachment, AttachmentKind, Author, Evidence, EvidenceState, FileCondition, Message
from assistant.ports import Capabilities, WorkPriority, at_priority
from assistant.skills.contradictions import Contradiction, contradictions
from assistant.skills.read_photo import PhotoEvidence, read_photo
from assistant.skills.taxonomy import Taxonomy

_FIRST_PAUSE, _MOST_TRIES = timedelta(minutes=1), 9  # 1, 2, 4 ... 256 minutes: over eight hours


def read_photos(desk: Desk, message_id: int) -> list[PhotoEvidence]:
    """Read the photos of a message that have not been read yet. Returns the evidence of all of them, in order.

    Photos at which the model failed are read again later; lost ones are left out."""
    return _read_photos(desk, message_id, tries=0)


def read_again(desk: Desk, message_id: int, *, tries: int) -> None:
    """Job: read photos at which the model failed, for the ``tries``-th time."""
    with at_priority(WorkPriority.BATCH):
        _read_photos(desk, message_id, tries=tries + 1)


def _read_photos(desk: Desk, message_id: int, *, tries: int) -> list[PhotoEvidence]:
    capabilities = products.reading(desk)
    revision = capabilities.revision
    with desk.db.read() as session:
        photos = photos_of(session, [message_id])
        known = evidence_of(session, photos, revision=revision)
    likeness.remember(desk, photos)
    for photo in photos:
        if photo.sha256 not in known:
            with suppress(Gone):
                known[photo.sha256] = _read_and_store(desk, capabilities, photo)
    read = [known[photo.sha256] for photo in photos if photo.sha256 in known]
    if not all(_is_whole(row, revision) for row in read):
        _read_again_later(desk, message_id, tries=tries)
    return [to_value(row) for row in read]


def _is_whole(row: Evidence, revision: str) -> bool:
    return row.revision == revision or row.state is EvidenceState.CORRECTED


IS_PHOTO = (Attachment.kind == AttachmentKind.PHOTO) & (Attachment.condition != FileCondition.REMOVED)


def photos_of(session: Session, message_ids: Iterable[int]) -> Sequence[Attachment]:
    query = select(Attachment).where(Attachment.message_id.in_(list(message_ids)), IS_PHOTO)
    return session.scalars(query.order_by(Attachment.message_id, Attachment.position)).all()


def first_photos(session: Session, conversation_ids: Sequence[int]) -> dict[int, Attachment]:
    """For each conversation that has photos, its first; one statement."""
    query = (
        select(Message.conversation_id, Attachment)
        .join(Attachment.message)
        .where(Message.conversation_id.in_(conversation_ids), IS_PHOTO)
        .order_by(Attachment.id.desc())
    )
    return dict(session.execute(query).all())


def evidence_of(session: Session, photos: Sequence[Attachment], *, revision: str | None = None) -> dict[str, Evidence]:
    """The evidence that counts for each photo of a conversation, by sha256: what an agent corrected for it, else for
    all, else the newest reading.

    With a ``revision``, only what this revision read (or an agent corrected).
    """
    if not photos:
        return {}
    conversations = {photo.message.conversation_id for photo in photos}
    query = select(Evidence).where(
        Evidence.sha256.in_({photo.sha256 for photo in photos}),
        or_(Evidence.conversation_id.is_(None), Evidence.conversation_id.in_(conversations)),
    )
    rows = [row for row in session.scalars(query) if revision is None or _is_whole(row, revision)]
    rows.sort(key=lambda row: (row.state is EvidenceState.CORRECTED, row.conversation_id is not None, row.id))
    return {row.sha256: row for row in rows}


def tell_known(session: Session, attachments: Sequence[Attachment]) -> None:
    """Tell about photos that were read before, for another message: their evidence exists from the start."""
    known = evidence_of(session, attachments)
    for attachment in attachments:
        if attachment.sha256 in known:
            event = EvidenceRead(attachment, known[attachment.sha256])
            feed.append(session, attachment.message.conversation_id, event)


def tell(session: Session, sha256: str, kind: type[EvidenceRead], *, conversation_id: int | None = None) -> None:
    """Tell every conversation that has this photo, or only that one, which evidence counts there now."""
    session.flush()
    query = select(Attachment).where(Attachment.sha256 == sha256, Attachment.kind == AttachmentKind.PHOTO)
    if conversation_id is not None:
        query = query.join(Attachment.message).where(Message.conversation_id == conversation_id)
    for photo in session.scalars(query.options(joinedload(Attachment.message)).order_by(Attachment.id)).all():
        feed.append(session, photo.message.conversation_id, kind(photo, evidence_of(session, [photo])[sha256]))


def to_value(row: Evidence) -> PhotoEvidence:
    return PhotoEvidence.from_json(row.fields, row.visible_text)


def contradictions_of(message: Message, rows: Mapping[str, Evidence], taxonomy: Taxonomy) -> list[Contradiction]:
    """Where a customer's message and its photos disagree. ``rows``: evidence by sha256, from `evidence_of`."""
    found = (rows.get(attachment.sha256) for attachment in message.attachments)
    read = [to_value(row) for row in found if row is not None]
    if not read or message.author is not Author.CUSTOMER:
        return []
    return contradictions(message.new_text, read, taxonomy)


def _read_and_store(desk: Desk, capabilities: Capabilities, photo: Attachment) -> Evidence:
    """Read a photo outside any transaction and store the result; if the model failed, as a reading by OCR alone."""
    started = perf_counter()
    read = read_photo(read_file(desk, photo), capabilities=capabilities, taxonomy=desk.taxonomy)
    seconds = perf_counter() - started
    reader = reader_of(read, capabilities)
    with desk.db.begin() as session:
        stored = select(Evidence).where(Evidence.sha256 == photo.sha256, Evidence.revision == reader.revision)
        row = session.scalar(stored)
        if row is None:  # else another worker was faster, or the model had failed before
            row = to_row(read, photo.sha256, reader)
            session.add(row)
            conversation_id = session.get_one(Message, photo.message_id).conversation_id
            reports.record_generation(
                session, desk, "read_photo", reader, conversation_id=conversation_id, seconds=seconds
            )
            tell(session, photo.sha256, EvidenceRead)
        return row


def reader_of(read: PhotoEvidence, capabilities: Capabilities) -> Capabilities:
    """What produced this reading: everything installed, or what remains while the model fails or sees no photos."""
    return capabilities if read.whole and capabilities.sees_photos else capabilities.without_model


def to_row(read: PhotoEvidence, sha256: str, reader: Capabilities) -> Evidence:
    return Evidence(
        sha256=sha256,
        revision=reader.revision,
        model=reader.model,
        mode=reader.mode.value,
        fields=read.to_fields(),
        visible_text=read.visible_text_json(),
    )


def _read_again_later(desk: Desk, message_id: int, *, tries: int) -> None:
    """Some photo of the message was not seen by the model: retry at growing intervals for some hours."""
    if tries >= _MOST_TRIES:
        return
    with desk.db.begin() as session:
        queue.enqueue(
            session,
            READ_AGAIN,
            {"message_id": message_id, "tries": tries},
            key=f"{READ_AGAIN}:{message_id}",
            priority=WorkPriority.BATCH,
            run_at=desk.now() + _FIRST_PAUSE * 2**tries,
        )
