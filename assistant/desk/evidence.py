"""Evidence: each photo is read once per model revision, kept, shown, and correctable.

An agent's correction counts for every attachment with the same bytes and is never overwritten by a later reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from time import perf_counter
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from assistant.db import utcnow
from assistant.desk import feed, queue, reports
from assistant.desk.access import AgentPrincipal, access_attachment
from assistant.desk.attachments import READ_AGAIN, read_file
from assistant.desk.desk import Desk
from assistant.desk.events import EvidenceCorrected, EvidenceRead
from assistant.errors import Gone, Invalid, NotFound
from assistant.models import Attachment, AttachmentKind, Author, Evidence, EvidenceState, Message
from assistant.ports import Capabilities, WorkPriority, at_priority
from assistant.skills.contradictions import Contradiction, contradictions
from assistant.skills.read_photo import FIELDS, PhotoEvidence, read_photo
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
    revision = desk.capabilities.revision
    with desk.db.read() as session:
        photos = photos_of(session, [message_id])
        known = evidence_of(session, photos, revision=revision)
    for photo in photos:
        if photo.sha256 not in known:
            with suppress(Gone):
                known[photo.sha256] = _read_and_store(desk, photo)
    read = [known[photo.sha256] for photo in photos if photo.sha256 in known]
    if not all(_is_whole(row, revision) for row in read):
        _read_again_later(desk, message_id, tries=tries)
    return [to_value(row) for row in read]


def _is_whole(row: Evidence, revision: str) -> bool:
    return row.revision == revision or row.state is EvidenceState.CORRECTED


def photos_of(session: Session, message_ids: Iterable[int]) -> Sequence[Attachment]:
    query = select(Attachment).where(
        Attachment.message_id.in_(list(message_ids)), Attachment.kind == AttachmentKind.PHOTO
    )
    return session.scalars(query.order_by(Attachment.message_id, Attachment.position)).all()


def first_photos(session: Session, conversation_ids: Sequence[int]) -> dict[int, Attachment]:
    """For each conversation that has photos, its first; one statement."""
    query = (
        select(Message.conversation_id, Attachment)
        .join(Attachment.message)
        .where(Message.conversation_id.in_(conversation_ids), Attachment.kind == AttachmentKind.PHOTO)
        .order_by(Attachment.id.desc())
    )
    return dict(session.execute(query).all())


def evidence_of(session: Session, photos: Sequence[Attachment], *, revision: str | None = None) -> dict[str, Evidence]:
    """The evidence that counts for each photo, by sha256: corrected first, else the newest.

    With a ``revision``, only what this revision read (or an agent corrected).
    """
    if not photos:
        return {}
    query = select(Evidence).where(Evidence.sha256.in_({photo.sha256 for photo in photos})).order_by(Evidence.id)
    found: dict[str, Evidence] = {}
    for row in session.scalars(query):
        current = found.get(row.sha256)
        usable = revision is None or _is_whole(row, revision)
        if usable and (current is None or current.state is not EvidenceState.CORRECTED):
            found[row.sha256] = row
    return found


def correct_evidence(
    session: Session,
    agent: AgentPrincipal,
    attachment_id: str,
    changes: Mapping[str, str],
    *,
    lines: Mapping[int, str] | None = None,
) -> Evidence:
    """Replace what was read with what the agent sees. Field names: `read_photo.FIELDS`.

    ``lines`` replaces lines of visible text by index; an empty text removes its line. Regions stay.
    """
    unknown = sorted(set(changes) - set(FIELDS))
    if unknown:
        raise Invalid(f"There is no evidence field {unknown[0]!r}. Fields: {', '.join(FIELDS)}.", field=unknown[0])
    photo = access_attachment(session, agent, attachment_id)
    row = evidence_of(session, [photo]).get(photo.sha256)
    if row is None:
        raise NotFound("This photo has not been read yet. Try again in a moment.")
    corrected = {name: {"value": value.strip(), "confidence": 1.0, "region": None} for name, value in changes.items()}
    row.fields = {**row.fields, **corrected}
    row.visible_text = _corrected_lines(row.visible_text, lines or {})
    row.state, row.corrected_by_id, row.corrected_at = EvidenceState.CORRECTED, agent.agent_id, utcnow()
    _tell(session, photo.sha256, EvidenceCorrected)
    return row


def tell_known(session: Session, attachments: Sequence[Attachment]) -> None:
    """Tell about photos that were read before, for another message: their evidence exists from the start."""
    known = evidence_of(session, attachments)
    for attachment in attachments:
        if attachment.sha256 in known:
            event = EvidenceRead(attachment, known[attachment.sha256])
            feed.append(session, attachment.message.conversation_id, event)


def _tell(session: Session, sha256: str, kind: type[EvidenceRead]) -> None:
    """Tell every conversation that has this photo which evidence counts now."""
    session.flush()
    photos = session.scalars(
        select(Attachment)
        .where(Attachment.sha256 == sha256, Attachment.kind == AttachmentKind.PHOTO)
        .options(joinedload(Attachment.message))
        .order_by(Attachment.id)
    ).all()
    counts = evidence_of(session, photos)[sha256]
    for photo in photos:
        feed.append(session, photo.message.conversation_id, kind(photo, counts))


def _corrected_lines(read: Sequence[dict[str, Any]], changes: Mapping[int, str]) -> list[dict[str, Any]]:
    if any(index not in range(len(read)) for index in changes):
        raise Invalid("This photo has no line of text with that index.", field="visible_text")
    seen = {index: {**read[index], "text": text.strip(), "confidence": 1.0} for index, text in changes.items()}
    return [line for line in (seen.get(index, line) for index, line in enumerate(read)) if line["text"]]


def to_value(row: Evidence) -> PhotoEvidence:
    return PhotoEvidence.from_json(row.fields, row.visible_text)


def contradictions_of(message: Message, rows: Mapping[str, Evidence], taxonomy: Taxonomy) -> list[Contradiction]:
    """Where a customer's message and its photos disagree. ``rows``: evidence by sha256, from `evidence_of`."""
    found = (rows.get(attachment.sha256) for attachment in message.attachments)
    read = [to_value(row) for row in found if row is not None]
    if not read or message.author is not Author.CUSTOMER:
        return []
    return contradictions(message.new_text, read, taxonomy)


def _read_and_store(desk: Desk, photo: Attachment) -> Evidence:
    """Read a photo outside any transaction and store the result; if the model failed, as a reading by OCR alone."""
    started = perf_counter()
    read = read_photo(read_file(desk, photo), capabilities=desk.capabilities, taxonomy=desk.taxonomy)
    seconds = perf_counter() - started
    reader = reader_of(read, desk.capabilities)
    with desk.db.begin() as session:
        stored = select(Evidence).where(Evidence.sha256 == photo.sha256, Evidence.revision == reader.revision)
        row = session.scalar(stored)
        if row is None:  # else another worker was faster, or the model had failed before
            row = to_row(read, photo.sha256, reader)
            session.add(row)
            conversation_id = session.get_one(Message, photo.message_id).conversation_id
            reports.record_generation(session, "read_photo", reader, conversation_id=conversation_id, seconds=seconds)
            _tell(session, photo.sha256, EvidenceRead)
        return row


def reader_of(read: PhotoEvidence, capabilities: Capabilities) -> Capabilities:
    """What produced this reading: everything installed, or what remains while the model fails."""
    return capabilities if read.whole else capabilities.without_model


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
