"""Tickets with their triage and drafts, and assessments of what is no ticket yet, as machines and agents see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import Field

from assistant import models
from assistant.models import (
    ConversationState,
    DraftStatus,
    HeadState,
    Priority,
    SLATarget,
    TicketStatus,
    TicketType,
    TriageFieldState,
    VerifiedBy,
)
from assistant.payloads.conversations import Attachment, Citation, Message, Rating, RejectedFile
from assistant.payloads.knowledge import Passage
from assistant.payloads.payload import Payload, Region, Score
from assistant.payloads.photos import Evidence, region_of
from assistant.ports import Capabilities, HandoffReason, Mode
from assistant.skills.answer import Answer
from assistant.skills.contradictions import Contradiction as FoundContradiction
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

    @classmethod
    def of(cls, found: FoundInfluence, evidence: Sequence[PhotoEvidence]) -> Self:
        place, name, value, region = found.words, found.field, None, None
        if found.photo is not None and found.line is not None:
            line = evidence[found.photo].visible_text[found.line]
            name, value, region = "visible_text", line.text, line.box
        elif found.photo is not None and name is not None:
            reading = getattr(evidence[found.photo], name)
            value, region = reading.value, reading.region
        return cls(
            change=round(found.change, 4),
            words=Place(text=place.text, start=place.start, end=place.end) if place is not None else None,
            photo=found.photo,
            field=name,
            value=value,
            region=region_of(region) if region is not None else None,
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


class Figures(Payload):
    """On decisions that were not learned from."""

    accuracy: Score
    calibration_error: Score


class Trial(Payload):
    """A head on decisions that it had not learned from, beside what served until then on the same ones."""

    decisions: int
    head: Figures
    before: Figures
    worse: bool = Field(description="Whether the decisions are less likely, by more than chance explains.")


class LearnedHead(Payload):
    """What agents' decisions about one triage field taught."""

    id: int
    field: str
    state: HeadState
    since: datetime = Field(description="Of the state.")
    decisions: int = Field(description="That it learned from.")
    labels: dict[str, int] = Field(description="Decisions for each value.")
    embedding_model: str
    trial: Trial

    @classmethod
    def of(cls, head: models.TriageHead) -> Self:
        return cls(
            id=head.id,
            field=head.field,
            state=head.state,
            since=head.state_since,
            decisions=head.label_count,
            labels=head.labels,
            embedding_model=head.embedding_model,
            trial=Trial.model_validate(head.trial),
        )


class Withheld(Payload):
    """A sentence that was left out of a draft, because its inbox never says the phrase."""

    text: str
    phrase: str


class Draft(Payload):
    """A proposed reply, or in `handoff_reason` why there is none."""

    id: str | None = Field(description="Null if the draft is not stored.")
    status: DraftStatus = Field(description="`edited`: sent with changes, which are in `sent_text`.")
    text: str
    sent_text: str | None
    handoff_reason: HandoffReason | None
    confidence: Score | None = Field(
        description="The probability that this answers the question; null if it was drafted before that was measured."
    )
    helpful: bool | None = Field(description="What an agent says of it; null if nobody does.")
    model: str
    mode: Mode
    created_at: datetime
    citations: tuple[Citation, ...]
    withheld: tuple[Withheld, ...] = Field(description="What was left out, because the inbox never says it.")

    @classmethod
    def of(cls, draft: models.Draft) -> Self:
        return cls(
            id=draft.public_id,
            status=draft.status,
            text=draft.text,
            sent_text=draft.sent_text,
            handoff_reason=draft.handoff_reason,
            confidence=draft.confidence,
            helpful=draft.helpful,
            model=draft.model,
            mode=draft.mode,
            created_at=draft.created_at,
            citations=tuple(Citation.of(citation) for citation in draft.citations),
            withheld=tuple(Withheld(**one) for one in draft.withheld or ()),
        )

    @classmethod
    def proposed(cls, answer: Answer, capabilities: Capabilities, *, created_at: datetime) -> Self:
        return cls(
            id=None,
            status=DraftStatus.PROPOSED,
            text=answer.text,
            sent_text=None,
            handoff_reason=answer.handoff,
            confidence=answer.confidence,
            helpful=None,
            model=answer.made_by(capabilities).model,
            mode=answer.made_by(capabilities).mode,
            created_at=created_at,
            citations=tuple(Citation.of_answer(answer)),
            withheld=tuple(Withheld(text=one.text, phrase=one.phrase) for one in answer.withheld),
        )


