"""Tickets that have to do with each other: linked, split off, merged. Who asks sees both; each is told of it.

* **Linked** tickets show each other, and are otherwise as before.
* **Split**: a customer's message, with its files, begins a ticket and a conversation of its own. It is copied: what a
  customer sees in their browser is never taken away.
* **Merged**: a ticket is answered in another one. It is solved, and what was said in it is shown in the other's thread.
  Its messages stay where they are, so no customer ever sees another's, and nothing is to be moved back. If its
  customer writes there again, the ticket is open again, with the other's agent and team, and is answered where they
  wrote. `unmerge` takes back what merging did to it, except what somebody has changed since.

Answers in one ticket reach those who wrote in another only within one customer's conversations of a channel and inbox.
Merging others must be confirmed.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from assistant.desk import actions, conversations, related, state
from assistant.desk.access import AgentPrincipal
from assistant.desk.actions import Action
from assistant.desk.attachments import PreparedFiles, attached
from assistant.desk.state import DONE
from assistant.errors import Conflict, Invalid, NotFound
from assistant.models import (
    Author,
    ConversationState,
    LinkKind,
    Message,
    MessageVisibility,
    Ticket,
    TicketFollower,
    TicketLink,
    TicketStatus,
)
from assistant.wording import Notice


class Unreachable(Conflict):
    """Answers in the other ticket do not reach those who wrote in this one: merging must be confirmed."""


# Links


def link(session: Session, agent: AgentPrincipal, ticket: Ticket, other: Ticket) -> None:
    """Show each beside the other. A no-op if they are linked, in whatever way."""
    _lock(session, ticket, other)
    if _between(session, ticket, other) is None:
        _add(session, agent, LinkKind.RELATED, ticket, other)


def unlink(session: Session, agent: AgentPrincipal, ticket: Ticket, public_id: str) -> None:
    """Take a link of the ticket away; of a merge, with what it did. A no-op if it is gone."""
    found = {one.link.public_id: one for one in related.shown(session, agent, ticket)}.get(public_id)
    if found is None:
        return
    away, other = found.link.ticket, found.link.other
    _lock(session, away, other)
    if _between(session, away, other) is None:  # a colleague was faster
        return
    taken_back = actions.parse(session, found.link.undo)
    session.delete(found.link)
    session.flush()
    if taken_back:
        actions.apply(session, away, taken_back, agent)
    _tell(session, away, other)


# Merge and split


def merge(
    session: Session, agent: AgentPrincipal, ticket: Ticket, into: Ticket, *, confirmed: bool = False
) -> TicketLink:
    """Answer a ticket in another one. Raises `Conflict` where that would leave somebody without an answer, and
    `Unreachable` unless it is ``confirmed`` where answers do not reach who wrote."""
    _lock(session, ticket, into)
    if ticket.id == into.id:
        raise Invalid("A ticket cannot be merged into itself.", field="other")
    for one in (ticket, into):
        if (other := state.merged_into(session, one)) is not None:
            raise Conflict(f"#{one.number} has been merged into #{other.number}.")
    if into.status in DONE and ticket.status not in DONE:
        raise Conflict(f"#{into.number} is solved. Reopen it first, or merge it into this one.")
    if not confirmed:
        _require_reach(ticket, into)
    waited, before = ticket.waiting_since, _between(session, ticket, into)
    was_open = ticket.status in (TicketStatus.NEW, TicketStatus.OPEN)
    if before is not None:
        session.delete(before)
        session.flush()
    merged = _add(session, agent, LinkKind.MERGED, ticket, into)
    _bring_along(session, ticket, into)
    done = actions.apply(session, ticket, _following(into), agent)
    merged.undo = [one.to_json() for one in done.undo]
    if was_open:
        _take_on(session, agent, into, waited)
    if _reaches(ticket, into):
        conversations.tell(session, ticket.conversation, [Notice("conversation_merged")])
    _tell(session, ticket, into)
    return merged


def split(session: Session, agent: AgentPrincipal, ticket: Ticket, message_id: str) -> Ticket:
    """Make a ticket of a customer's message, with the agent and in the ticket's team. Raises `Conflict` if it has
    become one already."""
    old = state.lock_conversation(session, ticket.conversation_id)
    message = session.scalar(
        select(Message).where(
            Message.public_id == message_id,
            Message.conversation_id == old.id,
            Message.author == Author.CUSTOMER,
            Message.visibility == MessageVisibility.PUBLIC,
        )
    )
    if message is None:
        raise NotFound("This ticket has no such message of its customer.")
    known = session.scalar(select(TicketLink).where(TicketLink.message_id == message.id))
    if known is not None:
        raise Conflict(f"This message has become #{known.ticket.number} already.")
    conversation = state.begin_conversation(
        session, old.customer, channel=old.channel, inbox=old.inbox, language=old.language
    )
    state.take_over(session, conversation, agent)  # a person looks into it: the assistant does not answer
    files = PreparedFiles(tuple(attached(one, one.position) for one in message.attachments))
    conversations.add_customer_message(session, conversation, text=message.text, files=files, courtesy=False)
    new = session.scalars(select(Ticket).where(Ticket.conversation_id == conversation.id)).one()
    given = [Action("assign", {"agent": agent.public_id}), Action("transfer", {"team": _team_of(ticket)})]
    actions.apply(session, new, given, agent)
    made = _add(session, agent, LinkKind.SPLIT, new, ticket)
    made.message_id = message.id
    session.flush()
    return new


def _require_reach(ticket: Ticket, into: Ticket) -> None:
    if ticket.requester_id != into.requester_id:
        who, other = ticket.requester.display_name, into.requester.display_name
        raise Unreachable(
            f"They are two customers: answers in #{into.number} reach {other}, not {who}, who wrote #{ticket.number}."
        )
    if not _reaches(ticket, into):
        raise Unreachable(
            f"They were written in different places: answers in #{into.number} do not arrive where #{ticket.number} "
            "was written."
        )


def _reaches(ticket: Ticket, into: Ticket) -> bool:
    """Whether who wrote the one reads answers in the other."""
    one, two = ticket.conversation, into.conversation
    return (one.customer_id, one.channel, one.inbox_id) == (two.customer_id, two.channel, two.inbox_id)


def _following(into: Ticket) -> list[Action]:
    """What is done to a ticket that is answered in another."""
    return [
        Action("transfer", {"team": _team_of(into)}),
        Action("assign", {"agent": into.agent.public_id if into.agent is not None else ""}),
        Action("set_status", {"status": TicketStatus.SOLVED.value}),
    ]


def _team_of(ticket: Ticket) -> str:
    return ticket.team.key if ticket.team is not None else ""


def _bring_along(session: Session, ticket: Ticket, into: Ticket) -> None:
    """What was merged into the ticket, and who follows either."""
    for one in session.scalars(
        select(TicketLink).where(TicketLink.other_id == ticket.id, TicketLink.kind == LinkKind.MERGED)
    ):
        one.other_id = into.id
    both = {one.id for one in (*actions.followers(session, ticket), *actions.followers(session, into))}
    for each in (ticket, into):
        known = {one.id for one in actions.followers(session, each)}
        session.add_all(TicketFollower(ticket_id=each.id, agent_id=one) for one in both - known)
    session.flush()


def _take_on(session: Session, agent: AgentPrincipal, into: Ticket, waited: datetime | None) -> None:
    """The question of the ticket that was merged is open in this one."""
    if into.conversation.state is ConversationState.ASSISTANT:
        state.take_over(session, into.conversation, agent)
    state.change_ticket(
        session,
        into,
        status=TicketStatus.OPEN if into.status is TicketStatus.PENDING else into.status,
        snoozed_until=None,
    )
    if waited is not None:
        state.wait_since(session, into, waited)


def _lock(session: Session, *tickets: Ticket) -> None:
    """Always in one order: two who merge each into the other take turns."""
    for conversation_id in sorted({one.conversation_id for one in tickets}):
        state.lock_conversation(session, conversation_id)
    for ticket in tickets:
        state.forget(session, ticket)


def _between(session: Session, ticket: Ticket, other: Ticket) -> TicketLink | None:
    there = and_(TicketLink.ticket_id == ticket.id, TicketLink.other_id == other.id)
    back = and_(TicketLink.ticket_id == other.id, TicketLink.other_id == ticket.id)
    return session.scalar(select(TicketLink).where(or_(there, back)))


def _add(session: Session, agent: AgentPrincipal, kind: LinkKind, ticket: Ticket, other: Ticket) -> TicketLink:
    if ticket.id == other.id:
        raise Invalid("These are one and the same ticket.", field="other")
    made = TicketLink(kind=kind, ticket_id=ticket.id, other_id=other.id, agent_id=agent.agent_id, undo=[])
    session.add(made)
    session.flush()
    if kind is not LinkKind.MERGED:
        _tell(session, ticket, other)
    return made


def _tell(session: Session, *tickets: Ticket) -> None:
    for ticket in tickets:
        state.tell_linked(session, ticket)
