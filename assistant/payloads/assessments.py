"""Assessments of what is no ticket yet, and what a ticket has in common with others."""

from __future__ import annotations

from pydantic import Field

from assistant.payloads.conversations import RejectedFile
from assistant.payloads.knowledge import Passage
from assistant.payloads.payload import Payload, Score
from assistant.payloads.photos import Evidence
from assistant.payloads.tickets import Contradiction, Draft
from assistant.payloads.triage import TicketReference, Triage


class Fault(Payload):
    """What several tickets have in common: a product with a code; without one, with what photos show to be wrong;
    without that, with a category."""

    product: str
    codes: tuple[str, ...] = Field(description="Any of which makes it the same.")
    shows: tuple[str, ...] = Field(
        description="All of which their photos show: `leaking`, `red light`, a condition of an own product; empty with "
        "a code."
    )
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
