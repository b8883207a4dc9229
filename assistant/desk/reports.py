"""Counts for metrics and reports, and the record of model runs behind them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from assistant.models import Author, Conversation, ConversationState, Draft, DraftStatus, Generation, Message
from assistant.ports import Capabilities


def count_by_state(session: Session) -> dict[ConversationState, int]:
    rows = session.execute(select(Conversation.state, func.count()).group_by(Conversation.state))
    return dict(rows.all())


def record_generation(
    session: Session,
    purpose: str,
    capabilities: Capabilities,
    *,
    conversation_id: int,
    seconds: float,
    input_tokens: int = 0,
    output_tokens: int = 0,
) -> None:
    """Note one run of a model: which it was and what it cost, never the text."""
    row = Generation(
        purpose=purpose,
        model=capabilities.model,
        revision=capabilities.revision,
        mode=capabilities.mode.value,
        conversation_id=conversation_id,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        latency_ms=round(1000 * seconds),
    )
    session.add(row)


@dataclass(frozen=True)
class Verdict:
    """What became of an answer: an agent sent its draft unchanged, edited or discarded it; the customer says that it
    helped or not. ``accepted``: sent unchanged, or helped."""

    confidence: float
    outcome: str
    accepted: bool


def verdicts(session: Session) -> list[Verdict]:
    """On all answers whose confidence is known. Nobody has judged what a machine sent and no customer rated."""
    decided = select(Draft.confidence, Draft.status).where(
        Draft.confidence.is_not(None),
        Draft.text != "",
        Draft.agent_id.is_not(None),
        Draft.status != DraftStatus.PROPOSED,
    )
    rated = select(Message.confidence, Message.helpful).where(
        Message.confidence.is_not(None), Message.helpful.is_not(None), Message.author == Author.ASSISTANT
    )
    return [
        *(Verdict(sure or 0.0, status.value, status is DraftStatus.SENT) for sure, status in session.execute(decided)),
        *(Verdict(sure or 0.0, "helped" if yes else "not helped", bool(yes)) for sure, yes in session.execute(rated)),
    ]


@dataclass(frozen=True)
class GenerationTotals:
    """Totals of the model runs for one purpose."""

    purpose: str
    mode: str
    count: int
    input_tokens: int
    output_tokens: int
    seconds: float


def generation_totals(session: Session) -> list[GenerationTotals]:
    tokens = (func.sum(Generation.input_tokens), func.sum(Generation.output_tokens))
    query = select(Generation.purpose, Generation.mode, func.count(), *tokens, func.sum(Generation.latency_ms))
    rows = session.execute(query.group_by(Generation.purpose, Generation.mode))
    return [
        GenerationTotals(purpose, mode, count, int(read), int(written), int(latency_ms) / 1000)
        for purpose, mode, count, read, written, latency_ms in rows
    ]
