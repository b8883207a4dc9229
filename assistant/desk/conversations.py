"""Conversations and their one state machine.

    assistant --hand_off--> handed_off --take_over--> agent --close--> closed
        |                                               ^                 |
        +------------------- take_over -----------------+                 |
        ^------------------- a customer's message reopens ----------------+

Every change of state and every customer message raises `Conversation.turn`. A reply that was begun under another turn
is dropped: the assistant never writes once an agent has taken over, and never answers an outdated question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from assistant import payloads
from assistant.db import utcnow
from assistant.desk import events, queue
from assistant.desk.access import AgentPrincipal, CustomerPrincipal, access_conversation
from assistant.desk.attachments import PreparedFiles, RejectedFile, prepare_files
from assistant.desk.desk import Desk
from assistant.desk.events import Audience
from assistant.desk.people import find_or_add_customer
from assistant.errors import Invalid, NotFound
from assistant.media.files import Upload
from assistant.models import (
    Author,
    Citation,
    Conversation,
    ConversationState,
    Customer,
    Message,
    MessageVisibility,
    Ticket,
    TicketStatus,
)
from assistant.ports import HandoffReason, WorkPriority

PROCESS_MESSAGE = "process_message"  # the job that follows every customer message: desk.turns
_SUBJECT_LENGTH = 80


@dataclass(frozen=True)
class Posted:
    """A message as stored, and the files that were refused. ``repeated``: it had been stored before."""

    message: Message
    rejected: tuple[RejectedFile, ...] = ()
    repeated: bool = False


def start_conversation(desk: Desk, *, name: str | None = None, email: str | None = None) -> Conversation:
    """Begin a conversation in the widget."""
    with desk.db.begin() as session:
        customer = find_or_add_customer(session, name=name, email=email)
        return _new_conversation(session, customer, channel="widget", state=ConversationState.ASSISTANT)


def post_message(
    desk: Desk, customer: CustomerPrincipal, *, text: str, uploads: Sequence[Upload], client_id: str | None
) -> Posted:
    """Accept a customer's message. Sent twice under the same ``client_id``, it is stored once."""
    check_text(desk, text)
    with desk.db.read() as session:
        repeated = _find_message(session, customer.conversation_id, client_id)
    if repeated is not None:
        return Posted(repeated, prepare_files(desk, uploads).rejected, repeated=True)
    files = prepare_files(desk, uploads)
    require_content(text, files)
    with desk.db.begin() as session:
        conversation = lock_conversation(session, access_conversation(session, customer).id)
        repeated = _find_message(session, conversation.id, client_id)
        if repeated is not None:
            return Posted(repeated, files.rejected, repeated=True)
        message = add_customer_message(session, conversation, text=text, files=files, client_id=client_id)
    return Posted(message, files.rejected)


def check_text(desk: Desk, text: str) -> None:
    if len(text) > desk.settings.message_max_chars:
        raise Invalid(
            f"The text is longer than {desk.settings.message_max_chars:,} characters. Please shorten it.", field="text"
        )


def require_content(text: str, files: PreparedFiles) -> None:
    """A message needs text or a file. If all it had was a file we refuse, that refusal is the answer."""
    if text.strip() or files.attachments:
        return
    if files.rejected:
        raise files.rejected[0].error
    raise Invalid("The message is empty: write something or attach a photo.", field="text")


def add_customer_message(
    session: Session,
    conversation: Conversation,
    *,
    text: str,
    files: PreparedFiles,
    client_id: str | None = None,
    subject: str | None = None,
) -> Message:
    """Add the message, open or reopen its ticket, tell the clients, and queue the work that answers it."""
    if conversation.state is ConversationState.CLOSED:
        _enter(session, conversation, ConversationState.ASSISTANT)
    conversation.turn += 1
    message = _add(
        session,
        conversation,
        Message(author=Author.CUSTOMER, text=text.strip(), client_id=client_id, attachments=list(files.attachments)),
    )
    ticket = session.scalar(select(Ticket).where(Ticket.conversation_id == conversation.id))
    if ticket is None:
        _open_ticket_for(session, conversation, subject=subject or _subject(text, files))
    elif ticket.status in (TicketStatus.PENDING, TicketStatus.SOLVED, TicketStatus.CLOSED):
        ticket.status, ticket.solved_at, ticket.updated_at = TicketStatus.OPEN, None, utcnow()
    priority = WorkPriority.INTERACTIVE if conversation.state is ConversationState.ASSISTANT else WorkPriority.DRAFT
    queue.enqueue(session, PROCESS_MESSAGE, {"message_id": message.id}, priority=priority)
    return message


