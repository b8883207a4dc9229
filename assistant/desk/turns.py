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
from sqlalchemy.orm import Session, selectinload

from assistant.desk import conversations, drafts, feed, guardrails, reports, state, triage
from assistant.desk.answers import answer_skill, citation_rows
from assistant.desk.attachments import read_files
from assistant.desk.context import context_of
from assistant.desk.courtesy import is_courtesy
from assistant.desk.desk import Desk
from assistant.desk.events import AnswerDelta, AnswerDropped, AnswerStarted
from assistant.desk.evidence import contradictions_of, evidence_of, photos_of, read_photos, to_value
from assistant.models import (
    Author,
    Conversation,
    ConversationState,
    Inbox,
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
from assistant.skills.answer_request import AnswerRequest
from assistant.skills.retake import is_cut_off
from assistant.text.languages import expected
from assistant.wording import Notice

GIVE_UP = "give_up"  # the job that follows once a message could not be processed
# Seconds between deltas: one row and one wake-up for several tokens.
FLUSH_EVERY = 0.15
# If triage is at least this sure that a person is needed, the assistant does not answer first.
NEEDS_HUMAN_FROM = 0.8


@dataclass(frozen=True)
class Situation:
    """The conversation as it was when the answer was begun."""

    conversation_id: int
    inbox: Inbox
    turn: int
    state: ConversationState
    ticket_id: int
    triage_id: int | None  # the triage it was begun with
    needs_human: bool
    is_plain: bool  # words alone, without files
    request: AnswerRequest


def process_message(desk: Desk, message_id: int) -> None:
    """Do whatever a customer's message still needs. Safe to run again. A no-op if the message is gone."""
    with desk.db.read() as session:
        message = session.get(Message, message_id, options=[selectinload(Message.attachments)])
        if message is None:
            return
        live = session.get_one(Conversation, message.conversation_id).state is ConversationState.ASSISTANT
        follows = _follows_another(session, message)
    if follows and is_courtesy(message):
        _be_polite(desk, message)
        return
    if live and not _has_answer(desk, message):
        with desk.db.begin() as session:
            feed.append(session, message.conversation_id, AnswerStarted())
    with at_priority(WorkPriority.INTERACTIVE if live else WorkPriority.DRAFT):
        read_photos(desk, message_id)
        _ask_for_another_photo(desk, message)
        triage.triage_message(desk, message_id)
        if follows and language.rejects(message.new_text, desk.capabilities):
            with desk.db.begin() as session:
                conversations.reject_answer(session, message)
        situation = situation_of(desk, message_id)
        if situation.state is ConversationState.ASSISTANT:
            if not _has_answer(desk, message):
                _answer(desk, situation, message_id)
        elif situation.state is not ConversationState.CLOSED:  # else it was solved meanwhile
            _draft(desk, situation, message_id)
    if message.failed:  # the job was retried
        with desk.db.begin() as session:
            conversations.set_failed(session, session.get_one(Message, message_id), failed=False)


def _ask_for_another_photo(desk: Desk, message: Message) -> None:
    """If a number runs out of a photo, tell the customer so, once per message and unless an agent is there to ask."""
    with desk.db.begin() as session:
        photos = photos_of(session, [message.id])
        known = evidence_of(session, photos)
        cut_off = [photo for photo in photos if photo.sha256 in known and is_cut_off(to_value(known[photo.sha256]))]
        if not cut_off:
            return
        conversation = state.lock_conversation(session, message.conversation_id)
        is_waiting = conversation.state in (ConversationState.ASSISTANT, ConversationState.HANDED_OFF)
        if is_waiting and conversation.channel in state.ASSISTANT_CHANNELS and not _was_asked(session, message):
            notices = [Notice("photo_cut_off", {"name": photo.filename}) for photo in cut_off]
            conversations.tell(session, conversation, notices)


def _was_asked(session: Session, message: Message) -> bool:
    later = select(Message.notices).where(
        Message.conversation_id == message.conversation_id, Message.id > message.id, Message.author == Author.SYSTEM
    )
    return any(notice["code"] == "photo_cut_off" for notices in session.scalars(later) for notice in notices or ())


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


def _answer(desk: Desk, situation: Situation, message_id: int) -> None:
    """Stream an answer to the customer, then store it or hand off."""
    if situation.needs_human:
        asked = language.wants_person(situation.request.text, desk.capabilities)
        _hand_off(desk, situation, HandoffReason.CUSTOMER_ASKED if asked else HandoffReason.NEEDS_HUMAN)
        return
    request = situation.request
    courtesy = language.courtesy(request.text, request.expected_languages, desk.capabilities)
    if situation.is_plain and courtesy is not None:
        with desk.db.begin() as session:
            conversation = state.lock_conversation(session, situation.conversation_id)
            if conversation.turn == situation.turn:
                conversations.add_reply(session, conversation, author=Author.ASSISTANT, text=courtesy)
        return
    started = perf_counter()
    answer = _stream(desk, situation, answer_skill(desk, situation.inbox).events(request))
    if answer is None:  # an agent took over, or the customer wrote again
        return
    with desk.db.begin() as session:
        conversation = state.lock_conversation(session, situation.conversation_id)
        if conversation.turn != situation.turn or is_outdated(session, situation, message_id):
            feed.append(session, situation.conversation_id, AnswerDropped(situation.turn))
            return
        record(session, desk, situation, answer, seconds=perf_counter() - started)
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


def _be_polite(desk: Desk, message: Message) -> None:
    """Answer thanks for what the assistant or an agent has said with a kind word, unless a person is to answer here, a
    question is still open, or that has been done."""
    with desk.db.read() as session:
        spoken = session.get_one(Conversation, message.conversation_id).language
        earlier = conversations.public_messages(session, message.conversation_id)
        written = "\n".join(one.new_text for one in earlier if one.author is Author.CUSTOMER and one.id < message.id)
    text = language.courtesy(message.new_text, expected(spoken, written), desk.capabilities)
    with desk.db.begin() as session:
        conversation = state.lock_conversation(session, message.conversation_id)
        said = [
            one
            for one in conversations.public_messages(session, conversation.id)
            if one.author is not Author.SYSTEM and not (one.id < message.id and is_courtesy(one))
        ]
        place = next(number for number, one in enumerate(said) if one.id == message.id)
        before, is_last = said[place - 1] if place else None, place == len(said) - 1
        speaks = conversation.state in (ConversationState.ASSISTANT, ConversationState.CLOSED)
        if text is None or not is_last or not speaks or conversation.channel not in state.ASSISTANT_CHANNELS:
            return
        if before is None or before.author is not Author.CUSTOMER:
            conversations.add_reply(session, conversation, author=Author.ASSISTANT, text=text)


def _stream(desk: Desk, situation: Situation, answer_events: Iterator[AnswerEvent]) -> Answer | None:
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


def _send_delta(desk: Desk, situation: Situation, text: str) -> bool:
    """Send a delta, unless the conversation has moved on."""
    with desk.db.begin() as session:
        conversation = session.get_one(Conversation, situation.conversation_id)
        if conversation.turn != situation.turn:
            feed.append(session, situation.conversation_id, AnswerDropped(situation.turn))
            return False
        feed.append(session, conversation.id, AnswerDelta(text, situation.turn))
        return True


def _draft(desk: Desk, situation: Situation, message_id: int) -> None:
    """Propose a draft to the agent, once per message, unless that was answered or overtaken meanwhile."""
    with desk.db.read() as session:
        asked = session.get_one(Message, message_id)
        if drafts.current_draft(session, message_id) is not None or drafts.is_answered(session, asked):
            return
    started = perf_counter()
    answer = answer_skill(desk, situation.inbox).invoke(situation.request)
    with desk.db.begin() as session:
        state.lock_conversation(session, situation.conversation_id)
        asked = session.get_one(Message, message_id)
        if is_outdated(session, situation, message_id) or drafts.is_answered(session, asked):
            return
        ticket = session.get_one(Ticket, situation.ticket_id)
        drafts.propose_draft(session, ticket, message_id=message_id, answer=answer, capabilities=desk.capabilities)
        record(session, desk, situation, answer, seconds=perf_counter() - started)


def _hand_off(desk: Desk, situation: Situation, reason: HandoffReason) -> None:
    with desk.db.begin() as session:
        conversation = state.lock_conversation(session, situation.conversation_id)
        if conversation.turn == situation.turn:
            conversations.hand_off(session, conversation, reason)


def situation_of(desk: Desk, message_id: int) -> Situation:
    """What a customer's message is answered with, as everything stands now."""
    with desk.db.read() as session:
        message = session.get_one(Message, message_id)
        conversation = session.get_one(Conversation, message.conversation_id)
        ticket = session.scalars(select(Ticket).where(Ticket.conversation_id == conversation.id)).one()
        context = context_of(session, message, desk.taxonomy)
        # If text and photos name different products, an answer might be about the wrong one.
        contradicted = contradictions_of(message, context.evidence, desk.taxonomy)
        unclear = context.is_mixed or any(one.about == "product" for one in contradicted)
        result = triage.current_result(session, message_id)
        is_live = conversation.state is ConversationState.ASSISTANT
        may_answer = guardrails.may_answer(session, desk.taxonomy, conversation.inbox, ticket.id, now=desk.now())
        request = AnswerRequest(
            text=message.new_text,
            history=context.history,
            evidence=context.counting_evidence,
            subject=context.opening,
            product=triage.product_in(session, context),
            rejected=context.rejected(handed_off=not is_live),
            browser=conversation.language,
        )
        situation = Situation(
            conversation_id=conversation.id,
            inbox=conversation.inbox,
            turn=conversation.turn,
            state=conversation.state,
            ticket_id=ticket.id,
            triage_id=result.id if result is not None else None,
            needs_human=unclear or _needs_human(result) or not may_answer,
            is_plain=not message.attachments,
            request=request,
        )
    # Beyond what was read in them, only a writing model and visual search need the photos themselves.
    if not (desk.capabilities.writes_answers or desk.capabilities.photo_embedder is not None):
        return situation
    return replace(situation, request=replace(request, photos=tuple(read_files(desk, context.counting_photos))))


def is_outdated(session: Session, situation: Situation, message_id: int) -> bool:
    """Whether evidence was corrected meanwhile: the job that follows from that does the work again."""
    result = triage.current_result(session, message_id)
    return situation.triage_id != (result.id if result is not None else None)


def _needs_human(result: TriageResult | None) -> bool:
    fields = result.fields if result is not None else []
    field = next((field for field in fields if field.name == "needs_human"), None)
    if field is None or field.state is TriageFieldState.ABSTAINED:
        return False
    return field.value == "yes" and field.probability >= NEEDS_HUMAN_FROM


def _has_answer(desk: Desk, message: Message) -> bool:
    """Whether something was said after the customer's message, so that this is a second run of the job. The customer's
    own thanks are no answer."""
    with desk.db.read() as session:
        later = select(Message).where(
            Message.conversation_id == message.conversation_id,
            Message.id > message.id,
            Message.author != Author.SYSTEM,
        )
        return not all(is_courtesy(one) for one in session.scalars(later.options(selectinload(Message.attachments))))


def _follows_another(session: Session, message: Message) -> bool:
    """Whether the customer has written before: a first greeting opens the ticket."""
    earlier = select(Message.id).where(
        Message.conversation_id == message.conversation_id,
        Message.id < message.id,
        Message.author == Author.CUSTOMER,
    )
    return session.scalar(earlier.limit(1)) is not None


def record(session: Session, desk: Desk, situation: Situation, answer: Answer, *, seconds: float) -> None:
    reports.record_generation(
        session,
        desk,
        "answer",
        answer.made_by(desk.capabilities),
        conversation_id=situation.conversation_id,
        seconds=seconds,
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
    )
