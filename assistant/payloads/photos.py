"""What was read in a photo, as clients see it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Literal, Self

from pydantic import Field

from assistant import models
from assistant.models import EvidenceState, HeadState
from assistant.payloads.payload import Payload, Region, Score
from assistant.ports import Box, Mode
from assistant.skills import captions, compare_photos, read_photo
from assistant.skills.ask_photo import AnsweredBy, Silence
from assistant.skills.read_photo import PhotoEvidence


def region_of(box: Box) -> Region:
    return (round(box.left, 4), round(box.top, 4), round(box.right, 4), round(box.bottom, 4))


class Reading(Payload):
    """One thing read in a photo. `value` is `cannot tell` where the photo does not show it."""

    value: str
    confidence: Score = Field(description="0 to 1.")
    region: Region | None
    regions: tuple[Region, ...] = Field(description="One for each of several indicator lights, else empty.")
    heatmap: tuple[str, ...] = Field(
        description="Where the model looked: rows of digits from 0 (not at all) to 9, top to bottom; empty if unknown."
    )
    reference: str | None = Field(
        description="Of an own product, or its condition: SHA-256 of the reference photo that it rests on "
        "(`product-photos`)."
    )
    labels: tuple[str, ...] = Field(description="What is written beside each of the lights; empty if nothing is known.")

    @classmethod
    def of(cls, reading: read_photo.Reading) -> Self:
        return cls(
            value=reading.value,
            confidence=reading.confidence,
            region=region_of(reading.region) if reading.region is not None else None,
            regions=tuple(region_of(part) for part in reading.parts),
            heatmap=reading.heat,
            reference=reading.reference or None,
            labels=reading.labels,
        )


class ConditionTrial(Payload):
    """How the conditions of one kind of a product are told, on its photos, each left out in turn."""

    product: str
    kind: str = Field(description="`damage`, `light`, `part`, `display` or `other`.")
    conditions: dict[str, int] = Field(description="Reference photos of each.")
    photos: int = Field(description="Of conditions that have two or more.")
    right: int
    claimed: int = Field(description="Of so many a condition is claimed.")
    claimed_right: int


class ProductTrial(Payload):
    """How a version of the products did on its own photos, each left out in turn; null where there are none to tell."""

    photos: int
    accuracy: Score | None
    calibration_error: Score | None
    silent: Score | None = Field(description="The share of which nothing was said if their product was unknown.")
    worse: bool = Field(description="Whether they are less likely than by what served, by more than chance explains.")
    conditions: tuple[ConditionTrial, ...] = ()


class ProductVersion(Payload):
    """What is known of the operator's own products."""

    version: int
    state: HeadState
    since: datetime = Field(description="Of the state.")
    features: str
    products: dict[str, int] = Field(description="Reference photos of each, by its key.")
    names: dict[str, str] = Field(description="Of each, by its key, as it was learned.")
    trial: ProductTrial

    @classmethod
    def of(cls, head: models.ProductHead) -> Self:
        counts = Counter(photo.product for photo in head.photos)
        return cls(
            version=head.id,
            state=head.state,
            since=head.state_since,
            features=head.features,
            products={key: counts[key] for key in head.names},
            names={key: names[0] for key, names in head.names.items()},
            trial=ProductTrial.model_validate(head.trial),
        )


def _if_any(reading: read_photo.Reading | None) -> Reading | None:
    return Reading.of(reading) if reading is not None else None


class Salient(Payload):
    """One thing that a photo shows, to be told in whatever language: `code` says what `value` is."""

    code: captions.Code = Field(
        description="`thing` is something else than a product, e.g. a parcel; `condition` is a kind of damage where "
        "that is known; `light` is the colour of one, `lights` of `count` that are alike; `text` is one line; "
        "`trouble` (`no_ocr`, `unread` or `partly`) is why text is missing."
    )
    value: str
    label: str | None = Field(description="What is written beside a light, else which of several it is, from 1.")
    count: int
    field: str = Field(description="Of the evidence: what says so.")
    confidence: Score = Field(description="0 to 1.")
    regions: tuple[Region, ...]

    @classmethod
    def of(cls, one: captions.Salient) -> Self:
        return cls(
            code=one.code,
            value=one.value,
            label=one.label or None,
            count=one.n,
            field=one.field,
            confidence=one.confidence,
            regions=tuple(map(region_of, one.regions)),
        )


