"""Custom fields: what each kind takes, which tickets are found by it, and that archiving one loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from assistant.desk import access, actions, automations, conditions, custom_fields, macros, tickets
from assistant.desk.access import visible_tickets
from assistant.desk.actions import Applied
from assistant.desk.conditions import Asking
from assistant.desk.desk import Desk
from assistant.desk.tickets import TicketFilters
from assistant.errors import AssistantError, Invalid
from assistant.models import Event, Ticket
from assistant.runtime import Runtime
from tests.factories import Persona, make_agent, make_machine, make_noise, make_ticket

Find = Callable[[str], set[str]]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def desk(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime]) -> Desk:
    """With a field of each kind."""
    url = {} if request.param == "sqlite" else {"database_url": request.getfixturevalue("postgres_url")}
    desk = make_runtime(**url).desk
    with desk.db.begin() as session:
        custom_fields.add(session, "Order number", "text")
        custom_fields.add(session, "Paid", "number")
        custom_fields.add(session, "Colour", "choice", choices=["Red", "Bläulich ", "", "red"])
        custom_fields.add(session, "Bought on", "date", key="bought")
    return desk


@pytest.fixture
def alice(desk: Desk) -> Persona:
    return make_agent(desk.db, "alice", team="technical")


@pytest.fixture
def find(desk: Desk) -> Find:
    """The subjects of the tickets that a query finds, noise aside."""

    def find(query: str) -> set[str]:
        machine = make_machine(desk.db)
        with desk.db.read() as session:
            asking = Asking(machine, desk.taxonomy, datetime(2026, 11, 29, tzinfo=UTC))
            holds = conditions.compiled(session, conditions.parse(query), asking)
            found = session.scalars(visible_tickets(machine).where(*holds)).all()
        return {one.subject for one in found} - {f"Noise {number}" for number in range(9)}

    return find


def put(desk: Desk, ticket: Ticket, by: Persona, **values: str) -> Applied:
    given = [{"name": "set_field", "arguments": {"field": f"{key}={value}"}} for key, value in values.items()]
    with desk.db.begin() as session:
        row = access.access_ticket(session, by.principal, ticket.public_id)
        return actions.apply(session, row, actions.parse(session, given), by.principal)


def values(desk: Desk, ticket: Ticket) -> dict[str, str]:
    with desk.db.read() as session:
        return session.get_one(Ticket, ticket.id).fields


@pytest.mark.parametrize(
    ("key", "given", "stored"),
    [
        ("order_number", "  A-17   b ", "A-17 b"),
        ("paid", "012.50", "12.5"),
        ("paid", "-0", "0"),
        ("paid", "1000000", "1000000"),
        ("colour", "RED", "Red"),
        ("colour", "blaulich", "Bläulich"),
        ("bought", "2026-02-28", "2026-02-28"),
    ],
)
def test_each_kind_stores_one_form_of_a_value(desk: Desk, alice: Persona, key: str, given: str, stored: str) -> None:
    ticket, other = make_ticket(desk), make_ticket(desk)
    put(desk, ticket, alice, **{key: given})
    assert (values(desk, ticket), values(desk, other)) == ({key: stored}, {})


@pytest.mark.parametrize(
    ("key", "given", "said"),
    [
        ("paid", "12,5", "Paid takes a number like 12 or 12.5, not '12,5'"),
        ("paid", "inf", "takes a number"),
        ("paid", "1" * 20, "takes a number"),
        ("colour", "Green", "Colour takes one of Red, Bläulich, not 'Green'"),
        ("bought", "28.02.2026", "takes a day like 2026-12-01"),
        ("bought", "2026-02-30", "takes a day"),
        ("colour", "x" * 501, "at most 500"),
        ("nonsense", "x", "Fields: order_number, paid, colour, bought"),
    ],
)
def test_what_a_field_does_not_take_is_refused_and_changes_nothing(
    desk: Desk, alice: Persona, key: str, given: str, said: str
) -> None:
    ticket = make_ticket(desk)
    put(desk, ticket, alice, order_number="A-17")
    with pytest.raises(Invalid) as refused:
        put(desk, ticket, alice, order_number="B-18", **{key: given})
    assert said in refused.value.message
    assert values(desk, ticket) == {"order_number": "A-17"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("field.order_number:a-17", {"Leak"}),
        ('field.order_number:"A-17",none', {"Leak", "Parcel"}),
        ("-field.order_number:A-17", {"Smoke", "Parcel"}),
        ("field.order_number:none", {"Parcel"}),
        ("field.paid:12.50", {"Leak"}),
        ("field.paid:>12.5", {"Leak", "Smoke"}),
        ("field.paid:<12.5", set()),
        ("field.paid:>-1 field.paid:<13", {"Leak"}),
        ("field.colour:red", {"Leak"}),
        ("field.bought:2026-11-01", {"Leak"}),
        ("field.bought:<2026-11-01", {"Smoke"}),
        ("status:new field.bought:>2026-01-01", {"Leak"}),
    ],
)
def test_tickets_are_found_by_their_fields(desk: Desk, alice: Persona, find: Find, query: str, found: set[str]) -> None:
    make_noise(desk.db, 4)
    leak, smoke = make_ticket(desk, subject="Leak"), make_ticket(desk, subject="Smoke")
    make_ticket(desk, subject="Parcel")
    put(desk, leak, alice, order_number="A-17", paid="12.5", colour="red", bought="2026-11-01")
    put(desk, smoke, alice, order_number="B-2", paid="100", bought="2025-12-31")
    assert find(query) == found
    assert conditions.parse(conditions.write(conditions.parse(query))) == conditions.parse(query)


@pytest.mark.parametrize("query", ["field.gone:x", "field.paid:much", "field.bought:>7d", "field.colour:>Red"])
def test_a_search_by_a_field_that_means_nothing_says_so(desk: Desk, find: Find, query: str) -> None:
    with pytest.raises(Invalid):
        find(query)


def test_values_are_words_of_the_ticket_and_are_told(desk: Desk, alice: Persona) -> None:
    ticket = make_ticket(desk)
    put(desk, ticket, alice, order_number="QX-99")
    with desk.db.read() as session:
        found = tickets.list_tickets(session, alice.principal, TicketFilters(text="QX-99")).tickets
        told = session.scalars(select(Event).where(Event.kind == "ticket.updated")).all()[-1].payload
    assert [one.id for one in found] == [ticket.id]
    assert (told["changed"], told["ticket"]["fields"]) == (["fields"], {"order_number": "QX-99"})
    put(desk, ticket, alice, order_number="")
    with desk.db.read() as session:
        assert tickets.list_tickets(session, alice.principal, TicketFilters(text="QX-99")).tickets == []


def test_what_was_set_is_taken_back_unless_a_colleague_has_changed_it_since(desk: Desk, alice: Persona) -> None:
    ticket = make_ticket(desk)
    put(desk, ticket, alice, paid="1", colour="Red")
    done = put(desk, ticket, alice, paid="2", colour="", order_number="A-1")
    put(desk, ticket, make_agent(desk.db, "bob", team="technical"), order_number="B-2")
    with desk.db.begin() as session:
        again = actions.parse(session, [one.to_json() for one in done.undo])
        undone = actions.apply(session, session.get_one(Ticket, ticket.id), again, alice.principal)
    assert [one.arguments for one in undone.skipped] == [{"field": "order_number="}]
    assert values(desk, ticket) == {"paid": "1", "colour": "Red", "order_number": "B-2"}


def test_macros_and_automations_set_fields_and_say_when_one_is_archived(desk: Desk, alice: Persona) -> None:
    ticket = make_ticket(desk)
    sets = [{"name": "set_field", "arguments": {"field": "Colour=red"}}]
    with desk.db.begin() as session:
        wanted = macros.MacroText("Red", "", sets, macros.Scope.MINE)
        macro = macros.save(session, alice.principal, wanted)
        assert macro.actions == [{"name": "set_field", "arguments": {"field": "colour=Red"}}]
        macros.perform(session, alice.principal, session.get_one(Ticket, ticket.id), macro)
        holds = conditions.parse("field.colour:Red")
        rule = automations.add(session, desk.taxonomy, "Red", trigger="changed", holds=holds, then=sets)
        custom_fields.archive(session, custom_fields.find(session, "colour"))
        trial = automations.try_out(session, desk.taxonomy, rule, now=desk.now())
    assert [one.id for one in trial.tickets] == [ticket.id]
    with pytest.raises(AssistantError, match="archived: it takes no new values"):
        put(desk, ticket, alice, colour="Red")


def test_an_archived_field_is_hidden_with_its_values_and_comes_back_with_them(
    desk: Desk, alice: Persona, find: Find
) -> None:
    ticket = make_ticket(desk, subject="Leak")
    put(desk, ticket, alice, paid="5", order_number="A-17")

    def shown() -> dict[str, object]:
        with desk.db.read() as session:
            row = tickets.load_ticket(session, alice.principal, ticket.public_id)
            found = tickets.show_ticket(session, alice.principal, row, desk.taxonomy).to_json()
            return dict(found["fields"])

    for archived, expected in ((True, {"order_number": "A-17"}), (False, {"order_number": "A-17", "paid": 5})):
        with desk.db.begin() as session:
            custom_fields.archive(session, custom_fields.find(session, "paid"), archived=archived)
        assert shown() == expected
        assert find("field.paid:5") == {"Leak"}


@pytest.mark.parametrize(
    ("name", "kind", "more", "said"),
    [
        ("", "text", {}, "key begins with a letter"),
        ("X" * 61, "text", {"key": "x"}, "name of at most 60"),
        ("Shoe", "colour", {}, "Choose from: text, number, choice, date"),
        ("Shoe", "choice", {}, "Give the choices"),
        ("Shoe", "choice", {"choices": ["none"]}, "cannot be a choice"),
        ("Shoe", "choice", {"choices": ["a,b"]}, "cannot be a choice"),
        ("Shoe", "text", {"choices": ["a"]}, "Only a field of the kind choice"),
        ("Größe", "text", {"key": "größe"}, "small letters"),
        ("paid!", "text", {}, "already a custom field 'paid'"),
    ],
)
def test_a_field_that_cannot_be_is_refused(
    desk: Desk, name: str, kind: str, more: dict[str, object], said: str
) -> None:
    with pytest.raises(AssistantError) as refused, desk.db.begin() as session:
        custom_fields.add(session, name, kind, **more)  # type: ignore[arg-type]
    assert said in refused.value.message


@pytest.mark.parametrize("desk", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_two_writers_of_two_fields_lose_nothing(desk: Desk, alice: Persona) -> None:
    """One has read the ticket before the other one's change."""
    ticket = make_ticket(desk)
    put(desk, ticket, alice, paid="1")
    with desk.db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        assert row.fields == {"paid": "1"}
        put(desk, ticket, alice, paid="2", colour="Red")
        tickets.set_fields(session, row, {"order_number": "A-17"})
    assert values(desk, ticket) == {"paid": "2", "colour": "Red", "order_number": "A-17"}
