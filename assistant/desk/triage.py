"""Triage of tickets: propose, apply, accept, override.

A field is applied to the ticket only if triage did not abstain, no agent has decided it, and nothing else has given the
ticket another value since it was opened or triaged: what an agent, an integration or an automation sets, also while
triage is under way, stays. Only danger that nobody knew of raises the priority all the same. `learning` fits heads on
what agents decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant import payloads
from assistant.db import utcnow
from assistant.desk import access, people, reports, state
from assistant.desk.access import AgentPrincipal, MachinePrincipal, Scope, Staff, visible_tickets
from assistant.desk.attachments import read_files
from assistant.desk.context import Context, context_of
from assistant.desk.courtesy import last_request
from assistant.desk.desk import Desk
from assistant.desk.evidence import read_photos
from assistant.desk.learning import DECIDED, current_heads
from assistant.desk.state import TicketChanges
from assistant.errors import Invalid, NotFound
from assistant.models import (
    Author,
    Message,
    Priority,
    Ticket,
    TicketType,
    TriageField,
    TriageFieldState,
    TriageResult,
)
from assistant.ports import Capabilities
from assistant.skills.explain import Influence, Remembering, explain
from assistant.skills.explain import Ticket as Whole
from assistant.skills.priors import Neighbour, Source
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy
from assistant.skills.triage import Heads, TriagedField, revision, triage, triaged_by
from assistant.skills.triage_fields import allowed_values


@dataclass(frozen=True)
class Asked:
    """What triage gets of a ticket, stored or not. ``products``: those that count, of the ones that are named; None:
    all. ``browser``: the language of the customer's page or browser."""

    ticket: Whole
    heads: Mapping[str, Heads]
    taxonomy: Taxonomy
    products: Sequence[str] | None = None
    browser: str | None = None


@dataclass(frozen=True)
class Proposed:
    """``by``: what made the proposals; ``seconds``: how long it took."""

    fields: Sequence[TriagedField]
    by: Capabilities
    revision: str
    seconds: float


def run_triage(desk: Desk, asked: Asked) -> Proposed:
    """Run the triage skill with this desk's models. Stores nothing."""
    started = perf_counter()
    fields = _run(desk.capabilities, asked, asked.ticket)
    by = triaged_by(fields, desk.capabilities)
    return Proposed(fields, by, revision(by, asked.taxonomy, asked.heads), perf_counter() - started)


def influences(desk: Desk, asked: Asked) -> dict[str, tuple[Influence, ...]]:
    """What each proposal depends on most. Takes as long as some dozens of runs; a model that decides is asked about
    sentences and photos alone."""
    remembering = replace(desk.capabilities, embeddings=Remembering(desk.capabilities.embeddings))
    slow = desk.capabilities.decisions is not None and desk.capabilities.triages
    return explain(asked.ticket, lambda ticket: _run(remembering, asked, ticket), by_words=not slow)


def _run(capabilities: Capabilities, asked: Asked, ticket: Whole) -> list[TriagedField]:
    return triage(
        ticket.text,
        evidence=ticket.evidence,
        photos=ticket.photos,
        products=asked.products,
        capabilities=capabilities,
        taxonomy=asked.taxonomy,
        heads=asked.heads,
        browser=asked.browser,
    )


def triage_message(desk: Desk, message_id: int) -> None:
    """Triage the ticket by the message and its context. Once per message, and again after evidence was corrected."""
    while True:
        with desk.db.read() as session:
            if current_result(session, message_id) is not None:
                return
            context, asked = _asked(session, desk, session.get_one(Message, message_id))
        asked = _with_photos(desk, context, asked)
        proposed = run_triage(desk, asked)
        with desk.db.begin() as session:
            if _save(session, desk, context, asked.ticket.text, proposed):
                return


def explain_ticket(desk: Desk, by: Staff, public_id: str) -> payloads.Triage:
    """The ticket's triage with what each proposal depends on. Where it would not be the same now, because something
    has been learned or corrected since, that is explained which it would be. Raises `NotFound` before it is triaged."""
    with desk.db.read() as session:
        ticket = access.access_ticket(session, by, public_id)
        shown = show_triage(session, by, ticket)
        context, asked = _asked(session, desk, session.get_one(Message, _result_of(ticket).message_id))
    asked = _with_photos(desk, context, asked)
    return shown.explained(influences(desk, asked), asked.ticket.evidence)


def show_triage(session: Session, by: Staff, ticket: Ticket) -> payloads.Triage:
    """The ticket's triage as a client sees it. Raises `NotFound` before it is triaged."""
    result = _result_of(ticket)
    return payloads.Triage.of(result, told_of(session, by, result.fields))


