"""What the API takes and gives: pydantic models, and the JSON of tickets as every client gets it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from assistant.desk import conversations
from assistant.desk.assess import top_probabilities
from assistant.desk.evidence import contradictions_of, evidence_of, photos_of
from assistant.desk.triage import current_triage
from assistant.models import ConversationState, Draft, Evidence, Message, Priority, Ticket, TicketStatus
from assistant.skills.taxonomy import Taxonomy


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the null character")
    return text


Text = Annotated[str, AfterValidator(_storable)]
Short = Annotated[str, Field(max_length=300), AfterValidator(_storable)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class _Out(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RequesterIn(_In):
    name: Short | None = None
    email: Annotated[str, Field(max_length=300, pattern=r"^[^@\s]+@[^@\s]+$"), AfterValidator(_storable)] | None = None
    external_id: Short | None = Field(None, description="Your own id of this customer.")


class TicketIn(_In):
    subject: Short = ""
    text: Text = Field("", description="What the customer wrote.")
    requester: RequesterIn = Field(default_factory=RequesterIn)


class MessageIn(_In):
    text: Text = ""
    client_id: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)] | None = Field(
        None, description="Your own id of the message: sent twice, it is stored once."
    )


class TriageIn(_In):
    subject: Short = ""
    text: Text = Field("", description="What the customer wrote.")


class TicketChange(_In):
    status: TicketStatus | None = None
    assigned_to: Short | None = Field(None, description="An agent's id; null gives the ticket back to nobody.")


class FieldDecision(_In):
    value: Short | None = Field(None, description="The right value; leave it out to accept the proposed one.")


class DraftDecision(_In):
    text: Text | None = Field(None, description="The edited text; leave it out to send the draft as it is.")


def _several_of(kind: type[StrEnum]) -> Any:
    """A query parameter that takes one or several values of an enumeration. `api` splits and checks them."""
    one = "|".join(option.value for option in kind)
    names = ", ".join(option.value for option in kind)
    return Field(
        None,
        description=f"Of {names}; several by comma.",
        json_schema_extra={"pattern": f"^(({one})(,({one})){{0,9}})?$"},
    )


class TicketQuery(_In):
    status: Short | None = _several_of(TicketStatus)
    priority: Short | None = _several_of(Priority)
    state: Short | None = _several_of(ConversationState)
    category: Short | None = None
    product: Short | None = None
    team: Short | None = Field(None, description="A team's key.")
    assigned_to: Short | None = Field(None, description="An agent's id.")
    unassigned: bool = False
    requester_email: Short | None = None
    q: Short | None = Field(None, description="Text in the subject.")
    cursor: Short | None = Field(None, description="`next_cursor` of the page before.")
    limit: int = Field(50, ge=1, le=100)


class ArticleQuery(_In):
    q: Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_storable)]
    product: Short | None = Field(None, description="Passages about this product come first.")
    limit: int = Field(8, ge=1, le=50)


class AttachmentQuery(_In):
    thumbnail: bool = Field(False, description="A small JPEG of a photo instead of the photo.")


class Problem(BaseModel):
    """What went wrong (RFC 9457). `code` is stable, `detail` says what to do, `field` names the value at fault."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None
    retry_after: float | None = None


class Rejected(_Out):
    filename: str
    status: int
    code: str
    detail: str


class ReadingOut(_Out):
    value: str
    confidence: float
    region: list[float] | None = Field(description="left, top, right, bottom as fractions of the photo")
    heat: list[str] | None = Field(default=None, description="where the model sees it: rows of digits, 0 to 9")
    parts: list[list[float]] | None = Field(default=None, description="of several lights, the region of each")


class VisibleLine(_Out):
    text: str
    confidence: float
    region: list[float]


class EvidenceOut(_Out):
    filename: str | None = None
    caption: ReadingOut
    product: ReadingOut
    lights: ReadingOut | None = None
    condition: ReadingOut
    quality: ReadingOut
    visible_text: list[VisibleLine]
    state: Literal["read", "corrected"] | None = None
    model: str | None = None
    mode: str | None = None


class AttachmentOut(_Out):
    id: str
    kind: Literal["photo", "file"]
    filename: str
    content_type: str
    byte_size: int
    width: int | None
    height: int | None
    evidence: EvidenceOut | None = None


