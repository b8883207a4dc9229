"""Conditions: what a query means, what it finds, and what is said about one that means nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from assistant.db import Database
from assistant.desk import conditions, people, state, tickets
from assistant.desk.access import Staff, visible_tickets
from assistant.desk.conditions import Asking, Condition, Operator
from assistant.desk.desk import Desk
from assistant.errors import Invalid
from assistant.models import Customer, Inbox, Priority, Ticket, TicketStatus
from tests.factories import Persona, make_inbox, make_machine, make_noise, make_ticket, make_upload

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
Find = Callable[..., set[str]]


@pytest.fixture
def find(desk: Desk) -> Find:
    """The subjects of the tickets that a query finds, noise aside."""

    def find(query: str, by: Staff | None = None) -> set[str]:
        principal = by or make_machine(desk.db)
        with desk.db.read() as session:
            asking = Asking(principal, desk.taxonomy, NOW)
            holds = conditions.compiled(session, conditions.parse(query), asking)
            found = session.scalars(visible_tickets(principal).where(*holds)).all()
        return {ticket.subject for ticket in found}

    return find


@pytest.fixture
def some(desk: Desk, alice: Persona) -> None:
    """Three tickets that differ in everything, and others of other people."""
    make_noise(desk.db, 5, team="orders")
    make_inbox(desk.db, "acme", name="Acme")
    for subject in ("Leak", "Smoke", "Parcel"):
        make_ticket(
            desk,
            "It is wet.",
            subject=subject,
            requester_email=f"{subject}@example.org",
            requester_external_id=f"shop-{subject}",
            inbox="acme" if subject == "Leak" else "default",
            uploads=[make_upload("photo.jpg")] if subject == "Smoke" else [],
        )
    with desk.db.begin() as session:
        rows = {row.subject: row for row in session.scalars(select(Ticket).where(~Ticket.subject.startswith("Noise")))}
        technical = people.find_team(session, "technical")
        state.change_ticket(session, rows["Leak"], team=technical, category="device_fault", language="de")
        tickets.assign(session, rows["Leak"], alice.public_id)
        state.change_ticket(session, rows["Smoke"], priority=Priority.URGENT, product="brewmaster-300")
        tickets.set_status(session, rows["Parcel"], TicketStatus.PENDING)
        rows["Leak"].created_at = NOW - timedelta(days=3)
        rows["Smoke"].created_at = NOW - timedelta(hours=2)
        rows["Parcel"].created_at = NOW - timedelta(days=40)
        for noise in session.scalars(select(Ticket).where(Ticket.subject.startswith("Noise"))):
            state.change_ticket(session, noise, status=TicketStatus.SOLVED)
            noise.created_at = NOW - timedelta(days=400)


NOISE = {f"Noise {number}" for number in range(5)}


FOUND = [
    ("status:pending", {"Parcel"}),
    ("status:pending,new priority:urgent", {"Smoke"}),
    ("-status:solved -priority:urgent", {"Leak", "Parcel"}),
    ("is:unsolved -status:pending", {"Leak", "Smoke"}),
    ("is:solved", NOISE),
    ("is:assigned", {"Leak"}),
    ('category:"device fault"', {"Leak"}),
    ("category:DEVICE_FAULT", {"Leak"}),
    ("category:none is:unsolved", {"Smoke", "Parcel"}),
    ("-category:device_fault is:unsolved", {"Smoke", "Parcel"}),
    ("team:orders", NOISE),
    ("team:technical,none", {"Leak", "Smoke", "Parcel"}),
    ("-team:none", {"Leak", *NOISE}),
    ('-team:"orders and billing" -team:none', {"Leak"}),
    ("assignee:alice", {"Leak"}),
    ("assignee:nobody is:unsolved", {"Smoke", "Parcel"}),
    ("inbox:acme", {"Leak"}),
    ("-inbox:Acme is:unsolved", {"Smoke", "Parcel"}),
    ("channel:api is:unsolved", {"Leak", "Smoke", "Parcel"}),
    ("channel:widget", set()),
    ("state:handed_off", {"Leak", "Smoke", "Parcel"}),
    ("state:closed", NOISE),
    ("requester:LEAK@example.org", {"Leak"}),
    ("requester:shop-Smoke", {"Smoke"}),
    ("language:de", {"Leak"}),
    ("product:brewmaster-300", {"Smoke"}),
    ("has:photo", {"Smoke"}),
    ("-has:photo is:unsolved", {"Leak", "Parcel"}),
    ("has:note", set()),
    ("created:<1d", {"Smoke"}),
    ("created:>2w is:unsolved", {"Parcel"}),
    ("before:2026-11-26", {"Parcel", *NOISE}),
    ("after:2026-11-27T00:00", {"Smoke"}),
    ("created:>=2026-11-26 created:<2026-11-29", {"Leak"}),
    ("solved:>2026-01-01", NOISE),
    ("#1006", {"Leak"}),
    ("number:1006,1007", {"Leak", "Smoke"}),
    ("lea", {"Leak"}),
    ("", {"Leak", "Smoke", "Parcel", *NOISE}),
]


@pytest.mark.usefixtures("some")
def test_a_query_finds_what_it_says(find: Find) -> None:
    assert [(query, find(query)) for query, _ in FOUND] == FOUND


@pytest.mark.usefixtures("some")
def test_nobody_finds_what_they_may_not_see(find: Find, alice: Persona, charlie: Persona) -> None:
    assert find("", charlie.principal) == {"Smoke", "Parcel", *NOISE}
    assert find("team:technical", charlie.principal) == set()
    assert find("assignee:me", alice.principal) == {"Leak"}
    assert find("-assignee:me is:unsolved", alice.principal) == {"Smoke", "Parcel"}


REFUSED = {
    "words:red": "no field 'words' to search by. Fields: status, priority,",
    "colour:red": "no field 'colour' to search by. Fields: status, priority,",
    "status:opne": "no status 'opne'. Possible: new, open, pending, on_hold, solved, closed.",
    "category:billig": "no category 'billig'. Possible:",
    "team:nobody": "no team 'nobody'. Possible:",
    "language:xx": "no language 'xx'",
    "has:photos": "Possible: photo, file, note, draft, rating.",
    "created:2026-11-01": "Write created:>2026-11-01",
    "before:yesterday": "'yesterday' is no time",
    "created:<0001-01-01T00:00+14:00": "is no time",
    "created:>99999x": "is no time",
    "number:abc": "no number of a ticket",
    "number:99999999999999": "no number of a ticket",
    "assignee:me": "Only an agent",
    "status:" + ",".join(["open"] * 31): "too many values",
    "status:open " * 31: "at most 30 conditions",
    "x" * 2001: "at most 2000 characters",
}


def test_a_query_that_means_nothing_is_refused_with_what_is_possible(find: Find) -> None:
    for query, said in REFUSED.items():
        with pytest.raises(Invalid) as refused:
            find(query)
        assert said in refused.value.message, query
        assert refused.value.fields["field"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("https://example.org/a:b c", "https://example.org/a:b c"),
        ("Error: pump", "Error: pump"),
        ('status: "e 21" x', "status: e 21 x"),
        ("12:30", "12:30"),
        ('team:"Device', "team: Device"),
    ],
)
def test_what_only_looks_like_a_condition_is_words(query: str, words: str) -> None:
    assert conditions.parse(query) == (Condition("words", Operator.CONTAIN, (words,)),)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        "status:open",
        [{"field": "status", "operator": "is"}],
        [{"field": "status", "operator": "is", "value": 3}],
        [{"field": "status", "operator": "is", "value": []}],
        [{"field": "status", "operator": "before", "value": "2026-11-01"}],
        [{"field": "created", "operator": "older", "value": "2026-11-01"}],
        [{"field": "created", "operator": "maybe", "value": "7d"}],
        [{"field": "nothing", "operator": "is", "value": "x"}],
        [None],
    ],
)
def test_stored_conditions_that_are_none_are_refused(wrong: object) -> None:
    with pytest.raises(Invalid):
        conditions.from_json(wrong)


_value = st.text(st.characters(exclude_characters='"', exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=9)
_query = st.lists(
    st.one_of(
        st.sampled_from(
            ["status:open", "-team:none,orders", 'category:"a b","c,d"', "created:<7d", "after:2026-11-01"]
        ),
        st.builds("{}{}".format, st.sampled_from(["", "#", "assignee:", '"', "number:"]), _value),
    ),
    max_size=8,
).map(" ".join)


@given(_query)
def test_what_is_written_and_stored_is_read_as_the_same_conditions(query: str) -> None:
    try:
        read = conditions.parse(query)
    except Invalid:
        return
    assert conditions.parse(conditions.write(read)) == read
    assert conditions.from_json(json.loads(json.dumps([one.to_json() for one in read]))) == read


def test_every_field_says_what_may_be_chosen(desk: Desk, db: Database, alice: Persona) -> None:
    asking = Asking(alice.principal, desk.taxonomy, NOW)
    with db.read() as session:
        chosen = {name: conditions.possible(session, name, asking) for name in conditions.FIELDS}
        for name, options in chosen.items():
            for option in options or ():
                condition = Condition(name, Operator.IS, (option.value,))
                session.scalars(select(Ticket.id).where(*conditions.compiled(session, [condition], asking))).all()
        known = [inbox.key for inbox in session.scalars(select(Inbox))], session.scalars(select(Customer)).all()
    assert known == (["default"], [])
    assert {name for name, options in chosen.items() if options is None} == {
        "requester", "number", "code", "shows", "created", "updated", "solved", "due", "waiting", "words",
    }  # fmt: skip
    assert [option.value for option in chosen["assignee"] or ()] == ["me", alice.public_id, "none"]
