"""What requests for settings, keys and articles look like, and answers around the `payloads`."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator

from assistant import payloads
from assistant.desk.access import Scope
from assistant.desk.category_trial import TRIED_ON
from assistant.knowledge.writing import LONGEST_TEXT, LONGEST_TITLE
from assistant.models import TriageFieldState, Visibility
from assistant.payloads import Payload
from assistant.web.schemas import Asked, EvidenceCorrection, ItemError, Short, Text


class NewCategory(Asked):
    key: Annotated[Short, Field(min_length=1)] = Field(description="Small letters, digits, _ and -; it stays.")
    name: Annotated[Short, Field(min_length=1)]
    description: Annotated[Text, Field(max_length=2000)] = ""
    examples: Annotated[tuple[Annotated[Text, Field(min_length=1, max_length=500)], ...], Field(max_length=100)] = (
        Field((), description="Sentences as customers write them: three or more tell it apart.")
    )
    team: Short | None = Field(None, description="Key of the team that gets its tickets.")


class NewTaxonomyDraft(Asked):
    categories: Annotated[tuple[NewCategory, ...], Field(max_length=300)] = Field(
        description="All of them: those left out are removed. A category needs a description or examples.",
        examples=[
            [
                {
                    "key": "broken",
                    "name": "Broken",
                    "description": "A device does not work.",
                    "examples": ["It does not turn on any more.", "The pump makes a noise and stops.", "It leaks."],
                    "team": "technical",
                },
                {"key": "other", "name": "Other", "description": "Everything else."},
            ]
        ],
    )


class TrialWanted(Asked):
    newest: int = Field(TRIED_ON, ge=1, le=200, description="How many of the newest tickets.", examples=[20])


class OverlapQuery(Asked):
    limit: int = Field(50, ge=1, le=500, description="Pairs.")


class TaxonomyVersions(Payload):
    versions: tuple[payloads.TaxonomyVersion, ...] = Field(description="Newest first.")


class NewDecision(Asked):
    """Name the ticket by its id or by its number."""

    ticket_id: Short | None = None
    number: int | None = Field(None, ge=1)
    field: Short = Field(description="Of the triage, e.g. `category`.")
    value: Short | None = Field(None, description="The correct value; leave it out to accept the proposed one.")
    if_match: Annotated[Short, Field(pattern=r'^"\d{1,19}"$')] | None = Field(
        None,
        description="The `ETag` with which you read the ticket: nothing is decided if others have changed it since.",
    )

    @model_validator(mode="after")
    def _names_one_ticket(self) -> Self:
        if (self.ticket_id is None) == (self.number is None):
            raise ValueError("give either ticket_id or number")
        return self


class NewDecisions(Asked):
    decisions: Annotated[tuple[NewDecision, ...], Field(min_length=1, max_length=500)] = Field(
        examples=[[{"number": 1001, "field": "priority", "value": "high"}, {"number": 1001, "field": "category"}]]
    )


class DecisionResult(Payload):
    position: int = Field(description="Its place in what was sent, from 0.")
    ticket_id: str | None = Field(description="Null if there is no such ticket, or you may not see it.")
    number: int | None
    field: str
    value: str | None = Field(description="What counts now; null if it failed.")
    status: TriageFieldState | None = Field(description="`accepted` or `overridden`; null if it failed.")
    error: ItemError | None


class DecisionResults(Payload):
    failed: int
    results: tuple[DecisionResult, ...] = Field(description="In the order in which they were sent.")


class PhotoCorrection(EvidenceCorrection):
    attachment_id: Short


class NewCorrections(Asked):
    corrections: Annotated[tuple[PhotoCorrection, ...], Field(min_length=1, max_length=100)] = Field(
        examples=[[{"attachment_id": "att_0123456789abcdefghij", "fields": {"condition": "damaged"}}]]
    )


class CorrectionResult(Payload):
    position: int = Field(description="Its place in what was sent, from 0.")
    attachment_id: str
    error: ItemError | None = Field(description="Null if it has been corrected.")


class CorrectionResults(Payload):
    failed: int
    results: tuple[CorrectionResult, ...] = Field(description="In the order in which they were sent.")


class KeyUpdate(Asked):
    """What is left out stays as it is."""

    name: Annotated[Short, Field(min_length=1)] | None = Field(None, description="What uses it.", examples=["web shop"])
    expires_on: date | None = Field(None, description="The last day, in UTC; null: it does not end by itself.")
    inboxes: Annotated[tuple[Short, ...], Field(max_length=100)] | None = Field(
        None, description="Keys of the inboxes that it is for; empty: every one."
    )
    networks: Annotated[tuple[Short, ...], Field(max_length=100)] | None = Field(
        None, description="Addresses or networks, from which alone it is accepted; empty: from anywhere."
    )


class NewKey(Asked):
    """Limits that are left out are those of the key that asks."""

    name: Annotated[Short, Field(min_length=1)] = Field(description="What uses it.", examples=["web shop"])
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)] = Field(examples=[["tickets:read"]])
    expires_on: date | None = Field(None, description="The last day, in UTC; null: it does not end by itself.")
    inboxes: Annotated[tuple[Short, ...], Field(max_length=100)] | None = Field(
        None, description="Keys of the inboxes that it is for; empty: every one."
    )
    networks: Annotated[tuple[Short, ...], Field(max_length=100)] | None = Field(
        None, description="Addresses or networks, from which alone it is accepted; empty: from anywhere."
    )


class KeyRotation(Asked):
    grace_hours: int = Field(24, ge=0, le=2160, description="How long the secret before stays valid.", examples=[1])


class NewlyMadeKey(payloads.APIKey):
    """A key with its secret, which is not shown again."""

    secret: str


class APIKeys(Payload):
    keys: tuple[payloads.APIKey, ...]


class ArticlesQuery(Asked):
    updated_since: AwareDatetime | None = Field(None, description="Only those that were changed then or later.")
    inbox: Short | None = Field(None, description="Key of an inbox: only what its customers may read.")
    cursor: Short | None = Field(None, description="`next_cursor` of the previous page.")
    limit: int = Field(50, ge=1, le=100)


class ArticlePage(Payload):
    articles: tuple[payloads.ArticleSummary, ...]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


class WrittenQuery(Asked):
    cursor: Short | None = Field(None, description="`next_cursor` of the previous page.")
    limit: int = Field(50, ge=1, le=100)


class WrittenPage(Payload):
    articles: tuple[payloads.WrittenSummary, ...]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


_Title = Annotated[Text, Field(min_length=1, max_length=LONGEST_TITLE)]
_Markdown = Annotated[Text, Field(max_length=LONGEST_TEXT)]
_PRODUCT = "Key of the product that it is about; null: none."
_LANGUAGE = "Code of its language; null: the one it is written in."
_INBOX = "Key of the inbox whose customers alone may read it; null: all."


class ArticleUpdate(Asked):
    """What is left out stays as it is."""

    title: _Title | None = Field(None, examples=["Error E21"])
    text: _Markdown | None = Field(None, description="Markdown.")
    product: Short | None = Field(None, description=_PRODUCT)
    language: Short | None = Field(None, description=_LANGUAGE)
    visibility: Visibility | None = Field(None, description="`internal`: for agents only.")
    inbox: Short | None = Field(None, description=_INBOX)
    publish: bool = Field(False, description="Serve it.")


class NewArticle(Asked):
    title: _Title = Field(examples=["Error E21"])
    text: _Markdown = Field(description="Markdown.", examples=["The pump draws no water: fill the tank."])
    product: Short | None = Field(None, description=_PRODUCT)
    language: Short | None = Field(None, description=_LANGUAGE)
    visibility: Visibility = Field(Visibility.PUBLIC, description="`internal`: for agents only.")
    inbox: Short | None = Field(None, description=_INBOX)
    publish: bool = Field(False, description="Serve it; else it is a draft.")


class Macros(Payload):
    macros: tuple[payloads.Macro, ...]


class AppliedMacro(Payload):
    text: str = Field(description="What the macro says, with its placeholders filled in. It is not sent.")
    ticket: payloads.Ticket