class FigureOut(_Out):
    """A picture of an article, beside the passage that is cited: `/api/v1/figures/{id}`."""

    id: str
    alt: str
    width: int
    height: int


class CitationOut(_Out):
    sentence_index: int
    sentence: str
    article_id: str
    article_title: str
    heading: str
    quote: str
    url: str | None
    support: float
    passage_id: str | None = Field(None, description="Only of drafts that are not kept: an article's passages change.")
    figures: list[FigureOut] = Field(default_factory=list)


class MessageOut(_Out):
    id: str
    client_id: str | None
    author: Literal["customer", "agent", "assistant", "system"]
    author_name: str | None
    visibility: Literal["public", "internal"]
    text: str
    helpful: bool | None = Field(None, description="What the customer said of an answer.")
    created_at: datetime
    attachments: list[AttachmentOut]
    citations: list[CitationOut]


class ContradictionOut(_Out):
    """Where what the customer writes and what the photo shows differ."""

    about: Literal["product", "code", "lights"]
    written: str
    shown: str


class TicketMessageOut(MessageOut):
    contradictions: list[ContradictionOut]


class TriagedFieldOut(_Out):
    name: str
    value: str
    probability: float
    abstained: bool
    probabilities: dict[str, float]
    state: Literal["proposed", "abstained", "accepted", "overridden"] | None = None
    corrected_value: str | None = None


class TriageOut(_Out):
    model: str
    mode: str
    created_at: datetime
    fields: list[TriagedFieldOut]


class DraftOut(_Out):
    id: str
    status: Literal["proposed", "sent", "edited", "discarded"]
    text: str
    sent_text: str | None
    handoff_reason: str | None
    model: str
    mode: str
    created_at: datetime
    citations: list[CitationOut]


class DraftList(_Out):
    drafts: list[DraftOut]


class SentOut(_Out):
    message: MessageOut
    draft: DraftOut


class PersonOut(_Out):
    id: str
    name: str


class TeamOut(_Out):
    key: str
    name: str


class TicketSummary(_Out):
    id: str
    subject: str
    status: TicketStatus
    priority: Priority
    type: str | None
    category: str | None
    sentiment: str | None
    language: str | None
    product: str | None
    state: ConversationState
    handoff_reason: str | None
    channel: str
    requester: PersonOut
    team: TeamOut | None
    agent: PersonOut | None
    created_at: datetime
    updated_at: datetime
    solved_at: datetime | None
    model: str | None = Field(description="What triaged it; null until that is done.")
    mode: str | None


class TicketOut(TicketSummary):
    before: int | None = Field(
        description="how much other work is done before reading, triage and draft of the newest message; null once "
        "they have begun"
    )
    messages: list[TicketMessageOut]
    triage: TriageOut | None
    drafts: list[DraftOut]


class OpenedOut(TicketOut):
    rejected: list[Rejected]


class TicketPage(_Out):
    tickets: list[TicketSummary]
    next_cursor: str | None


class PostedOut(_Out):
    message: MessageOut
    rejected: list[Rejected]


class PassageOut(_Out):
    passage_id: str
    article_id: str
    article_title: str
    heading: str
    url: str | None
    product: str | None
    language: str
    visibility: str | None = None
    text: str
    score: float
    similarity: float | None
    words: list[str] = Field(description="words of the query that are in it")
    codes: list[str] = Field(description="exact identifiers of the query that are in it, canonical")
    resemblance: float | None = Field(None, description="how much a figure beside it looks like the photo, 0 to 1")
    unread_language: str | None = Field(
        None, description="the query's language, if the embedding model does not read it"
    )


class PassagePage(_Out):
    model: str = Field(description="the embedding model that compared query and passages")
    mode: str
    passages: list[PassageOut]


class DraftProposal(_Out):
    text: str
    handoff_reason: str | None
    citations: list[CitationOut]


class AssessmentOut(_Out):
    model: str
    mode: str
    evidence: list[EvidenceOut]
    triage: list[TriagedFieldOut]
    passages: list[PassageOut]
    draft: DraftProposal
    rejected: list[Rejected]


class LabelOut(_Out):
    key: str
    name: str
    description: str


