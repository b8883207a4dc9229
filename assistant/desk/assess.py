"""Assessing a ticket without storing it: evidence, triage, passages and a draft.

Used by the stateless triage API and ``assistant triage``, with the same skills as the jobs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from time import perf_counter
from typing import TypedDict, Unpack

from assistant import payloads
from assistant.desk import inboxes, outbreaks, products
from assistant.desk.access import MachinePrincipal, Scope, Staff
from assistant.desk.answers import answer_skill
from assistant.desk.attachments import RejectedFile
from assistant.desk.conditions import Asking
from assistant.desk.conversations import check_text
from assistant.desk.desk import Desk
from assistant.desk.evidence import reader_of
from assistant.desk.learning import current_heads
from assistant.desk.likeness import Hash
from assistant.desk.similar import Compared
from assistant.desk.triage import Asked, Proposed, influences, run_triage, told_of
from assistant.errors import AssistantError, Invalid, NotReady, TooLarge, Unsupported
from assistant.media.files import Upload, safe_filename
from assistant.media.likeness import hash_of
from assistant.media.photo import Photo, normalise
from assistant.models import DEFAULT_INBOX, AttachmentKind, BatchFile, EvidenceState, UploadedFile
from assistant.ports import check_time
from assistant.skills.answer_request import AnswerRequest
from assistant.skills.captions import troubles_in
from assistant.skills.contradictions import contradictions
from assistant.skills.explain import Ticket as Whole
from assistant.skills.read_photo import PhotoEvidence, read_photo
from assistant.skills.taxonomy import NO_PRODUCT
from assistant.text.mail import own_words

Given = Upload | UploadedFile | BatchFile  # as it was sent, or in storage


class Wanted(TypedDict, total=False):
    """``with_influences``: with what each proposal depends on, which takes longer. ``by``: who may be told of other
    tickets; None: nobody."""

    with_draft: bool
    with_influences: bool
    by: Staff | None


def assess(
    desk: Desk,
    *,
    subject: str = "",
    text: str,
    uploads: Sequence[Given] = (),
    inbox: str = DEFAULT_INBOX,
    language: str | None = None,
    **wanted: Unpack[Wanted],
) -> payloads.Assessment:
    """Read the photos, triage, find passages and, unless not wanted, draft an answer, as for a ticket of ``inbox`` (its
    key). ``uploads``: also files that are in storage. ``language``: that the customer is said to speak. Rejected files
    are reported, not fatal.

    Raises `Invalid` if there is nothing to assess or no such inbox, the only file's error if it was rejected, or
    `DeadlinePassed` within a deadline (`ports.within`).
    """
    by = wanted.get("by")
    check_text(desk, text)
    names, photos, rejected = _photos(desk, uploads)
    if not (text.strip() or subject.strip() or photos):
        if rejected:
            raise rejected[0].error
        raise Invalid("There is nothing to assess. Send text or a photo.", field="text")
    started = perf_counter()
    read = [_read(desk, photo) for photo in photos]
    seconds = {"photos": round(perf_counter() - started, 3)}
    with desk.db.read() as session:
        heads = current_heads(session, desk)
        where = inboxes.named(session, inbox)
    text = own_words(text)
    ticket = Whole(f"{text}\n{subject}".strip(), tuple(read), tuple(photos))
    asked = Asked(ticket, heads, desk.taxonomy.of_inbox(inbox), browser=language)
    check_time()
    proposed, now = run_triage(desk, asked), desk.now()
    seconds["triage"] = round(proposed.seconds, 3)
    assessed = {
        "evidence": tuple(_evidence(desk, one, name) for one, name in zip(read, names, strict=True)),
        "contradictions": tuple(map(payloads.Contradiction.of, contradictions(text, read, desk.taxonomy))),
        "similar": _similar(desk, asked.ticket, proposed, by) if by is not None else None,
        "triage": _shown(
            desk, asked, proposed, by=by, created_at=now, with_influences=wanted.get("with_influences", False)
        ),
        "rejected_files": tuple(payloads.RejectedFile.of(file.filename, file.error) for file in rejected),
    }
    if not wanted.get("with_draft", True):
        timing = payloads.Timing(**seconds, draft=None)
        return payloads.Assessment(**assessed, passages=(), draft=None, timing=timing)
    started = perf_counter()
    field = next(field for field in proposed.fields if field.name == "product")
    product = None if field.abstained or field.value == NO_PRODUCT else field.value
    request = AnswerRequest(
        text=text,
        evidence=tuple(read),
        photos=tuple(photos),
        subject=subject,
        product=product,
        browser=language,
    )
    check_time()
    answer = answer_skill(desk, where).invoke(request)
    return payloads.Assessment(
        **assessed,
        passages=tuple(payloads.Passage.of(document) for document in answer.passages),
        draft=payloads.Draft.proposed(answer, desk.capabilities, created_at=now),
        timing=payloads.Timing(**seconds, draft=round(perf_counter() - started, 3)),
    )


def read_evidence(desk: Desk, upload: Upload) -> payloads.Evidence:
    """What is read in one photo, without storing it. Raises `Unsupported` or what `normalise` raises."""
    names, photos, rejected = _photos(desk, [upload])
    if rejected:
        raise rejected[0].error
    return _evidence(desk, _read(desk, photos[0]), names[0])


def _read(desk: Desk, photo: bytes) -> PhotoEvidence:
    check_time()
    return read_photo(photo, capabilities=products.reading(desk), taxonomy=desk.taxonomy)


def _shown(
    desk: Desk, asked: Asked, proposed: Proposed, *, by: Staff | None, created_at: datetime, with_influences: bool
) -> payloads.Triage:
    with desk.db.read() as session:
        tickets = told_of(session, by, proposed.fields) if by is not None else {}
    shown = payloads.Triage(
        model=proposed.by.model,
        mode=proposed.by.mode,
        revision=proposed.revision,
        created_at=created_at,
        seconds=round(proposed.seconds, 3),
        text=asked.ticket.text,
        fields=tuple(payloads.TriageField.proposed(field, tickets) for field in proposed.fields),
    )
    if not with_influences:
        return shown
    check_time()
    return shown.explained(influences(desk, asked), asked.ticket.evidence)


def _similar(desk: Desk, ticket: Whole, proposed: Proposed, by: Staff) -> payloads.Similar | None:
    """What it has in common with tickets that ``by`` may read."""
    if isinstance(by, MachinePrincipal) and Scope.TICKETS_READ not in by.scopes:
        return None
    known = {field.name: field.value for field in proposed.fields if not field.abstained}
    hashes = [Hash(value) for photo in ticket.photos if (value := hash_of(photo)) is not None]
    compared = Compared(
        product=known.get("product"),
        category=known.get("category"),
        texts=[ticket.text, *(one.text for one in ticket.evidence)],
        digests=frozenset(hashlib.sha256(photo).hexdigest() for photo in ticket.photos),
        hashes=hashes,
        troubles={trouble for one in ticket.evidence for trouble in troubles_in(one.to_fields())},
    )
    with desk.db.read() as session:
        return outbreaks.show_similar(session, compared, Asking(by, desk.taxonomy, desk.now()))


def _photos(desk: Desk, files: Sequence[Given]) -> tuple[list[str], list[bytes], list[RejectedFile]]:
    """The photos' names and normalised bytes, and the files that were rejected."""
    names: list[str] = []
    photos: list[bytes] = []
    rejected: list[RejectedFile] = []
    for given in files:
        name = safe_filename(given.filename)
        try:
            if len(photos) >= desk.settings.photos_per_message:
                limit = desk.settings.photos_per_message
                raise TooLarge(f"At most {limit} photos can be assessed at once. Leave out {name}.", limit=limit)
            photo = _photo(desk, given)
            if photo is None:
                raise Unsupported(f"{name} is not a photo. Only text and photos can be assessed.")
        except NotReady:
            raise
        except AssistantError as error:
            rejected.append(RejectedFile(name, error))
            continue
        names.append(name)
        photos.append(photo)
    return names, photos, rejected


def _photo(desk: Desk, given: Given) -> bytes | None:
    """Its normalised bytes, in which form an uploaded one is stored. None for any other file."""
    if isinstance(given, Upload):
        file = normalise(given, desk.photo_limits)
        return file.data if isinstance(file, Photo) else None
    return desk.storage.get(given.sha256) if given.kind is AttachmentKind.PHOTO else None


def _evidence(desk: Desk, read: PhotoEvidence, filename: str) -> payloads.Evidence:
    reader = reader_of(read, desk.capabilities)
    return payloads.Evidence.of(
        read, filename=filename, status=EvidenceState.READ, model=reader.model, mode=reader.mode
    )