class TextLine(Payload):
    """A line of text in a photo."""

    text: str
    confidence: Score = Field(description="0 to 1.")
    region: Region


class ReadEvidence(Payload):
    """What was read in one photo, and by what."""

    filename: str
    caption: Reading
    is_composed: bool = Field(
        description="Whether the caption says in English what the other fields do, as `salient` does for any language; "
        "else a model or an agent wrote it."
    )
    salient: tuple[Salient, ...] = Field(description="What the photo shows, thing by thing, by the other fields.")
    product: Reading = Field(description="A product's key, `none` or `cannot tell`.")
    lights: Reading | None = Field(description="Colours of the indicator lights; null if none were seen.")
    condition: Reading
    total: Reading | None = Field(description="A receipt's total, as printed; else null.")
    date: Reading | None = Field(description="A receipt's date, as printed; else null.")
    order: Reading | None = Field(description="The number of the order, else of the receipt or invoice; else null.")
    quality: Reading
    orientation: Reading | None = Field(
        description="`upside down`, `turned left` or `turned right`, guessed from its text; else null."
    )
    frames: Reading | None = Field(description="Which frames of an animation were looked at, in words; else null.")
    visible_text: tuple[TextLine, ...]
    status: EvidenceState = Field(description="`corrected` once an agent has changed it.")
    model: str
    mode: Mode

    @classmethod
    def of(cls, read: PhotoEvidence, *, filename: str, status: EvidenceState, model: str, mode: Mode) -> Self:
        return cls(
            filename=filename,
            caption=Reading.of(read.caption),
            is_composed=read.caption.composed is not None,
            salient=tuple(map(Salient.of, captions.salient(read))),
            product=Reading.of(read.product),
            lights=_if_any(read.lights),
            condition=Reading.of(read.condition),
            total=_if_any(read.total),
            date=_if_any(read.date),
            order=_if_any(read.order),
            quality=Reading.of(read.quality),
            orientation=_if_any(read.orientation),
            frames=_if_any(read.frames),
            visible_text=tuple(
                TextLine(text=line.text, confidence=line.confidence, region=region_of(line.box))
                for line in read.visible_text
            ),
            status=status,
            model=model,
            mode=mode,
        )


class Evidence(ReadEvidence):
    """What counts of one photo: what was read, or what an agent made of it."""

    corrected_for: Literal["ticket", "everywhere"] | None = Field(
        None, description="Whether a correction counts for this ticket alone or wherever the photo is."
    )
    original: ReadEvidence | None = Field(None, description="What was read, if an agent has corrected it.")

    @classmethod
    def stored(cls, row: models.Evidence, *, filename: str) -> Self:
        read = PhotoEvidence.from_json(row.fields, row.visible_text)
        shown = cls.of(read, filename=filename, status=row.state, model=row.model, mode=Mode(row.mode))
        if row.corrects is None:
            return shown
        scope: Literal["ticket", "everywhere"] = "everywhere" if row.conversation_id is None else "ticket"
        was = row.corrects
        before = PhotoEvidence.from_json(was.fields, was.visible_text)
        original = ReadEvidence.of(before, filename=filename, status=was.state, model=was.model, mode=Mode(was.mode))
        return shown.model_copy(update={"corrected_for": scope, "original": original})


