"""The one writer of tickets and conversations: it changes, stamps and tells in one step. Nothing else assigns to them.

| a conversation in | goes to | when |
|---|---|---|
| `assistant` | `handed_off` | the assistant hands off, or the customer asks for a person |
| any state | `agent` | an agent takes over |
| `handed_off`, `agent` | `assistant` | a person gives it back, on a channel that delivers the assistant's answers |
| any state | `closed` | its ticket is solved or closed, or its customer ends it, which solves the ticket |
| `closed` | `assistant` | its customer asks again, on a channel that delivers the assistant's answers |
| `closed` | `agent`, `handed_off` | its customer asks again, and its ticket was merged: as that one has an agent |
| `closed` | `handed_off` | its customer asks again on another channel, or its ticket is reopened and has no agent |
| `closed` | `agent` | its ticket is reopened and has an agent |

So a conversation is closed exactly while its ticket is solved or closed. Only its customer reopens a closed ticket.

Greetings and thanks (`courtesy`) move nothing. A question of a closed conversation's customer begins a new context:
what was said before has been dealt with. What is proposed to the agent is withdrawn by a question that overtakes it,
and when the conversation closes.

Every change of a conversation's state and every question of its customer raises `Conversation.turn`. A reply begun
under another turn is dropped: the assistant never writes once an agent has taken over, nor answers an outdated
question.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from assistant.db import utcnow
from assistant.desk import deadlines, feed, inboxes
from assistant.desk.access import AgentPrincipal
from assistant.desk.events import (
    ConversationMoved,
    DraftChanged,
    MessageCreated,
    NoteCreated,
    TicketBreached,
    TicketLinked,
    TicketOpened,
    TicketTriaged,
    TicketUpdated,
    TriageDecided,
)
from assistant.errors import Conflict, NotFound
from assistant.models import (
    Agent,
    Author,
    Conversation,
    ConversationState,
    Customer,
    Draft,
    DraftStatus,
    Inbox,
    LinkKind,
    Message,
    MessageVisibility,
    Priority,
    SLATarget,
    Tag,
    Team,
    Ticket,
    TicketLink,
    TicketStatus,
    TicketType,
    TriageResult,
)
from assistant.ports import HandoffReason

DONE = (TicketStatus.SOLVED, TicketStatus.CLOSED)
# What changes with the columns of `TicketChanges`.
_FOLLOWING = ("field_values", "team_id", "agent_id", "requester_id", "solved_at", "due_at", "breached_at")
# Longer than over a weekend, nobody waits in line.
_WAITS = timedelta(days=3)
_WITH_PEOPLE = (ConversationState.HANDED_OFF, ConversationState.AGENT)
# Channels that deliver the assistant's answers to the customer. On others a person answers.
ASSISTANT_CHANNELS = frozenset({"widget"})


class TicketChanges(TypedDict, total=False):
    """The columns that `change_ticket` changes."""

    status: TicketStatus
    priority: Priority
    type: TicketType | None
    category: str | None
    sentiment: str | None
    language: str | None
    product: str | None
    team: Team | None
    agent: Agent | None
    requester: Customer
    snoozed_until: datetime | None
    tags: list[Tag]
    fields: dict[str, str]


def lock_conversation(session: Session, conversation_id: int) -> Conversation:
    """The conversation as it is now, locked until the transaction ends: writers to one conversation take turns."""
    query = select(Conversation).where(Conversation.id == conversation_id)
    conversation = session.scalar(query.with_for_update().execution_options(populate_existing=True))
    if conversation is None:
        raise NotFound("This conversation no longer exists.")
    return conversation


def forget(session: Session, ticket: Ticket) -> None:
    """Read of a ticket anew what changes: another writer may have changed it before we had the lock."""
    for value in vars(ticket).get("field_values", {}).values():  # those that it knows
        session.expire(value)
    columns = [name for name in TicketChanges.__annotations__ if name != "fields"]
    session.expire(ticket, [*columns, *_FOLLOWING])


def begin_conversation(
    session: Session, customer: Customer, *, channel: str, inbox: Inbox | None = None, language: str | None = None
) -> Conversation:
    """Add a conversation without messages, in the default inbox unless another is given. Nobody sees it before its
    first message."""
    conversation = Conversation(
        customer=customer,
        inbox=inbox or inboxes.default(session),
        channel=channel,
        language=language,
        state=_state_of_open(channel),
    )
    if conversation.state is ConversationState.HANDED_OFF:
        conversation.handed_off_at = utcnow()
    session.add(conversation)
    session.flush()
    return conversation


def receive(
    session: Session,
    conversation: Conversation,
    message: Message,
    *,
    subject: str,
    courtesy: bool = False,
    site_context: Mapping[str, str] | None = None,
) -> Message:
    """Add a customer's message. It opens the ticket, reopens one that is pending, solved or closed and wakes one that
    is snoozed, unless it is a ``courtesy``. ``site_context``: what the page said with it."""
    if site_context:
        conversation.site_context = dict(site_context)
    ticket = _ticket_of(session, conversation)
    if courtesy and ticket is not None:
        return add_message(session, conversation, message)
    conversation.turn += 1
    into = merged_into(session, ticket) if ticket is not None else None
    if conversation.state is ConversationState.CLOSED:
        newest = select(func.max(Message.id)).where(Message.conversation_id == conversation.id)
        conversation.context_after_id = session.scalar(newest)
        if into is not None:
            _move_to_people(session, conversation, into.agent)
        else:
            _move(session, conversation, _state_of_open(conversation.channel))
    if ticket is None:
        team = conversation.inbox.team  # until triage routes it
        ticket = Ticket(conversation=conversation, requester=conversation.customer, subject=subject, team=team)
        session.add(ticket)
        session.flush()
        _keep_time(session, ticket, asked=True)
        feed.append(session, conversation.id, TicketOpened(ticket))
    else:
        withdraw_drafts(session, ticket)
        reopened = ticket.status in (*DONE, TicketStatus.PENDING)
        changes: TicketChanges = {"status": TicketStatus.OPEN if reopened else ticket.status, "snoozed_until": None}
        if into is not None and reopened:  # those who have the other must see what is asked here
            changes |= {"agent": into.agent, "team": into.team}
        _write(session, ticket, changes, asked=True)
    if conversation.state in _WITH_PEOPLE:
        ticket.waiting_since = ticket.waiting_since or utcnow()
    return add_message(session, conversation, message)


def add_message(session: Session, conversation: Conversation, message: Message) -> Message:
    message.conversation = conversation
    conversation.updated_at = utcnow()
    session.add(message)
    session.flush()
    is_public = message.visibility is MessageVisibility.PUBLIC
    if is_public and message.author in (Author.AGENT, Author.ASSISTANT):
        _note_waiting(session, conversation, None)
    feed.append(session, conversation.id, MessageCreated(message) if is_public else NoteCreated(message))
    ticket = _ticket_of(session, conversation)
    if ticket is not None and (into := merged_into(session, ticket)) is not None:
        tell_linked(session, into)
    answers = is_public and message.author in (Author.AGENT, Author.ASSISTANT)
    # With the assistant, no person is waited for.
    if answers and ticket is not None and conversation.state is not ConversationState.ASSISTANT:
        _write(session, ticket, {}, answered=True)
    return message


def hand_off(session: Session, conversation: Conversation, reason: HandoffReason) -> bool:
    """Queue the conversation for a person. A no-op that returns False unless the assistant has it."""
    if conversation.state is not ConversationState.ASSISTANT:
        return False
    _move(session, conversation, ConversationState.HANDED_OFF, reason=reason)
    ticket = _ticket_of(session, conversation)
    if ticket is not None:
        _write(session, ticket, {}, asked=True)
    return True


def take_over(session: Session, conversation: Conversation, agent: AgentPrincipal) -> None:
    """Give conversation and ticket to the agent. A no-op if the agent has the conversation already.

    Raises `Conflict` if the ticket is closed.
    """
    if conversation.state is ConversationState.AGENT and conversation.agent_id == agent.agent_id:
        return
    ticket = _ticket_of(session, conversation)
    changes: TicketChanges = {"agent": session.get_one(Agent, agent.agent_id)}
    if ticket is not None:
        _require_not_closed(ticket)
        if ticket.status in (TicketStatus.NEW, TicketStatus.SOLVED):
            changes["status"] = TicketStatus.OPEN
    asked = conversation.state is ConversationState.ASSISTANT
    _move(session, conversation, ConversationState.AGENT, agent=changes["agent"])
    if ticket is not None:
        _write(session, ticket, changes, asked=asked)


def can_give_back(conversation: Conversation) -> bool:
    waiting_or_taken = conversation.state in (ConversationState.HANDED_OFF, ConversationState.AGENT)
    return waiting_or_taken and conversation.channel in ASSISTANT_CHANNELS


def give_back(session: Session, conversation: Conversation) -> bool:
    """Let the assistant answer again; the ticket is nobody's. A no-op that returns False if the assistant has it.

    Raises `Conflict` if the conversation is closed, or on a channel where a person answers.
    """
    if conversation.state is ConversationState.ASSISTANT:
        return False
    if conversation.state is ConversationState.CLOSED:
        raise Conflict("This conversation is closed. The assistant answers when its customer writes again.")
    if conversation.channel not in ASSISTANT_CHANNELS:
        raise Conflict(f"The assistant does not answer customers on this channel ({conversation.channel}).")
    _move(session, conversation, ConversationState.ASSISTANT)
    ticket = _ticket_of(session, conversation)
    if ticket is not None:
        _write(session, ticket, {"agent": None})
    return True


def end(session: Session, conversation: Conversation) -> bool:
    """Its customer needs nothing more: the ticket is solved. A no-op that returns False if the conversation is closed
    or nothing has been said."""
    ticket = _ticket_of(session, conversation)
    if ticket is None or conversation.state is ConversationState.CLOSED:
        return False
    change_ticket(session, ticket, status=TicketStatus.SOLVED)
    return True


def change_ticket(session: Session, ticket: Ticket, **changes: Unpack[TicketChanges]) -> None:
    """Change a ticket, closing or reopening its conversation with it. Values it already has are no changes.

    Raises `Conflict` if the status of a closed ticket would change.
    """
    conversation = lock_conversation(session, ticket.conversation_id)
    forget(session, ticket)
    status = changes.get("status", ticket.status)
    if status is not ticket.status:
        _require_not_closed(ticket)
        if status in DONE:
            changes.setdefault("snoozed_until", None)  # whoever reopens it wants to see it
    is_closed = conversation.state is ConversationState.CLOSED
    if status in DONE and not is_closed:
        _move(session, conversation, ConversationState.CLOSED)
    elif status not in DONE and is_closed:
        _move_to_people(session, conversation, changes.get("agent", ticket.agent))
    _write(session, ticket, changes)


def keep_time(session: Session, ticket: Ticket, *, now: datetime, rematch: bool = False) -> None:
    """See what is due by ``now``; with ``rematch``, by which SLA policy."""
    lock_conversation(session, ticket.conversation_id)
    session.refresh(ticket)
    _write(session, ticket, {}, now=now, rematch=rematch)


def change_customer(session: Session, conversation_id: int, customer: Customer) -> None:
    """Give a conversation, with its ticket, to another customer: whoever asked has turned out to be them."""
    conversation = lock_conversation(session, conversation_id)
    conversation.customer = customer
    ticket = _ticket_of(session, conversation)
    if ticket is not None:
        _write(session, ticket, {"requester": customer})


def record_triage(
    session: Session, ticket: Ticket, result: TriageResult, changes: TicketChanges, *, decided: bool = False
) -> None:
    """Apply a triage to its ticket. ``decided``: somebody has accepted or overridden a field."""
    change_ticket(session, ticket, **changes)
    ticket.updated_at = utcnow()
    session.flush()
    event = TriageDecided(ticket, result) if decided else TicketTriaged(ticket, result)
    feed.append(session, ticket.conversation_id, event)


def merged_into(session: Session, ticket: Ticket) -> Ticket | None:
    """The ticket in which this one is answered."""
    merged = select(Ticket).join(TicketLink, TicketLink.other_id == Ticket.id)
    return session.scalar(merged.where(TicketLink.ticket_id == ticket.id, TicketLink.kind == LinkKind.MERGED))


def tell_linked(session: Session, ticket: Ticket) -> None:
    feed.append(session, ticket.conversation_id, TicketLinked(ticket))


def wait_since(session: Session, ticket: Ticket, since: datetime) -> None:
    """Its customer has waited for a person since then, in a conversation of another ticket that is answered here."""
    ticket.waiting_since = min(ticket.waiting_since or since, since)
    session.flush()


def queue_position(session: Session, conversation: Conversation) -> int:
    """Position among the conversations of its channel that wait for a person, from 1. 0 if it does not wait.

    Those in which nothing has been said for days are ahead of nobody: their customers have left."""
    if conversation.state is not ConversationState.HANDED_OFF or conversation.handed_off_at is None:
        return 0
    ahead = select(func.count()).where(
        Conversation.state == ConversationState.HANDED_OFF,
        Conversation.channel == conversation.channel,
        Conversation.handed_off_at <= conversation.handed_off_at,
        Conversation.updated_at > utcnow() - _WAITS,
        Conversation.id != conversation.id,
    )
    return session.execute(ahead).scalar_one() + 1


def withdraw_drafts(session: Session, ticket: Ticket) -> None:
    """Take back what is proposed: it was answered or overtaken, or stands on evidence that was wrong."""
    proposed = select(Draft).where(Draft.ticket_id == ticket.id, Draft.status == DraftStatus.PROPOSED)
    for draft in session.scalars(proposed).all():
        draft.status, draft.decided_at = DraftStatus.WITHDRAWN, utcnow()
        session.flush()
        feed.append(session, ticket.conversation_id, DraftChanged(ticket, draft))


def _move_to_people(session: Session, conversation: Conversation, agent: Agent | None) -> None:
    """To an agent who is still here, else to whoever takes it."""
    if agent is not None and agent.deactivated_at is None:
        _move(session, conversation, ConversationState.AGENT, agent=agent)
    else:
        _move(session, conversation, ConversationState.HANDED_OFF)


def _move(
    session: Session,
    conversation: Conversation,
    to: ConversationState,
    *,
    agent: Agent | None = None,
    reason: HandoffReason | None = None,
) -> None:
    was, now = conversation.state, utcnow()
    conversation.state, conversation.agent, conversation.updated_at = to, agent, now
    conversation.turn += 1
    conversation.handed_off_at = now if to is ConversationState.HANDED_OFF else None
    if to is ConversationState.ASSISTANT or reason is not None:
        conversation.handoff_reason = reason
    if (
        to is ConversationState.CLOSED
        and conversation.rating_asked_turn is None
        and not _is_merged(session, conversation)
        and _was_answered(session, conversation)
    ):
        conversation.rating_asked_turn = conversation.turn
    _note_waiting(session, conversation, now if to is ConversationState.HANDED_OFF else None, to=to)
    session.flush()
    event = ConversationMoved(conversation, was, queue_position(session, conversation))
    feed.append(session, conversation.id, event)
    if to is ConversationState.CLOSED and (ticket := _ticket_of(session, conversation)) is not None:
        withdraw_drafts(session, ticket)


def _write(
    session: Session,
    ticket: Ticket,
    changes: TicketChanges,
    *,
    asked: bool = False,
    answered: bool = False,
    rematch: bool = False,
    now: datetime | None = None,
) -> None:
    """``asked``, ``answered``, ``rematch``: see `deadlines.follow`."""
    differing = {name: value for name, value in changes.items() if getattr(ticket, name) != value}
    for name, value in differing.items():
        setattr(ticket, name, value)
    now = now or utcnow()
    if differing:
        ticket.updated_at = now
    if "status" in differing:
        ticket.solved_at = (ticket.solved_at or now) if ticket.status in DONE else None
    session.flush()
    rematch = rematch or not deadlines.MATCHED.isdisjoint(differing)
    moved, breached = _keep_time(session, ticket, asked=asked, answered=answered, rematch=rematch, now=now)
    if differing or moved:
        feed.append(session, ticket.conversation_id, TicketUpdated(ticket, (*differing, *moved)))
    for target in breached:
        feed.append(session, ticket.conversation_id, TicketBreached(ticket, target))


def _keep_time(
    session: Session,
    ticket: Ticket,
    *,
    asked: bool = False,
    answered: bool = False,
    rematch: bool = False,
    now: datetime | None = None,
) -> tuple[tuple[str, ...], tuple[SLATarget, ...]]:
    """Keep when a ticket is due. Which columns that has changed, and which targets have turned out to be missed."""
    conversation = session.get_one(Conversation, ticket.conversation_id)
    times = deadlines.follow(session, conversation, ticket, asked=asked, answered=answered, rematch=rematch, now=now)
    before = {"due_at": ticket.due_at, "breached_at": ticket.breached_at}
    ticket.due_at, ticket.breached_at = times.due_at, times.breached_at
    session.flush()
    return tuple(name for name, value in before.items() if value != getattr(ticket, name)), times.breached


def _note_waiting(
    session: Session, conversation: Conversation, since: datetime | None, *, to: ConversationState | None = None
) -> None:
    """Since when its customer waits for a person; whoever waits already has waited longer. An agent who takes over has
    not answered yet."""
    ticket = _ticket_of(session, conversation) if to is not ConversationState.AGENT else None
    if ticket is not None:
        ticket.waiting_since = (ticket.waiting_since or since) if since is not None else None


def _is_merged(session: Session, conversation: Conversation) -> bool:
    """Whether it goes on elsewhere: its customer has nothing to rate yet."""
    ticket = _ticket_of(session, conversation)
    return ticket is not None and merged_into(session, ticket) is not None


def _was_answered(session: Session, conversation: Conversation) -> bool:
    """Whether its customer has got an answer where they can rate it."""
    said = select(Message.id).where(
        Message.conversation_id == conversation.id,
        Message.author.in_((Author.ASSISTANT, Author.AGENT)),
        Message.visibility == MessageVisibility.PUBLIC,
    )
    return conversation.channel in ASSISTANT_CHANNELS and session.scalar(said.limit(1)) is not None


def _ticket_of(session: Session, conversation: Conversation) -> Ticket | None:
    query = select(Ticket).where(Ticket.conversation_id == conversation.id)
    return session.scalar(query.execution_options(populate_existing=True))


def _state_of_open(channel: str) -> ConversationState:
    return ConversationState.ASSISTANT if channel in ASSISTANT_CHANNELS else ConversationState.HANDED_OFF


def _require_not_closed(ticket: Ticket) -> None:
    if ticket.status is TicketStatus.CLOSED:
        raise Conflict("This ticket is closed. It reopens when the customer writes again.")