def _open_ticket_for(session: Session, conversation: Conversation, *, subject: str) -> Ticket:
    ticket = Ticket(conversation_id=conversation.id, requester_id=conversation.customer_id, subject=subject)
    session.add(ticket)
    session.flush()
    events.append(session, "ticket.opened", {"ticket": ticket.public_id}, conversation_id=conversation.id)
    return ticket


def _subject(text: str, files: PreparedFiles) -> str:
    lines = text.strip().splitlines()
    if not lines:
        return "Photo" if files.attachments else "Message"
    line = lines[0].strip()
    return line if len(line) <= _SUBJECT_LENGTH else line[: _SUBJECT_LENGTH - 1].rsplit(" ", 1)[0] + "…"


def add_reply(
    session: Session,
    conversation: Conversation,
    *,
    author: Author,
    text: str,
    agent: AgentPrincipal | None = None,
    visibility: MessageVisibility = MessageVisibility.PUBLIC,
    citations: Sequence[Citation] = (),
) -> Message:
    """Add what the assistant, an agent or the system says."""
    agent_id = agent.agent_id if agent is not None else None
    message = Message(author=author, text=text, agent_id=agent_id, visibility=visibility, citations=list(citations))
    return _add(session, conversation, message)


def rate_answer(session: Session, customer: CustomerPrincipal, public_id: str, *, helpful: bool | None) -> Message:
    """The customer says whether an answer helped, or takes that back. Only what the assistant said can be rated."""
    query = select(Message).where(
        Message.public_id == public_id,
        Message.conversation_id == customer.conversation_id,
        Message.author == Author.ASSISTANT,
        Message.visibility == MessageVisibility.PUBLIC,
    )
    message = session.scalar(query)
    if message is None:
        raise NotFound("There is no such answer.")
    if message.helpful is not helpful:
        message.helpful = helpful
        payload = {"message": message.public_id, "helpful": helpful}
        events.append(session, "message.rated", payload, conversation_id=message.conversation_id)
    return message


def hand_off(session: Session, conversation: Conversation, reason: HandoffReason) -> None:
    """Give the conversation to a person and tell the customer. A no-op if a person has it or is being waited for."""
    if conversation.state is not ConversationState.ASSISTANT:
        return
    _enter(session, conversation, ConversationState.HANDED_OFF)
    conversation.handoff_reason = reason
    conversation.handed_off_at = utcnow()
    session.flush()
    position = queue_position(session, conversation)
    add_reply(session, conversation, author=Author.SYSTEM, text=_handoff_notice(reason, position))
    _tell_state(session, conversation, queue_position=position)
    last = last_customer_message(session, conversation.id)
    if last is not None:  # the agent finds a draft and the evidence, not an empty page
        queue.enqueue(session, PROCESS_MESSAGE, {"message_id": last.id}, key=f"draft:{last.id}")


def take_over(session: Session, conversation: Conversation, agent: AgentPrincipal) -> None:
    """The agent has the conversation from now on; what the assistant was writing is dropped."""
    if conversation.state is ConversationState.AGENT and conversation.agent_id == agent.agent_id:
        return
    _enter(session, conversation, ConversationState.AGENT)
    conversation.agent_id = agent.agent_id
    ticket = session.scalar(select(Ticket).where(Ticket.conversation_id == conversation.id))
    if ticket is not None:
        ticket.agent_id = agent.agent_id
        if ticket.status is TicketStatus.NEW:
            ticket.status = TicketStatus.OPEN
    session.flush()
    session.expire(conversation, ["agent"])
    _tell_state(session, conversation)


def close(session: Session, conversation: Conversation) -> None:
    """Nothing more is expected; a customer's message reopens."""
    if conversation.state is ConversationState.CLOSED:
        return
    _enter(session, conversation, ConversationState.CLOSED)
    conversation.agent_id = None
    _tell_state(session, conversation)


def queue_position(session: Session, conversation: Conversation) -> int:
    """How many conversations, this one included, wait for a person at least as long. 0 if it does not wait."""
    if conversation.state is not ConversationState.HANDED_OFF or conversation.handed_off_at is None:
        return 0
    waiting = select(func.count()).where(
        Conversation.state == ConversationState.HANDED_OFF,
        Conversation.channel == conversation.channel,
        Conversation.handed_off_at <= conversation.handed_off_at,
    )
    return session.execute(waiting).scalar_one()


