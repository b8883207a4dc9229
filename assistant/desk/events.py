"""Events: everything that changes for a client, each with a kind, an audience and a payload.

| kind | who sees it | payload |
|---|---|---|
| `message.created` | customer | the message |
| `note.created` | agents | the message |
| `message.updated` | customer | the message: the assistant gave up on it, or a file was lost, scanned or removed |
| `message.rated` | agents | `message`: its id; `helpful`: true, false or null; `feedback`: what is missing, or null |
| `conversation.updated` | customer | the conversation: who answers, and why |
| `conversation.read` | customer | how far both sides have read: `delivered`, `seen`, `seen_by_agents` |
| `typing` | the other side | `name`: of the agent who types, null for the customer; `seconds`: how long it holds |
| `conversation.rated` | customer | the rating: `score`, `comment`, and until when it can be changed |
| `answer.started` | customer | empty: the assistant has begun to answer |
| `answer.delta` | customer | `text`: the next words; `turn` |
| `answer.dropped` | customer | `turn`: the words sent so far are withdrawn |
| `ticket.created` | agents | `ticket`: its summary |
| `ticket.updated` | agents | `ticket`: its summary; `changed`: names of the changed columns |
| `ticket.linked` | agents | `ticket`: its summary; a link is new or gone, or something was said in one merged into it |
| `ticket.triaged` | agents | `ticket`: its summary; `triage`: what the assistant proposes |
| `triage.decided` | agents | the same, after an agent or a machine accepted or overrode a field |
| `ticket.breached` | agents | `ticket`: its summary; `target`: the SLA target that has been missed |
| `draft.updated` | agents | `ticket`: its id; `draft`: proposed, sent, edited, discarded or withdrawn |
| `reply.held` | agents | `ticket`: its id; `by`: whose; `due_at`: when it leaves, null if it is gone; `problem` |
| `evidence.read` | agents | `attachment`: its id; `evidence`: its current evidence |
| `evidence.corrected` | agents | the same, after an agent corrected it |
| `photo.asked` | agents | `attachment`: its id; `question`: what was asked about the photo, with the answer |

Agents also see what customers see. Messages, conversations, tickets, triage, drafts and evidence are the objects of
HTTP responses (`assistant.payloads`). Other systems are told what is in `TOLD`. A client that loads once and then
applies events has what it would get by loading again, except queue positions and jobs ahead, which other conversations
move: clients poll them. `typing` is for whoever is there, and not kept.

`feed` stores and streams events; `subscribers` says what work follows them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from assistant import payloads
from assistant.models import (
    Attachment,
    Attention,
    Conversation,
    ConversationState,
    Draft,
    Evidence,
    HeldReply,
    Message,
    PhotoQuestion,
    Rating,
    SLATarget,
    Ticket,
    TriageResult,
)

# Whoever types says so again after half of it.
TYPING_SECONDS = 6


class EventKind(StrEnum):
    MESSAGE_CREATED = "message.created"
    NOTE_CREATED = "note.created"
    MESSAGE_UPDATED = "message.updated"
    MESSAGE_RATED = "message.rated"
    CONVERSATION_UPDATED = "conversation.updated"
    CONVERSATION_READ = "conversation.read"
    TYPING = "typing"
    CONVERSATION_RATED = "conversation.rated"
    ANSWER_STARTED = "answer.started"
    ANSWER_DELTA = "answer.delta"
    ANSWER_DROPPED = "answer.dropped"
    TICKET_CREATED = "ticket.created"
    TICKET_UPDATED = "ticket.updated"
    TICKET_LINKED = "ticket.linked"
    TICKET_TRIAGED = "ticket.triaged"
    TICKET_BREACHED = "ticket.breached"
    TRIAGE_DECIDED = "triage.decided"
    DRAFT_UPDATED = "draft.updated"
    REPLY_HELD = "reply.held"
    EVIDENCE_READ = "evidence.read"
    EVIDENCE_CORRECTED = "evidence.corrected"
    PHOTO_ASKED = "photo.asked"


# Of the moment: for whoever has the conversation open. Other systems are told everything else.
_OF_THE_MOMENT = frozenset(
    {
        EventKind.TYPING,
        EventKind.ANSWER_STARTED,
        EventKind.ANSWER_DELTA,
        EventKind.ANSWER_DROPPED,
        EventKind.REPLY_HELD,
    }
)
TOLD = tuple(kind for kind in EventKind if kind not in _OF_THE_MOMENT)


class Audience(StrEnum):
    CUSTOMER = "customer"  # the customer and every agent
    AGENT = "agent"  # agents only


class DeskEvent(ABC):
    """Something that happened to one conversation. Subclasses hold the rows as they are afterwards."""

    kind: ClassVar[EventKind]
    audience: ClassVar[Audience] = Audience.AGENT

    @abstractmethod
    def payload(self) -> dict[str, Any]:
        """What clients get, without internal ids."""


@dataclass(frozen=True)
class MessageCreated(DeskEvent):
    kind = EventKind.MESSAGE_CREATED
    audience = Audience.CUSTOMER
    message: Message

    def payload(self) -> dict[str, Any]:
        return payloads.Message.of(self.message).to_json()


@dataclass(frozen=True)
class MessageUpdated(DeskEvent):
    """The assistant gave up on it, or, ``files``, one of its files was lost, found, scanned or removed."""

    kind = EventKind.MESSAGE_UPDATED
    audience = Audience.CUSTOMER
    message: Message
    files: bool = False

    def payload(self) -> dict[str, Any]:
        return payloads.Message.of(self.message).to_json()


@dataclass(frozen=True)
class NoteCreated(DeskEvent):
    kind = EventKind.NOTE_CREATED
    message: Message

    def payload(self) -> dict[str, Any]:
        return payloads.Message.of(self.message).to_json()


@dataclass(frozen=True)
class MessageRated(DeskEvent):
    kind = EventKind.MESSAGE_RATED
    message: Message

    def payload(self) -> dict[str, Any]:
        message = self.message
        return {"message": message.public_id, "helpful": message.helpful, "feedback": message.feedback}


@dataclass(frozen=True)
class ConversationMoved(DeskEvent):
    """``queue_position`` is 0 if nobody waits."""

    kind = EventKind.CONVERSATION_UPDATED
    audience = Audience.CUSTOMER
    conversation: Conversation
    was: ConversationState
    queue_position: int

    def payload(self) -> dict[str, Any]:
        return payloads.Conversation.of(self.conversation, queue_position=self.queue_position).to_json()


@dataclass(frozen=True)
class ConversationRead(DeskEvent):
    kind = EventKind.CONVERSATION_READ
    audience = Audience.CUSTOMER
    attention: Attention

    def payload(self) -> dict[str, Any]:
        return payloads.Attention.of(self.attention).to_json()


@dataclass(frozen=True)
class SomebodyTypes(DeskEvent):
    """The customer or, by name, an agent. It holds for some seconds unless repeated."""

    kind = EventKind.TYPING
    agent_name: str | None = None

    @property
    def audience(self) -> Audience:  # type: ignore[override]
        return Audience.AGENT if self.agent_name is None else Audience.CUSTOMER

    def payload(self) -> dict[str, Any]:
        return {"name": self.agent_name, "seconds": TYPING_SECONDS}


@dataclass(frozen=True)
class ConversationRated(DeskEvent):
    kind = EventKind.CONVERSATION_RATED
    audience = Audience.CUSTOMER
    rating: Rating

    def payload(self) -> dict[str, Any]:
        return payloads.Rating.of(self.rating).to_json()


@dataclass(frozen=True)
class AnswerStarted(DeskEvent):
    kind = EventKind.ANSWER_STARTED
    audience = Audience.CUSTOMER

    def payload(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class AnswerDelta(DeskEvent):
    kind = EventKind.ANSWER_DELTA
    audience = Audience.CUSTOMER
    text: str
    turn: int

    def payload(self) -> dict[str, Any]:
        return {"text": self.text, "turn": self.turn}


@dataclass(frozen=True)
class AnswerDropped(DeskEvent):
    kind = EventKind.ANSWER_DROPPED
    audience = Audience.CUSTOMER
    turn: int

    def payload(self) -> dict[str, Any]:
        return {"turn": self.turn}


@dataclass(frozen=True)
class TicketOpened(DeskEvent):
    kind = EventKind.TICKET_CREATED
    ticket: Ticket

    def payload(self) -> dict[str, Any]:
        return {"ticket": _summary(self.ticket)}


@dataclass(frozen=True)
class TicketUpdated(DeskEvent):
    kind = EventKind.TICKET_UPDATED
    ticket: Ticket
    changed: tuple[str, ...]

    def payload(self) -> dict[str, Any]:
        return {"ticket": _summary(self.ticket), "changed": list(self.changed)}


@dataclass(frozen=True)
class TicketLinked(DeskEvent):
    """What is shown of other tickets with it has changed."""

    kind = EventKind.TICKET_LINKED
    ticket: Ticket

    def payload(self) -> dict[str, Any]:
        return {"ticket": _summary(self.ticket)}


@dataclass(frozen=True)
class TicketBreached(DeskEvent):
    kind = EventKind.TICKET_BREACHED
    ticket: Ticket
    target: SLATarget

    def payload(self) -> dict[str, Any]:
        return {"ticket": _summary(self.ticket), "target": self.target.value}


@dataclass(frozen=True)
class TicketTriaged(DeskEvent):
    kind = EventKind.TICKET_TRIAGED
    ticket: Ticket
    result: TriageResult

    def payload(self) -> dict[str, Any]:
        return {"ticket": _summary(self.ticket), "triage": payloads.Triage.of(self.result).to_json()}


@dataclass(frozen=True)
class TriageDecided(TicketTriaged):
    kind = EventKind.TRIAGE_DECIDED


@dataclass(frozen=True)
class DraftChanged(DeskEvent):
    kind = EventKind.DRAFT_UPDATED
    ticket: Ticket
    draft: Draft

    def payload(self) -> dict[str, Any]:
        return {"ticket": self.ticket.public_id, "draft": payloads.Draft.of(self.draft).to_json()}


@dataclass(frozen=True)
class ReplyHeld(DeskEvent):
    """``gone``: it has left, or was taken back. Nothing of what it says is told."""

    kind = EventKind.REPLY_HELD
    ticket: Ticket
    held: HeldReply
    gone: bool

    def payload(self) -> dict[str, Any]:
        due_at = None if self.gone else self.held.due_at.isoformat()
        told = {"ticket": self.ticket.public_id, "by": self.held.agent.name, "due_at": due_at}
        return {**told, "problem": self.held.problem}


@dataclass(frozen=True)
class EvidenceRead(DeskEvent):
    kind = EventKind.EVIDENCE_READ
    attachment: Attachment
    evidence: Evidence

    def payload(self) -> dict[str, Any]:
        shown = payloads.Evidence.stored(self.evidence, filename=self.attachment.filename)
        return {"attachment": self.attachment.public_id, "evidence": shown.to_json()}


@dataclass(frozen=True)
class EvidenceCorrected(EvidenceRead):
    kind = EventKind.EVIDENCE_CORRECTED


@dataclass(frozen=True)
class PhotoAsked(DeskEvent):
    """``evidence``: that which counts now."""

    kind = EventKind.PHOTO_ASKED
    attachment: Attachment
    question: PhotoQuestion
    evidence: Evidence

    def payload(self) -> dict[str, Any]:
        shown = payloads.PhotoQuestion.of(self.question, self.evidence)
        return {"attachment": self.attachment.public_id, "question": shown.to_json()}


@dataclass(frozen=True)
class Recorded:
    """A stored event with its id in the feed and its conversation, as subscribers get it."""

    id: int
    conversation_id: int
    event: DeskEvent


def _summary(ticket: Ticket) -> dict[str, Any]:
    return payloads.TicketSummary.of(ticket).to_json()
