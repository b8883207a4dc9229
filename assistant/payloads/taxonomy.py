"""Categories, their versions, and how they fare, as machines see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from pydantic import Field

from assistant import models
from assistant.payloads.payload import Payload, Score
from assistant.payloads.people import Editor
from assistant.payloads.triage import TicketReference
from assistant.skills.taxonomy import Label


class Category(Payload):
    """What triage chooses from, and works from until it has learned from agents' decisions."""

    key: str
    name: str
    description: str
    examples: tuple[str, ...] = Field(description="Sentences as customers write them.")
    team: str | None = Field(description="Key of the team that gets its tickets.")

    @classmethod
    def of(cls, label: Label) -> Self:
        return cls(
            key=label.key, name=label.name, description=label.description, examples=label.examples, team=label.team
        )


class TaxonomyVersion(Payload):
    """Categories that counted, or count."""

    version: int = Field(description="0: the taxonomy file's, which counted first.")
    published_at: datetime | None = Field(description="Null for the file's.")
    published_by: Editor | None = Field(description="Null for the file's, and if nobody knows any more.")
    is_current: bool = Field(description="Whether new messages are triaged by it.")


class TaxonomyVersionDetail(TaxonomyVersion):
    """A version with its categories."""

    categories: tuple[Category, ...]


class TaxonomyDraft(Payload):
    """The categories that somebody works on, which count for nothing until they are published. While nobody does
    (`exists` is false): those that count, from which a draft begins."""

    exists: bool
    saved_at: datetime | None
    saved_by: Editor | None
    added: tuple[str, ...] = Field(description="Keys of the categories that do not count now.")
    removed: tuple[str, ...] = Field(description="Keys of those that count now, and would not any more.")
    changed: tuple[str, ...] = Field(description="Keys of those that would be others.")
    categories: tuple[Category, ...]

    @classmethod
    def of(
        cls,
        categories: Sequence[Label],
        counting: Sequence[Label],
        *,
        exists: bool,
        saved_at: datetime | None,
        saved_by: models.Agent | models.APIKey | None,
    ) -> Self:
        before, after = ({one.key: one for one in labels} for labels in (counting, categories))
        return cls(
            exists=exists,
            saved_at=saved_at,
            saved_by=Editor.of(saved_by) if saved_by is not None else None,
            added=tuple(key for key in after if key not in before),
            removed=tuple(key for key in before if key not in after),
            changed=tuple(key for key in after if key in before and after[key] != before[key]),
            categories=tuple(map(Category.of, categories)),
        )


class AssignedCategory(Payload):
    category: str | None = Field(description="Null where triage is not sure enough.")
    probability: Score = Field(description="Of the likeliest category, also where triage is not sure enough.")


class MovedTicket(Payload):
    """A ticket whose category would be another one."""

    ticket: TicketReference
    now: AssignedCategory
    then: AssignedCategory


class TaxonomyTrial(Payload):
    """The draft, tried on past tickets by their text alone. Nothing is stored of it."""

    tickets: int = Field(description="The newest, that were read.")
    moved: tuple[MovedTicket, ...]
    decided: int = Field(description="Of the tickets, those whose category an agent has decided.")
    right_now: int = Field(description="Of those, how many triage gets right by the categories that count.")
    right_then: int = Field(
        description="How many it would get right by the draft. What has been learned from agents' decisions counts "
        "in both, and these may be among them: of new tickets, fewer are right."
    )
    accuracy_now: Score | None = Field(description="`right_now` of `decided`; null if none is.")
    accuracy_then: Score | None


class ReadLike(Payload):
    text: str
    probability: Score = Field(description="Of the other category.")


class Overlap(Payload):
    """How likely what belongs to one category is taken for another."""

    category: str
    other: str
    by_words: Score | None = Field(
        description="Mean probability of `other` for descriptions and examples of `category`, each triaged by all the "
        "rest; null if there is one alone."
    )
    sentences: tuple[ReadLike, ...] = Field(description="Those that read more like `other` than like anything else.")
    by_agents: Score | None = Field(description="`proposed` of `decided`; null if agents have decided none.")
    decided: int = Field(description="Tickets that are of `category`, as agents say.")
    proposed: int = Field(description="How many of them triage had proposed as `other`.")


class Overlaps(Payload):
    embedding_model: str = Field(description="What compared the words.")
    pairs: tuple[Overlap, ...] = Field(description="The hardest to tell apart first.")
