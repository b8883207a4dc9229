"""The one writer of tickets and conversations: what moves together, what is told, and that nothing else writes."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import assistant
from assistant import worker
from assistant.desk import conversations, drafts, events, state, tickets
from assistant.desk.access import CustomerPrincipal
from assistant.desk.corrections import correct_evidence
from assistant.desk.desk import Desk
from assistant.desk.events import Audience, DeskEvent, EventKind, EvidenceCorrected, MessageCreated, TriageDecided
from assistant.errors import Conflict
from assistant.models import (
    Attachment,
    Author,
    Conversation,
    ConversationState,
    Draft,
    Event,
    Message,
    Ticket,
    TicketStatus,
)
from tests.factories import Persona, make_photo, make_ticket, make_upload

# Columns that only `desk.state` assigns.
OWNED = {
    "status", "state", "agent", "agent_id", "turn", "handoff_reason", "handed_off_at", "solved_at", "updated_at",
    "priority", "type", "category", "sentiment", "language", "product", "team", "team_id", "subject", "channel",
    "due_at", "breached_at",
    "waiting_since",
}  # fmt: skip
# What else has attributes of these names, mostly rows of other tables, by the names that their modules call it.
OTHERS = {
    "cli/inboxes.py": {"inbox"},
    "desk/batches.py": {"row"},
    "desk/deadlines.py": {"clock"},
    "desk/inboxes.py": {"inbox"},
    "desk/learning.py": {"head"},
    "desk/photo_questions.py": {"row"},
    "desk/products.py": {"head"},  # a version of the products
    "desk/macros.py": {"macro"},
    "desk/mail.py": {"mail"},
    "desk/drafts.py": {"draft", "old"},
    "desk/people.py": {"agent"},
    "desk/evidence.py": {"row"},
    "desk/idempotency.py": {"row"},
    "desk/queue.py": {"job"},
    "desk/ratings.py": {"rating"},
    "desk/taxonomies.py": {"row"},
    "desk/triage.py": {"row"},
    "desk/views.py": {"row"},
    "desk/webhooks.py": {"row"},
    "knowledge/embedding.py": {"model"},
    "knowledge/gaps.py": {"gap"},
    "knowledge/imports.py": {"row"},
    "knowledge/replacing.py": {"row"},
    "knowledge/solved.py": {"row"},
    "web/console.py": {"g"},
    "web/console_sign_in.py": {"g"},
}
# These make a database to measure, or have no rows at all.
UNCHECKED = ("client/", "lab/", "engine/", "skills/", "retrieval/", "media/", "models/")


def writes(node: ast.AST) -> Iterator[str]:
    """What a piece of code assigns to owned columns, and the rows that it makes or changes in bulk."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    for target in targets:
        for one in target.elts if isinstance(target, ast.Tuple) else [target]:
            if isinstance(one, ast.Attribute) and one.attr in OWNED:
                yield ast.unparse(one)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        rows = {ast.unparse(one) for one in node.args[:1]} & {"Ticket", "Conversation"}
        if node.func.id in ("Ticket", "Conversation", "setattr") or (node.func.id in ("insert", "update") and rows):
            yield ast.unparse(node)


def test_nothing_else_writes_to_tickets_and_conversations() -> None:
    package = Path(assistant.__file__).parent
    found = []
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        if name != "desk/state.py" and not name.startswith(UNCHECKED):
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            written = [one for node in nodes for one in writes(node)]
            found += [f"{name}: {one}" for one in written if one.split(".")[0] not in OTHERS.get(name, set())]
    assert found == []


def test_every_kind_of_event_has_one_class() -> None:
    def kinds(cls: type[DeskEvent]) -> Iterator[EventKind]:
        for one in cls.__subclasses__():
            yield one.kind
            yield from kinds(one)

    assert sorted(kinds(DeskEvent)) == sorted(EventKind)


def test_the_table_of_events_says_who_sees_each() -> None:
    listed = re.findall(r"^\| `([a-z.]+)` \| (customer|agent)", events.__doc__ or "", re.MULTILINE)
    classes = [MessageCreated, *DeskEvent.__subclasses__(), TriageDecided, EvidenceCorrected]
    fixed = [one for one in classes if isinstance(one.audience, Audience)]  # who types decides who sees it
    assert dict(listed) == {one.kind.value: one.audience.value for one in fixed}


def told(desk: Desk) -> list[EventKind]:
    with desk.db.read() as session:
        return [EventKind(kind) for kind in session.scalars(select(Event.kind).order_by(Event.id))]


def stands(desk: Desk, ticket: Ticket) -> tuple[TicketStatus, ConversationState]:
    with desk.db.read() as session:
        row = session.get_one(Ticket, ticket.id)
        return row.status, row.conversation.state


def change(desk: Desk, ticket: Ticket, act: Callable[[Any, Ticket], object]) -> None:
    with desk.db.begin() as session:
        act(session, session.get_one(Ticket, ticket.id))


def write(desk: Desk, ticket: Ticket, text: str = "It still leaks.") -> None:
    customer = CustomerPrincipal(ticket.conversation_id)
    conversations.post_message(desk, customer, text=text, uploads=[], client_id=None)


