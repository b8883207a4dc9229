"""Tickets with their triage and drafts, as machines and agents see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, Self

from pydantic import Field

from assistant import models
from assistant.models import (
    ConversationState,
    DraftStatus,
    Priority,
    SLATarget,
    TicketStatus,
    TicketType,
    VerifiedBy,
)
from assistant.payloads.conversations import Attachment, Citation, Message, Rating
from assistant.payloads.payload import Payload, Score
from assistant.payloads.photos import Evidence, PhotoQuestion
from assistant.payloads.triage import TicketReference, Triage
from assistant.ports import Capabilities, HandoffReason, Mode
from assistant.skills.answer import Answer
from assistant.skills.contradictions import Contradiction as FoundContradiction


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


class PhotoCopy(Payload):
    """A picture that this photo is a copy of, or that is one of it: whole or a part, framed, turned, mirrored, written
    on. It says where the photo has been before, and nothing about what it shows."""

    kind: Literal["earlier", "other_customer", "figure", "reference"] = Field(
        description="A photo of an earlier message of this ticket; of another customer's ticket; a figure of an "
        "article; a reference photo of an own product. The last three: not necessarily the customer's device."
    )
    same: bool = Field(description="To the byte, as it is stored.")
    attachment_id: str | None = Field(default=None, description="Of the earlier photo, or of the other customer's.")
    message_id: str | None = Field(default=None, description="Of the earlier photo.")
    sent_at: datetime | None = Field(default=None, description="When the earlier photo was.")
    ticket: TicketReference | None = Field(default=None, description="The other customer's; only if one may read it.")
    figure_id: str | None = None
    article: str | None = Field(default=None, description="The title of the figure's.")
    product: str | None = Field(default=None, description="The key of the own product.")
    product_photo: str | None = Field(default=None, description="The reference photo's sha256.")


class TicketAttachment(Attachment):
    """An attachment with what was read in it."""

    evidence: Evidence | None = Field(description="Null until the photo has been read, and for other or lost files.")
    questions: tuple[PhotoQuestion, ...] = Field(description="What was asked about the photo, oldest first.")
    copies: tuple[PhotoCopy, ...] = Field(
        description="Where a customer's photo has been before, as soon as that was looked for. A signal, no verdict."
    )

    @classmethod
    def read(
        cls,
        attachment: models.Attachment,
        evidence: models.Evidence | None,
        questions: Sequence[models.PhotoQuestion] = (),
        copies: Sequence[PhotoCopy] = (),
    ) -> Self:
        shown = Evidence.stored(evidence, filename=attachment.filename) if evidence is not None else None
        asked = tuple(PhotoQuestion.of(one, evidence) for one in questions)
        return cls(**dict(Attachment.of(attachment)), evidence=shown, questions=asked, copies=tuple(copies))


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
        questions: Mapping[int, Sequence[models.PhotoQuestion]],
        copies: Mapping[int, Sequence[PhotoCopy]],
    ) -> Self:
        """``evidence`` by the photos' sha256; ``questions`` about them and their ``copies`` by their ids in the
        database."""
        attachments = tuple(
            TicketAttachment.read(one, evidence.get(one.sha256), questions.get(one.id, ()), copies.get(one.id, ()))
            for one in message.attachments
        )
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

    version: str = Field(
        description="Another one after every change. As `If-Match`, in double quotes, it is the `ETag`."
    )
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
        version: str,
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
            version=version,
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