class PhotoQuestion(Payload):
    """What somebody asked about a photo, and the answer."""

    id: str
    question: str
    answer: str = Field(description="`cannot tell` where nothing answers it: then there is a `reason`.")
    confidence: Score | None = Field(
        description="The probability that it is right; 0 of what cannot be told. A model's own, if one decided or "
        "wrote it; null of what one wrote that gives none."
    )
    regions: tuple[Region, ...] = Field(description="Where in the photo the answer is; empty if that has no place.")
    answered_by: AnsweredBy | None
    model: str | None = Field(description="Which model looked, if it was one that answered.")
    reason: Silence | None = Field(
        description="Why it cannot be told: `needs_eyes` (only a look at the photo answers that, and no model that "
        "looks is installed), `not_there` (nothing of the kind was read), `unsure`, `orders` (text in the photo gives "
        "orders to a model) or `failed` (the model did)."
    )
    asks: str = Field(description="What the question was taken for, e.g. `lights`, `serial` or `something else`.")
    asked_by: str | None = Field(description="Name of the agent or API key; null once they are gone.")
    asked_at: datetime
    outdated: bool = Field(description="Whether what was read has changed since: ask again.")

    @classmethod
    def of(cls, row: models.PhotoQuestion, evidence: models.Evidence | None) -> Self:
        """``evidence``: that which counts now."""
        said, asker = row.answer, row.agent or row.api_key
        return cls(
            id=row.public_id,
            question=row.question,
            answer=said["text"],
            confidence=said["confidence"],
            regions=tuple(tuple(region) for region in said["regions"]),
            answered_by=said["by"],
            model=said["model"] or None,
            reason=said["silence"],
            asks=said["asks"],
            asked_by=asker.name if asker is not None else None,
            asked_at=row.asked_at,
            outdated=evidence is not None and evidence.id != row.evidence_id,
        )


class PhotoChange(Payload):
    """One place that is not the same in both photos."""

    before: Region = Field(description="Where it is in the earlier photo, or in the reference photo.")
    after: Region = Field(description="Where it is in the other one.")
    strength: Score = Field(description="How far it stands out: 1 or more.")
    near: str | None = Field(description="Text beside it; else null.")

    @classmethod
    def of(cls, one: compare_photos.Change) -> Self:
        return cls(
            before=region_of(one.before), after=region_of(one.after), strength=one.strength, near=one.near or None
        )


class Comparison(Payload):
    """Two photos of one ticket, before and after. `reason` says why their pictures could not be compared, if so: they
    show two products (`another_product`), or other things or other sides of one (`not_alike`), or OpenCV is missing
    (`not_installed`). What was read in both is compared in any case."""

    before: str = Field(description="Id of the earlier photo.")
    after: str
    before_at: datetime = Field(description="When it was sent.")
    after_at: datetime
    reason: compare_photos.Reason | None
    words: tuple[str, ...] = Field(description="A sentence for each finding.")
    changes: tuple[PhotoChange, ...] = Field(description="What stands out most comes first.")
    overlap: Score = Field(
        description="The share of the earlier photo that both show and that was compared; 0 if none."
    )

    @classmethod
    def of(cls, found: compare_photos.Comparison, *, before: models.Attachment, after: models.Attachment) -> Self:
        return cls(
            before=before.public_id,
            after=after.public_id,
            before_at=before.message.created_at,
            after_at=after.message.created_at,
            reason=found.reason,
            words=found.words,
            changes=tuple(map(PhotoChange.of, found.changes)),
            overlap=found.overlap,
        )


class ReferenceComparison(Payload):
    """A photo beside a reference photo of the own product in it. Whatever looks otherwise may be damage, but also a
    light, a label or something in front of it: nothing is claimed by it. `reason` says why the pictures could not be
    compared, if so: they show other things or other sides of one (`not_alike`), or OpenCV is missing
    (`not_installed`)."""

    reference: str = Field(
        description="SHA-256 of the reference photo that the photo is most like or, if that shows damage, of an intact "
        "one (`product-photos`)."
    )
    photo: str = Field(description="Id of the photo.")
    product: str = Field(description="The product's key.")
    reason: compare_photos.Reason | None
    words: tuple[str, ...] = Field(description="A sentence for each finding.")
    changes: tuple[PhotoChange, ...] = Field(
        description="`before` is the reference photo, `after` the photo. What stands out most comes first."
    )
    overlap: Score = Field(
        description="The share of the reference photo that both show and that was compared; 0 if none."
    )

    @classmethod
    def of(cls, found: compare_photos.Comparison, *, reference: str, photo: models.Attachment, product: str) -> Self:
        """``reference``: its SHA-256."""
        return cls(
            reference=reference,
            photo=photo.public_id,
            product=product,
            reason=found.reason,
            words=found.words,
            changes=tuple(map(PhotoChange.of, found.changes)),
            overlap=found.overlap,
        )
