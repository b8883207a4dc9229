"""Retention: for how long an inbox keeps the files of conversations that are over, and for how long conversations.

A conversation is over once its ticket is solved or closed, or once the assistant has had the last word and nobody waits
for a person. Its time runs from the last message or change of who answers. What was merged into a ticket goes no sooner
than that ticket.

Files go with their small versions, with what was read and corrected in them, and with the words by which that was
found; their rows stay, and say so. A conversation goes with all that hangs on it (`erasure`), and its customer with the
last one. Reports keep their figures (`rollup.keeping`). What went is listed beside the database, so that it goes again
after an older backup was restored, whatever that one's rules say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import structlog
from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select
from sqlalchemy.orm import Session, aliased

from assistant.db import Database
from assistant.desk import audit, erasure, feed, files, inboxes, photo_questions, queue, rollup, search
from assistant.desk.desk import Desk
from assistant.desk.events import EventKind, MessageUpdated
from assistant.desk.state import DONE
from assistant.models import (
    Attachment,
    Author,
    Conversation,
    ConversationState,
    Customer,
    Event,
    Evidence,
    FileCondition,
    Inbox,
    Job,
    LinkKind,
    Message,
    MessageVisibility,
    ReplyFile,
    Ticket,
    TicketLink,
)
from assistant.ports import WorkPriority
from assistant.skills.taxonomy import Taxonomy
from assistant.storage import Storage

log = structlog.get_logger(__name__)

RETAIN = "retain"  # the job
EVERY = timedelta(days=1)
# Conversations in one transaction: five take 80 ms of one core (of 5,000 tickets, SQLite), twenty 220 ms.
_AT_ONCE = 5
_IN_A_JOB = 500
T = TypeVar("T")
_READING = (EventKind.EVIDENCE_READ.value, EventKind.EVIDENCE_CORRECTED.value, EventKind.PHOTO_ASKED.value)


class Kind(StrEnum):
    CONVERSATIONS = "conversations"
    FILES = "files"  # of conversations that are kept


@dataclass(frozen=True)
class Rule:
    """What is kept for so many days in an inbox. Of files, those of conversations whose own time, ``but`` days, is over
    are left to them."""

    inbox_id: int
    inbox: str  # its key
    kind: Kind
    days: int
    but: int | None = None


@dataclass(frozen=True)
class Due:
    """What would go by a rule now: conversations, their files, and when something happened last in the oldest."""

    rule: Rule
    conversations: int
    files: int
    oldest: datetime | None


def rules_of(inbox: Inbox, own: inboxes.InboxSettings | None = None) -> list[Rule]:
    """What an inbox says, or would say with other settings; nothing by default."""
    own = own or inboxes.settings_of(inbox)
    whole, part = own.keep_conversations_days, own.keep_files_days
    found = [Rule(inbox.id, inbox.key, Kind.CONVERSATIONS, whole)] if whole is not None else []
    return [*found, Rule(inbox.id, inbox.key, Kind.FILES, part, whole)] if part is not None else found


def due(session: Session, rule: Rule, *, now: datetime) -> Due:
    found = _due(rule, now).subquery()
    number, oldest = session.execute(select(func.count(), func.min(found.c.updated_at)).select_from(found)).one()
    held = select(func.count(Attachment.id)).join(Attachment.message).where(_IS_KEPT)
    held = held.where(Message.conversation_id.in_(select(found.c.id)))
    return Due(rule, number, session.scalar(held) or 0, oldest)


def request(db: Database, *, now: datetime) -> None:
    """Have the job run if there are rules, and none was asked for within a day."""
    with db.read() as session:
        has_rules = any(rules_of(inbox) for inbox in inboxes.all_inboxes(session))
        last = session.scalar(select(func.max(Job.created_at)).where(Job.name == RETAIN))
    if has_rules and (last is None or last <= now - EVERY):
        with db.begin() as session:
            _enqueue(session)


def retain_job(desk: Desk) -> None:
    """The job: what is due, some of it at a time; then again, so that others get their turn."""
    keeper = Retention(desk.db, desk.storage, desk.settings.data_dir, desk.taxonomy)
    if keeper.run(now=desk.now()):
        with desk.db.begin() as session:
            _enqueue(session)


def _enqueue(session: Session) -> None:
    queue.enqueue(session, RETAIN, {}, key=RETAIN, priority=WorkPriority.BATCH)


class Retention:
    """Lets go of what has been kept long enough: in a database, its files, and the list of erasures in ``folder``."""

    def __init__(self, db: Database, storage: Storage, folder: Path, taxonomy: Taxonomy) -> None:
        self._db, self._storage, self._folder, self._taxonomy = db, storage, folder, taxonomy

    def run(self, *, now: datetime, user: str | None = None) -> bool:
        """Remove what is due, up to some hundreds of conversations, few in each transaction. The audit log gets a
        receipt for each inbox. ``user``: of the machine, who asked for it. Returns whether there may be more."""
        with self._db.read() as session:
            rules = [rule for inbox in inboxes.all_inboxes(session) for rule in rules_of(inbox)]
        left, removed = _IN_A_JOB, {rule.inbox: Counter[str]() for rule in rules}
        try:
            for rule in rules:
                left -= self._apply(rule, removed[rule.inbox], most=left, now=now)
        finally:
            self._tell({key: counts for key, counts in removed.items() if counts}, user)
        return left <= 0

    def repeat(self, *, now: datetime) -> bool:
        """Remove again what is listed as removed and is here, as after a backup was restored. Returns whether anything
        was."""
        whole, parts = erasure.expired(self._folder)
        with self._db.read() as session:
            back = [id_ for some in _some(sorted(whole), 500) for id_ in session.scalars(_ids_of(some))]
            partly = [id_ for some in _some(sorted(parts), 500) for id_ in _with_files(session, some, parts)]
        for few in _some(back):
            self._remove_conversations(Conversation.id.in_(few), now=now)
        for few in _some(partly):
            self._remove_files(Conversation.id.in_(few), now=now, sent_before=parts)
        if back or partly:
            self._forget()
        return bool(back or partly)

    def _apply(self, rule: Rule, removed: Counter[str], *, most: int, now: datetime) -> int:
        with self._db.read() as session:
            found = [row.id for row in session.execute(_due(rule, now).limit(max(most, 0)))]
        is_due = Conversation.id.in_(select(_due(rule, now).subquery().c.id))
        remove = self._remove_conversations if rule.kind is Kind.CONVERSATIONS else self._remove_files
        for few in _some(found):
            removed.update(remove(Conversation.id.in_(few) & is_due, now=now))  # a customer may have written meanwhile
        return len(found)

    def _remove_conversations(self, these: ColumnElement[bool], *, now: datetime) -> Counter[str]:
        with self._db.begin() as session:
            rows, tickets = _locked(session, these)
            listed = [row.public_id for row in rows]
            customers = {row.customer_id for row in rows} | {ticket.requester_id for ticket in tickets}
            with rollup.keeping(session, [ticket.id for ticket in tickets], self._taxonomy, now=now):
                gone, digests = erasure.delete_rows(session, Conversation, [row.id for row in rows])
            persons = _without_conversations(session, customers)
            digests |= erasure.delete_customers(session, persons)[1]
        erasure.list_expired(self._folder, conversations=listed)
        files.remove_unnamed(self._db, self._storage, digests)
        return +Counter(conversations=len(listed), customers=len(persons), files=gone["attachments"])

    def _remove_files(
        self, these: ColumnElement[bool], *, now: datetime, sent_before: Mapping[str, datetime] | None = None
    ) -> Counter[str]:
        """``sent_before``: only what was sent before, by the conversation's public id."""
        with self._db.begin() as session:
            rows, tickets = _locked(session, these)
            attachments = [
                one
                for row in rows
                for one in session.scalars(_files_of(row.id))
                if sent_before is None or one.created_at < sent_before[row.public_id]
            ]
            with rollup.keeping(session, [ticket.id for ticket in tickets], self._taxonomy, now=now):
                digests = _let_go(session, attachments, tickets, now=now)
            for message in {one.message_id: one.message for one in attachments}.values():
                feed.append(session, message.conversation_id, MessageUpdated(message, files=True))
            for ticket in tickets:
                search.index(session, ticket)
        erasure.list_expired(self._folder, files_of=[row.public_id for row in rows])
        files.remove_unnamed(self._db, self._storage, digests)
        return +Counter(files=len(attachments))

    def _tell(self, removed: Mapping[str, Counter[str]], user: str | None) -> None:
        if not removed:
            return
        self._forget()
        with self._db.begin() as session:
            for inbox, counts in removed.items():
                log.info("retention.removed", inbox=inbox, **counts)
                audit.record_retention(session, inbox, counts, user=user)

    def _forget(self) -> None:
        """Nothing of it is left in the database's files."""
        search.forget_erased(self._db)
        self._db.truncate_log()


