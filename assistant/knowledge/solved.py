"""Answers of solved tickets as articles: proposed with personal data masked, used once an agent has approved them.

The question is the customer's first message; the answer is the agent's last reply (which may be a draft that was sent)
before the ticket was solved. Nothing from a ticket is used, indexed or shown to other teams before an agent who may see
the ticket has read and approved it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.db import utcnow
from assistant.desk.access import AgentPrincipal, visible_tickets
from assistant.desk.desk import Desk
from assistant.errors import Invalid, NotFound
from assistant.models import (
    Author,
    Conversation,
    Customer,
    Inbox,
    Message,
    MessageVisibility,
    SolvedAnswer,
    SolvedState,
    Ticket,
    TicketStatus,
)
from assistant.retrieval.fulltext import in_use
from assistant.retrieval.loaders import Listing, make_article
from assistant.retrieval.sources.markdown import read_markdown
from assistant.skills import personal_data
from assistant.text.clusters import shorten
from assistant.text.languages import SURE, detect
from assistant.text.words import query_words

# Shorter answers ("Done!") do not help anyone else.
_LEAST_WORDS = 8
_AT_ONCE = 500
_MOST_TITLE = 120
_NOUNS_WITH_CAPITALS = ("de", "lb")


def propose(desk: Desk) -> int:
    """Look through solved tickets that are new. Returns how many answers were proposed."""
    proposed = 0
    for ticket_id in _new_tickets(desk):
        with desk.db.begin() as session:
            ticket = session.get(Ticket, ticket_id)
            known = session.scalar(select(SolvedAnswer.id).where(SolvedAnswer.ticket_id == ticket_id))
            answer = _answer_of(session, ticket) if ticket is not None and known is None else None
            if answer is not None:
                session.add(answer)
                proposed += 1
    return proposed


def list_proposed(session: Session, agent: AgentPrincipal, *, limit: int = 50) -> list[tuple[SolvedAnswer, Ticket]]:
    """Proposals from tickets that the agent may see, oldest first."""
    tickets = visible_tickets(agent).with_only_columns(Ticket.id)
    query = (
        select(SolvedAnswer, Ticket)
        .join(Ticket, Ticket.id == SolvedAnswer.ticket_id)
        .where(SolvedAnswer.state == SolvedState.PROPOSED, SolvedAnswer.ticket_id.in_(tickets))
        .order_by(SolvedAnswer.id)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def approve(session: Session, agent: AgentPrincipal, public_id: str, *, question: str, answer: str) -> SolvedAnswer:
    """Have the next import of solved tickets make it an article, in the agent's wording. Doing so twice is harmless."""
    row = _get(session, agent, public_id)
    if not question.strip() or not answer.strip():
        raise Invalid("An article needs a question and an answer.", field="answer" if question.strip() else "question")
    row.question, row.answer = question.strip(), answer.strip()
    return _decide(row, agent, SolvedState.APPROVED)


def reject(session: Session, agent: AgentPrincipal, public_id: str) -> SolvedAnswer:
    return _decide(_get(session, agent, public_id), agent, SolvedState.REJECTED)


def list_answers(desk: Desk) -> Listing:
    """Look for new proposals, then list the approved answers, which a source of kind `SOLVED` imports."""
    propose(desk)
    listing = Listing()
    with desk.db.read() as session:
        # What was said in one inbox is told in no other.
        query = (
            select(SolvedAnswer, Inbox.key)
            .join(Ticket, Ticket.id == SolvedAnswer.ticket_id)
            .join(Ticket.conversation)
            .join(Conversation.inbox)
            .where(SolvedAnswer.state == SolvedState.APPROVED)
        )
        rows = session.execute(query).all()
    for row, inbox in rows:
        title = shorten(row.question.splitlines()[0], _MOST_TITLE)
        meta = {"title": title, "product": row.product, "language": row.language, "inbox": inbox}
        listing.add(make_article(row.public_id, meta, title, read_markdown(row.answer)))
    return listing


def _new_tickets(desk: Desk) -> Sequence[int]:
    with desk.db.read() as session:
        query = (
            select(Ticket.id)
            .outerjoin(SolvedAnswer, SolvedAnswer.ticket_id == Ticket.id)
            .where(Ticket.status.in_([TicketStatus.SOLVED, TicketStatus.CLOSED]), SolvedAnswer.id.is_(None))
            .order_by(Ticket.id.desc())
            .limit(_AT_ONCE)
        )
        return session.scalars(query).all()


def _answer_of(session: Session, ticket: Ticket) -> SolvedAnswer | None:
    """The masked question and answer; None if no answer is worth keeping."""
    query = (
        select(Message)
        .where(Message.conversation_id == ticket.conversation_id, Message.visibility == MessageVisibility.PUBLIC)
        .order_by(Message.id)
    )
    messages = list(session.scalars(query))
    asked = next((one for one in messages if one.author is Author.CUSTOMER and one.text.strip()), None)
    # The assistant's own replies come from existing articles: only a person's words are new.
    answered = next((one for one in reversed(messages) if one.author is Author.AGENT and one.text.strip()), None)
    if asked is None or answered is None or answered.id < asked.id or len(answered.text.split()) < _LEAST_WORDS:
        return None
    question = f"{ticket.subject}\n{asked.new_text}" if ticket.subject not in asked.new_text else asked.new_text
    spoken, sure = detect(asked.new_text)
    names = _names(session, ticket, answered)
    usual = _usual_words(session, ticket.product)
    others = [] if spoken in _NOUNS_WITH_CAPITALS else _unknown_names(usual, question, answered.text)
    return SolvedAnswer(
        ticket_id=ticket.id,
        question=personal_data.mask(question.strip(), names=names, exactly=others, usual=usual),
        answer=personal_data.mask(answered.text, names=names, exactly=others, usual=usual),
        product=ticket.product,
        language=spoken if sure > SURE else "en",
    )


def _names(session: Session, ticket: Ticket, answered: Message) -> list[str]:
    """Names known from the ticket, which are masked whatever the detectors find."""
    customer = session.get(Customer, ticket.requester_id)
    names = [customer.name if customer is not None else None, answered.agent.name if answered.agent else None]
    return [name for name in names if name]


def _usual_words(session: Session, product: str | None) -> personal_data.Usual:
    """Words that articles have, and the product's name: an article needs them."""
    of_product = query_words(product or "")
    return lambda words: in_use(session, sorted(words)).union(of_product)


def _unknown_names(usual: personal_data.Usual, question: str, answer: str) -> list[str]:
    """Capitalised words that occur in no article: mostly names, and none that an article needs."""
    suspects = {
        suspect: query_words(suspect) for text in (question, answer) for suspect in personal_data.capitalised(text)
    }
    known = usual({word for parts in suspects.values() for word in parts})
    return [suspect for suspect, parts in suspects.items() if set(known).isdisjoint(parts)]


def _get(session: Session, agent: AgentPrincipal, public_id: str) -> SolvedAnswer:
    tickets = visible_tickets(agent).with_only_columns(Ticket.id)
    query = select(SolvedAnswer).where(SolvedAnswer.public_id == public_id, SolvedAnswer.ticket_id.in_(tickets))
    row = session.scalar(query)
    if row is None:
        raise NotFound("There is no such answer.")
    return row


def _decide(row: SolvedAnswer, agent: AgentPrincipal, state: SolvedState) -> SolvedAnswer:
    row.state, row.agent_id, row.decided_at = state, agent.agent_id, utcnow()
    return row
