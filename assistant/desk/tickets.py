"""Tickets: opening, finding, assigning, solving."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased, joinedload, selectinload

from assistant import payloads
from assistant.desk import (
    alerts,
    conversations,
    copies,
    custom_fields,
    deadlines,
    feed,
    idempotency,
    inboxes,
    queue,
    related,
    search,
    state,
    tags,
    uploads,
)
from assistant.desk.access import AgentPrincipal, MachinePrincipal, Staff, out_of_sight, visible_tickets
from assistant.desk.attachments import RejectedFile, check_files, prepare_files
from assistant.desk.desk import Desk
from assistant.desk.events import TOLD
from assistant.desk.evidence import contradictions_of, evidence_of, photos_of
from assistant.desk.idempotency import AlreadyDone, Once
from assistant.desk.people import find_agent, find_or_add_customer
from assistant.desk.photo_questions import questions_of
from assistant.desk.state import DONE, TicketChanges
from assistant.desk.subscribers import WAKE
from assistant.desk.triage import told_of
from assistant.desk.uploads import NoUpload
from assistant.errors import Conflict, Invalid, PreconditionFailed
from assistant.media.files import Upload
from assistant.models import (
    DEFAULT_INBOX,
    Agent,
    Conversation,
    ConversationState,
    Customer,
    Draft,
    Inbox,
    Message,
    Priority,
    Team,
    Ticket,
    TicketStatus,
    TriageResult,
)
from assistant.skills.taxonomy import Taxonomy

_SOME = 50


@dataclass(frozen=True)
class NewTicket:
    """What a ticket is opened with. ``uploads`` are the files as received, ``attachments`` ids of files that were
    uploaded before, ``fields`` values of custom fields, ``context`` as `site_context.checked` makes it. ``language``:
    that the customer is said to speak. ``external_id``: what the sender calls it, once for each API key."""

    subject: str = ""
    text: str = ""
    requester_name: str | None = None
    requester_email: str | None = None
    requester_external_id: str | None = None
    uploads: tuple[Upload, ...] = ()
    attachments: tuple[str, ...] = ()
    inbox: str = DEFAULT_INBOX
    fields: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    external_id: str | None = None

    def fingerprint(self) -> str:
        """Tells whether another is the same."""
        digest = hashlib.sha256()
        parts = (self.subject, self.text, self.requester_name, self.requester_email, self.requester_external_id)
        for part in parts if self.inbox == DEFAULT_INBOX else (*parts, self.inbox):
            digest.update(repr(part).encode() + b"\0")
        for pair in sorted(self.fields.items()):
            digest.update(repr(pair).encode() + b"\0")
        for upload in self.uploads:
            digest.update(hashlib.sha256(upload.data).digest())
        return digest.hexdigest()


@dataclass(frozen=True)
class Opened:
    """The ticket and the files that were refused. ``repeated``: the same request had already opened it."""

    ticket: Ticket
    rejected: tuple[RejectedFile, ...] = ()
    repeated: bool = False


@dataclass(frozen=True)
class TicketFilters:
    status: tuple[TicketStatus, ...] = ()
    priority: tuple[Priority, ...] = ()
    state: tuple[ConversationState, ...] = ()
    category: str | None = None
    product: str | None = None
    team: str | None = None  # the team's key
    inbox: str | None = None  # the inbox's key
    assigned_to: str | None = None  # an agent's public id
    unassigned: bool = False
    requester_email: str | None = None
    requester: str | None = None  # a customer's public id
    external_id: str | None = None  # of whichever sender
    text: str | None = None  # words of the ticket, see `search`
    updated_since: datetime | None = None


@dataclass(frozen=True)
class Page:
    """``cursor`` fetches the next page; None on the last."""

    tickets: Sequence[Ticket] = field(default_factory=tuple)
    cursor: str | None = None


def open_ticket(desk: Desk, machine: MachinePrincipal, new: NewTicket, *, once: Once | None = None) -> Opened:
    """Open a ticket and queue its triage and draft. With ``once``, repeating the request opens it only once.

    Raises `Invalid` if there is no such inbox or upload, or something else was done by the key of the request,
    `NotAllowed` if the machine's key is not for the inbox, `Conflict` with the ``id`` of the ticket that this key has
    opened under the same ``external_id``.
    """
    if once is not None:
        repeated = _find_replay(desk, once)
        if repeated is not None:
            # A client that missed the first answer must still learn which files were refused: the same ones.
            return Opened(repeated, check_files(desk, new.uploads).rejected, repeated=True)
    conversations.check_text(desk, new.text)
    if len(new.subject) > 300:
        raise Invalid("The subject is longer than 300 characters. Please shorten it.", field="subject")
    _refuse_known(desk, machine, new)
    rejected: tuple[RejectedFile, ...] = ()
    try:
        with desk.db.read() as session:
            uploaded = uploads.find(session, machine, new.attachments, now=desk.now())
        files = prepare_files(desk, new.uploads, uploaded=uploaded)
        rejected = files.rejected
        conversations.require_content(new.text or new.subject, files)
        with desk.db.begin() as session:
            customer = find_or_add_customer(
                session, name=new.requester_name, email=new.requester_email, external_id=new.requester_external_id
            )
            inbox = inboxes.for_machine(session, machine, new.inbox)
            conversation = state.begin_conversation(
                session, customer, channel="api", inbox=inbox, language=new.language
            )
            conversations.add_customer_message(
                session,
                conversation,
                text=new.text,
                files=files,
                subject=new.subject.strip() or None,
                site_context=new.context,
            )
            ticket = session.scalars(
                _with_relations(select(Ticket).where(Ticket.conversation_id == conversation.id))
            ).one()
            if new.external_id is not None:
                ticket.external_id, ticket.external_key_id = new.external_id, machine.key_id
                session.flush()
            if new.fields:
                set_fields(session, ticket, new.fields)
            if new.tags:
                tags.put(session, ticket, new.tags)
            if once is not None:
                idempotency.note(session, once, ticket_id=ticket.id)
    except (AlreadyDone, NoUpload, IntegrityError):
        # The same request arrived twice at once, and the other one was first.
        repeated = _find_replay(desk, once) if once is not None else None
        if repeated is None:
            _refuse_known(desk, machine, new)
            raise
        return Opened(repeated, rejected, repeated=True)
    return Opened(ticket, files.rejected)


def _refuse_known(desk: Desk, machine: MachinePrincipal, new: NewTicket) -> None:
    if new.external_id is None:
        return
    of_key = select(Ticket.public_id).where(Ticket.external_key_id == machine.key_id)
    with desk.db.read() as session:
        known = session.scalar(of_key.where(Ticket.external_id == new.external_id))
    if known is not None:
        raise Conflict(f"This key has opened a ticket with this external_id: {known}.", id=known)


def list_tickets(
    session: Session,
    principal: Staff,
    filters: TicketFilters,
    *,
    cursor: str | None = None,
    limit: int = 50,
    with_fields: bool = True,
    changed_last: bool = False,
) -> Page:
    """Newest first, in a constant number of statements however many tickets there are.

    ``with_fields``: also the triage's fields, not only which model triaged. ``changed_last``: those come last that were
    changed last, so that whoever follows the pages sees each change that is made meanwhile.
    """
    query = _apply_filters(visible_tickets(principal), filters)
    if changed_last:
        return _by_change(session, query, filters, cursor=cursor, limit=limit, with_fields=with_fields)
    last_id = None
    if cursor is not None:
        last_id = session.scalar(select(Ticket.id).where(Ticket.public_id == cursor))
        if last_id is None:
            raise Invalid("This cursor is unknown. Start again without it.", field="cursor")
        query = query.where(Ticket.id < last_id)
    # Ids first, from the indexes alone: sorting the joined rows of every match would cost ten times as much.
    if filters.text:
        found = search.newest(session, filters.text, query, before=last_id, limit=limit + 1)
        is_listed = Ticket.id.in_(found)
    else:
        is_listed = Ticket.id.in_(query.with_only_columns(Ticket.id).order_by(Ticket.id.desc()).limit(limit + 1))
    page = _with_relations(select(Ticket).where(is_listed), with_fields=with_fields)
    tickets = session.scalars(page.order_by(Ticket.id.desc())).all()
    more = len(tickets) > limit
    return Page(tickets[:limit], tickets[limit - 1].public_id if more else None)


def _by_change(
    session: Session,
    query: Select[Ticket],
    filters: TicketFilters,
    *,
    cursor: str | None,
    limit: int,
    with_fields: bool,
) -> Page:
    """A cursor is where the page ends, not a ticket: that may be changed, and elsewhere, when the next page is read."""
    if filters.text:
        raise Invalid("What is searched for comes newest first. Leave out `q` or `sort`.", field="sort")
    order = (Ticket.updated_at, Ticket.id)
    if cursor is not None:
        query = query.where(tuple_(*order) > tuple_(*place_of(cursor)))
    ids = session.scalars(query.with_only_columns(Ticket.id).order_by(*order).limit(limit + 1)).all()
    page = _with_relations(select(Ticket).where(Ticket.id.in_(ids[:limit])), with_fields=with_fields)
    tickets = session.scalars(page.order_by(*order)).all()
    last = tickets[-1] if len(ids) > limit else None
    return Page(tickets, cursor_at(last.updated_at, last.id) if last is not None else None)


def cursor_at(changed_at: datetime, row_id: int) -> str:
    """Of a page that ends with this row, in a list sorted by change."""
    return f"{changed_at.isoformat()}~{row_id}"


def place_of(cursor: str) -> tuple[datetime, int]:
    """What `cursor_at` was given. Raises `Invalid` for anything else."""
    at, _, last_id = cursor.partition("~")
    try:
        place = datetime.fromisoformat(at), int(last_id)
    except ValueError as error:
        raise Invalid("This cursor is unknown. Start again without it.", field="cursor") from error
    if place[0].tzinfo is None or place[1] > 2**62:
        raise Invalid("This cursor is unknown. Start again without it.", field="cursor")
    return place


def version(session: Session, ticket: Ticket) -> str:
    """Another one after every change: the last event that tells of one."""
    return str(feed.last_event_id(session, conversation_id=ticket.conversation_id, kinds=TOLD))


def require_version(session: Session, ticket: Ticket, expected: str | None) -> None:
    """Raises `PreconditionFailed` if the ticket is not as it was in the version ``expected``; None: however it is.
    Others who change it wait until the transaction is over."""
    if expected is None:
        return
    state.lock_conversation(session, ticket.conversation_id)
    if version(session, ticket) != expected:
        raise PreconditionFailed("The ticket has been changed since. Read it again, and decide anew.")


def count_tickets(session: Session, principal: Staff, filters: TicketFilters) -> int:
    """How many tickets match the filters."""
    query = _apply_filters(visible_tickets(principal), filters)
    if filters.text:
        query = query.where(search.has(session, filters.text))
    return session.execute(query.with_only_columns(func.count(Ticket.id))).scalar_one()


def load_ticket(session: Session, principal: Staff, public_id: str) -> Ticket:
    """One ticket with its triage, drafts and citations; the messages come from `conversations.all_messages`."""
    query = visible_tickets(principal).where(Ticket.public_id == public_id)
    ticket = session.scalar(_with_relations(query).options(selectinload(Ticket.drafts).selectinload(Draft.citations)))
    if ticket is None:
        raise out_of_sight(session, principal, public_id)
    return ticket


def load_summary(session: Session, principal: Staff, public_id: str) -> Ticket:
    """One ticket with what `payloads.TicketSummary` shows of it."""
    query = visible_tickets(principal).where(Ticket.public_id == public_id)
    ticket = session.scalar(_with_relations(query, with_fields=False))
    if ticket is None:
        raise out_of_sight(session, principal, public_id)
    return ticket


def show_messages(
    session: Session, by: Staff, messages: Sequence[Message], taxonomy: Taxonomy
) -> list[payloads.TicketMessage]:
    """Messages of one conversation with what was read in their photos and asked about them, and where these have been
    before. As `conversations` loads them."""
    photos = photos_of(session, [message.id for message in messages])
    evidence, asked = evidence_of(session, photos), questions_of(session, photos)
    found = copies.copies_of(session, by, photos)
    return [
        payloads.TicketMessage.read(message, evidence, contradictions_of(message, evidence, taxonomy), asked, found)
        for message in messages
    ]


def show_ticket(session: Session, principal: Staff, ticket: Ticket, taxonomy: Taxonomy) -> payloads.Ticket:
    """The whole ticket as a client sees it. ``ticket`` as `load_ticket` loads it."""
    messages = conversations.all_messages(session, ticket.conversation_id)
    return payloads.Ticket.whole(
        ticket,
        version=version(session, ticket),
        messages=show_messages(session, principal, messages, taxonomy),
        jobs_ahead=conversations.jobs_ahead(session, ticket.conversation),
        sla=show_sla(session, ticket),
        links=[payloads.TicketLink.of(one.ticket, one.relation) for one in related.shown(session, principal, ticket)],
        tickets=told_of(session, principal, ticket.current_triage.fields) if ticket.current_triage is not None else {},
    )


def show_sla(session: Session, ticket: Ticket) -> list[payloads.SLAClock]:
    """The times that its SLA policy sets."""
    clocks = deadlines.clocks_shown(session, ticket)
    return [payloads.SLAClock.of(one, paused=deadlines.is_paused(one)) for one in clocks]


def assign(session: Session, ticket: Ticket, agent_public_id: str | None) -> None:
    """Give the ticket to an agent, who then sees it whatever its team, or to nobody."""
    agent = find_agent(session, agent_public_id) if agent_public_id is not None else None
    state.change_ticket(session, ticket, agent=agent)


def set_status(session: Session, ticket: Ticket, status: TicketStatus) -> None:
    """Move a ticket, and close or reopen its conversation with it. Setting the status that it has is a no-op.

    Raises `Conflict` if it is closed: only its customer reopens it.
    """
    state.change_ticket(session, ticket, status=status)


def set_fields(session: Session, ticket: Ticket, given: Mapping[str, str]) -> None:
    """Give some custom fields other values; empty ones are none. Raises `Invalid` that says what a field takes."""
    read = {key.lower(): custom_fields.read(session, key, value) for key, value in given.items()}
    state.lock_conversation(session, ticket.conversation_id)
    state.forget(session, ticket)
    wanted = {key: value for key, value in {**ticket.fields, **read}.items() if value}
    state.change_ticket(session, ticket, fields=wanted)


def solve(session: Session, ticket: Ticket, agent: AgentPrincipal | None = None) -> None:
    """The customer's problem is solved. The agent who solves a ticket of nobody gets it. Twice is a no-op."""
    if ticket.status in DONE:
        return
    changes: TicketChanges = {"status": TicketStatus.SOLVED}
    if agent is not None and ticket.agent_id is None:
        changes["agent"] = session.get_one(Agent, agent.agent_id)
    state.change_ticket(session, ticket, **changes)


