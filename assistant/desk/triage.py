"""Triage of tickets: propose, apply, accept, override.

A field is applied to the ticket only if triage did not abstain and no agent has decided it. `learning` fits heads on
what agents decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from time import perf_counter

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.db import utcnow
from assistant.desk import access, people, reports, state
from assistant.desk.access import AgentPrincipal, Staff
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
from assistant.skills.read_photo import PhotoEvidence
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy
from assistant.skills.triage import Heads, TriagedField, triage, triaged_by
from assistant.skills.triage_fields import allowed_values


def triage_message(desk: Desk, message_id: int) -> None:
    """Triage the ticket by the message and its context. Once per message, and again after evidence was corrected."""
    while True:
        with desk.db.read() as session:
            if current_result(session, message_id) is not None:
                return
            message = session.get_one(Message, message_id)
            taxonomy = desk.taxonomy.of_inbox(message.conversation.inbox.key)
            context = context_of(session, message, taxonomy)
            text, photos = context.text, context.counting_photos
            heads = current_heads(session, desk)
            browser = context.message.conversation.language
        started = perf_counter()
        fields = run_triage(
            desk,
            text,
            evidence=context.counting_evidence,
            products=context.products,
            photos=read_files(desk, photos) if desk.capabilities.decisions else [],
            heads=heads,
            browser=browser,
            taxonomy=taxonomy,
        )
        seconds = perf_counter() - started
        with desk.db.begin() as session:
            if _save(session, desk, context, text=text, fields=fields, seconds=seconds):
                return


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


def run_triage(
    desk: Desk,
    text: str,
    *,
    evidence: Sequence[PhotoEvidence],
    photos: Sequence[bytes],
    heads: Mapping[str, Heads],
    products: Sequence[str] | None = None,
    browser: str | None = None,
    taxonomy: Taxonomy | None = None,
) -> list[TriagedField]:
    """Run the triage skill with this desk's models and taxonomy, or that of an inbox. Stores nothing."""
    return triage(
        text,
        evidence=evidence,
        photos=photos,
        products=products,
        capabilities=desk.capabilities,
        taxonomy=taxonomy or desk.taxonomy,
        heads=heads,
        browser=browser,
    )


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


def _save(
    session: Session, desk: Desk, context: Context, *, text: str, fields: Sequence[TriagedField], seconds: float
) -> bool:
    """Store a triage, unless another worker was faster. False if evidence was corrected meanwhile."""
    message_id, capabilities = context.message.id, triaged_by(fields, desk.capabilities)
    state.lock_conversation(session, context.message.conversation_id)
    if current_result(session, message_id) is not None:
        return True
    message = session.get_one(Message, message_id)
    now = context_of(session, message, desk.taxonomy)
    if {row.id for row in now.evidence.values()} != {row.id for row in context.evidence.values()}:
        return False
    ticket = _ticket_of(session, message)
    decided = _decided_fields(session, ticket)
    result = TriageResult(
        ticket=ticket,
        message_id=message_id,
        text=text,
        model=capabilities.model,
        mode=capabilities.mode.value,
        fields=[_row(field, decided.get(field.name)) for field in fields],
    )
    session.add(result)
    reports.record_generation(
        session, desk, "triage", capabilities, conversation_id=ticket.conversation_id, seconds=seconds
    )
    proposed = {field.name: field.value for field in fields if not field.abstained and field.name not in decided}
    state.record_triage(session, ticket, result, _changes(session, proposed))
    return True


def _row(field: TriagedField, decided: TriageField | None) -> TriageField:
    """What an agent decided on an earlier message of the ticket stays decided."""
    row = TriageField(
        name=field.name,
        value=field.value,
        probability=field.probability,
        probabilities=dict(field.probabilities),
        sources=[asdict(source) for source in field.sources],
        state=TriageFieldState.ABSTAINED if field.abstained else TriageFieldState.PROPOSED,
    )
    if decided is not None:
        same = decided.label == field.value
        row.state = TriageFieldState.ACCEPTED if same else TriageFieldState.OVERRIDDEN
        row.corrected_value = None if same else decided.label
        row.agent_id, row.decided_at = decided.agent_id, decided.decided_at
    return row


def _decided_fields(session: Session, ticket: Ticket) -> dict[str, TriageField]:
    query = (
        select(TriageField)
        .join(TriageField.result)
        .where(TriageResult.ticket_id == ticket.id, TriageField.state.in_(DECIDED))
        .order_by(TriageField.id)
    )
    return {row.name: row for row in session.scalars(query)}


def _ticket_of(session: Session, message: Message) -> Ticket:
    return session.scalars(select(Ticket).where(Ticket.conversation_id == message.conversation_id)).one()


def _customer_message_ids(session: Session, message: Message) -> Sequence[int]:
    """Up to and including this one."""
    written = select(Message.id).where(
        Message.conversation_id == message.conversation_id, Message.author == Author.CUSTOMER, Message.id <= message.id
    )
    return session.scalars(written.order_by(Message.id)).all()