def _result_of(ticket: Ticket) -> TriageResult:
    if ticket.current_triage is None:
        raise NotFound("This ticket has not been triaged yet. Try again in a moment.")
    return ticket.current_triage


def told_of(session: Session, by: Staff, fields: Iterable[TriageField | TriagedField]) -> dict[int, Ticket]:
    """The tickets nearest to one, as far as ``by`` may read them, by their ids in the database."""
    if isinstance(by, MachinePrincipal) and Scope.TICKETS_READ not in by.scopes:
        return {}
    sources = [source for field in fields for source in field.sources]
    nearest = (one.nearest if isinstance(one, Source) else one.get("nearest", ()) for one in sources)
    ids = {one.ticket if isinstance(one, Neighbour) else one["ticket"] for those in nearest for one in those}
    if not ids:
        return {}
    return {ticket.id: ticket for ticket in session.scalars(visible_tickets(by).where(Ticket.id.in_(ids)))}


def _asked(session: Session, desk: Desk, message: Message) -> tuple[Context, Asked]:
    """Without the photos themselves."""
    taxonomy = desk.taxonomy.of_inbox(message.conversation.inbox.key)
    context = context_of(session, message, taxonomy)
    ticket = Whole(context.text.strip(), context.counting_evidence)
    heads, language = current_heads(session, desk), message.conversation.language
    return context, Asked(ticket, heads, taxonomy, products=context.products, browser=language)


def _with_photos(desk: Desk, context: Context, asked: Asked) -> Asked:
    """With the photos that have been read, if a model decides by them."""
    if desk.capabilities.decisions is None:
        return asked
    photos = tuple(read_files(desk, context.read_photos))
    return replace(asked, ticket=replace(asked.ticket, photos=photos))


def triage_ticket(desk: Desk, by: Staff, public_id: str) -> None:
    """Read and triage the customer's last message now instead of in its job. A no-op if that has been done."""
    with desk.db.read() as session:
        ticket = access.access_ticket(session, by, public_id)
        newest = last_request(session, ticket.conversation_id)
        messages = _customer_message_ids(session, newest) if newest is not None else []
    for attempt in (1, 2):
        try:
            for message_id in messages:
                read_photos(desk, message_id)
            if messages:
                triage_message(desk, messages[-1])
            return
        except IntegrityError:  # a worker did the same at the same moment; its result is stored now
            if attempt == 2:
                raise


def current_result(session: Session, message_id: int) -> TriageResult | None:
    """The triage of a message that counts: none while it has to be done again."""
    query = select(TriageResult).where(TriageResult.message_id == message_id, TriageResult.outdated.is_(False))
    return session.scalar(query)


def decide_field(
    session: Session, by: Staff, ticket: Ticket, name: str, *, taxonomy: Taxonomy, value: str | None = None
) -> TriageField:
    """Accept a proposed field, or override it with ``value``. Doing the same again is a no-op."""
    result = ticket.current_triage
    row = next((row for row in result.fields if row.name == name), None) if result is not None else None
    if result is None or row is None:
        raise NotFound(f"This ticket has no triage field {name!r} yet.")
    value = row.value if value is None else value
    options = allowed_values(taxonomy, name)
    if value not in options:
        raise Invalid(f"{value!r} is not a {name}. Choose from: {', '.join(options)}.", field="value")
    if row.label == value:
        return row
    row.state = TriageFieldState.ACCEPTED if value == row.value else TriageFieldState.OVERRIDDEN
    row.corrected_value = value if row.state is TriageFieldState.OVERRIDDEN else None
    row.agent_id = by.agent_id if isinstance(by, AgentPrincipal) else None
    row.decided_at = utcnow()
    state.record_triage(session, ticket, result, _changes(session, {name: value}), decided=True)
    return row


def product_in(session: Session, context: Context) -> str | None:
    """The product that a message is about: what an agent decided since it was last named, else the only one that was
    named, else what triage proposed."""
    result = current_result(session, context.message.id)
    field = next((one for one in result.fields if one.name == "product"), None) if result is not None else None
    decided_at = field.decided_at if field is not None else None
    if context.named is not None and (decided_at is None or decided_at < context.named[0].created_at):
        return context.product
    if field is None or field.state is TriageFieldState.ABSTAINED:
        return None
    value = field.label or field.value
    return None if value == NO_PRODUCT else value


def _changes(session: Session, values: Mapping[str, str]) -> TicketChanges:
    """What triage values, by field, change of a ticket. A field without a column of its own changes nothing."""
    changes: TicketChanges = {}
    for name, value in values.items():
        match name:
            case "priority":
                changes["priority"] = Priority(value)
            case "type":
                changes["type"] = TicketType(value)
            case "team":
                changes["team"] = people.find_team(session, value)
            case "category" | "sentiment" | "language":
                changes[name] = value
            case "product":
                changes["product"] = None if value == NO_PRODUCT else value
    return changes