def reopen(session: Session, ticket: Ticket, agent: AgentPrincipal) -> None:
    """An agent takes up a solved ticket again. A no-op if it is open."""
    if ticket.status in DONE:
        state.take_over(session, state.lock_conversation(session, ticket.conversation_id), agent)


def wake(desk: Desk, ticket_id: int) -> None:
    """Job: the time is over for which a ticket was snoozed. If it was snoozed for longer meanwhile, look again then."""
    with desk.db.begin() as session:
        ticket = session.get(Ticket, ticket_id)
        if ticket is None or ticket.snoozed_until is None:
            return
        state.lock_conversation(session, ticket.conversation_id)
        session.refresh(ticket, ["snoozed_until"])
        until = ticket.snoozed_until
        if until is not None and until <= desk.now():
            state.change_ticket(session, ticket, snoozed_until=None)
            alerts.tell_woken(desk, session, ticket)
        elif until is not None:
            queue.enqueue(session, WAKE, {"ticket_id": ticket.id}, key=f"{WAKE}:{ticket.id}", run_at=until)


def notice_breach(desk: Desk, ticket_id: int) -> None:
    """Job: a deadline of a ticket has come. If it has been moved, another job looks again then."""
    with desk.db.begin() as session:
        ticket = session.get(Ticket, ticket_id)
        if ticket is not None:
            state.keep_time(session, ticket, now=desk.now())


