"""Questions about photos: answered from the evidence or by a model that looks, and kept with the photo."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from assistant import payloads
from assistant.desk import feed, reports
from assistant.desk.access import AgentPrincipal, Staff, access_attachment
from assistant.desk.attachments import read_file
from assistant.desk.desk import Desk
from assistant.desk.events import PhotoAsked
from assistant.desk.evidence import evidence_of, to_value
from assistant.errors import Invalid, NotFound
from assistant.models import Attachment, AttachmentKind, Evidence, PhotoQuestion
from assistant.payloads.payload import Region
from assistant.payloads.photos import region_of
from assistant.skills.ask_photo import LONGEST_QUESTION, AnsweredBy, PhotoAnswer, ask_photo
from assistant.text.folding import fold

# Of one photo: the newest are kept.
KEPT = 50


def ask(desk: Desk, by: Staff, attachment_id: str, question: str) -> payloads.PhotoQuestion:
    """Answer a question about a photo, keep both, and tell who has its conversation open. The same question again is
    answered anew, in place of the answer before. No transaction is open meanwhile: a model may have to look.

    Raises `Invalid` for a question that is empty or too long, `NotFound` for what is no photo or not read yet."""
    asked = " ".join(question.split())
    if not asked or len(asked) > LONGEST_QUESTION:
        raise Invalid(f"Ask something, in up to {LONGEST_QUESTION} characters.", field="question")
    with desk.db.read() as session:
        photo, read = _read_photo(session, by, attachment_id)
        taxonomy = desk.taxonomy.of_inbox(photo.message.conversation.inbox.key)
    started = perf_counter()
    answer = ask_photo(
        asked, to_value(read), photo=partial(read_file, desk, photo), capabilities=desk.capabilities, taxonomy=taxonomy
    )
    seconds = perf_counter() - started
    with desk.db.begin() as session:
        photo, now = _read_photo(session, by, attachment_id)
        row = _kept(session, photo, asked)
        row.answer, row.evidence_id = _to_json(answer), read.id
        row.agent_id, row.api_key_id = (by.agent_id, None) if isinstance(by, AgentPrincipal) else (None, by.key_id)
        row.asked_at = desk.now()
        session.flush()
        session.refresh(row)
        conversation_id = photo.message.conversation_id
        if answer.by is AnsweredBy.MODEL:
            reports.record_generation(
                session, desk, "ask_photo", desk.capabilities, conversation_id=conversation_id, seconds=seconds
            )
        feed.append(session, conversation_id, PhotoAsked(photo, row, now))
        return payloads.PhotoQuestion.of(row, now)


def asked_about(session: Session, by: Staff, attachment_id: str) -> list[payloads.PhotoQuestion]:
    """What was asked about a photo, oldest first."""
    photo = access_attachment(session, by, attachment_id)
    now = evidence_of(session, [photo]).get(photo.sha256)
    return [payloads.PhotoQuestion.of(row, now) for row in questions_of(session, [photo])[photo.id]]


def questions_of(session: Session, photos: Sequence[Attachment]) -> dict[int, list[PhotoQuestion]]:
    """What was asked about each photo, by its id in the database, oldest first."""
    found: dict[int, list[PhotoQuestion]] = defaultdict(list)
    if photos:
        query = select(PhotoQuestion).where(PhotoQuestion.attachment_id.in_([photo.id for photo in photos]))
        for row in session.scalars(query.order_by(PhotoQuestion.asked_at, PhotoQuestion.id)).all():
            found[row.attachment_id].append(row)
    return found


def forget(session: Session, photos: Collection[int]) -> None:
    """Remove what was asked about photos, by their ids in the database."""
    session.execute(delete(PhotoQuestion).where(PhotoQuestion.attachment_id.in_(photos)))


def _read_photo(session: Session, by: Staff, attachment_id: str) -> tuple[Attachment, Evidence]:
    photo = access_attachment(session, by, attachment_id)
    if photo.kind is not AttachmentKind.PHOTO:
        raise NotFound("Only photos can be asked about, and this file is none.")
    read = evidence_of(session, [photo]).get(photo.sha256)
    if read is None:
        raise NotFound("This photo has not been read yet. Try again in a moment.")
    return photo, read


def _kept(session: Session, photo: Attachment, question: str) -> PhotoQuestion:
    """The row of this question, without the oldest ones if there are too many."""
    known = questions_of(session, [photo])[photo.id]
    row = next((one for one in known if fold(one.question) == fold(question)), None)
    if row is None:
        for oldest in known[: max(0, len(known) - KEPT + 1)]:
            session.delete(oldest)
        row = PhotoQuestion(attachment_id=photo.id, question=question)
        session.add(row)
    return row


def _to_json(answer: PhotoAnswer) -> dict[str, Any]:
    regions: list[Region] = [region_of(box) for box in answer.regions]
    return {
        "text": answer.text,
        "confidence": round(answer.confidence, 4) if answer.confidence is not None else None,
        "regions": [list(one) for one in regions],
        "by": answer.by,
        "model": answer.model,
        "silence": answer.silence,
        "asks": answer.asks,
    }
