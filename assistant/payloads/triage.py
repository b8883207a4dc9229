"""Triage as clients see it: what is proposed for each field of a ticket, and where that comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self

from pydantic import Field

from assistant import models
from assistant.models import TriageFieldState
from assistant.payloads.payload import Payload, Region, Score
from assistant.payloads.photos import region_of
from assistant.ports import Mode
from assistant.skills.explain import Influence as FoundInfluence
from assistant.skills.read_photo import PhotoEvidence
from assistant.skills.triage import THRESHOLDS, Source, SourceKind, TriagedField

ALTERNATIVES = 12  # of a hundred languages or products only the likeliest are shown


class Alternative(Payload):
    value: str
    probability: Score


class Place(Payload):
    """Where the triaged text says something."""

    text: str
    start: int = Field(description="In characters of the triage's `text`, from 0.")
    end: int = Field(description="The first character that does not belong to it.")


class ShownIn(Payload):
    """Where a photo shows something."""

    photo: int = Field(description="Which of the photos that count, from 0.")
    attachment_id: str | None = Field(description="The photo's id; null if it is not stored.")
    field: str = Field(description="Of the photo's evidence.")
    region: Region | None


class TicketReference(Payload):
    id: str
    number: int
    external_id: str | None = Field(description="What the system that opened it calls it.")

    @classmethod
    def of(cls, ticket: models.Ticket) -> Self:
        return cls(id=ticket.public_id, number=ticket.number, external_id=ticket.external_id)


class NearestTicket(Payload):
    """A ticket whose field agents have decided."""

    ticket: TicketReference
    value: str = Field(description="What they decided.")
    similarity: float = Field(description="Of the texts' meanings: cosine, at most 1.")


class TriageSource(Payload):
    """What a field's value was decided by."""

    kind: SourceKind = Field(
        description="`words`: a rule about what is written, or a name in it; `photo`: what was read in one; "
        "`similarity` to descriptions and examples; `trained`: a head that ships with the assistant; `learned` from "
        "agents' decisions; `model`: a vision-language model."
    )
    decisions: int = Field(description="Of agents, that it was learned from; 0 unless `learned`.")
    words: tuple[Place, ...] = Field(description="Those that name the value; empty unless `words`.")
    shown: tuple[ShownIn, ...] = Field(description="Where photos show it; empty unless `photo`.")
    nearest: tuple[NearestTicket, ...] = Field(
        description="The most similar tickets that it was learned from, if the key may read them; empty in events."
    )

    @classmethod
    def of(cls, source: Mapping[str, Any], tickets: Mapping[int, models.Ticket]) -> Self:
        """``source`` as it is stored; ``tickets``: those that may be told of, by their ids in the database."""
        nearest = (
            NearestTicket(
                ticket=TicketReference.of(ticket),
                value=one["value"],
                similarity=round(one["similarity"], 4),
            )
            for one in source.get("nearest", ())
            if (ticket := tickets.get(one["ticket"])) is not None
        )
        return cls(
            kind=source["kind"],
            decisions=source["decisions"],
            words=tuple(Place(**one) for one in source.get("words", ())),
            shown=tuple(ShownIn(**one) for one in source.get("shown", ())),
            nearest=tuple(nearest),
        )


def source_as_stored(source: Source, attachment_ids: Sequence[str] = ()) -> dict[str, Any]:
    """As JSON. ``attachment_ids``: of the photos that counted, if they are stored."""
    shown = [
        {
            "photo": one.photo,
            "attachment_id": attachment_ids[one.photo] if attachment_ids else None,
            "field": one.field,
            "region": region_of(one.region) if one.region is not None else None,
        }
        for one in source.shown
    ]
    return {**asdict(source), "kind": source.kind.value, "shown": shown}


class Influence(Payload):
    """Words, a photo, or something read in a photo, and what the field is without it."""

    change: float = Field(
        description="By how much the value's probability falls without it, -1 to 1; below 0: it speaks against it."
    )
    words: Place | None = Field(description="Null if it is a photo.")
    photo: int | None = Field(description="Which of the photos that count, from 0; null if it is words.")
    field: str | None = Field(description="Of the photo's evidence; null if it is the whole photo.")
    value: str | None = Field(description="What was read there.")
    region: Region | None = Field(description="Where in the photo.")
    regions: tuple[Region, ...] = Field(description="One for each of several lights, else empty.")
    reference: str | None = Field(
        description="SHA-256 of the reference photo that what was read rests on (`product-photos`); else null."
    )

    @classmethod
    def of(cls, found: FoundInfluence, evidence: Sequence[PhotoEvidence]) -> Self:
        place, name, value, region = found.words, found.field, None, None
        regions, reference = (), ""
        if found.photo is not None and found.line is not None:
            line = evidence[found.photo].visible_text[found.line]
            name, value, region = "visible_text", line.text, line.box
        elif found.photo is not None and name is not None:
            reading = getattr(evidence[found.photo], name)
            value, region, regions, reference = reading.value, reading.region, reading.parts, reading.reference
        return cls(
            change=round(found.change, 4),
            words=Place(text=place.text, start=place.start, end=place.end) if place is not None else None,
            photo=found.photo,
            field=name,
            value=value,
            region=region_of(region) if region is not None else None,
            regions=tuple(map(region_of, regions)),
            reference=reference or None,
        )


