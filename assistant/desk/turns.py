"""Process one customer message: read the photos, triage, then answer, draft or hand off.

`process_message` is a job and may run again after a crash, so each step checks whether it has been done. No transaction
is open while the model runs; its answer is stored only if the conversation has not moved on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from time import monotonic, perf_counter
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.desk import conversations, drafts, feed, reports, state, triage
from assistant.desk.answers import answer_skill, citation_rows
from assistant.desk.attachments import read_files
from assistant.desk.desk import Desk
from assistant.desk.events import AnswerDelta, AnswerDropped, AnswerStarted
from assistant.desk.evidence import contradictions_of, evidence_of, photos_of, read_photos, to_value
from assistant.models import (
    Author,
    Conversation,
    ConversationState,
    Draft,
    Message,
    Ticket,
    TriageFieldState,
    TriageResult,
)
from assistant.ports import HandoffReason, WorkPriority, at_priority
from assistant.skills import language
from assistant.skills.answer import (
    Answer,
    AnswerEvent,
    Cited,
    Failed,
    Finished,
    HandedOff,
    Token,
)
from assistant.skills.answer_request import AnswerRequest, Turn

GIVE_UP = "give_up"  # the job that follows once a message could not be processed
# Seconds between deltas: one row and one wake-up for several tokens.
FLUSH_EVERY = 0.15
# If triage is at least this sure that a person is needed, the assistant does not answer first.
NEEDS_HUMAN_FROM = 0.8


@dataclass(frozen=True)
class _Situation:
    """The conversation as it was when the answer was begun."""

    conversation_id: int
    turn: int
    state: ConversationState
    ticket_id: int
    needs_human: bool
    courtesy: str | None  # the reply to a greeting or thanks
    request: AnswerRequest


def process_message(desk: Desk, message_id: int) -> None:
    """Do whatever a customer's message still needs. Safe to run again. A no-op if the message is gone."""
    with desk.db.read() as session:
        message = session.get(Message, message_id)
        if message is None:
            return
        live = session.get_one(Conversation, message.conversation_id).state is ConversationState.ASSISTANT
    if live:
        with desk.db.begin() as session:
            feed.append(session, message.conversation_id, AnswerStarted())
    with at_priority(WorkPriority.INTERACTIVE if live else WorkPriority.DRAFT):
        read_photos(desk, message_id)
        triage.triage_message(desk, message_id)
        situation = _situation(desk, message_id)
        if situation.state is not ConversationState.ASSISTANT:
            if situation.courtesy is None or not situation.request.history:  # "thank you" needs no draft
                _draft(desk, situation, message_id)
        elif not _has_answer(desk, message):
            _answer(desk, situation)
    if message.failed:  # the job was retried
        with desk.db.begin() as session:
            conversations.set_failed(session, session.get_one(Message, message_id), failed=False)


def give_up(desk: Desk, message_id: int) -> None:
    """Job: the last resort for a message that could not be processed. A person gets it, triaged by its text alone.

    Photos and model are left alone. Both sides are told first: should triage fail too, that stands, and it is not tried
    again."""
    with desk.db.begin() as session:
        message = session.get(Message, message_id)
        if message is None or message.failed:
            return
        conversation = state.lock_conversation(session, message.conversation_id)
        conversations.set_failed(session, message, failed=True)
        conversations.hand_off(session, conversation, HandoffReason.ENGINE_DOWN)
    triage.triage_message(replace(desk, capabilities=desk.capabilities.without_model), message_id)


def _answer(desk: Desk, situation: _Situation) -> None:
    """Stream an answer to the customer, then store it or hand off."""
    if situation.needs_human:
        _hand_off(desk, situation, HandoffReason.NEEDS_HUMAN)
        return
    if situation.courtesy is not None:
        _be_polite(desk, situation, situation.courtesy)
        return
    started = perf_counter()
    answer = _stream(desk, situation, answer_skill(desk).events(situation.request))
    if answer is None:  # an agent took over, or the customer wrote again
        return
    with desk.db.begin() as session:
        conversation = state.lock_conversation(session, situation.conversation_id)
        if conversation.turn != situation.turn:
            feed.append(session, situation.conversation_id, AnswerDropped(situation.turn))
            return
        _record(session, desk, situation, answer, seconds=perf_counter() - started)
        if answer.sentences:
            conversations.add_reply(
                session,
                conversation,
                author=Author.ASSISTANT,
                text=answer.text,
                citations=citation_rows(session, answer),
                confidence=answer.confidence,
            )
        if answer.handoff is not None:
            conversations.hand_off(session, conversation, answer.handoff)


def _be_polite(desk: Desk, situation: _Situation, text: str) -> None:
    with desk.db.begin() as session:
        conversation = state.lock_conversation(session, situation.conversation_id)
        if conversation.turn == situation.turn:
            conversations.add_reply(session, conversation, author=Author.ASSISTANT, text=text)


