"""What the API's requests look like, and its answers around the `payloads`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)

from assistant import payloads
from assistant.desk.access import Scope
from assistant.desk.attachments import attached
from assistant.desk.events import TOLD, EventKind
from assistant.desk.site_context import MAX_LENGTH, MAX_NAMES, NAME
from assistant.models import ConversationState, DeliveryState, FieldKind, Priority, TicketStatus, UploadedFile
from assistant.payloads import Payload
from assistant.ports import Mode, WorkPriority
from assistant.skills.read_photo import FIELDS as EVIDENCE_FIELDS
from assistant.skills.taxonomy import Label


def _without_null_characters(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain null characters")
    return text


Text = Annotated[str, AfterValidator(_without_null_characters)]
Short = Annotated[str, Field(max_length=300), AfterValidator(_without_null_characters)]
Choice = TypeVar("Choice", bound=StrEnum)


def _list_of(kind: type[Choice]) -> Any:
    """A comma-separated list of an enumeration's values."""

    def split(text: Any) -> Any:
        try:
            return tuple(kind(part.strip()) for part in text.split(",")) if text else ()
        except ValueError as error:
            raise ValueError(f"choose from {', '.join(option.value for option in kind)}") from error

    return BeforeValidator(split)


def _is_told(kind: EventKind) -> EventKind:
    if kind not in TOLD:
        raise ValueError(f"choose from {', '.join(TOLD)}")
    return kind


EventType = Annotated[
    EventKind, AfterValidator(_is_told), WithJsonSchema({"type": "string", "enum": [kind.value for kind in TOLD]})
]
_Value = Annotated[StrictStr, AfterValidator(_without_null_characters)] | StrictInt | StrictFloat
_FIELDS = "Custom fields, by key: a text, a number, a choice or a day like 2026-12-01"


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


_TAKEN = "The message takes them, under the same ids: each is used once."
_Said = (
    Annotated[StrictStr, Field(max_length=MAX_LENGTH), AfterValidator(_without_null_characters)]
    | StrictBool
    | (StrictInt | StrictFloat)
)
Language = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*$")]
_LANGUAGE = "What the customer speaks, as far as you know, like `de` or `pt-BR`: short texts do not tell."
_Attachments = Annotated[tuple[Short, ...], Field(max_length=50)]


def _attachments(about: str) -> Any:
    return Field((), description=f"Ids of files that this key has uploaded before. {about}")


Asked = _Request  # for the modules beside this one


