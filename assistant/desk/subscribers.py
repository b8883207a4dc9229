"""The work that follows an event. A new consumer of events (webhooks, reminders, reports) is one more function here.

A subscriber runs in the transaction of the change and returns the jobs that the event makes necessary, which are
committed with it. It may read and must not write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from assistant.db import utcnow
from assistant.desk import learning
from assistant.desk.courtesy import last_request
from assistant.desk.events import (
    TOLD,
    ConversationMoved,
    EventKind,
    EvidenceCorrected,
    MessageCreated,
    MessageUpdated,
    NoteCreated,
    Recorded,
    TicketOpened,
    TicketTriaged,
    TicketUpdated,
)
from assistant.desk.queue import NewJob
from assistant.models import (
    Assignment,
    Author,
    Automation,
    ConversationState,
    FileCondition,
    Ticket,
    TicketFollower,
    TriageResult,
    Trigger,
    Webhook,
)
from assistant.ports import WorkPriority

PROCESS_MESSAGE = "process_message"  # handled by `turns`
SCAN_AGAIN = "scan_again"  # handled by `attachments`
MAIL_UNREAD = "mail_unread"  # handled by `notifications`
ALERT = "alert"  # handled by `alerts`
WAKE = "wake"  # handled by `tickets`
ASSIGN = "assign_waiting"  # handled by `assigning`
AUTOMATE = "automate"  # handled by `automations`
TELL_WEBHOOK = "tell_webhook"  # handled by `webhooks`
CHAIN = "automations"  # in a session's info: the automations that have led to what it changes, the first one first
LONGEST_CHAIN = 5
# Whoever is there has seen a reply by then, and nothing more is to be done.
_SOON = timedelta(minutes=1)

Subscriber = Callable[[Session, Recorded], Iterable[NewJob]]


def process_customer_message(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Read, triage and answer every customer message; those with a customer waiting for the assistant come first."""
    match recorded.event:
        case MessageCreated(message) if message.author is Author.CUSTOMER:
            live = message.conversation.state is ConversationState.ASSISTANT
            priority = WorkPriority.INTERACTIVE if live else WorkPriority.DRAFT
            yield NewJob(PROCESS_MESSAGE, {"message_id": message.id}, priority=priority)