def test_taking_over_opens_the_ticket_stamps_it_and_tells(desk: Desk, alice: Persona) -> None:
    ticket = make_ticket(desk)
    change(desk, ticket, lambda session, row: state.take_over(session, row.conversation, alice.principal))
    with desk.db.read() as session:
        row = session.get_one(Ticket, ticket.id)
        assert (row.status, row.agent_id) == (TicketStatus.OPEN, alice.principal.agent_id)
        assert row.updated_at > ticket.updated_at
    assert told(desk)[-2:] == [EventKind.CONVERSATION_UPDATED, EventKind.TICKET_UPDATED]
    change(desk, ticket, lambda session, row: state.take_over(session, row.conversation, alice.principal))
    assert told(desk)[-2:] == [EventKind.CONVERSATION_UPDATED, EventKind.TICKET_UPDATED]  # again is a no-op


def test_a_ticket_changed_to_what_it_is_stays_untouched(desk: Desk) -> None:
    ticket = make_ticket(desk)
    before = told(desk)
    change(desk, ticket, lambda session, row: state.change_ticket(session, row, status=row.status, team=None))
    assert told(desk) == before
    with desk.db.read() as session:
        assert session.get_one(Ticket, ticket.id).updated_at == ticket.updated_at


@pytest.mark.parametrize("status", [TicketStatus.SOLVED, TicketStatus.CLOSED])
def test_a_conversation_closes_with_its_ticket(desk: Desk, status: TicketStatus) -> None:
    ticket = make_ticket(desk)
    change(desk, ticket, lambda session, row: tickets.set_status(session, row, status))
    assert stands(desk, ticket) == (status, ConversationState.CLOSED)


def test_a_reopened_ticket_waits_for_a_person_or_goes_to_its_agent(desk: Desk, alice: Persona) -> None:
    ticket = make_ticket(desk)
    change(desk, ticket, tickets.solve)
    change(desk, ticket, lambda session, row: tickets.set_status(session, row, TicketStatus.OPEN))
    assert stands(desk, ticket) == (TicketStatus.OPEN, ConversationState.HANDED_OFF)
    change(desk, ticket, lambda session, row: tickets.solve(session, row, alice.principal))
    change(desk, ticket, lambda session, row: tickets.set_status(session, row, TicketStatus.ON_HOLD))
    assert stands(desk, ticket) == (TicketStatus.ON_HOLD, ConversationState.AGENT)
    with desk.db.read() as session:
        assert session.get_one(Conversation, ticket.conversation_id).agent_id == alice.principal.agent_id


def test_a_solved_ticket_of_the_api_waits_for_a_person_when_its_customer_writes_again(desk: Desk) -> None:
    ticket = make_ticket(desk)
    worker.run_until_idle(desk)
    change(desk, ticket, tickets.solve)
    seen = len(told(desk))
    write(desk, ticket)
    assert set(told(desk)[seen:]) == {
        EventKind.CONVERSATION_UPDATED, EventKind.TICKET_UPDATED, EventKind.MESSAGE_CREATED
    }  # fmt: skip
    assert stands(desk, ticket) == (TicketStatus.OPEN, ConversationState.HANDED_OFF)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert set(session.scalars(select(Message.author))) == {Author.CUSTOMER}  # nobody would deliver an answer
        assert len(session.scalars(select(Draft)).all()) == 2


def test_a_closed_ticket_is_reopened_by_its_customer_alone(desk: Desk, alice: Persona) -> None:
    ticket = make_ticket(desk)
    change(desk, ticket, lambda session, row: tickets.set_status(session, row, TicketStatus.CLOSED))
    for act in (
        lambda session, row: tickets.set_status(session, row, TicketStatus.OPEN),
        lambda session, row: state.take_over(session, row.conversation, alice.principal),
    ):
        with pytest.raises(Conflict):
            change(desk, ticket, act)
    change(desk, ticket, lambda session, row: drafts.reply(session, alice.principal, row, "One more thing."))
    assert stands(desk, ticket) == (TicketStatus.CLOSED, ConversationState.CLOSED)
    write(desk, ticket)
    assert stands(desk, ticket) == (TicketStatus.OPEN, ConversationState.HANDED_OFF)


def test_a_ticket_that_is_closed_later_was_solved_then(desk: Desk) -> None:
    ticket = make_ticket(desk)
    change(desk, ticket, tickets.solve)
    with desk.db.read() as session:
        solved_at = session.get_one(Ticket, ticket.id).solved_at
    change(desk, ticket, lambda session, row: tickets.set_status(session, row, TicketStatus.CLOSED))
    with desk.db.read() as session:
        assert session.get_one(Ticket, ticket.id).solved_at == solved_at


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_correction_is_told_wherever_it_counts(desk: Desk, alice: Persona, everywhere: bool) -> None:
    photo = make_photo("leak")
    first = make_ticket(desk, uploads=[make_upload(data=photo)])
    worker.run_until_idle(desk)
    second = make_ticket(desk, uploads=[make_upload(data=photo)])
    with desk.db.begin() as session:
        rows = session.scalars(select(Event).where(Event.kind == EventKind.EVIDENCE_READ)).all()
        assert [row.conversation_id for row in rows] == [first.conversation_id, second.conversation_id]
        attachment = session.scalars(select(Attachment)).first()
        assert attachment is not None
        correct_evidence(
            session,
            alice.principal,
            attachment.public_id,
            {"condition": "leaking"},
            everywhere=everywhere,
            taxonomy=desk.taxonomy,
        )
    with desk.db.read() as session:
        rows = session.scalars(select(Event).where(Event.kind == EventKind.EVIDENCE_CORRECTED)).all()
        told = {first.conversation_id, second.conversation_id} if everywhere else {first.conversation_id}
        assert {row.conversation_id for row in rows} == told
        assert {row.payload["evidence"]["condition"]["value"] for row in rows} == {"leaking"}
