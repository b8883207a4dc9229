"""Replies on their way: held back for some seconds, in which whoever sent one can take it back.

A held reply is a row and a job of one transaction: it outlives a reload and a restart. Until it leaves there is no
message, so neither its customer nor any event, mail or machine learns of it. It then does what sending does: it takes
the conversation over, keeps a draft's sources, does what the macro says and sets the status. One that cannot leave any
more stays with its reason, and its text is taken back into the box that it came from.

A ticket has at most one. Another agent's reply is refused meanwhile; the same agent's next one sends the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from assistant.db import utcnow
from assistant.desk import actions, audit, drafts, feed, guardrails, macros, people, queue, state
from assistant.desk.access import AgentPrincipal, visible_tickets
from assistant.desk.attachments import FILE, PreparedFiles, attached, prepare_files
from assistant.desk.desk import Desk
from assistant.desk.events import ReplyHeld
from assistant.errors import AssistantError, Conflict, Invalid, NotAllowed, NotFound
from assistant.media.files import Upload
from assistant.models import Agent, Draft, DraftStatus, HeldReply, ReplyFile, Ticket
from assistant.ports import WorkPriority

SEND = "send_held_reply"


@dataclass(frozen=True)
class Outgoing:
    """What an agent sends. ``macro``: the id of one whose text is in it. ``then``: the status that the ticket gets.
    ``confirmed_from``: the address where they confirmed what their inbox never says; None if they have not."""

    text: str
    draft: Draft | None = None
    macro: str | None = None
    then: str | None = None
    confirmed_from: str | None = None


def send(desk: Desk, session: Session, agent: AgentPrincipal, ticket: Ticket, new: Outgoing) -> HeldReply | None:
    """Send a reply, with the agent's files for it, once the time to take it back is over. None: it has left.

    Raises `Conflict` while another agent's reply is on its way, and `NeverSaid` until what the inbox never says is
    confirmed, which the audit log then tells."""
    state.lock_conversation(session, ticket.conversation_id)
    if (same := _repeated(session, agent, ticket, new)) is not None:
        return same
    _mind(session, agent, ticket, new)
    _make_way(session, agent, ticket)
    wait = timedelta(seconds=desk.settings.undo_send_seconds)
    if not new.text.strip() and not files_of(session, agent, ticket):
        raise Invalid("The reply is empty.", field="text")
    held = HeldReply(
        ticket_id=ticket.id,
        agent_id=agent.agent_id,
        said=new.text.strip(),
        draft=new.draft,
        macro=macros.find(session, agent, new.macro) if new.macro else None,
        then=new.then,
        created_at=utcnow(),
        due_at=desk.now() + wait,
    )
    if not wait:
        _leave(session, agent, ticket, held)
        return None
    session.add(held)
    session.flush()
    _enqueue(session, held)
    _tell(session, held)
    return held


def held_reply(session: Session, ticket: Ticket) -> HeldReply | None:
    """What is on its way to the ticket's customer."""
    return session.scalar(_of(ticket).where(HeldReply.problem.is_(None)))


def failed_reply(session: Session, agent: AgentPrincipal, ticket: Ticket) -> HeldReply | None:
    """The agent's own that could not leave."""
    failed = _of(ticket).where(HeldReply.agent_id == agent.agent_id, HeldReply.problem.is_not(None))
    return session.scalar(failed.order_by(HeldReply.id).limit(1))


def take_back(session: Session, agent: AgentPrincipal, ticket: Ticket, public_id: str) -> HeldReply:
    """Stop a reply that has not left, and give back what it says. Raises `Conflict` if it has."""
    held = _own(session, agent, ticket, public_id)
    if held is None:
        raise Conflict("It has been sent already.")
    session.delete(held)
    queue.cancel(session, _key(held))
    _tell(session, held, gone=True)
    return held


def send_now(session: Session, agent: AgentPrincipal, ticket: Ticket, public_id: str | None = None) -> None:
    """Send the agent's own held reply without waiting. A no-op if there is none."""
    held = _own(session, agent, ticket, public_id)
    if held is None:
        return
    session.delete(held)
    queue.cancel(session, _key(held))
    session.flush()
    _leave(session, agent, ticket, held)
    _tell(session, held, gone=True)


def send_held(desk: Desk, held_id: int) -> None:
    """Job: the time to take a reply back is over."""
    with desk.db.begin() as session:
        held = session.get(HeldReply, held_id)
        if held is None or held.problem is not None:
            return
        state.lock_conversation(session, held.ticket.conversation_id)
        if session.scalar(select(HeldReply.id).where(HeldReply.id == held_id)) is None:  # taken back just now
            return
        if held.due_at > desk.now():
            _enqueue(session, held)
            return
        try:
            with session.begin_nested():
                _leave(session, _sender(session, held), held.ticket, held)
        except AssistantError as error:
            session.refresh(held)
            held.problem = error.message
            _tell(session, held)
        else:
            session.delete(held)
            _tell(session, held, gone=True)


# Files


