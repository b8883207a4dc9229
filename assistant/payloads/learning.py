"""What agents' decisions teach, as machines see it."""

from __future__ import annotations

from pydantic import Field

from assistant.payloads.payload import Payload
from assistant.payloads.tickets import LearnedHead


class FieldDecisions(Payload):
    """Agents' decisions about one triage field, those of machines included."""

    field: str
    decisions: int
    values: dict[str, int] = Field(description="How many for each value that the field still has, the most first.")
    learned_again_at: int = Field(description="A head is fitted once there are so many, of two values or more.")


class Learned(Payload):
    fields: tuple[FieldDecisions, ...]
    heads: tuple[LearnedHead, ...] = Field(description="All that are kept, by field, the newest first.")


class ServedHead(Payload):
    field: str
    head: LearnedHead | None = Field(description="That serves now; null: none, as before the first decision.")