class TaxonomyOut(_Out):
    categories: list[LabelOut]
    teams: list[LabelOut]
    products: list[LabelOut]
    fields: dict[str, list[str]] = Field(description="allowed values of every triage field")


class LiveOut(_Out):
    status: Literal["ok"]


class ReadyOut(_Out):
    status: Literal["ok", "degraded"]
    model: str
    mode: str
    engine: str = Field(description="ok, or why answers are quoted instead of written for now")
    jobs_waiting: int
    jobs_dead: int


def summary_json(ticket: Ticket) -> dict[str, Any]:
    """A row of a list of tickets: everything comes from rows that are already loaded."""
    conversation, team, agent = ticket.conversation, ticket.team, ticket.agent
    reason, triaged = conversation.handoff_reason, current_triage(ticket)
    return {
        "id": ticket.public_id,
        "subject": ticket.subject,
        "status": ticket.status.value,
        "priority": ticket.priority.value,
        "type": ticket.type.value if ticket.type is not None else None,
        "category": ticket.category,
        "sentiment": ticket.sentiment,
        "language": ticket.language,
        "product": ticket.product,
        "state": conversation.state.value,
        "handoff_reason": reason.value if reason is not None else None,
        "channel": conversation.channel,
        "requester": {"id": ticket.requester.public_id, "name": ticket.requester.display_name},
        "team": {"key": team.key, "name": team.name} if team is not None else None,
        "agent": {"id": agent.public_id, "name": agent.name} if agent is not None else None,
        "created_at": ticket.created_at.isoformat(),
        "updated_at": ticket.updated_at.isoformat(),
        "solved_at": ticket.solved_at.isoformat() if ticket.solved_at is not None else None,
        "model": triaged.model if triaged is not None else None,
        "mode": triaged.mode if triaged is not None else None,
    }


def ticket_json(session: Any, ticket: Ticket, taxonomy: Taxonomy) -> dict[str, Any]:
    """A whole ticket: messages with attachments and their evidence, triage, drafts with citations."""
    messages = conversations.all_messages(session, ticket.conversation_id)
    found = evidence_of(session, photos_of(session, [message.id for message in messages]))
    return {
        **summary_json(ticket),
        "before": conversations.messages_before(session, ticket.conversation),
        "messages": [
            {
                **message_json(message, found),
                "contradictions": [one.to_json() for one in contradictions_of(message, found, taxonomy)],
            }
            for message in messages
        ],
        "triage": triage_json(ticket),
        "drafts": [draft_json(draft) for draft in ticket.drafts],
    }


def message_json(message: Message, evidence: dict[str, Evidence]) -> dict[str, Any]:
    payload = conversations.message_payload(message)
    for attachment, shown in zip(message.attachments, payload["attachments"], strict=True):
        row = evidence.get(attachment.sha256)
        shown["evidence"] = evidence_json(row, attachment.filename) if row is not None else None
    return payload


def evidence_json(row: Evidence, filename: str | None = None) -> dict[str, Any]:
    return {
        "filename": filename,
        **row.fields,
        "visible_text": row.visible_text,
        "state": row.state.value,
        "model": row.model,
        "mode": row.mode,
    }


def triage_json(ticket: Ticket) -> dict[str, Any] | None:
    result = current_triage(ticket)
    if result is None:
        return None
    return {
        "model": result.model,
        "mode": result.mode,
        "created_at": result.created_at.isoformat(),
        "fields": [
            {
                "name": field.name,
                "value": field.value,
                "probability": round(field.probability, 4),
                "abstained": field.state.value == "abstained",
                "probabilities": top_probabilities(field.probabilities),
                "state": field.state.value,
                "corrected_value": field.corrected_value,
            }
            for field in result.fields
        ],
    }


def draft_json(draft: Draft) -> dict[str, Any]:
    return {
        "id": draft.public_id,
        "status": draft.status.value,
        "text": draft.text,
        "sent_text": draft.sent_text,
        "handoff_reason": draft.handoff_reason.value if draft.handoff_reason is not None else None,
        "model": draft.model,
        "mode": draft.mode,
        "created_at": draft.created_at.isoformat(),
        "citations": [conversations.citation_payload(citation) for citation in draft.citations],
    }