class TriageField(Payload):
    """A value proposed for one field of a ticket."""

    name: str
    value: str = Field(description="The likeliest value, also where the assistant abstained.")
    probability: Score = Field(description="A fixed number where a rule about words or photos decided: see `sources`.")
    sources: tuple[TriageSource, ...] = Field(
        description="What decided, the weightiest first. Empty for tickets triaged before this was recorded."
    )
    threshold: Score = Field(
        description="The least probability that sets the ticket's field. More is asked where no embedder reads "
        "its language; danger sets it at any."
    )
    abstained: bool = Field(description="Not sure enough to set the ticket's field.")
    alternatives: tuple[Alternative, ...] = Field(
        description=f"The {ALTERNATIVES} likeliest values, `value` included, the likeliest first."
    )
    status: TriageFieldState = Field(description="What became of the proposal.")
    corrected_value: str | None = Field(description="What an agent chose instead; null unless `overridden`.")
    influences: tuple[Influence, ...] | None = Field(
        description="What its value depends on, the weightiest first; null unless `explain` was asked for."
    )

    @classmethod
    def of(cls, field: models.TriageField, tickets: Mapping[int, models.Ticket] = MappingProxyType({})) -> Self:
        """``tickets``: those that sources may tell of, by their ids in the database."""
        return cls(
            name=field.name,
            value=field.value,
            probability=field.probability,
            sources=tuple(TriageSource.of(source, tickets) for source in field.sources),
            threshold=THRESHOLDS[field.name],
            abstained=field.state is TriageFieldState.ABSTAINED,
            alternatives=likeliest(field.probabilities),
            status=field.state,
            corrected_value=field.corrected_value,
            influences=None,
        )

    @classmethod
    def proposed(cls, field: TriagedField, tickets: Mapping[int, models.Ticket] = MappingProxyType({})) -> Self:
        return cls(
            name=field.name,
            value=field.value,
            probability=field.probability,
            sources=tuple(TriageSource.of(source_as_stored(source), tickets) for source in field.sources),
            threshold=THRESHOLDS[field.name],
            abstained=field.abstained,
            alternatives=likeliest(field.probabilities),
            status=TriageFieldState.ABSTAINED if field.abstained else TriageFieldState.PROPOSED,
            corrected_value=None,
            influences=None,
        )


def likeliest(probabilities: Mapping[str, float]) -> tuple[Alternative, ...]:
    ordered = sorted(probabilities.items(), key=lambda pair: -pair[1])
    return tuple(Alternative(value=value, probability=share) for value, share in ordered[:ALTERNATIVES])


class Triage(Payload):
    """What is proposed for a ticket: the same in every answer and event, of a ticket that is stored or not."""

    model: str = Field(description="What made the proposals: while a model fails, what remains.")
    mode: Mode
    revision: str | None = Field(
        description="Changes with whatever proposals depend on: product, models, taxonomy, what was learned. The same "
        "input and revision give the same proposals. Null of tickets triaged before this was recorded."
    )
    created_at: datetime
    seconds: float | None = Field(description="How long it took, without waiting and without reading the photos.")
    text: str = Field(
        description="What was triaged: the customer's own words without quotations and signatures, the newest first. "
        "Places of words count in it. Empty for a key without the scope `tickets:read`."
    )
    fields: tuple[TriageField, ...]

    @classmethod
    def of(cls, result: models.TriageResult, tickets: Mapping[int, models.Ticket] = MappingProxyType({})) -> Self:
        """``tickets``: those that sources may tell of, by their ids in the database."""
        return cls(
            model=result.model,
            mode=Mode(result.mode),
            revision=result.revision,
            created_at=result.created_at,
            seconds=result.seconds,
            text=result.text,
            fields=tuple(TriageField.of(field, tickets) for field in result.fields),
        )

    def explained(self, found: Mapping[str, Sequence[FoundInfluence]], evidence: Sequence[PhotoEvidence]) -> Self:
        """With what was ``found`` to influence each field; ``evidence`` of the photos that count."""
        fields = tuple(
            field.model_copy(update={"influences": tuple(Influence.of(one, evidence) for one in found[field.name])})
            for field in self.fields
        )
        return self.model_copy(update={"fields": fields})

    def without_words(self) -> Self:
        """For whoever may not read what the customer wrote."""
        wordless = tuple(
            field.model_copy(update={"sources": tuple(one.model_copy(update={"words": ()}) for one in field.sources)})
            for field in self.fields
        )
        return self.model_copy(update={"text": "", "fields": wordless})