def _due(rule: Rule, now: datetime) -> Select[int, datetime]:
    """Ids of conversations whose time is over by a rule, with when something happened last, the oldest first."""
    before = now - timedelta(days=rule.days)
    query = select(Conversation.id, Conversation.updated_at)
    query = query.outerjoin(Ticket, Ticket.conversation_id == Conversation.id)
    query = query.where(Conversation.inbox_id == rule.inbox_id, Conversation.updated_at < before, _is_over())
    query = query.where(~_is_shown_in_another(before))
    if rule.kind is Kind.FILES:
        query = query.where(_HAS_FILES)
    if rule.but is not None:
        query = query.where(Conversation.updated_at >= now - timedelta(days=rule.but))
    return query.order_by(Conversation.updated_at, Conversation.id)


def _is_over() -> ColumnElement[bool]:
    last = select(Message.author).where(
        Message.conversation_id == Conversation.id, Message.visibility == MessageVisibility.PUBLIC
    )
    last_word = last.order_by(Message.id.desc()).limit(1).scalar_subquery()
    is_answered = and_(
        Conversation.state == ConversationState.ASSISTANT,
        last_word != Author.CUSTOMER,
        Ticket.agent_id.is_(None),
        Ticket.waiting_since.is_(None),
        Ticket.snoozed_until.is_(None),
    )
    return or_(Ticket.id.is_(None), Ticket.status.in_(DONE), is_answered)