def recount_deadlines(desk: Desk, after_id: int) -> None:
    """Job: SLA policies or business hours have changed. Some tickets at a time, so that nobody waits for it."""
    with desk.db.begin() as session:
        open_ones = select(Ticket).where(Ticket.id > after_id, Ticket.status.not_in(DONE))
        some = session.scalars(open_ones.order_by(Ticket.id).limit(_SOME)).all()
        for ticket in some:
            state.keep_time(session, ticket, now=desk.now(), rematch=True)
        if len(some) == _SOME:
            inboxes.recount(session, after_id=some[-1].id)


def _find_replay(desk: Desk, once: Once) -> Ticket | None:
    with desk.db.read() as session:
        note = idempotency.find(session, once)
        if note is None:
            return None
        return session.scalars(_with_relations(select(Ticket).where(Ticket.id == note.ticket_id))).one()


def _apply_filters(query: Select[Ticket], filters: TicketFilters) -> Select[Ticket]:
    conditions: dict[str, Callable[[], ColumnElement[bool]]] = {
        "status": lambda: Ticket.status.in_(filters.status),
        "priority": lambda: Ticket.priority.in_(filters.priority),
        "state": lambda: _in_state(filters.state),
        "category": lambda: Ticket.category == filters.category,
        "product": lambda: Ticket.product == filters.product,
        "team": lambda: Ticket.team_id == _ids(Team, Team.key == filters.team).scalar_subquery(),
        "inbox": lambda: Ticket.conversation_id.in_(_ids(Conversation, _in_inbox(filters.inbox))),
        "unassigned": lambda: Ticket.agent_id.is_(None),
        "assigned_to": lambda: Ticket.agent_id == _ids(Agent, Agent.public_id == filters.assigned_to).scalar_subquery(),
        "requester": lambda: (
            Ticket.requester_id == _ids(Customer, Customer.public_id == filters.requester).scalar_subquery()
        ),
        "requester_email": lambda: Ticket.requester_id.in_(_ids(Customer, Customer.email == filters.requester_email)),
        "external_id": lambda: Ticket.external_id == filters.external_id,
        "updated_since": lambda: Ticket.updated_at >= filters.updated_since,
    }
    return query.where(*(condition() for name, condition in conditions.items() if getattr(filters, name)))


