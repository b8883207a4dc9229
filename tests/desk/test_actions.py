"""Actions: what each does, that what they did is taken back, and what they refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from assistant import worker
from assistant.desk import access, actions, conversations, people, tags
from assistant.desk.access import CustomerPrincipal
from assistant.desk.actions import Action, Applied
from assistant.desk.desk import Desk
from assistant.errors import AssistantError, Invalid
from assistant.models import Event, Job, MessageVisibility, Tag, Ticket
from tests.factories import Persona, make_noise, make_ticket


def do(desk: Desk, ticket: Ticket, by: Persona, *given: tuple[str, str, str]) -> Applied:
    """Each action: name, argument, value."""
    stored = [{"name": name, "arguments": {argument: value}} for name, argument, value in given]
    with desk.db.begin() as session:
        row = access.access_ticket(session, by.principal, ticket.public_id)
        return actions.apply(session, row, actions.parse(session, stored), by.principal)


def undo(desk: Desk, ticket: Ticket, by: Persona, done: Applied) -> Applied:
    """As a page would send it back: through JSON."""
    with desk.db.begin() as session:
        again = actions.parse(session, [one.to_json() for one in done.undo])
        return actions.apply(session, session.get_one(Ticket, ticket.id), again, by.principal)


def standing(desk: Desk, ticket: Ticket) -> dict[str, Any]:
    with desk.db.read() as session:
        row = session.get_one(Ticket, ticket.id)
        return {
            "status": row.status.value,
            "priority": row.priority.value,
            "agent": row.agent.name if row.agent else None,
            "team": row.team.key if row.team else None,
            "snoozed": row.snoozed_until,
            "tags": [tag.name for tag in row.tags],
            "followers": [agent.name for agent in actions.followers(session, row)],
        }


EVERYTHING = (
    ("set_status", "status", "solved"),
    ("set_priority", "priority", "urgent"),
    ("assign", "agent", "me"),
    ("add_tag", "tag", "Refund"),
    ("remove_tag", "tag", "old"),
    ("snooze", "until", "+2d"),
    ("follow", "agent", "me"),
)


def test_actions_do_what_they_say_and_are_taken_back(desk: Desk, alice: Persona) -> None:
    make_noise(desk.db, 3)
    ticket, other = make_ticket(desk), make_ticket(desk)
    do(desk, ticket, alice, ("add_tag", "tag", "old"))
    before, others = standing(desk, ticket), standing(desk, other)
    done = do(desk, ticket, alice, *EVERYTHING)
    after = standing(desk, ticket)
    assert timedelta(days=1.9) < after.pop("snoozed") - datetime.now(UTC) < timedelta(days=2.1)
    assert after == {
        "status": "solved", "priority": "urgent", "agent": "Alice", "team": None, "tags": ["Refund"],
        "followers": ["Alice"],
    }  # fmt: skip
    assert undo(desk, ticket, alice, done).skipped == ()
    assert standing(desk, ticket) == before
    assert standing(desk, other) == others


def test_what_a_colleague_has_changed_since_is_not_undone(desk: Desk, alice: Persona, bob: Persona) -> None:
    ticket = make_ticket(desk)
    done = do(desk, ticket, alice, ("assign", "agent", "me"), ("set_priority", "priority", "high"))
    do(desk, ticket, bob, ("assign", "agent", "me"))
    skipped = undo(desk, ticket, alice, done).skipped
    assert [one.name for one in skipped] == ["assign"]
    assert (standing(desk, ticket)["agent"], standing(desk, ticket)["priority"]) == ("Bob", "normal")


def test_actions_that_change_nothing_tell_nothing_and_have_no_undo(desk: Desk, alice: Persona) -> None:
    ticket = make_ticket(desk)
    do(desk, ticket, alice, ("add_tag", "tag", "Refund"))
    with desk.db.read() as session:
        told = len(session.scalars(select(Event)).all())
    same = do(desk, ticket, alice, ("add_tag", "tag", "réfund"), ("set_priority", "priority", "normal"))
    assert same.undo == ()
    with desk.db.read() as session:
        assert len(session.scalars(select(Event)).all()) == told
        assert [tag.name for tag in session.scalars(select(Tag))] == ["Refund"]


def test_texts_are_filled_in_and_a_note_is_never_a_reply(desk: Desk, alice: Persona) -> None:
    ticket = make_ticket(desk, requester_name="Maria Keller", requester_email="maria@example.org")
    text = "Hello {{customer.first_name|there}}, {{ agent.name }} here."
    do(desk, ticket, alice, ("reply", "text", text), ("note", "text", "Called {{customer.name}}."))
    with desk.db.read() as session:
        *_, reply, note = conversations.all_messages(session, ticket.conversation_id)
    assert (reply.text, reply.visibility) == ("Hello Maria, Alice here.", MessageVisibility.PUBLIC)
    assert (note.text, note.visibility) == ("Called Maria Keller.", MessageVisibility.INTERNAL)


WRONG: tuple[tuple[object, str], ...] = (
    ("no list", "list"),
    ([7], "name and arguments"),
    ([{"name": "explode", "arguments": {}}], "Choose from: assign"),
    ([{"name": "add_tag", "arguments": {}}], "takes one argument: tag"),
    ([{"name": "add_tag", "arguments": {"tag": 5}}], "is a text"),
    ([{"name": "add_tag", "arguments": {"tag": " , "}}], "needs a name"),
    ([{"name": "add_tag", "arguments": {"tag": "x" * 41}}], "at most 40"),
    ([{"name": "set_status", "arguments": {"status": "gone"}}], "none of new, open"),
    ([{"name": "snooze", "arguments": {"until": "tomorrow"}}], "+3h"),
    ([{"name": "reply", "arguments": {"text": "Hi {{customer.shoe}}"}}], "no placeholder"),
    ([{"name": "assign", "arguments": {"agent": "agt_nobody"}}], "no such agent"),
    ([{"name": "transfer", "arguments": {"team": "nowhere"}}], "technical"),
    ([{"name": "add_tag", "arguments": {"tag": "x"}}] * 21, "at most 20"),
)


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_a_wrong_action_is_refused_with_what_is_possible(desk: Desk, given: object, said: str) -> None:
    with pytest.raises(AssistantError, match=said.replace("+", r"\+")), desk.db.begin() as session:
        actions.parse(session, given)


def test_one_refused_action_leaves_the_others_undone(desk: Desk, alice: Persona) -> None:
    ticket = make_ticket(desk)
    with pytest.raises(Invalid, match="time to come"):
        do(desk, ticket, alice, ("add_tag", "tag", "x"), ("snooze", "until", "2020-01-01T00:00+00:00"))
    assert standing(desk, ticket)["tags"] == []


def test_who_is_given_a_ticket_of_another_team_sees_it(desk: Desk, alice: Persona, charlie: Persona) -> None:
    ticket = make_ticket(desk, team="technical")
    make_ticket(desk, team="technical")
    with desk.db.read() as session:
        assert session.scalars(access.visible_tickets(charlie.principal)).all() == []
    do(desk, ticket, alice, ("assign", "agent", charlie.public_id))
    with desk.db.read() as session:
        assert [one.id for one in session.scalars(access.visible_tickets(charlie.principal))] == [ticket.id]


def test_a_snoozed_ticket_wakes_in_time_or_when_its_customer_writes(desk: Desk, alice: Persona) -> None:
    first, second = make_ticket(desk), make_ticket(desk)
    worker.run_until_idle(desk)
    for ticket in (first, second):
        do(desk, ticket, alice, ("snooze", "until", "+3h"))
    worker.run_until_idle(desk)
    assert standing(desk, first)["snoozed"] is not None
    conversations.post_message(
        desk, CustomerPrincipal(second.conversation_id), text="And now?", uploads=[], client_id=None
    )
    assert standing(desk, second)["snoozed"] is None
    with desk.db.begin() as session:  # as if the three hours had passed
        session.get_one(Ticket, first.id).snoozed_until = datetime.now(UTC) - timedelta(seconds=1)
        for job in session.scalars(select(Job).where(Job.name == "wake")):
            job.run_at = datetime.now(UTC)
    worker.run_until_idle(desk)
    assert standing(desk, first)["snoozed"] is None


def test_tags_on_most_tickets_are_offered_first(desk: Desk, alice: Persona) -> None:
    for number in range(2):
        do(desk, make_ticket(desk), alice, ("add_tag", "tag", "b"), *[("add_tag", "tag", "a")] * number)
    with desk.db.begin() as session:
        tags.named(session, "never used")
        assert tags.known(session) == ["b", "a", "never used"]


def test_a_stored_action_stays_what_it_is() -> None:
    assert Action("add_tag", {"tag": "x"}).to_json() == {"name": "add_tag", "arguments": {"tag": "x"}}


def test_a_ticket_goes_to_another_team(desk: Desk, alice: Persona) -> None:
    ticket = make_ticket(desk)
    done = do(desk, ticket, alice, ("transfer", "team", "orders"))
    assert standing(desk, ticket)["team"] == "orders"
    with desk.db.read() as session:
        assert people.find_team(session, "orders").key == "orders"
    undo(desk, ticket, alice, done)
    assert standing(desk, ticket)["team"] is None
