"""Assessing a ticket without storing it: evidence, triage, passages and draft in one go.

The stateless side of the product: the triage API and ``assistant triage``. Uses the same skills as the jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assistant.desk.answers import answer_skill
from assistant.desk.attachments import RejectedFile
from assistant.desk.conversations import check_text
from assistant.desk.desk import Desk
from assistant.desk.learning import current_heads
from assistant.desk.triage import run_triage
from assistant.errors import AssistantError, Invalid, TooLarge, Unsupported
from assistant.media.files import Upload, safe_filename
from assistant.media.photo import Photo, normalise
from assistant.skills.answer import Answer
from assistant.skills.answer_request import AnswerRequest
from assistant.skills.read_photo import PhotoEvidence, read_photo
from assistant.skills.taxonomy import NO_PRODUCT
from assistant.skills.triage import TriagedField


@dataclass(frozen=True)
class Assessment:
    """``evidence`` goes with ``filenames``, in order."""

    model: str
    mode: str
    filenames: tuple[str, ...]
    evidence: tuple[PhotoEvidence, ...]
    triage: tuple[TriagedField, ...]
    answer: Answer
    rejected: tuple[RejectedFile, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "mode": self.mode,
            "evidence": [
                {"filename": name, **evidence.to_fields(), "visible_text": evidence.visible_text_json()}
                for name, evidence in zip(self.filenames, self.evidence, strict=True)
            ],
            "triage": [triaged_json(field) for field in self.triage],
            "passages": [_passage_json(document) for document in self.answer.passages],
            "draft": {
                "text": self.answer.text,
                "handoff_reason": self.answer.handoff.value if self.answer.handoff is not None else None,
                "citations": [
                    {"sentence_index": sentence.index, "sentence": sentence.text, **_citation_json(citation)}
                    for sentence in self.answer.sentences
                    for citation in sentence.citations
                ],
            },
            "rejected": [rejected_json(file) for file in self.rejected],
        }


def assess(desk: Desk, *, subject: str = "", text: str, uploads: Sequence[Upload] = ()) -> Assessment:
    """Read the photos, triage, find passages and draft an answer. Files that are refused are reported, not fatal.

    Raises `Invalid` if there is nothing to assess; if all there was is a file we refuse, that refusal.
    """
    check_text(desk, text)
    names, photos, rejected = _photos(desk, uploads)
    if not (text.strip() or subject.strip() or photos):
        if rejected:
            raise rejected[0].error
        raise Invalid("There is nothing to assess: give a text or a photo.", field="text")
    evidence = tuple(read_photo(photo, capabilities=desk.capabilities, taxonomy=desk.taxonomy) for photo in photos)
    with desk.db.read() as session:
        heads = current_heads(session, desk)
    fields = run_triage(desk, f"{subject}\n{text}".strip(), evidence=evidence, photos=photos, heads=heads)
    request = AnswerRequest(
        text=text, evidence=evidence, photos=tuple(photos), subject=subject, product=_product(fields)
    )
    answer = answer_skill(desk).invoke(request)
    capabilities = desk.capabilities
    return Assessment(
        capabilities.model, capabilities.mode.value, tuple(names), evidence, tuple(fields), answer, tuple(rejected)
    )


def _photos(desk: Desk, uploads: Sequence[Upload]) -> tuple[list[str], list[bytes], list[RejectedFile]]:
    """Names and normalised bytes of the photos, and the files that cannot be assessed."""
    names: list[str] = []
    photos: list[bytes] = []
    rejected: list[RejectedFile] = []
    for upload in uploads:
        name = safe_filename(upload.filename)
        try:
            if len(photos) >= desk.settings.photos_per_message:
                limit = desk.settings.photos_per_message
                raise TooLarge(f"At most {limit} photos are assessed at once. Leave {name} out.", limit=limit)
            file = normalise(upload, desk.photo_limits)
            if not isinstance(file, Photo):
                raise Unsupported(f"{name} is no photo: only text and photos are assessed.")
        except AssistantError as error:
            rejected.append(RejectedFile(name, error))
            continue
        names.append(name)
        photos.append(file.data)
    return names, photos, rejected


def triaged_json(field: TriagedField) -> dict[str, Any]:
    return {
        "name": field.name,
        "value": field.value,
        "probability": round(field.probability, 4),
        "abstained": field.abstained,
        "probabilities": top_probabilities(field.probabilities),
    }


def top_probabilities(probabilities: Any, most: int = 12) -> dict[str, float]:
    """The likeliest options first; of very many only those that matter."""
    ordered = sorted(probabilities.items(), key=lambda pair: -pair[1])
    return {key: round(share, 4) for key, share in ordered[:most]}


def rejected_json(file: RejectedFile) -> dict[str, Any]:
    return {
        "filename": file.filename,
        "status": file.error.status,
        "code": file.error.code,
        "detail": file.error.message,
    }


def _product(fields: Sequence[TriagedField]) -> str | None:
    product = next(field for field in fields if field.name == "product")
    return None if product.abstained or product.value == NO_PRODUCT else product.value


def _passage_json(document: Any) -> dict[str, Any]:
    metadata = document.metadata
    similarity = metadata.get("similarity")
    names = (
        "passage_id",
        "article_id",
        "article_title",
        "heading",
        "url",
        "product",
        "language",
        "words",
        "codes",
        "resemblance",
    )
    return {
        **{name: metadata.get(name) for name in names},
        "score": round(float(metadata.get("score", 0.0)), 4),
        "similarity": round(similarity, 4) if similarity is not None else None,
        "text": document.page_content,
    }


def _citation_json(citation: Any) -> dict[str, Any]:
    names = ("passage_id", "article_id", "article_title", "heading", "quote", "url")
    return {**{name: getattr(citation, name) for name in names}, "support": round(citation.support, 4)}