def _stream(desk: Desk, situation: _Situation, answer_events: Iterator[AnswerEvent]) -> Answer | None:
    """Send deltas as they are generated. None if the conversation has moved on: the answer is dropped."""
    words: list[str] = []
    flushed_at = monotonic()
    closable: Any = answer_events if hasattr(answer_events, "close") else (event for event in answer_events)
    with closing(closable) as stream:
        for event in stream:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Finished):
                if words and not _send_delta(desk, situation, "".join(words)):
                    return None
                return event.answer
            if isinstance(event, Token):
                words.append(event.text)
                if monotonic() - flushed_at >= FLUSH_EVERY:
                    if not _send_delta(desk, situation, "".join(words)):
                        return None
                    words, flushed_at = [], monotonic()
            elif isinstance(event, Cited | HandedOff):
                continue  # clients learn of both from the stored message and the new state
    raise RuntimeError("the answer skill ended without Finished or Failed")


def _send_delta(desk: Desk, situation: _Situation, text: str) -> bool:
    """Send a delta, unless the conversation has moved on."""
    with desk.db.begin() as session:
        conversation = session.get_one(Conversation, situation.conversation_id)
        if conversation.turn != situation.turn:
            feed.append(session, situation.conversation_id, AnswerDropped(situation.turn))
            return False
        feed.append(session, conversation.id, AnswerDelta(text, situation.turn))
        return True


def _draft(desk: Desk, situation: _Situation, message_id: int) -> None:
    """Propose a draft to the agent, once per message."""
    with desk.db.read() as session:
        if session.scalar(select(Draft.id).where(Draft.answers_message_id == message_id)) is not None:
            return
    started = perf_counter()
    answer = answer_skill(desk).invoke(situation.request)
    with desk.db.begin() as session:
        ticket = session.get_one(Ticket, situation.ticket_id)
        drafts.propose_draft(session, ticket, message_id=message_id, answer=answer, capabilities=desk.capabilities)
        _record(session, desk, situation, answer, seconds=perf_counter() - started)


def _hand_off(desk: Desk, situation: _Situation, reason: HandoffReason) -> None:
    with desk.db.begin() as session:
        conversation = state.lock_conversation(session, situation.conversation_id)
        if conversation.turn == situation.turn:
            conversations.hand_off(session, conversation, reason)


def _situation(desk: Desk, message_id: int) -> _Situation:
    with desk.db.read() as session:
        message = session.get_one(Message, message_id)
        conversation = session.get_one(Conversation, message.conversation_id)
        ticket = session.scalars(select(Ticket).where(Ticket.conversation_id == conversation.id)).one()
        earlier = [m for m in conversations.public_messages(session, conversation.id) if m.id < message.id]
        photos = photos_of(session, [m.id for m in earlier if m.author is Author.CUSTOMER] + [message.id])
        rows = evidence_of(session, photos)
        # If text and photo name different products, an answer might be about the wrong one.
        unclear = any(one.about == "product" for one in contradictions_of(message, rows, desk.taxonomy))
        request = AnswerRequest(
            text=message.new_text,
            history=tuple(Turn(m.author.value, m.new_text) for m in earlier if m.author is not Author.SYSTEM),
            evidence=tuple(to_value(rows[photo.sha256]) for photo in photos if photo.sha256 in rows),
            subject=ticket.subject,
            product=ticket.product,
        )
        situation = _Situation(
            conversation_id=conversation.id,
            turn=conversation.turn,
            state=conversation.state,
            ticket_id=ticket.id,
            needs_human=unclear or _needs_human(session, message_id),
            courtesy=None if message.attachments else language.courtesy(message.new_text),
            request=request,
        )
    # Beyond what was read in them, only a writing model and visual search need the photos themselves.
    if not (desk.capabilities.writes_answers or desk.capabilities.photo_embedder is not None):
        return situation
    return replace(situation, request=replace(request, photos=tuple(read_files(desk, photos))))


def _needs_human(session: Session, message_id: int) -> bool:
    result = session.scalar(select(TriageResult).where(TriageResult.message_id == message_id))
    fields = result.fields if result is not None else []
    field = next((field for field in fields if field.name == "needs_human"), None)
    if field is None or field.state is TriageFieldState.ABSTAINED:
        return False
    return field.value == "yes" and field.probability >= NEEDS_HUMAN_FROM


def _has_answer(desk: Desk, message: Message) -> bool:
    """Whether something was said after the customer's message, so that this is a second run of the job."""
    with desk.db.read() as session:
        later = select(Message.id).where(
            Message.conversation_id == message.conversation_id,
            Message.id > message.id,
            Message.author != Author.SYSTEM,
        )
        return session.scalar(later.limit(1)) is not None


def _record(session: Session, desk: Desk, situation: _Situation, answer: Answer, *, seconds: float) -> None:
    reports.record_generation(
        session,
        "answer",
        desk.capabilities,
        conversation_id=situation.conversation_id,
        seconds=seconds,
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
    )