class Contradiction(Payload):
    """Where a customer's words and photo disagree."""

    about: Literal["product", "code", "lights"]
    written: str = Field(description="What the customer writes.")
    shown: str = Field(description="What the photo shows.")

    @classmethod
    def of(cls, found: FoundContradiction) -> Self:
        return cls(about=found.about, written=found.written, shown=found.shown)


class Fault(Payload):
    """What several tickets have in common: a product with a code or, without one, with a category."""

    product: str
    codes: tuple[str, ...] = Field(description="Any of which makes it the same.")
    category: str | None
    query: str = Field(description="What finds its tickets in the console.")


class AlikePhoto(Payload):
    """A photo of another ticket that looks like one of this."""

    ticket: TicketReference
    attachment_id: str
    same: bool = Field(description="To the byte, as it is stored.")


class Outbreak(Payload):
    """A fault that comes up much more often than it used to."""

    recent: int = Field(description="Tickets of the last seven days.")
    usual: float = Field(description="How many there would be, by the four weeks before.")
    chance: Score = Field(description="That any fault would stand out so far although nothing has changed.")


class Similar(Payload):
    """Other tickets with the same fault, and photos that look alike: of those that the key may read."""

    fault: Fault | None = Field(description="Null if it has no product, or neither code nor category.")
    tickets: int = Field(description="Others with this fault within seven days, up to 1000.")
    newest: tuple[TicketReference, ...] = Field(description="Of these.")
    photos: tuple[AlikePhoto, ...] = Field(description="The most alike first, one of each ticket.")
    outbreak: Outbreak | None = Field(
        description="Counted over all inboxes, so null for a key that is for some of them."
    )


class Timing(Payload):
    """What took how long, in seconds."""

    photos: float = Field(description="Reading them.")
    triage: float
    draft: float | None = Field(description="Null if none was asked for.")


class Assessment(Payload):
    """A ticket read without storing it."""

    evidence: tuple[Evidence, ...] = Field(description="One for each photo, in order.")
    contradictions: tuple[Contradiction, ...] = Field(description="Where words and photos disagree.")
    triage: Triage
    similar: Similar | None = Field(description="Null for a key without the scope `tickets:read`.")
    passages: tuple[Passage, ...] = Field(description="What the draft stands on; empty without one.")
    draft: Draft | None = Field(description="Null if none was asked for.")
    rejected_files: tuple[RejectedFile, ...]
    timing: Timing


class TicketAttachment(Attachment):
    """An attachment with what was read in it."""

    evidence: Evidence | None = Field(description="Null until the photo has been read, and for other or lost files.")

    @classmethod
    def read(cls, attachment: models.Attachment, evidence: models.Evidence | None) -> Self:
        shown = Evidence.stored(evidence, filename=attachment.filename) if evidence is not None else None
        return cls(**dict(Attachment.of(attachment)), evidence=shown)


class TicketMessage(Message):
    """A message with what the assistant found in it."""

    attachments: tuple[TicketAttachment, ...]
    contradictions: tuple[Contradiction, ...]
    confidence: Score | None = Field(
        description="Of an answer by the assistant: the probability, as of sending, that it answers the question."
    )

    @classmethod
    def read(
        cls,
        message: models.Message,
        evidence: Mapping[str, models.Evidence],
        contradictions: Sequence[FoundContradiction],
    ) -> Self:
        """``evidence`` by the photos' sha256."""
        attachments = tuple(TicketAttachment.read(one, evidence.get(one.sha256)) for one in message.attachments)
        found = tuple(Contradiction.of(one) for one in contradictions)
        own = {"attachments": attachments, "contradictions": found, "confidence": message.confidence}
        return cls(**{**dict(Message.of(message)), **own})


