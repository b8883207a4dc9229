"""What the API answers, as plain dictionaries: written from its OpenAPI document by `make client`.

Times are texts as ISO 8601 has them, in UTC; `datetime.fromisoformat` reads them.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

AgentRole = Literal["viewer", "agent", "lead", "admin"]
AnsweredBy = Literal["text in the photo", "what was read", "own products", "model"]
AttachmentKind = Literal["photo", "file"]
Author = Literal["customer", "agent", "assistant", "system"]
ConversationState = Literal["assistant", "handed_off", "agent", "closed"]
DeliveryState = Literal["pending", "delivered", "given_up"]
DraftStatus = Literal["proposed", "sent", "edited", "discarded", "replaced", "withdrawn"]
EvidenceState = Literal["read", "corrected"]
FieldKind = Literal["text", "number", "choice", "date"]
FileCondition = Literal["ready", "unscanned", "infected", "missing", "damaged", "removed"]
HandoffReason = Literal[
    "customer_asked",
    "missing_knowledge",
    "nothing_new",
    "unsupported_answer",
    "never_said",
    "needs_human",
    "engine_down",
]
HeadState = Literal["served", "replaced", "waiting", "rolled_back"]
MessageVisibility = Literal["public", "internal"]
Mode = Literal["no_vlm", "small_vlm", "full_vlm", "remote"]
Priority = Literal["low", "normal", "high", "urgent"]
Relation = Literal["related", "split_from", "split_into", "merged_into", "merged_from"]
SLATarget = Literal["first_response", "next_response", "resolution"]
Scope = Literal[
    "tickets:read",
    "tickets:write",
    "triage",
    "knowledge:read",
    "knowledge:write",
    "settings",
    "keys",
    "webhooks",
    "metrics",
]
Silence = Literal["needs_eyes", "not_there", "unsure", "orders", "failed"]
SourceKind = Literal["words", "photo", "similarity", "trained", "learned", "model"]
TicketStatus = Literal["new", "open", "pending", "on_hold", "solved", "closed"]
TicketType = Literal["question", "incident", "problem", "task"]
TriageFieldState = Literal["proposed", "abstained", "accepted", "overridden"]
VerifiedBy = Literal["site", "code", "api"]
Visibility = Literal["public", "internal"]


class APIKeys(TypedDict):
    keys: list[APIKey]


class Agents(TypedDict):
    agents: list[Agent]


class CustomFields(TypedDict):
    fields: list[CustomField]


class Drafts(TypedDict):
    drafts: list[Draft]


class Inboxes(TypedDict):
    inboxes: list[Inbox]


class Macros(TypedDict):
    macros: list[Macro]


class PhotoQuestions(TypedDict):
    questions: list[PhotoQuestion]


class Tags(TypedDict):
    tags: list[str]


class TaxonomyVersions(TypedDict):
    versions: list[TaxonomyVersion]


class Teams(TypedDict):
    teams: list[Team]


class Webhooks(TypedDict):
    webhooks: list[Webhook]


class Alternative(TypedDict):
    value: str
    probability: float


class AppliedMacro(TypedDict):
    text: str
    ticket: Ticket


class ArticlePage(TypedDict):
    articles: list[ArticleSummary]
    next_cursor: str | None


class AssignedCategory(TypedDict):
    category: str | None
    probability: float


class BatchResults(TypedDict):
    results: list[BatchResult]
    next_cursor: int | None


class CorrectionResults(TypedDict):
    failed: int
    results: list[CorrectionResult]


class CustomerPage(TypedDict):
    customers: list[Customer]
    next_cursor: str | None


class DecisionResults(TypedDict):
    failed: int
    results: list[DecisionResult]


class EventPage(TypedDict):
    events: list[Event]
    next_cursor: str


class Figures(TypedDict):
    accuracy: float
    calibration_error: float


class Learned(TypedDict):
    fields: list[FieldDecisions]
    heads: list[LearnedHead]


class MacroAction(TypedDict):
    name: str
    arguments: dict[str, str]


class MessagePart(TypedDict):
    text: str
    quoted: bool


class Notice(TypedDict):
    code: str
    params: dict[str, str | int | float]


class Overlaps(TypedDict):
    embedding_model: str
    pairs: list[Overlap]


class Person(TypedDict):
    id: str
    name: str


class PostedMessage(TypedDict):
    message: Message
    rejected_files: list[RejectedFile]


class PrechatAnswer(TypedDict):
    question: str
    answer: str


class ReadLike(TypedDict):
    text: str
    probability: float


class SentDraft(TypedDict):
    message: Message
    draft: Draft


class ServedHead(TypedDict):
    field: str
    head: LearnedHead | None


class Team(TypedDict):
    key: str
    name: str


class TicketPage(TypedDict):
    tickets: list[TicketSummary]
    next_cursor: str | None


class UploadedFiles(TypedDict):
    attachments: list[UploadedAttachment]
    rejected_files: list[RejectedFile]


class WebhookDeliveries(TypedDict):
    deliveries: list[WebhookDelivery]
    next_cursor: str | None


class Withheld(TypedDict):
    text: str
    phrase: str


class WrittenPage(TypedDict):
    articles: list[WrittenSummary]
    next_cursor: str | None


class AlikePhoto(TypedDict):
    ticket: TicketReference
    attachment_id: str
    same: bool


class Contradiction(TypedDict):
    about: Literal["product", "code", "lights"]
    written: str
    shown: str


class CorrectionResult(TypedDict):
    position: int
    attachment_id: str
    error: ItemError | None


class Editor(TypedDict):
    kind: Literal["agent", "key"]
    id: str
    name: str


class Inbox(TypedDict):
    key: str
    name: str
    archived_at: str | None


class ItemError(TypedDict):
    code: str
    status: int
    detail: str


class MovedTicket(TypedDict):
    ticket: TicketReference
    now: AssignedCategory
    then: AssignedCategory


class NearestTicket(TypedDict):
    ticket: TicketReference
    value: str
    similarity: float


class Outbreak(TypedDict):
    recent: int
    usual: float
    chance: float


class Passages(TypedDict):
    model: str
    mode: Mode
    passages: list[Passage]


class Place(TypedDict):
    text: str
    start: int
    end: int


class Requester(TypedDict):
    id: str
    name: str
    verified_by: VerifiedBy | None


class TaxonomyLabel(TypedDict):
    key: str
    name: str
    description: str


class TextLine(TypedDict):
    text: str
    confidence: float
    region: list[float]


class TicketReference(TypedDict):
    id: str
    number: int
    external_id: str | None


class Timing(TypedDict):
    photos: float
    triage: float
    draft: float | None


class ArticleSection(TypedDict):
    headings: list[str]
    text: str
    page: int | None
    figures: list[Figure]


class BatchResult(TypedDict):
    position: int
    reference: str | None
    result: Assessment | None
    error: ItemError | None


class CustomField(TypedDict):
    key: str
    name: str
    kind: FieldKind
    choices: list[str]


class FieldDecisions(TypedDict):
    field: str
    decisions: int
    values: dict[str, int]
    learned_again_at: int


class Figure(TypedDict):
    id: str
    alt: str
    width: int
    height: int


class Key(TypedDict):
    name: str
    scopes: list[Scope]
    inboxes: list[str]
    rate_limit: str


class PhotoChange(TypedDict):
    before: list[float]
    after: list[float]
    strength: float
    near: str | None


class Rating(TypedDict):
    score: int
    comment: str
    rated_at: str
    changeable_until: str


class ShownIn(TypedDict):
    photo: int
    attachment_id: str | None
    field: str
    region: list[float] | None


class TaxonomyValues(TypedDict):
    categories: list[TaxonomyLabel]
    teams: list[TaxonomyLabel]
    products: list[TaxonomyLabel]
    allowed_values: dict[str, list[str]]


class TaxonomyVersion(TypedDict):
    version: int
    published_at: str | None
    published_by: Editor | None
    is_current: bool


class TicketLink(TypedDict):
    relation: Relation
    id: str
    number: int
    subject: str


class Trial(TypedDict):
    decisions: int
    head: Figures
    before: Figures
    worse: bool


class Category(TypedDict):
    key: str
    name: str
    description: str
    examples: list[str]
    team: str | None


class Event(TypedDict):
    id: str
    type: str
    timestamp: str
    ticket: TicketReference
    data: dict[str, Any]


class Fault(TypedDict):
    product: str
    codes: list[str]
    shows: list[str]
    category: str | None
    query: str


class RejectedFile(TypedDict):
    filename: str
    status: int
    code: str
    detail: str
    notice: Notice | None


class Similar(TypedDict):
    fault: Fault | None
    tickets: int
    newest: list[TicketReference]
    photos: list[AlikePhoto]
    outbreak: Outbreak | None


class TaxonomyVersionDetail(TypedDict):
    version: int
    published_at: str | None
    published_by: Editor | None
    is_current: bool
    categories: list[Category]


class TriageSource(TypedDict):
    kind: SourceKind
    decisions: int
    words: list[Place]
    shown: list[ShownIn]
    nearest: list[NearestTicket]


class Agent(TypedDict):
    id: str
    name: str
    email: str
    role: AgentRole
    team: str | None
    away_since: str | None


class Article(TypedDict):
    id: str
    title: str
    url: str | None
    language: str
    updated_at: str
    sections: list[ArticleSection]


class Customer(TypedDict):
    id: str
    external_id: str | None
    name: str | None
    email: str | None
    verified_by: VerifiedBy | None
    created_at: str


class SLAClock(TypedDict):
    policy: str
    target: SLATarget
    paused: bool
    due_at: str | None
    ended_at: str | None
    breached_at: str | None


class BatchStatus(TypedDict):
    id: str
    total: int
    done: int
    failed: int
    jobs_ahead: int | None
    created_at: str
    finished_at: str | None


class DecisionResult(TypedDict):
    position: int
    ticket_id: str | None
    number: int | None
    field: str
    value: str | None
    status: TriageFieldState | None
    error: ItemError | None


class Macro(TypedDict):
    id: str
    name: str
    text: str
    actions: list[MacroAction]
    team: str | None
    uses: int
    updated_at: str


class Overlap(TypedDict):
    category: str
    other: str
    by_words: float | None
    sentences: list[ReadLike]
    by_agents: float | None
    decided: int
    proposed: int


class Reading(TypedDict):
    value: str
    confidence: float
    region: list[float] | None
    regions: list[list[float]]
    heatmap: list[str]
    reference: str | None
    labels: list[str]


class ReferenceComparison(TypedDict):
    reference: str
    photo: str
    product: str
    reason: Literal["another_product", "not_alike", "not_installed"] | None
    words: list[str]
    changes: list[PhotoChange]
    overlap: float


class Salient(TypedDict):
    code: Literal["thing", "product", "condition", "light", "lights", "total", "date", "order", "text", "trouble"]
    value: str
    label: str | None
    count: int
    field: str
    confidence: float
    regions: list[list[float]]


class TaxonomyDraft(TypedDict):
    exists: bool
    saved_at: str | None
    saved_by: Editor | None
    added: list[str]
    removed: list[str]
    changed: list[str]
    categories: list[Category]


class TaxonomyTrial(TypedDict):
    tickets: int
    moved: list[MovedTicket]
    decided: int
    right_now: int
    right_then: int
    accuracy_now: float | None
    accuracy_then: float | None


class Triage(TypedDict):
    model: str
    mode: Mode
    revision: str | None
    created_at: str
    seconds: float | None
    text: str
    fields: list[TriageField]


class Assessment(TypedDict):
    evidence: list[Evidence]
    contradictions: list[Contradiction]
    triage: Triage
    similar: Similar | None
    passages: list[Passage]
    draft: Draft | None
    rejected_files: list[RejectedFile]
    timing: Timing


class Comparison(TypedDict):
    before: str
    after: str
    before_at: str
    after_at: str
    reason: Literal["another_product", "not_alike", "not_installed"] | None
    words: list[str]
    changes: list[PhotoChange]
    overlap: float


class Influence(TypedDict):
    change: float
    words: Place | None
    photo: int | None
    field: str | None
    value: str | None
    region: list[float] | None
    regions: list[list[float]]
    reference: str | None


class LearnedHead(TypedDict):
    id: int
    field: str
    state: HeadState
    since: str
    decisions: int
    labels: dict[str, int]
    embedding_model: str
    trial: Trial


class Webhook(TypedDict):
    id: str
    url: str
    types: list[
        Literal[
            "message.created",
            "note.created",
            "message.updated",
            "message.rated",
            "conversation.updated",
            "conversation.read",
            "conversation.rated",
            "ticket.created",
            "ticket.updated",
            "ticket.linked",
            "ticket.triaged",
            "ticket.breached",
            "triage.decided",
            "draft.updated",
            "evidence.read",
            "evidence.corrected",
            "photo.asked",
        ]
    ]
    inboxes: list[str]
    enabled: bool
    created_at: str
    previous_secret_until: str | None
    pending: int
    given_up: int


class ArticleSummary(TypedDict):
    id: str
    title: str
    url: str | None
    product: str | None
    language: str
    inbox: str | None
    source: str
    written_id: str | None
    created_at: str
    updated_at: str


class Attachment(TypedDict):
    id: str
    kind: AttachmentKind
    filename: str
    content_type: str
    size: int
    width: int | None
    height: int | None
    condition: FileCondition
    removed_at: str | None
    risk: str | None


class NewlySecret(Webhook):
    secret: str


class PhotoCopy(TypedDict):
    kind: Literal["earlier", "other_customer", "figure", "reference"]
    same: bool
    attachment_id: str | None
    message_id: str | None
    sent_at: str | None
    ticket: TicketReference | None
    figure_id: str | None
    article: str | None
    product: str | None
    product_photo: str | None


class TriageField(TypedDict):
    name: str
    value: str
    probability: float
    sources: list[TriageSource]
    threshold: float
    abstained: bool
    alternatives: list[Alternative]
    status: TriageFieldState
    corrected_value: str | None
    influences: list[Influence] | None


class Citation(TypedDict):
    sentence_index: int
    sentence: str
    article_id: str
    article_title: str
    heading: str
    quote: str
    url: str | None
    page: int | None
    support: float
    passage_id: str | None
    figures: list[Figure]


class UploadedAttachment(Attachment):
    expires_at: str


class WebhookDelivery(TypedDict):
    id: str
    event: str
    type: Literal[
        "message.created",
        "note.created",
        "message.updated",
        "message.rated",
        "conversation.updated",
        "conversation.read",
        "conversation.rated",
        "ticket.created",
        "ticket.updated",
        "ticket.linked",
        "ticket.triaged",
        "ticket.breached",
        "triage.decided",
        "draft.updated",
        "evidence.read",
        "evidence.corrected",
        "photo.asked",
    ]
    ticket_id: str
    state: DeliveryState
    tries: int
    status: int | None
    problem: str | None
    created_at: str
    due_at: str | None
    finished_at: str | None


class WrittenSummary(TypedDict):
    id: str
    version: int
    published_version: int | None
    article_id: str | None
    title: str
    product: str | None
    language: str | None
    visibility: Visibility
    inbox: str | None
    saved_at: str
    saved_by: Editor | None


class Draft(TypedDict):
    id: str | None
    status: DraftStatus
    text: str
    sent_text: str | None
    handoff_reason: HandoffReason | None
    confidence: float | None
    helpful: bool | None
    model: str
    mode: Mode
    created_at: str
    citations: list[Citation]
    withheld: list[Withheld]


class PhotoQuestion(TypedDict):
    id: str
    question: str
    answer: str
    confidence: float | None
    regions: list[list[float]]
    answered_by: AnsweredBy | None
    model: str | None
    reason: Silence | None
    asks: str
    asked_by: str | None
    asked_at: str
    outdated: bool


class APIKey(TypedDict):
    id: str
    name: str
    scopes: list[str]
    inboxes: list[str]
    networks: list[str]
    rate_limit: str | None
    state: Literal["active", "expired", "revoked"]
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    last_used_from: str | None
    previous_until: str | None
    revoked_at: str | None


class TicketAttachment(Attachment):
    evidence: Evidence | None
    questions: list[PhotoQuestion]
    copies: list[PhotoCopy]


class WrittenArticle(WrittenSummary):
    text: str
    screened: list[str]


class NewlyMadeKey(APIKey):
    secret: str


class Message(TypedDict):
    id: str
    client_id: str | None
    author: Author
    author_name: str | None
    author_picture: str | None
    visibility: MessageVisibility
    text: str
    new_text: str
    parts: list[MessagePart]
    notices: list[Notice]
    helpful: bool | None
    feedback: str | None
    failed: bool
    created_at: str
    attachments: list[Attachment]
    citations: list[Citation]


class Passage(TypedDict):
    id: str
    article_id: str
    article_title: str
    heading: str
    url: str | None
    page: int | None
    product: str | None
    language: str
    visibility: Visibility
    text: str
    score: float
    similarity: float | None
    matched_words: list[str]
    matched_codes: list[str]
    photo_similarity: float | None
    unsupported_language: str | None


class ReadEvidence(TypedDict):
    filename: str
    caption: Reading
    is_composed: bool
    salient: list[Salient]
    product: Reading
    lights: Reading | None
    condition: Reading
    total: Reading | None
    date: Reading | None
    order: Reading | None
    quality: Reading
    orientation: Reading | None
    frames: Reading | None
    visible_text: list[TextLine]
    status: EvidenceState
    model: str
    mode: Mode


class TicketMessage(TypedDict):
    id: str
    client_id: str | None
    author: Author
    author_name: str | None
    author_picture: str | None
    visibility: MessageVisibility
    text: str
    new_text: str
    parts: list[MessagePart]
    notices: list[Notice]
    helpful: bool | None
    feedback: str | None
    failed: bool
    created_at: str
    attachments: list[TicketAttachment]
    citations: list[Citation]
    contradictions: list[Contradiction]
    confidence: float | None


class Evidence(ReadEvidence):
    corrected_for: Literal["ticket", "everywhere"] | None
    original: ReadEvidence | None


class TicketSummary(TypedDict):
    id: str
    number: int
    external_id: str | None
    subject: str
    status: TicketStatus
    priority: Priority
    type: TicketType | None
    category: str | None
    sentiment: str | None
    language: str | None
    product: str | None
    conversation_state: ConversationState
    handoff_reason: HandoffReason | None
    channel: str
    requester: Requester
    inbox: str
    team: Team | None
    assignee: Person | None
    tags: list[str]
    fields: dict[str, str | int | float]
    snoozed_until: str | None
    due_at: str | None
    breached_at: str | None
    created_at: str
    updated_at: str
    solved_at: str | None
    triaged_at: str | None


class Ticket(TicketSummary):
    version: str
    prechat: list[PrechatAnswer]
    context: dict[str, str]
    jobs_ahead: int | None
    messages: list[TicketMessage]
    triage: Triage | None
    drafts: list[Draft]
    rating: Rating | None
    sla: list[SLAClock]
    links: list[TicketLink]


class OpenedTicket(Ticket):
    rejected_files: list[RejectedFile]
