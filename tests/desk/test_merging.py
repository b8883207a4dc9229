"""Tickets linked, merged and split off: what is shown where, whom answers reach, and that nothing is lost."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from assistant import worker
from assistant.desk import actions, conversations, drafts, merging, related, state, tickets
from assistant.desk.access import CustomerPrincipal
from assistant.desk.desk import Desk
from assistant.errors import AssistantError, Conflict, Invalid
from assistant.models import Conversation, ConversationState, Event, Message, Ticket, TicketStatus
from tests.factories import Persona, make_noise, make_photo, make_ticket, make_upload


@pytest.fixture
def two(desk: Desk) -> tuple[Ticket, Ticket]:
    """Of one customer, and noise."""
    make_noise(desk.db, 3)
    made = [make_ticket(desk, text, requester_external_id="rosa") for text in ("It leaks.", "It still leaks.")]
    return made[0], made[1]


def row(desk: Desk, ticket: Ticket) -> Ticket:
    with desk.db.read() as session:
        found = session.get_one(Ticket, ticket.id)
        assert found.conversation is not None
        return found


def merge(desk: Desk, by: Persona, ticket: Ticket, into: Ticket, *, confirmed: bool = False) -> None:
    with desk.db.begin() as session:
        one, other = session.get_one(Ticket, ticket.id), session.get_one(Ticket, into.id)
        merging.merge(session, by.principal, one, other, confirmed=confirmed)


def relations(desk: Desk, by: Persona, ticket: Ticket) -> list[tuple[str, int]]:
    with desk.db.read() as session:
        found = related.shown(session, by.principal, session.get_one(Ticket, ticket.id))
        return [(one.relation.value, one.ticket.id) for one in found]


def say(desk: Desk, ticket: Ticket, text: str) -> None:
    customer = CustomerPrincipal(ticket.conversation_id)
    conversations.post_message(desk, customer, text=text, uploads=[], client_id=None)


def undo(desk: Desk, by: Persona, ticket: Ticket) -> None:
    with desk.db.begin() as session:
        one = session.get_one(Ticket, ticket.id)
        for found in related.shown(session, by.principal, one):
            merging.unlink(session, by.principal, one, found.link.public_id)


def test_links_are_shown_on_both_once_and_taken_away(desk: Desk, alice: Persona, two: tuple[Ticket, Ticket]) -> None:
    first, second = two
    with desk.db.begin() as session:
        one, other = session.get_one(Ticket, first.id), session.get_one(Ticket, second.id)
        merging.link(session, alice.principal, one, other)
        merging.link(session, alice.principal, other, one)
        with pytest.raises(Invalid, match="one and the same"):
            merging.link(session, alice.principal, one, one)
    assert relations(desk, alice, first) == [("related", second.id)]
    assert relations(desk, alice, second) == [("related", first.id)]
    with desk.db.read() as session:
        told = session.scalars(select(Event.conversation_id).where(Event.kind == "ticket.linked")).all()
    assert set(told) == {first.conversation_id, second.conversation_id}
    undo(desk, alice, second)
    assert relations(desk, alice, first) == []


def test_what_one_may_not_see_is_neither_shown_nor_found(
    desk: Desk, alice: Persona, charlie: Persona, two: tuple[Ticket, Ticket]
) -> None:
    first, second = two
    merge(desk, alice, second, first)
    with desk.db.begin() as session:
        actions.apply(
            session,
            session.get_one(Ticket, second.id),
            actions.parse(session, [{"name": "transfer", "arguments": {"team": "technical"}}]),
            alice.principal,
        )
        with pytest.raises(Invalid, match="no such ticket"):
            related.meant(session, charlie.principal, f"#{row(desk, second).number}")
        assert related.meant(session, charlie.principal, str(row(desk, first).number)).id == first.id
    assert relations(desk, charlie, first) == []
    assert relations(desk, alice, first) == [("merged_from", second.id)]


def test_a_merged_ticket_is_solved_its_question_is_open_in_the_other_and_undoing_restores_it(
    desk: Desk, alice: Persona, two: tuple[Ticket, Ticket]
) -> None:
    first, second = two
    with desk.db.begin() as session:
        drafts.reply(session, alice.principal, session.get_one(Ticket, first.id), "We look into it.")
        actions.snooze(session, session.get_one(Ticket, first.id), None)
    assert row(desk, first).status is TicketStatus.PENDING
    before = row(desk, second)
    merge(desk, alice, second, first)
    into, away = row(desk, first), row(desk, second)
    assert (into.status, away.status, away.agent_id) == (TicketStatus.OPEN, TicketStatus.SOLVED, into.agent_id)
    assert into.waiting_since == before.waiting_since
    with desk.db.read() as session:
        said = conversations.all_messages(session, second.conversation_id)[-1]
        assert session.get_one(Conversation, second.conversation_id).state is ConversationState.CLOSED
    assert said.text == "We answer this together with your other question."
    undo(desk, alice, first)
    back = row(desk, second)
    assert (back.status, back.agent_id, back.team_id) == (before.status, before.agent_id, before.team_id)
    assert relations(desk, alice, first) == []


def test_what_its_customer_writes_there_later_reaches_the_others_agent_and_is_answered_there(
    desk: Desk, alice: Persona, bob: Persona, two: tuple[Ticket, Ticket]
) -> None:
    first, second = two
    with desk.db.begin() as session:
        tickets.assign(session, session.get_one(Ticket, first.id), bob.public_id)
    merge(desk, alice, second, first)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        told = len(session.scalars(select(Event).where(Event.kind == "ticket.linked")).all())
    say(desk, second, "Now it smokes!")
    again = row(desk, second)
    assert (again.status, again.agent_id) == (TicketStatus.OPEN, bob.principal.agent_id)
    with desk.db.read() as session:
        conversation = session.get_one(Conversation, second.conversation_id)
        assert (conversation.state, conversation.agent_id) == (ConversationState.AGENT, bob.principal.agent_id)
        events = session.scalars(select(Event).where(Event.kind == "ticket.linked").order_by(Event.id)).all()
        merged = related.merged_from(related.shown(session, bob.principal, session.get_one(Ticket, first.id)))
        window = conversations.message_window(session, [first.conversation_id, *merged], limit=50)
    assert [one.conversation_id for one in events[told:]] == [first.conversation_id], "the other's page renews itself"
    assert window.messages[-1].text == "Now it smokes!"
    assert [one.id for one in window.messages] == sorted(one.id for one in window.messages)


def test_merging_where_answers_do_not_reach_the_customer_must_be_confirmed_and_moves_no_words(
    desk: Desk, alice: Persona
) -> None:
    hers = make_ticket(desk, "Mine leaks.", requester_name="Rosa", requester_external_id="rosa")
    his = make_ticket(desk, "Mine smokes.", requester_name="Karl", requester_external_id="karl")
    with pytest.raises(merging.Unreachable, match=r"two customers: answers in #\d+ reach Rosa, not Karl"):
        merge(desk, alice, his, hers)
    assert row(desk, his).status is TicketStatus.NEW
    merge(desk, alice, his, hers, confirmed=True)
    with desk.db.read() as session:
        theirs = {
            one.conversation_id: [said.text for said in conversations.public_messages(session, one.conversation_id)]
            for one in (hers, his)
        }
    assert theirs == {hers.conversation_id: ["Mine leaks."], his.conversation_id: ["Mine smokes."]}


def test_what_would_leave_somebody_without_an_answer_is_refused(
    desk: Desk, alice: Persona, two: tuple[Ticket, Ticket]
) -> None:
    first, second = two
    third = make_ticket(desk, "And more", requester_external_id="rosa")
    with pytest.raises(Invalid, match="into itself"):
        merge(desk, alice, first, first)
    with desk.db.begin() as session:
        tickets.solve(session, session.get_one(Ticket, first.id))
    with pytest.raises(Conflict, match="Reopen it first"):
        merge(desk, alice, second, first)
    merge(desk, alice, first, second)
    for one, other in ((first, second), (second, first), (third, first)):
        with pytest.raises(Conflict, match="has been merged into"):
            merge(desk, alice, one, other)


def test_what_was_merged_into_a_ticket_goes_on_with_it(desk: Desk, alice: Persona, two: tuple[Ticket, Ticket]) -> None:
    first, second = two
    third = make_ticket(desk, "And more", requester_external_id="rosa")
    merge(desk, alice, third, second)
    merge(desk, alice, second, first)
    assert relations(desk, alice, first) == [("merged_from", third.id), ("merged_from", second.id)]
    with desk.db.read() as session:
        into = state.merged_into(session, session.get_one(Ticket, third.id))
    assert into is not None
    assert into.id == first.id


def test_a_message_with_its_photo_becomes_a_ticket_of_its_own_once(desk: Desk, alice: Persona) -> None:
    ticket = make_ticket(desk, "It leaks.", requester_external_id="rosa")
    customer = CustomerPrincipal(ticket.conversation_id)
    photo = make_upload("meter.jpg", make_photo("E7"))
    conversations.post_message(desk, customer, text="Where is my parcel?", uploads=[photo], client_id="1")
    with desk.db.begin() as session:
        last = conversations.last_customer_message(session, ticket.conversation_id)
        assert last is not None
        new = merging.split(session, alice.principal, session.get_one(Ticket, ticket.id), last.public_id)
        number = new.number
    with desk.db.read() as session:
        [copy] = session.scalars(select(Message).where(Message.conversation_id == new.conversation_id))
        old = conversations.all_messages(session, ticket.conversation_id)
        assert (copy.text, [one.sha256 for one in copy.attachments]) == (
            "Where is my parcel?",
            [one.sha256 for one in old[-1].attachments],
        )
        assert len(old) == 2, "nothing is taken from the customer"
        made = session.get_one(Ticket, new.id)
        assert (made.agent_id, made.requester_id) == (alice.principal.agent_id, ticket.requester_id)
        assert made.conversation.state is ConversationState.AGENT
        assert made.subject == "Where is my parcel?"
    assert relations(desk, alice, ticket) == [("split_into", new.id)]
    assert relations(desk, alice, new) == [("split_from", ticket.id)]
    with pytest.raises(Conflict, match=f"has become #{number}"), desk.db.begin() as session:
        merging.split(session, alice.principal, session.get_one(Ticket, ticket.id), last.public_id)
    reply = next(one for one in old if one.text == "It leaks.")
    with pytest.raises(AssistantError, match="no such message"), desk.db.begin() as session:
        merging.split(session, alice.principal, session.get_one(Ticket, new.id), reply.public_id)