def _is_shown_in_another(before: datetime) -> ColumnElement[bool]:
    """Whether the ticket was merged into one whose own time is not over."""
    other, there = aliased(Ticket), aliased(Conversation)
    into = select(TicketLink.id).join(other, other.id == TicketLink.other_id)
    into = into.join(there, there.id == other.conversation_id)
    into = into.where(TicketLink.ticket_id == Ticket.id, TicketLink.kind == LinkKind.MERGED)
    return into.where(or_(other.status.not_in(DONE), there.updated_at >= before)).exists()


_IS_KEPT = Attachment.condition != FileCondition.REMOVED
_HAS_FILES = (
    select(Attachment.id).join(Attachment.message).where(Message.conversation_id == Conversation.id, _IS_KEPT).exists()
)


def _files_of(conversation_id: int) -> Select[Attachment]:
    return select(Attachment).join(Attachment.message).where(Message.conversation_id == conversation_id, _IS_KEPT)


def _locked(session: Session, these: ColumnElement[bool]) -> tuple[Sequence[Conversation], Sequence[Ticket]]:
    """Conversations of which this holds and nobody else is writing to, with their tickets."""
    wanted = select(Conversation).where(these).order_by(Conversation.id)
    rows = session.scalars(wanted.with_for_update(skip_locked=True)).all()
    return rows, session.scalars(select(Ticket).where(Ticket.conversation_id.in_([row.id for row in rows]))).all()


def _let_go(
    session: Session, attachments: Sequence[Attachment], tickets: Sequence[Ticket], *, now: datetime
) -> set[str]:
    """Take attachments' files away, those that agents have put beside a reply and not sent, and what was read in them.
    Returns the digests of the files."""
    beside = session.scalars(select(ReplyFile).where(ReplyFile.ticket_id.in_([one.id for one in tickets]))).all()
    digests = {(one.sha256, one.thumbnail_sha256) for one in attachments}
    digests |= {(one.sha256, one.thumbnail_sha256) for one in beside}
    named = {digest for both in digests for digest in both if digest}
    for one in attachments:
        one.sha256, one.thumbnail_sha256 = "", None
        one.condition, one.removed_at = FileCondition.REMOVED, now
    photo_questions.forget(session, [one.id for one in attachments])
    for unsent in beside:
        session.delete(unsent)
    session.flush()
    here = [one.conversation_id for one in tickets]
    session.execute(delete(Evidence).where(Evidence.sha256.in_(named), Evidence.conversation_id.in_(here)))
    session.execute(delete(Event).where(Event.kind.in_(_READING), Event.conversation_id.in_(here)))
    erasure.forget_content(session, named)
    return named


def _without_conversations(session: Session, ids: Collection[int]) -> list[Customer]:
    """Those of the customers, with whoever was merged with them, who have no conversation left."""
    found: dict[int, Customer] = {}
    for customer in session.scalars(select(Customer).where(Customer.id.in_(ids)).with_for_update()).all():
        person = erasure.one_person(session, customer)
        theirs = select(Conversation.id).where(Conversation.customer_id.in_([one.id for one in person])).limit(1)
        if session.scalar(theirs) is None:
            found |= {one.id: one for one in person}
    return list(found.values())


def _ids_of(public_ids: Sequence[str]) -> Select[int]:
    return select(Conversation.id).where(Conversation.public_id.in_(public_ids))


def _with_files(session: Session, public_ids: Sequence[str], sent_before: Mapping[str, datetime]) -> set[int]:
    """Ids of those of the conversations that have files which were sent before."""
    kept = select(Conversation.id, Conversation.public_id, func.min(Attachment.created_at).label("first"))
    kept = kept.join(Message, Message.conversation_id == Conversation.id)
    kept = kept.join(Attachment, Attachment.message_id == Message.id).where(_IS_KEPT)
    rows = session.execute(kept.where(Conversation.public_id.in_(public_ids)).group_by(Conversation.id))
    return {row.id for row in rows if row.first < sent_before[row.public_id]}


def _some(values: Sequence[T], number: int = _AT_ONCE) -> Iterator[Sequence[T]]:
    return (values[start : start + number] for start in range(0, len(values), number))