def jobs_ahead(session: Session, conversation: Conversation) -> int | None:
    """How many messages and other work the assistant does before the customer's newest message here; None once it
    works on that, or has."""
    newest = last_customer_message(session, conversation.id)
    if newest is None:
        return None
    return queue.jobs_ahead(session, PROCESS_MESSAGE, {"message_id": newest.id}, now=utcnow())


def lock_conversation(session: Session, conversation_id: int) -> Conversation:
    """The conversation as it is now, ours until the transaction ends: two writers to one conversation take turns."""
    query = select(Conversation).where(Conversation.id == conversation_id)
    conversation = session.scalar(query.with_for_update().execution_options(populate_existing=True))
    if conversation is None:
        raise NotFound("This conversation no longer exists.")
    return conversation


def public_messages(session: Session, conversation_id: int) -> Sequence[Message]:
    """What the customer may read, oldest first, with attachments and citations loaded."""
    query = _message_query(conversation_id).where(Message.visibility == MessageVisibility.PUBLIC)
    return session.scalars(query).all()


def all_messages(session: Session, conversation_id: int) -> Sequence[Message]:
    """What agents read: notes too."""
    return session.scalars(_message_query(conversation_id)).all()


def last_customer_message(session: Session, conversation_id: int) -> Message | None:
    query = select(Message).where(Message.conversation_id == conversation_id, Message.author == Author.CUSTOMER)
    return session.scalar(query.order_by(Message.id.desc()).limit(1))


def new_ticket_conversation(session: Session, customer: Customer) -> Conversation:
    """A conversation that came as a ticket: a person answers, with the assistant's draft."""
    return _new_conversation(session, customer, channel="api", state=ConversationState.HANDED_OFF)


def _new_conversation(session: Session, customer: Customer, *, channel: str, state: ConversationState) -> Conversation:
    conversation = Conversation(customer_id=customer.id, channel=channel, state=state)
    if state is ConversationState.HANDED_OFF:
        conversation.handed_off_at = utcnow()
    session.add(conversation)
    session.flush()
    return conversation


def _add(session: Session, conversation: Conversation, message: Message) -> Message:
    """Append the message and tell those who may see it."""
    message.conversation_id = conversation.id
    session.add(message)
    conversation.updated_at = utcnow()
    session.flush()
    audience = Audience.CUSTOMER if message.visibility is MessageVisibility.PUBLIC else Audience.AGENT
    payload = payloads.Message.of(message).to_json()
    events.append(session, "message.created", payload, conversation_id=conversation.id, audience=audience)
    return message


def _enter(session: Session, conversation: Conversation, state: ConversationState) -> None:
    conversation.state = state
    conversation.turn += 1
    conversation.updated_at = utcnow()
    if state is not ConversationState.HANDED_OFF:
        conversation.handed_off_at = None
    if state is ConversationState.ASSISTANT:
        conversation.handoff_reason = None


def _tell_state(session: Session, conversation: Conversation, *, queue_position: int = 0) -> None:
    payload = payloads.Conversation.of(conversation, queue_position=queue_position).to_json()
    events.append(session, "conversation.state", payload, conversation_id=conversation.id, audience=Audience.CUSTOMER)


def _handoff_notice(reason: HandoffReason, position: int) -> str:
    why = {
        HandoffReason.CUSTOMER_ASKED: "A colleague will take over from here.",
        HandoffReason.MISSING_KNOWLEDGE: "I found no reliable answer in our articles, so a colleague will take over.",
        HandoffReason.UNSUPPORTED_ANSWER: "I am not sure enough of the answer, so a colleague will take over.",
        HandoffReason.NEEDS_HUMAN: "A person should look at this, so a colleague will take over.",
        HandoffReason.ENGINE_DOWN: "I cannot answer right now, so a colleague will take over.",
    }[reason]
    ahead = "You are next in line." if position <= 1 else f"You are number {position} in line."
    return f"{why} {ahead} They can see everything you have sent. You can close this window and come back later."


def _find_message(session: Session, conversation_id: int, client_id: str | None) -> Message | None:
    if client_id is None:
        return None
    return session.scalar(_message_query(conversation_id).where(Message.client_id == client_id))


def _message_query(conversation_id: int) -> Select[Message]:
    return (
        select(Message)
        .where(Message.conversation_id == conversation_id)
        .order_by(Message.id)
        .options(joinedload(Message.agent), selectinload(Message.attachments), selectinload(Message.citations))
    )