def add_files(desk: Desk, agent: AgentPrincipal, ticket: Ticket, uploads: Sequence[Upload]) -> PreparedFiles:
    """Put files beside the reply that the agent is writing: checked, scanned and stored as customers' files are."""
    prepared = prepare_files(desk, uploads, conversation_id=ticket.conversation_id)
    with desk.db.begin() as session:
        most = desk.settings.photos_per_message
        if len(files_of(session, agent, ticket)) + len(prepared.attachments) > most:
            raise Invalid(f"A message takes at most {most} files.", field="files")
        for one in prepared.attachments:
            values = {name: getattr(one, name) for name in FILE}
            session.add(ReplyFile(ticket_id=ticket.id, agent_id=agent.agent_id, **values))
    return prepared


def files_of(session: Session, agent: AgentPrincipal, ticket: Ticket) -> list[ReplyFile]:
    mine = select(ReplyFile).where(ReplyFile.ticket_id == ticket.id, ReplyFile.agent_id == agent.agent_id)
    return list(session.scalars(mine.order_by(ReplyFile.id)))


def file_of(session: Session, agent: AgentPrincipal, ticket: Ticket, public_id: str) -> ReplyFile:
    found = next((one for one in files_of(session, agent, ticket) if one.public_id == public_id), None)
    if found is None:
        raise NotFound("There is no such file.")
    return found


def remove_file(session: Session, agent: AgentPrincipal, ticket: Ticket, public_id: str) -> None:
    session.delete(file_of(session, agent, ticket, public_id))


def _leave(session: Session, agent: AgentPrincipal, ticket: Ticket, held: HeldReply) -> None:
    """Send it as it is now: a draft that was overtaken is a reply of one's own."""
    session.expire(ticket)
    files = files_of(session, agent, ticket)
    attachments = [attached(one, place) for place, one in enumerate(files)]
    reopens = ticket.solved_at is None or ticket.solved_at < held.created_at  # else it was solved after it was written
    draft = held.draft
    if draft is not None and draft.status is DraftStatus.PROPOSED:
        drafts.send_draft(session, agent, ticket, draft, text=held.said, attachments=attachments, reopens=reopens)
    else:
        drafts.reply(session, agent, ticket, held.said, attachments=attachments, reopens=reopens)
    for one in files:
        session.delete(one)
    if held.macro is not None:
        macros.perform(session, agent, ticket, held.macro)
    if held.then:
        given = [{"name": "set_status", "arguments": {"status": held.then}}]
        actions.apply(session, ticket, actions.parse(session, given), agent)


def _repeated(session: Session, agent: AgentPrincipal, ticket: Ticket, new: Outgoing) -> HeldReply | None:
    """The button was pressed twice, or its answer was lost."""
    held = held_reply(session, ticket)
    is_same = held is not None and held.agent_id == agent.agent_id and held.said == new.text.strip()
    return held if is_same else None


def _mind(session: Session, agent: AgentPrincipal, ticket: Ticket, new: Outgoing) -> None:
    """Whether it has what the inbox never says, and is meant."""
    try:
        guardrails.require_sayable(ticket.conversation.inbox, new.text)
    except guardrails.NeverSaid:
        if new.confirmed_from is None:
            raise
        where, what = new.confirmed_from, ticket.public_id
        audit.record(session, agent, "guardrails.override", address=where, subject=what, fields=["never_say"])


def _make_way(session: Session, agent: AgentPrincipal, ticket: Ticket) -> None:
    before = held_reply(session, ticket)
    if before is not None and before.agent_id != agent.agent_id:
        raise Conflict(f"{before.agent.name} has just sent a reply. Nothing was sent; yours is still in the box.")
    send_now(session, agent, ticket)


def _of(ticket: Ticket) -> Select[HeldReply]:
    return select(HeldReply).where(HeldReply.ticket_id == ticket.id).options(joinedload(HeldReply.agent))


def _own(session: Session, agent: AgentPrincipal, ticket: Ticket, public_id: str | None) -> HeldReply | None:
    state.lock_conversation(session, ticket.conversation_id)
    if public_id is None:
        held = held_reply(session, ticket)
        return held if held is not None and held.agent_id == agent.agent_id else None
    held = session.scalar(_of(ticket).where(HeldReply.public_id == public_id))
    if held is not None and held.agent_id != agent.agent_id:
        raise NotAllowed(f"Only {held.agent.name} can take this reply back.")
    return held


def _sender(session: Session, held: HeldReply) -> AgentPrincipal:
    """Raises `Conflict` if they may not write to this ticket any more."""
    agent = AgentPrincipal.of(people.colleague(session, held.agent.public_id))
    sees = session.scalar(visible_tickets(agent).where(Ticket.id == held.ticket_id)) is not None
    if session.get_one(Agent, held.agent_id).deactivated_at is not None or not agent.may_write or not sees:
        raise Conflict("Whoever wrote this may not write to this ticket any more.")
    return agent


def _key(held: HeldReply) -> str:
    return f"{SEND}:{held.id}"


def _enqueue(session: Session, held: HeldReply) -> None:
    priority, key = WorkPriority.INTERACTIVE, _key(held)
    queue.enqueue(session, SEND, {"held_id": held.id}, key=key, priority=priority, run_at=held.due_at)


def _tell(session: Session, held: HeldReply, *, gone: bool = False) -> None:
    session.flush()
    ticket = session.get_one(Ticket, held.ticket_id)
    feed.append(session, ticket.conversation_id, ReplyHeld(ticket, held, gone=gone))