class Person(Payload):
    id: str
    name: str


class Requester(Person):
    """A customer."""

    verified_by: VerifiedBy | None = Field(
        description="Who says that it is them: `site` (signed identity), `code` (by e-mail) or `api`. Null: name and "
        "address are only what somebody typed in the widget."
    )

    @classmethod
    def of(cls, customer: models.Customer) -> Self:
        return cls(id=customer.public_id, name=customer.display_name, verified_by=customer.verified_by)


class Team(Payload):
    key: str
    name: str


class TicketSummary(Payload):
    """A ticket without its messages."""

    id: str
    number: int = Field(description="Short, for people to say and to search for: #1042.")
    external_id: str | None = Field(description="What the system that opened it calls it.")
    subject: str
    status: TicketStatus
    priority: Priority
    type: TicketType | None
    category: str | None
    sentiment: str | None
    language: str | None
    product: str | None
    conversation_state: ConversationState = Field(
        description="Who answers: the assistant, nobody yet (`handed_off`), an agent, or nobody any more (`closed`)."
    )
    handoff_reason: HandoffReason | None
    channel: str
    requester: Requester
    inbox: str = Field(description="Key of the inbox that it came to.")
    team: Team | None
    assignee: Person | None = Field(description="An agent.")
    tags: tuple[str, ...] = Field(description="In alphabetical order.")
    fields: dict[str, str | int | float] = Field(
        description="Custom fields, by key: numbers as such, days as 2026-12-01. Without those that have no value."
    )
    snoozed_until: datetime | None = Field(
        description="Until then it is not in the way of those who work; null once it wakes, or its customer writes."
    )
    due_at: datetime | None = Field(
        description="When the next SLA target is due, past or to come; null while none runs."
    )
    breached_at: datetime | None = Field(description="When an SLA target was first missed.")
    created_at: datetime
    updated_at: datetime
    solved_at: datetime | None
    triaged_at: datetime | None = Field(description="Null until that is done.")

    @classmethod
    def of(cls, ticket: models.Ticket) -> Self:
        conversation, team, agent, triage = ticket.conversation, ticket.team, ticket.agent, ticket.current_triage
        return cls(
            id=ticket.public_id,
            number=ticket.number,
            external_id=ticket.external_id,
            subject=ticket.subject,
            status=ticket.status,
            priority=ticket.priority,
            type=ticket.type,
            category=ticket.category,
            sentiment=ticket.sentiment,
            language=ticket.language,
            product=ticket.product,
            conversation_state=conversation.state,
            handoff_reason=conversation.handoff_reason,
            channel=conversation.channel,
            requester=Requester.of(ticket.requester),
            inbox=conversation.inbox.key,
            team=Team(key=team.key, name=team.name) if team is not None else None,
            assignee=Person(id=agent.public_id, name=agent.name) if agent is not None else None,
            tags=tuple(tag.name for tag in ticket.tags),
            fields=_custom_fields(ticket),
            snoozed_until=ticket.snoozed_until,
            due_at=ticket.due_at,
            breached_at=ticket.breached_at,
            created_at=ticket.created_at,
            updated_at=ticket.updated_at,
            solved_at=ticket.solved_at,
            triaged_at=triage.created_at if triage is not None else None,
        )


def _custom_fields(ticket: models.Ticket) -> dict[str, str | int | float]:
    values = sorted(ticket.field_values.values(), key=lambda one: one.field.id)
    return {one.key: one.typed for one in values if one.field.archived_at is None}