def _in_state(states: Sequence[ConversationState]) -> ColumnElement[bool]:
    """Few conversations are open, so start from those; most are closed, so start from the newest tickets."""
    wanted = Conversation.state.in_(states)
    if ConversationState.CLOSED in states:
        return Ticket.conversation.has(wanted)
    return Ticket.conversation_id.in_(_ids(Conversation, wanted))


def _in_inbox(key: str | None) -> ColumnElement[bool]:
    return Conversation.inbox_id == _ids(Inbox, Inbox.key == key).scalar_subquery()


def _ids(
    kind: type[Agent] | type[Conversation] | type[Customer] | type[Inbox] | type[Team], condition: ColumnElement[bool]
) -> Select[int]:
    return select(kind.id).where(condition)


def _with_relations(query: Select[Ticket], *, with_fields: bool = True) -> Select[Ticket]:
    # Of each ticket the triage that counts: others are history. The triaged text is long, and no list shows it.
    later = aliased(TriageResult)
    newest = select(func.max(later.id)).where(later.ticket_id == TriageResult.ticket_id).scalar_subquery()
    triaged = selectinload(Ticket.triage_results.and_(TriageResult.id == newest))
    return query.options(
        joinedload(Ticket.conversation).joinedload(Conversation.inbox),
        joinedload(Ticket.requester),
        joinedload(Ticket.team),
        joinedload(Ticket.agent),
        selectinload(Ticket.tags),
        selectinload(Ticket.field_values),
        triaged.selectinload(TriageResult.fields) if with_fields else triaged.defer(TriageResult.text),
    ).execution_options(populate_existing=True)