def _save(session: Session, desk: Desk, context: Context, text: str, proposed: Proposed) -> bool:
    """Store a triage, unless another worker was faster. False if evidence was corrected meanwhile."""
    message_id = context.message.id
    state.lock_conversation(session, context.message.conversation_id)
    if current_result(session, message_id) is not None:
        return True
    message = session.get_one(Message, message_id)
    now = context_of(session, message, desk.taxonomy)
    if {row.id for row in now.evidence.values()} != {row.id for row in context.evidence.values()}:
        return False
    ticket = _ticket_of(session, message)
    state.forget(session, ticket)
    earlier = _fields_so_far(session, ticket)
    decided = {row.name: row for row in earlier if row.state in DECIDED}
    photos = [photo.public_id for photo in context.read_photos]
    result = TriageResult(
        ticket=ticket,
        message_id=message_id,
        text=text,
        model=proposed.by.model,
        mode=proposed.by.mode.value,
        revision=proposed.revision,
        seconds=round(proposed.seconds, 3),
        fields=[_row(field, decided.get(field.name), photos) for field in proposed.fields],
    )
    session.add(result)
    reports.record_generation(
        session, desk, "triage", proposed.by, conversation_id=ticket.conversation_id, seconds=proposed.seconds
    )
    sure = {one.name: one.value for one in proposed.fields if not one.abstained and one.name not in decided}
    for name in _set_by_others(ticket, earlier) - _new_danger(sure, earlier):
        sure.pop(name, None)
    state.record_triage(session, ticket, result, _changes(session, sure))
    return True


def _row(field: TriagedField, decided: TriageField | None, photos: Sequence[str]) -> TriageField:
    """What an agent decided on an earlier message of the ticket stays decided. ``photos``: ids of those that were
    read."""
    row = TriageField(
        name=field.name,
        value=field.value,
        probability=field.probability,
        probabilities=dict(field.probabilities),
        sources=[payloads.source_as_stored(source, photos) for source in field.sources],
        state=TriageFieldState.ABSTAINED if field.abstained else TriageFieldState.PROPOSED,
    )
    if decided is not None:
        same = decided.label == field.value
        row.state = TriageFieldState.ACCEPTED if same else TriageFieldState.OVERRIDDEN
        row.corrected_value = None if same else decided.label
        row.agent_id, row.decided_at = decided.agent_id, decided.decided_at
    return row


def _fields_so_far(session: Session, ticket: Ticket) -> Sequence[TriageField]:
    """Of all triage of the ticket, the oldest first."""
    query = select(TriageField).join(TriageField.result).where(TriageResult.ticket_id == ticket.id)
    return session.scalars(query.order_by(TriageField.id)).all()


def _set_by_others(ticket: Ticket, earlier: Sequence[TriageField]) -> set[str]:
    """The fields in which the ticket differs from what it was opened with and triage has made of it since."""
    team, inbox_team = ticket.team, ticket.conversation.inbox.team
    opened = {"priority": Priority.NORMAL.value, "team": inbox_team.key if inbox_team is not None else None}
    last = {row.name: row.label or row.value for row in earlier if row.state is not TriageFieldState.ABSTAINED}
    now = {
        "priority": ticket.priority.value,
        "type": ticket.type.value if ticket.type is not None else None,
        "team": team.key if team is not None else None,
        **{name: getattr(ticket, name) for name in ("category", "sentiment", "language", "product")},
    }
    expected = {**opened, **last}
    return {name for name, value in now.items() if value is not None and value != expected.get(name)}


def _new_danger(sure: Mapping[str, str], earlier: Sequence[TriageField]) -> set[str]:
    """The priority, if it is urgent for the first time: whoever set another one, or which rule, did not know that."""
    was_urgent = any(row.name == "priority" and row.value == Priority.URGENT for row in earlier)
    return {"priority"} if sure.get("priority") == Priority.URGENT and not was_urgent else set()


def _ticket_of(session: Session, message: Message) -> Ticket:
    return session.scalars(select(Ticket).where(Ticket.conversation_id == message.conversation_id)).one()


def _customer_message_ids(session: Session, message: Message) -> Sequence[int]:
    """Up to and including this one."""
    written = select(Message.id).where(
        Message.conversation_id == message.conversation_id, Message.author == Author.CUSTOMER, Message.id <= message.id
    )
    return session.scalars(written.order_by(Message.id)).all()
