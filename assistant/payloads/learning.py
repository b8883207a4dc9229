"""What agents' decisions teach, as machines see it."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import Field

from assistant import models
from assistant.models import HeadState
from assistant.payloads.payload import Payload, Score


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
