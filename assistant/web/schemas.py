"""What the API's requests look like, and its answers around the `payloads`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from assistant import payloads
from assistant.models import ConversationState, Priority, TicketStatus
from assistant.payloads import Payload
from assistant.ports import Mode
from assistant.skills.taxonomy import Label


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the null character")
    return text


Text = Annotated[str, AfterValidator(_storable)]
Short = Annotated[str, Field(max_length=300), AfterValidator(_storable)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Requester(_In):
    name: Short | None = None
    email: Annotated[str, Field(max_length=300, pattern=r"^[^@\s]+@[^@\s]+$"), AfterValidator(_storable)] | None = None
    external_id: Short | None = Field(None, description="Your own id of this customer.")


class NewTicket(_In):
    subject: Short = ""
    text: Text = Field("", description="What the customer wrote.")
    requester: Requester = Field(default_factory=Requester)


class NewMessage(_In):
    text: Text = ""
    external_id: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)] | None = Field(
        None, description="Your own id of the message: sent twice, it is stored once."
    )


class TicketText(_In):
    subject: Short = ""
    text: Text = Field("", description="What the customer wrote.")


class TicketChange(_In):
    status: TicketStatus | None = None
    assignee_id: Short | None = Field(None, description="An agent's id; null gives the ticket back to nobody.")


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
    conversation_status: Short | None = _several_of(ConversationState)
    category: Short | None = None
    product: Short | None = None
    team: Short | None = Field(None, description="A team's key.")
    assignee_id: Short | None = Field(None, description="An agent's id.")
    unassigned: bool = False
    requester_email: Short | None = None
    subject: Short | None = Field(None, description="Text in the subject.")
    cursor: Short | None = Field(None, description="`next_cursor` of the page before.")
    limit: int = Field(50, ge=1, le=100)


class ArticleQuery(_In):
    query: Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_storable)]
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


class Drafts(Payload):
    drafts: tuple[payloads.Draft, ...] = Field(description="oldest first")


class SentDraft(Payload):
    message: payloads.Message
    draft: payloads.Draft


class OpenedTicket(payloads.Ticket):
    """The ticket, and the files that were not accepted."""

    rejected_files: tuple[payloads.RejectedFile, ...]


class TicketPage(Payload):
    tickets: tuple[payloads.TicketSummary, ...]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last")


class PostedMessage(Payload):
    """The message, and the files that were not accepted."""

    message: payloads.Message
    rejected_files: tuple[payloads.RejectedFile, ...]


class Passages(Payload):
    model: str = Field(description="the embedding model that compared query and passages")
    mode: Mode
    passages: tuple[payloads.Passage, ...]


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
    allowed_values: dict[str, tuple[str, ...]] = Field(description="by triage field")


class Live(Payload):
    status: Literal["ok"]


class Ready(Payload):
    status: Literal["ok", "degraded"]
    degraded_reason: str | None = Field(description="why answers are quoted instead of written for now")
    model: str
    mode: Mode
    jobs_queued: int
    jobs_dead: int = Field(description="jobs that failed for good; see `assistant jobs`")