class Relation(StrEnum):
    """What another ticket is to one."""

    RELATED = "related"
    SPLIT_FROM = "split_from"
    SPLIT_INTO = "split_into"
    MERGED_INTO = "merged_into"
    MERGED_FROM = "merged_from"


class TicketLink(Payload):
    """Another ticket."""

    relation: Relation = Field(
        description="`merged_into`: it is answered there; `merged_from`: the other is answered here; `split_from`: it "
        "began with a message of the other."
    )
    id: str
    number: int
    subject: str

    @classmethod
    def of(cls, ticket: models.Ticket, relation: Relation) -> Self:
        return cls(relation=relation, id=ticket.public_id, number=ticket.number, subject=ticket.subject)


class SLAClock(Payload):
    """A time that an SLA policy sets for a ticket."""

    policy: str
    target: SLATarget
    paused: bool = Field(description="While the ticket is pending or on hold, or with the assistant.")
    due_at: datetime | None = Field(description="Null while paused, and if the inbox never opens again.")
    ended_at: datetime | None = Field(description="When the customer was answered, or the ticket solved.")
    breached_at: datetime | None = Field(description="When it was missed.")

    @classmethod
    def of(cls, clock: models.SLAClock, *, paused: bool) -> Self:
        return cls(
            policy=clock.policy.name if clock.policy is not None else "",
            target=clock.target,
            paused=paused,
            due_at=clock.due_at,
            ended_at=clock.ended_at,
            breached_at=clock.breached_at,
        )


class PrechatAnswer(Payload):
    question: str
    answer: str


class Ticket(TicketSummary):
    """A ticket with messages, evidence, triage and drafts. Answers to a key without the scope `tickets:read` have no
    messages, drafts, answers before the first message, context, rating and links."""

    prechat: tuple[PrechatAnswer, ...] = Field(description="What its customer answered before the first message.")
    context: dict[str, str] = Field(description="What the site's page, or the system that opened it, said beside it.")

    jobs_ahead: int | None = Field(
        description="Jobs that run before the newest message is read, triaged and drafted; null once that has begun."
    )
    messages: tuple[TicketMessage, ...]
    triage: Triage | None = Field(description="Null until it is done.")
    drafts: tuple[Draft, ...] = Field(description="Oldest first.")
    rating: Rating | None = Field(description="How the conversation was, by its customer.")
    sla: tuple[SLAClock, ...] = Field(description="The times that its SLA policy sets, if one applies.")
    links: tuple[TicketLink, ...] = Field(description="Tickets that it has to do with, as agents have said.")

    @classmethod
    def whole(
        cls,
        ticket: models.Ticket,
        *,
        messages: Sequence[TicketMessage],
        jobs_ahead: int | None,
        sla: Sequence[SLAClock],
        links: Sequence[TicketLink],
        tickets: Mapping[int, models.Ticket] = MappingProxyType({}),
    ) -> Self:
        """``tickets``: those that the sources of its triage may tell of, by their ids in the database."""
        triage, rating = ticket.current_triage, ticket.conversation.rating
        return cls(
            **dict(TicketSummary.of(ticket)),
            rating=Rating.of(rating) if rating is not None else None,
            prechat=tuple(PrechatAnswer(**answer) for answer in ticket.conversation.prechat or ()),
            context=ticket.conversation.site_context,
            jobs_ahead=jobs_ahead,
            sla=tuple(sla),
            links=tuple(links),
            messages=tuple(messages),
            triage=Triage.of(triage, tickets) if triage is not None else None,
            drafts=tuple(Draft.of(draft) for draft in ticket.drafts),
        )

    def without_words(self) -> Self:
        """For whoever may change it and not read what its customer and agents wrote."""
        triage = self.triage.without_words() if self.triage is not None else None
        hidden: dict[str, object] = {
            "messages": (),
            "drafts": (),
            "prechat": (),
            "links": (),
            "rating": None,
            "context": {},
        }
        return self.model_copy(update={**hidden, "triage": triage})
