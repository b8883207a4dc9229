"""Assessing a ticket without storing it: evidence, triage, passages and a draft.

Used by the stateless triage API and ``assistant triage``, with the same skills as the jobs.
"""

from __future__ import annotations

from collections.abc import Sequence

from assistant import payloads
from assistant.desk import inboxes
from assistant.desk.answers import answer_skill
from assistant.desk.attachments import RejectedFile
from assistant.desk.conversations import check_text
from assistant.desk.desk import Desk
from assistant.desk.evidence import reader_of
from assistant.desk.learning import current_heads
from assistant.desk.triage import run_triage
from assistant.errors import AssistantError, Invalid, TooLarge, Unsupported
from assistant.media.files import Upload, safe_filename
from assistant.media.photo import Photo, normalise
from assistant.models import DEFAULT_INBOX, EvidenceState
from assistant.skills.answer_request import AnswerRequest
from assistant.skills.contradictions import contradictions
from assistant.skills.read_photo import PhotoEvidence, read_photo
from assistant.skills.taxonomy import NO_PRODUCT
from assistant.skills.triage import triaged_by
from assistant.text.mail import own_words


def assess(
    desk: Desk,
    *,
    subject: str = "",
    text: str,
    uploads: Sequence[Upload] = (),
    inbox: str = DEFAULT_INBOX,
    with_draft: bool = True,
) -> payloads.Assessment:
    """Read the photos, triage, find passages and, ``with_draft``, draft an answer, as for a ticket of ``inbox`` (its
    key). Rejected files are reported, not fatal.

    Raises `Invalid` if there is nothing to assess or no such inbox, or the only file's error if it was rejected.
    """
    check_text(desk, text)
    names, photos, rejected = _photos(desk, uploads)
    if not (text.strip() or subject.strip() or photos):
        if rejected:
            raise rejected[0].error
        raise Invalid("There is nothing to assess. Send text or a photo.", field="text")
    read = [read_photo(photo, capabilities=desk.capabilities, taxonomy=desk.taxonomy) for photo in photos]
    with desk.db.read() as session:
        heads = current_heads(session, desk)
        where = inboxes.named(session, inbox)
    text = own_words(text)
    fields = run_triage(desk, f"{text}\n{subject}".strip(), evidence=read, photos=photos, heads=heads)
    now, by = desk.now(), triaged_by(fields, desk.capabilities)
    assessed = {
        "model": by.model,
        "mode": by.mode,
        "evidence": tuple(_evidence(desk, one, name) for one, name in zip(read, names, strict=True)),
        "contradictions": tuple(map(payloads.Contradiction.of, contradictions(text, read, desk.taxonomy))),
        "triage": tuple(payloads.TriageField.proposed(field) for field in fields),
        "rejected_files": tuple(payloads.RejectedFile.of(file.filename, file.error) for file in rejected),
    }
    if not with_draft:
        return payloads.Assessment(**assessed, passages=(), draft=None)
    field = next(field for field in fields if field.name == "product")
    product = None if field.abstained or field.value == NO_PRODUCT else field.value
    request = AnswerRequest(text=text, evidence=tuple(read), photos=tuple(photos), subject=subject, product=product)
    answer = answer_skill(desk, where).invoke(request)
    return payloads.Assessment(
        **assessed,
        passages=tuple(payloads.Passage.of(document) for document in answer.passages),
        draft=payloads.Draft.proposed(answer, desk.capabilities, created_at=now),
    )


def read_evidence(desk: Desk, upload: Upload) -> payloads.Evidence:
    """What is read in one photo, without storing it. Raises `Unsupported` or what `normalise` raises."""
    names, photos, rejected = _photos(desk, [upload])
    if rejected:
        raise rejected[0].error
    read = read_photo(photos[0], capabilities=desk.capabilities, taxonomy=desk.taxonomy)
    return _evidence(desk, read, names[0])


def _photos(desk: Desk, uploads: Sequence[Upload]) -> tuple[list[str], list[bytes], list[RejectedFile]]:
    """The photos' names and normalised bytes, and the files that were rejected."""
    names: list[str] = []
    photos: list[bytes] = []
    rejected: list[RejectedFile] = []
    for upload in uploads:
        name = safe_filename(upload.filename)
        try:
            if len(photos) >= desk.settings.photos_per_message:
                limit = desk.settings.photos_per_message
                raise TooLarge(f"At most {limit} photos can be assessed at once. Leave out {name}.", limit=limit)
            file = normalise(upload, desk.photo_limits)
            if not isinstance(file, Photo):
                raise Unsupported(f"{name} is not a photo. Only text and photos can be assessed.")
        except AssistantError as error:
            rejected.append(RejectedFile(name, error))
            continue
        names.append(name)
        photos.append(file.data)
    return names, photos, rejected


def _evidence(desk: Desk, read: PhotoEvidence, filename: str) -> payloads.Evidence:
    reader = reader_of(read, desk.capabilities)
    return payloads.Evidence.of(
        read, filename=filename, status=EvidenceState.READ, model=reader.model, mode=reader.mode
    )
