"""Drafts and replies: what agents are offered, send, edit or discard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from assistant.db import utcnow
from assistant.desk import conversations, feed, guardrails, state
from assistant.desk.access import AgentPrincipal, Staff
from assistant.desk.answers import citation_rows
from assistant.desk.courtesy import is_courtesy, last_request
from assistant.desk.events import DraftChanged
from assistant.errors import Conflict, Invalid, NotFound
from assistant.models import (
    Agent,
    Attachment,
    Author,
    Citation,
    Conversation,
    ConversationState,
    Draft,
    DraftStatus,
    Message,
    MessageVisibility,
    Ticket,
    TicketStatus,
)
from assistant.ports import Capabilities
from assistant.skills.answer import Answer

_FOR_A_PERSON = (ConversationState.HANDED_OFF, ConversationState.AGENT)
_GONE = (DraftStatus.WITHDRAWN, DraftStatus.REPLACED)
_SHOWN = 20  # earlier drafts


def propose_draft(
    session: Session, ticket: Ticket, *, message_id: int, answer: Answer, capabilities: Capabilities
) -> Draft:
    """Store an answer as a draft. One draft per message: proposing again returns the existing one, unless it was
    withdrawn or replaced."""
    draft = current_draft(session, message_id)
    if draft is not None:
        return draft
    return _add(session, ticket, draft_of(session, answer, capabilities, message_id=message_id))


def draft_of(session: Session, answer: Answer, capabilities: Capabilities, *, message_id: int) -> Draft:
    """An answer as a draft that nobody has been offered yet."""
    return Draft(
        text=answer.text,
        handoff_reason=answer.handoff,
        confidence=answer.confidence,
        model=answer.made_by(capabilities).model,
        mode=answer.made_by(capabilities).mode.value,
        answers_message_id=message_id,
        withheld=[asdict(one) for one in answer.withheld] or None,
        citations=citation_rows(session, answer),
    )


def replace_draft(session: Session, by: Staff, ticket: Ticket, old: Draft, new: Draft) -> Draft:
    """Offer a draft in place of another one for the same message, which nobody has sent."""
    old.status = DraftStatus.REPLACED
    _decide(session, ticket, old, by)
    return _add(session, ticket, new)


def rate_draft(session: Session, ticket: Ticket, draft: Draft, helpful: bool | None) -> None:
    """Whether the draft helps whoever answers; None takes a rating back."""
    if draft.helpful is not helpful:
        draft.helpful = helpful
        feed.append(session, ticket.conversation_id, DraftChanged(ticket, draft))


def _add(session: Session, ticket: Ticket, draft: Draft) -> Draft:
    draft.ticket_id = ticket.id
    session.add(draft)
    session.flush()
    feed.append(session, ticket.conversation_id, DraftChanged(ticket, draft))
    return draft


def current_draft(session: Session, message_id: int) -> Draft | None:
    """The draft that answers a message, whatever became of it; none if it was withdrawn or replaced."""
    return session.scalar(select(Draft).where(Draft.answers_message_id == message_id, Draft.status.not_in(_GONE)))


def proposed_draft(session: Session, ticket: Ticket) -> Draft | None:
    """What is offered now, with its citations."""
    query = select(Draft).where(Draft.ticket_id == ticket.id, Draft.status == DraftStatus.PROPOSED)
    return session.scalar(query.order_by(Draft.id.desc()).limit(1).options(selectinload(Draft.citations)))


def earlier_drafts(session: Session, ticket: Ticket) -> list[tuple[Draft, str | None]]:
    """The drafts of a ticket that are no longer offered, the newest first, each with who decided on it."""
    query = select(Draft, Agent.name).outerjoin(Agent, Agent.id == Draft.agent_id)
    query = query.where(Draft.ticket_id == ticket.id, Draft.status != DraftStatus.PROPOSED, Draft.text != "")
    return [(draft, name) for draft, name in session.execute(query.order_by(Draft.id.desc()).limit(_SHOWN))]


def replaceable_draft(session: Session, conversation: Conversation) -> Draft | None:
    """What was drafted for a question that still waits for a person's answer, if it can be drafted again: it is
    offered, was discarded, or there was nothing to say."""
    asked = last_request(session, conversation.id)
    if asked is None or conversation.state not in _FOR_A_PERSON or is_answered(session, asked):
        return None
    draft = current_draft(session, asked.id)
    return draft if draft is not None and draft.status in (DraftStatus.PROPOSED, DraftStatus.DISCARDED) else None


def is_being_drafted(session: Session, conversation: Conversation) -> bool:
    """Whether a draft is on its way: the customer was the last to ask, a person is to answer, and there is none yet."""
    asked = last_request(session, conversation.id)
    if asked is None or asked.failed or conversation.state not in _FOR_A_PERSON:
        return False
    return current_draft(session, asked.id) is None and not is_answered(session, asked)


def is_answered(session: Session, message: Message) -> bool:
    """Whether an agent has replied since, or the customer has asked something else: a draft would come too late."""
    later = select(Message).where(
        Message.conversation_id == message.conversation_id,
        Message.id > message.id,
        Message.visibility == MessageVisibility.PUBLIC,
        Message.author.in_((Author.AGENT, Author.CUSTOMER)),
    )
    found = session.scalars(later.options(selectinload(Message.attachments)))
    return any(one.author is Author.AGENT or not is_courtesy(one) for one in found)


def access_draft(session: Session, ticket: Ticket, public_id: str) -> Draft:
    draft = session.scalar(select(Draft).where(Draft.ticket_id == ticket.id, Draft.public_id == public_id))
    if draft is None:
        raise NotFound("There is no such draft.")
    return draft


def send_draft(
    session: Session,
    sender: Staff,
    ticket: Ticket,
    draft: Draft,
    *,
    text: str | None = None,
    attachments: Sequence[Attachment] = (),
    reopens: bool = True,
) -> Message:
    """Send the draft, unchanged or edited. Sending it again is a no-op that returns the sent message.

    Unchanged sentences keep their citations. ``attachments``, ``reopens``: see `reply`.
    """
    state.lock_conversation(session, ticket.conversation_id)
    session.refresh(draft)  # if two agents send it at once, the second finds it sent
    if draft.message_id is not None:
        return session.get_one(Message, draft.message_id)
    if draft.status is not DraftStatus.PROPOSED:
        raise Conflict(f"This draft was {draft.status}. Write a reply instead, or wait for another draft.")
    body = (draft.text if text is None else text).strip()
    kept = [copy_citation(citation) for citation in draft.citations if citation.sentence in body]
    unchanged = body == draft.text.strip()
    message = _say(
        session,
        sender,
        ticket,
        body,
        citations=kept,
        attachments=attachments,
        confidence=draft.confidence if unchanged else None,
        reopens=reopens,
    )
    draft.status = DraftStatus.SENT if unchanged else DraftStatus.EDITED
    draft.sent_text, draft.message_id = body, message.id
    _decide(session, ticket, draft, sender)
    state.withdraw_drafts(session, ticket)
    return message


def discard_draft(session: Session, by: Staff, ticket: Ticket, draft: Draft) -> None:
    """Discard the draft. Discarding it twice is a no-op."""
    if draft.status is DraftStatus.DISCARDED:
        return
    if draft.status is not DraftStatus.PROPOSED:
        raise Conflict(f"This draft was already {draft.status}.")
    draft.status = DraftStatus.DISCARDED
    _decide(session, ticket, draft, by)


def reply(
    session: Session,
    sender: Staff,
    ticket: Ticket,
    text: str,
    *,
    attachments: Sequence[Attachment] = (),
    reopens: bool = True,
) -> Message:
    """Answer the customer. An agent who replies takes the conversation over; a machine speaks as the assistant. What
    was proposed is withdrawn. ``reopens``: a solved ticket is pending then.

    Raises `NeverSaid` if a machine says what the inbox never says."""
    message = _say(session, sender, ticket, text, attachments=attachments, reopens=reopens)
    state.withdraw_drafts(session, ticket)
    return message


def _say(
    session: Session,
    sender: Staff,
    ticket: Ticket,
    text: str,
    *,
    citations: Sequence[Citation] = (),
    attachments: Sequence[Attachment] = (),
    confidence: float | None = None,
    reopens: bool = True,
) -> Message:
    """``confidence``: of what a machine sends."""
    if not text.strip() and not attachments:
        raise Invalid("The reply is empty.", field="text")
    conversation = state.lock_conversation(session, ticket.conversation_id)
    agent = sender if isinstance(sender, AgentPrincipal) else None
    if agent is None:
        guardrails.require_sayable(conversation.inbox, text)
    # To a closed ticket the reply goes out, and only its customer reopens it.
    is_closed = ticket.status is TicketStatus.CLOSED or (not reopens and ticket.status in state.DONE)
    if agent is not None and not is_closed:
        state.take_over(session, conversation, agent)
    message = conversations.add_reply(
        session,
        conversation,
        author=Author.AGENT if agent is not None else Author.ASSISTANT,
        text=text.strip(),
        agent=agent,
        citations=citations,
        attachments=attachments,
        confidence=confidence if agent is None else None,
    )
    if not is_closed:
        state.change_ticket(session, ticket, status=TicketStatus.PENDING)
    return message


def add_note(session: Session, by: Staff, ticket: Ticket, text: str) -> Message:
    """A message that only agents see. A machine's is the assistant's."""
    if not text.strip():
        raise Invalid("The note is empty.", field="text")
    conversation: Conversation = state.lock_conversation(session, ticket.conversation_id)
    agent = by if isinstance(by, AgentPrincipal) else None
    return conversations.add_reply(
        session,
        conversation,
        author=Author.AGENT if agent is not None else Author.ASSISTANT,
        text=text.strip(),
        agent=agent,
        visibility=MessageVisibility.INTERNAL,
    )


def copy_citation(citation: Citation) -> Citation:
    """The citation as a row that belongs to no draft or message yet."""
    names = ("passage_id", "sentence_index", "sentence", "article_public_id", "article_title", "heading", "quote")
    return Citation(**{name: getattr(citation, name) for name in (*names, "url", "page", "support")})


def _decide(session: Session, ticket: Ticket, draft: Draft, by: Staff) -> None:
    draft.decided_at = utcnow()
    draft.agent_id = by.agent_id if isinstance(by, AgentPrincipal) else None
    feed.append(session, ticket.conversation_id, DraftChanged(ticket, draft))