def scan_unscanned_files(_session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Scan what was accepted while the malware scanner was away."""
    match recorded.event:
        case MessageCreated(message) if any(
            attachment.condition is FileCondition.UNSCANNED for attachment in message.attachments
        ):
            yield NewJob(SCAN_AGAIN, {"message_id": message.id, "tries": 0}, key=f"{SCAN_AGAIN}:{message.id}")


def draft_after_handoff(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Draft a reply to what the assistant could not answer, so that the agent does not start from an empty page."""
    match recorded.event:
        case ConversationMoved(conversation, was=ConversationState.ASSISTANT) if (
            conversation.state is ConversationState.HANDED_OFF
        ):
            last = last_request(session, conversation.id)
            if last is not None and not last.failed:
                yield NewJob(PROCESS_MESSAGE, {"message_id": last.id}, key=f"draft:{last.id}")


def answer_after_give_back(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Answer what a person left open when they gave the conversation back to the assistant."""
    match recorded.event:
        case ConversationMoved(conversation, was=ConversationState.HANDED_OFF | ConversationState.AGENT) if (
            conversation.state is ConversationState.ASSISTANT
        ):
            last = last_request(session, conversation.id)
            if last is not None:
                key = f"answer:{last.id}:{conversation.turn}"
                yield NewJob(PROCESS_MESSAGE, {"message_id": last.id}, key=key, priority=WorkPriority.INTERACTIVE)


def redo_after_correction(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Triage and draft again with what an agent has corrected, in the ticket where they did so."""
    match recorded.event:
        case EvidenceCorrected(evidence=evidence) if evidence.conversation_id == recorded.conversation_id:
            last = last_request(session, recorded.conversation_id)
            if last is not None:
                yield NewJob(PROCESS_MESSAGE, {"message_id": last.id}, key=f"redo:{last.id}")


def mail_unread_replies(_session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Look, a little later, whether the customer has seen a reply. Of several at once, the first one's job sees all."""
    match recorded.event:
        case MessageCreated(message) if (
            message.author in (Author.AGENT, Author.ASSISTANT) and message.conversation.channel == "widget"
        ):
            payload = {"conversation_id": message.conversation_id}
            yield NewJob(MAIL_UNREAD, payload, key=f"{MAIL_UNREAD}:{message.conversation_id}", delay=_SOON)


def tell_agents(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Tell the agents whom a message concerns, if there may be any."""
    match recorded.event:
        case NoteCreated(message) if "@" in message.text or _is_somebodys(session, recorded.conversation_id):
            yield NewJob(ALERT, {"message_id": message.id})
        case MessageCreated(message) if message.author is not Author.SYSTEM and _is_somebodys(
            session, recorded.conversation_id
        ):
            yield NewJob(ALERT, {"message_id": message.id})


def _is_somebodys(session: Session, conversation_id: int) -> bool:
    """Whether an agent has or follows its ticket."""
    followed = exists().where(TicketFollower.ticket_id == Ticket.id)
    of_it = select(Ticket.id).where(Ticket.conversation_id == conversation_id)
    return session.scalar(of_it.where(Ticket.agent_id.is_not(None) | followed)) is not None


def wake_snoozed(_session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Bring a snoozed ticket back into sight when its time has come."""
    match recorded.event:
        case TicketUpdated(ticket, changed) if "snoozed_until" in changed and ticket.snoozed_until is not None:
            delay = ticket.snoozed_until - utcnow()
            yield NewJob(WAKE, {"ticket_id": ticket.id}, key=f"{WAKE}:{ticket.id}", delay=delay)


def assign_waiting(_session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Give out the tickets of a team once one waits for a person, or an agent has room for another."""
    match recorded.event:
        case TicketOpened(ticket) | TicketUpdated(ticket) if ticket.conversation.state is ConversationState.HANDED_OFF:
            teams = [ticket.team] if ticket.agent_id is None else []
        case TicketUpdated(ticket, changed) if "status" in changed and ticket.agent is not None:
            teams = [ticket.agent.team]
        case _:
            return
    for team in teams:
        if team is not None and team.assignment is not Assignment.OFF:
            yield NewJob(ASSIGN, {"team_id": team.id}, key=f"{ASSIGN}:{team.id}")


def automate(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Run the automations that wait for this."""
    for trigger in _triggers(session, recorded):
        yield from _automations(session, recorded, trigger)


def automate_untriaged(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """What waits for a new ticket's triage waits no longer once that has failed, and was not done by its text alone."""
    match recorded.event:
        case MessageUpdated(message, files=False) if message.failed and not _triages(session, recorded.conversation_id):
            yield from _automations(session, recorded, Trigger.OPENED, delay=_SOON)


def _automations(
    session: Session, recorded: Recorded, trigger: Trigger, *, delay: timedelta = timedelta(0)
) -> Iterable[NewJob]:
    """The job of those that are enabled, unless this is the end of a long chain of theirs."""
    chain = session.info.get(CHAIN, [])
    waiting = select(Automation.id).where(
        Automation.enabled, Automation.trigger == trigger, Automation.id.not_in(chain)
    )
    if len(chain) < LONGEST_CHAIN and session.scalar(waiting.limit(1)) is not None:
        event = {"conversation_id": recorded.conversation_id, "event_id": recorded.id}
        yield NewJob(AUTOMATE, {**event, "trigger": trigger.value, "chain": list(chain)}, delay=delay)


def _triggers(session: Session, recorded: Recorded) -> Iterable[Trigger]:
    match recorded.event:
        case MessageCreated(message) if message.author is Author.CUSTOMER:
            yield Trigger.WRITTEN
        case MessageCreated(message) if message.author is not Author.SYSTEM:
            yield Trigger.REPLIED
        case ConversationMoved(conversation) if conversation.state is ConversationState.HANDED_OFF:
            yield Trigger.HANDED_OFF
        case TicketTriaged(kind=EventKind.TICKET_TRIAGED):
            if _triages(session, recorded.conversation_id) == 1:
                yield Trigger.OPENED
            yield Trigger.TRIAGED
        case event if event.kind in _TRIGGERS:
            yield _TRIGGERS[event.kind]


def tell_webhooks(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Tell other systems. What they have not been told yet follows from the feed: one job a ticket does for all."""
    if recorded.event.kind not in TOLD:
        return
    for webhook in session.scalars(select(Webhook).where(Webhook.disabled_at.is_(None))):
        if recorded.event.kind in webhook.kinds:
            yield webhook_job(webhook.id, recorded.conversation_id)


def webhook_job(webhook_id: int, conversation_id: int) -> NewJob:
    """Of a ticket's conversation and a webhook there is never more than one that waits."""
    lane = {"webhook_id": webhook_id, "conversation_id": conversation_id}
    return NewJob(TELL_WEBHOOK, lane, key=f"{TELL_WEBHOOK}:{webhook_id}:{conversation_id}")


def _triages(session: Session, conversation_id: int) -> int:
    """How many of the ticket there are, up to two."""
    found = select(TriageResult.id).join(TriageResult.ticket).where(Ticket.conversation_id == conversation_id)
    return len(session.scalars(found.limit(2)).all())


_TRIGGERS = {
    EventKind.TICKET_UPDATED: Trigger.CHANGED,
    EventKind.TICKET_BREACHED: Trigger.BREACHED,
    EventKind.CONVERSATION_RATED: Trigger.RATED,
}


SUBSCRIBERS: tuple[Subscriber, ...] = (
    process_customer_message,
    scan_unscanned_files,
    draft_after_handoff,
    answer_after_give_back,
    redo_after_correction,
    mail_unread_replies,
    tell_agents,
    wake_snoozed,
    assign_waiting,
    automate,
    automate_untriaged,
    tell_webhooks,
    learning.learn_after_decision,
)