class NewRequester(_Request):
    """The customer. Tickets with the same `external_id` belong to one customer; without one, those with the same e-mail
    address."""

    name: Short | None = None
    email: Annotated[Short, Field(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    external_id: Short | None = Field(None, description="Your own id of this customer.")


class NewTicket(_Request):
    subject: Short = ""
    text: Text = Field("", description="What the customer wrote.", examples=["The display shows this."])
    requester: NewRequester = Field(default_factory=NewRequester, examples=[{"email": "rosa@example.org"}])
    inbox: Short = Field("default", description="Key of the inbox that it came to.")
    fields: dict[Short, _Value] = Field(default_factory=dict, description=f"{_FIELDS}.")
    attachments: _Attachments = _attachments(_TAKEN)
    external_id: Annotated[Short, Field(min_length=1)] | None = Field(
        None,
        description="Your own id of this ticket. A second one with the same id is refused (409, `id`).",
    )
    tags: tuple[Short, ...] = Field((), max_length=30, description="Words to sort it by.")
    language: Language | None = Field(None, description=_LANGUAGE)
    context: dict[Annotated[str, Field(pattern=f"^{NAME}$")], _Said] = Field(
        default_factory=dict,
        max_length=MAX_NAMES,
        description="What agents see, and triage reads, beside what the customer wrote: short values by name.",
        examples=[{"order": "A-17", "page": "/cart"}],
    )


class NewMessage(_Request):
    text: Text = Field("", examples=["Now it is off."])
    attachments: _Attachments = _attachments(_TAKEN)
    client_id: Annotated[Text, Field(min_length=1, max_length=200)] | None = Field(
        None, description="Your own id of this message; sent again with the same id, it is stored once."
    )


class TicketText(_Request):
    subject: Short = ""
    text: Text = Field("", description="What the customer wrote.", examples=["It leaks."])
    inbox: Short = Field("default", description="Key of the inbox that it came to: its articles are used.")


class NewNote(_Request):
    text: Annotated[Text, Field(min_length=1)] = Field(examples=["Paid by card, says the shop."])


class AssessPriority(StrEnum):
    """Whose work a model does first."""

    INTERACTIVE = "interactive"  # somebody waits for it
    NORMAL = "normal"  # as for drafts that agents will look at
    BATCH = "batch"  # when nobody else waits

    @property
    def of_work(self) -> WorkPriority:
        return {"interactive": WorkPriority.INTERACTIVE, "normal": WorkPriority.DRAFT}.get(self, WorkPriority.BATCH)


_PRIORITY = (
    "Whose work a model does first: `interactive` work, `normal` as drafts for agents, `batch` when nobody waits."
)


class Assessing(TicketText):
    language: Language | None = Field(None, description=_LANGUAGE)
    priority: AssessPriority = Field(AssessPriority.INTERACTIVE, description=_PRIORITY)
    deadline_seconds: float | None = Field(
        None, gt=0, le=600, description="What is not done in so many seconds is not begun, or dropped: 503, `deadline`."
    )
    with_draft: bool = Field(True, description="False: triage and evidence alone, which is sooner.")
    explain: bool = Field(
        False, description="Also what each field depends on: the `influences`. Takes some seconds more."
    )
    attachments: _Attachments = _attachments("They can be used again.")


class BatchTicket(_Request):
    reference: Short | None = Field(None, description="Your own id of it, which comes back with the result.")
    subject: Short = ""
    text: Text = Field("", description="What the customer wrote.")
    language: Language | None = Field(None, description=_LANGUAGE)
    attachments: _Attachments = _attachments("They can be used again; what this batch needs of them is kept for it.")


class NewBatch(_Request):
    tickets: Annotated[tuple[BatchTicket, ...], Field(min_length=1, max_length=500)] = Field(
        examples=[[{"reference": "17", "text": "It leaks."}]]
    )
    inbox: Short = Field("default", description="Key of the inbox that they came to: its articles are used.")
    with_draft: bool = Field(True, description="False: triage alone, which is sooner.")
    priority: AssessPriority = Field(AssessPriority.BATCH, description=_PRIORITY)
    deadline_seconds: float | None = Field(
        None,
        gt=0,
        le=7 * 86400,
        description="A ticket that is not done in so many seconds from now has the error `deadline`; the rest goes on.",
    )


class BatchQuery(_Request):
    cursor: int = Field(-1, ge=-1, le=500, description="`next_cursor` of the previous page.")
    limit: int = Field(100, ge=1, le=500)


class Waiting(_Request):
    wait: int = Field(0, ge=0, le=25, description="Seconds to wait until it is done.")


class TriageQuery(Waiting):
    explain: bool = Field(
        False,
        description="Also what each field depends on now: the `influences`. It is found out anew, which takes some "
        "seconds.",
    )


class TicketUpdate(_Request):
    """What is left out stays as it is."""

    status: TicketStatus | None = None
    assignee_id: Short | None = Field(None, description="An agent's id; null unassigns the ticket.")
    priority: Priority | None = Field(None, examples=["high"])
    team: Short | None = Field(None, description="A team's key; null takes it from its team.")
    tags: tuple[Short, ...] | None = Field(
        None, description="All of its tags: those left out are removed.", examples=[["returns"]]
    )
    snoozed_until: AwareDatetime | None = Field(None, description="A time to come; null wakes it.")
    fields: dict[Short, _Value | None] = Field(
        default_factory=dict, description=f"{_FIELDS}; null takes the value away. Those left out stay as they are."
    )


class FieldDecision(_Request):
    value: Short | None = Field(
        None, description="The correct value; leave it out to accept the proposed one.", examples=["high"]
    )


class LineCorrection(_Request):
    index: int = Field(ge=0, description="The line's place in `visible_text`, from 0.")
    text: Short = Field(description="What the photo says; empty to remove the line.")


class EvidenceCorrection(_Request):
    """What is left out stays as it was read."""

    fields: dict[str, Short] = Field(
        default_factory=dict,
        description=f"New values by field: {', '.join(EVIDENCE_FIELDS)}.",
        examples=[{"condition": "damaged"}],
    )
    lines: tuple[LineCorrection, ...] = ()
    everywhere: bool = Field(False, description="Whether it also counts for the same photo in other tickets.")


class PhotoQuestionAsked(_Request):
    question: Short = Field(
        description="In any language, in one short sentence.", examples=["What is the serial number?"]
    )


class DraftToSend(_Request):
    text: Text | None = Field(
        None, description="The edited text; leave it out to send the draft unchanged.", examples=["Please descale it."]
    )


class TicketQuery(_Request):
    status: Annotated[tuple[TicketStatus, ...], _list_of(TicketStatus)] = ()
    priority: Annotated[tuple[Priority, ...], _list_of(Priority)] = ()
    conversation_state: Annotated[tuple[ConversationState, ...], _list_of(ConversationState)] = ()
    category: Short | None = None
    product: Short | None = None
    team: Short | None = Field(None, description="A team's key.")
    inbox: Short | None = Field(None, description="An inbox's key.")
    assignee_id: Short | None = Field(None, description="An agent's id.")
    unassigned: bool = False
    requester_email: Short | None = None
    external_id: Short | None = Field(None, description="Your own id of a ticket.")
    q: Short | None = Field(
        None,
        description="Words of the ticket: of its number, subject, requester, messages, notes, photos, tags. All must "
        "occur, the last at least as a beginning. Capitals and accents do not matter.",
    )
    updated_since: AwareDatetime | None = Field(
        None,
        description="Only those that were changed then or later. Transactions end late: ask again from a minute "
        "before, or follow the events.",
    )
    sort: Literal["newest", "changed"] = Field(
        "newest", description="`changed`: those that were changed last come last, for a copy that follows."
    )
    cursor: Short | None = Field(None, description="`next_cursor` of the previous page.")
    limit: int = Field(50, ge=1, le=100)


class CustomerQuery(_Request):
    external_id: Short | None = Field(None, description="Your own id.")
    email: Short | None = None
    q: Short | None = Field(None, description="Words of name, address or id, the last at least as a beginning.")
    cursor: Short | None = Field(None, description="`next_cursor` of the previous page.")
    limit: int = Field(50, ge=1, le=100)


class ArticleQuery(_Request):
    query: Annotated[Text, Field(min_length=1, max_length=2000, examples=["E-21 pump"])]
    product: Short | None = Field(None, description="A product's key; passages about it come first.")
    inbox: Short | None = Field(None, description="Key of an inbox: only what its customers may read.")
    limit: int = Field(8, ge=1, le=50)


class EventQuery(_Request):
    cursor: Annotated[Short, Field(pattern=r"^evt_\d{1,18}(@\d{1,12})?$")] | None = Field(
        None, description="`next_cursor` of the answer before, or the id of an event; else what happens from now on."
    )
    type: Annotated[tuple[EventType, ...], _list_of(EventKind)] = Field(
        (), description="Only these.", examples=[["ticket.created", "ticket.triaged"]]
    )
    ticket_id: Short | None = Field(None, description="Only of this ticket.")
    limit: int = Field(100, ge=1, le=500)
    wait: int = Field(0, ge=0, le=25, description="Seconds to wait for the first event if there is none yet.")


class EventStreamQuery(_Request):
    type: Annotated[tuple[EventType, ...], _list_of(EventKind)] = Field((), description="Only these.")


class NewWebhook(_Request):
    url: Annotated[Text, Field(max_length=2000)] = Field(
        description="With https.", examples=["https://shop.example/hook"]
    )
    types: tuple[EventType, ...] = Field(
        (), description="Of events that it is told; empty: all that there are now.", examples=[["ticket.triaged"]]
    )
    inboxes: tuple[Short, ...] = Field((), description="Keys of the inboxes that it is for; empty: every one.")


class WebhookUpdate(_Request):
    """What is left out stays as it is."""

    url: Annotated[Text, Field(max_length=2000)] | None = None
    types: tuple[EventType, ...] | None = None
    inboxes: tuple[Short, ...] | None = None
    enabled: bool | None = Field(
        None, description="It is told nothing of what happens while it is disabled.", examples=[False]
    )


class DeliveryQuery(_Request):
    state: Annotated[tuple[DeliveryState, ...], _list_of(DeliveryState)] = ()
    cursor: Short | None = Field(None, description="`next_cursor` of the previous page.")
    limit: int = Field(50, ge=1, le=100)


class FileQuery(_Request):
    thumbnail: bool = Field(False, description="A small JPEG instead of the photo.")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`urn:assistant:` and the `code`.")
    title: str
    status: int
    code: str = Field(description="Stable, for programs.")
    detail: str = Field(description="What is wrong and what to do.")
    field: str | None = Field(None, description="The invalid value's name.")
    retry_after: float | None = Field(None, description="Seconds.")
    cause: str | None = Field(None, description="Of a passing fault (`unavailable`), for operators.")


class Drafts(Payload):
    drafts: tuple[payloads.Draft, ...] = Field(description="Oldest first.")


class SentDraft(Payload):
    message: payloads.Message
    draft: payloads.Draft


class OpenedTicket(payloads.Ticket):
    """The ticket, and the files that were not accepted."""

    rejected_files: tuple[payloads.RejectedFile, ...]


class TicketPage(Payload):
    tickets: tuple[payloads.TicketSummary, ...]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


class CustomerPage(Payload):
    customers: tuple[payloads.Customer, ...]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


class Agents(Payload):
    agents: tuple[payloads.Agent, ...]


class Teams(Payload):
    teams: tuple[payloads.Team, ...]


class Inboxes(Payload):
    inboxes: tuple[payloads.Inbox, ...]


class Tags(Payload):
    tags: tuple[str, ...]


class PostedMessage(Payload):
    """The message, and the files that were not accepted."""

    message: payloads.Message
    rejected_files: tuple[payloads.RejectedFile, ...]


class UploadedAttachment(payloads.Attachment):
    """A file on no message yet."""

    expires_at: datetime = Field(description="It is removed then, unless a ticket or message has taken it.")

    @classmethod
    def kept(cls, upload: UploadedFile) -> Self:
        return cls(**dict(payloads.Attachment.of(attached(upload))), expires_at=upload.expires_at)


class UploadedFiles(Payload):
    attachments: tuple[UploadedAttachment, ...] = Field(description="In the order in which they were sent.")
    rejected_files: tuple[payloads.RejectedFile, ...]


class BatchStatus(Payload):
    id: str
    total: int
    done: int = Field(description="Failed ones included.")
    failed: int
    jobs_ahead: int | None = Field(description="Jobs that run before it; null once it has been begun.")
    created_at: datetime
    finished_at: datetime | None = Field(description="Null until all are done. A day later, the batch is removed.")


class ItemError(Payload):
    code: str
    status: int
    detail: str


class BatchResult(Payload):
    position: int = Field(description="Its place in what was sent, from 0.")
    reference: str | None
    result: payloads.Assessment | None = Field(description="As if it had been sent alone; null if it failed.")
    error: ItemError | None


class BatchResults(Payload):
    results: tuple[BatchResult, ...] = Field(description="Those that are done, in the order in which they were sent.")
    next_cursor: int | None = Field(description="`cursor` of the next page; null if there is no more for now.")


class EventPage(Payload):
    events: tuple[payloads.Event, ...] = Field(description="Oldest first.")
    next_cursor: str = Field(description="`cursor` of the next request, now or later: events are kept for 30 days.")


class Webhook(Payload):
    id: str
    url: str
    types: tuple[EventType, ...]
    inboxes: tuple[str, ...] = Field(description="Empty: every one.")
    enabled: bool = Field(description="False also after the receiver has answered 410.")
    created_at: datetime
    previous_secret_until: datetime | None = Field(description="Until then, what is sent is signed with both secrets.")
    pending: int = Field(description="Deliveries that have not been taken yet.")
    given_up: int = Field(description="Those that were not taken for 24 hours, in the last 30 days.")


class NewlySecret(Webhook):
    """A webhook with its secret, which is not shown again."""

    secret: str = Field(description="`whsec_` and base64, as Standard Webhooks has it.")


class Webhooks(Payload):
    webhooks: tuple[Webhook, ...]


class WebhookDelivery(Payload):
    id: str
    event: str = Field(description="The event's id, which the receiver gets as `webhook-id`.")
    type: EventType
    ticket_id: str
    state: DeliveryState
    tries: int
    status: int | None = Field(description="What the receiver answered last, by HTTP.")
    problem: str | None = Field(description="Why there was no answer.")
    created_at: datetime
    due_at: datetime | None = Field(description="When it is tried next; null once it is over.")
    finished_at: datetime | None


class WebhookDeliveries(Payload):
    deliveries: tuple[WebhookDelivery, ...] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


class Passages(Payload):
    model: str = Field(description="The embedding model that compared query and passages.")
    mode: Mode
    passages: tuple[payloads.Passage, ...]


class PhotoQuestions(Payload):
    questions: tuple[payloads.PhotoQuestion, ...]


class Key(Payload):
    """What the key that was sent may do."""

    name: str
    scopes: tuple[Scope, ...] = Field(description="In alphabetical order.")
    inboxes: tuple[str, ...] = Field(description="Keys of the inboxes that it is for; empty: every one.")
    rate_limit: str = Field(description="How many requests it may make, like `120 per minute; 2000 per hour`.")


class CustomField(Payload):
    key: str = Field(description="What `fields` of a ticket and searches call it.")
    name: str
    kind: FieldKind
    choices: tuple[str, ...] = Field(description="Of the kind `choice`.")


class CustomFields(Payload):
    fields: tuple[CustomField, ...] = Field(description="In the order in which agents see them.")


class TaxonomyLabel(Payload):
    key: str
    name: str
    description: str

    @classmethod
    def of(cls, label: Label) -> Self:
        return cls(key=label.key, name=label.name, description=label.description)


class TaxonomyValues(Payload):
    """What triage chooses from."""

    categories: tuple[TaxonomyLabel, ...]
    teams: tuple[TaxonomyLabel, ...]
    products: tuple[TaxonomyLabel, ...]
    allowed_values: dict[str, tuple[str, ...]] = Field(description="By triage field.")


class Live(Payload):
    status: Literal["ok"]


class Ready(Payload):
    status: Literal["ok", "loading", "degraded"]
    loading: tuple[str, ...] = Field(description="Models that this server has not loaded yet, the next one first.")
    degraded_reason: str | None = Field(
        description="Why answers are quoted instead of written for now, no worker runs, or there is no new backup."
    )
    last_backup_at: AwareDatetime | None = Field(description="The newest of the backups made by schedule.")
    model: str
    mode: Mode
    jobs_queued: int
    processes: int = Field(description="Servers and workers that gave a sign of life lately.")
    processes_missed: int = Field(description="Those that have died, or cannot reach the database, within minutes.")
    jobs_dead: int = Field(description="Jobs that failed for good; see `assistant jobs`.")
