"""The words of tickets are found, whatever they stand in, on both databases, once they are there and no longer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from assistant import worker
from assistant.desk import conditions, drafts, evidence, people, state, tags, tickets
from assistant.desk.access import Staff, visible_tickets
from assistant.desk.conditions import Asking
from assistant.desk.corrections import correct_evidence
from assistant.desk.desk import Desk
from assistant.desk.events import EvidenceRead
from assistant.desk.tickets import TicketFilters
from assistant.models import Attachment, Customer, Evidence, Ticket
from assistant.ports import Mode
from assistant.runtime import Runtime
from tests.factories import Persona, make_agent, make_machine, make_noise, make_photo, make_ticket, make_upload
from tests.fakes import FakeDecisions, FakeOCR, fake_capabilities

Find = Callable[..., list[str]]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def desk(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime]) -> Desk:
    url = {} if request.param == "sqlite" else {"database_url": request.getfixturevalue("postgres_url")}
    return make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("BrewMaster 300", "Err E-21")), **url).desk


@pytest.fixture
def find(desk: Desk) -> Find:
    """``find(words)``: the subjects of the tickets found, newest first."""
    machine = make_machine(desk.db)

    def find(words: str, by: Staff = machine, limit: int = 50) -> list[str]:
        with desk.db.read() as session:
            filters = TicketFilters(text=words)
            page = tickets.list_tickets(session, by, filters, limit=limit)
            if page.cursor is None:
                assert tickets.count_tickets(session, by, filters) == len(page.tickets)
        return [ticket.subject for ticket in page.tickets]

    return find


@pytest.fixture
def ticket(desk: Desk) -> Ticket:
    """Among others, with other words."""
    make_noise(desk.db, 3)
    for subject in ("Parcel", "Refund of 21 euros"):
        make_ticket(desk, "Where is it?", subject=subject, requester_name="Kim Other")
    opened = make_ticket(
        desk,
        "Meine Maschine läuft nicht.",
        subject="Überhitzung",
        requester_name="José Keller",
        requester_email="jose.keller@example.org",
        requester_external_id="shop-4711",
        uploads=[make_upload("kitchen.jpg")],
    )
    make_ticket(desk, "Thank you, the display is fine.", subject="Feedback")
    worker.run_until_idle(desk)
    return opened


@pytest.fixture
def agent(desk: Desk) -> Persona:
    return make_agent(desk.db, "alice", team="technical")


def change(desk: Desk, ticket: Ticket, act: Callable[..., object]) -> None:
    with desk.db.begin() as session:
        act(session, session.get_one(Ticket, ticket.id))


def test_a_ticket_is_found_by_everything_that_is_told_of_it(
    desk: Desk, ticket: Ticket, agent: Persona, find: Find
) -> None:
    change(
        desk, ticket, lambda session, row: drafts.reply(session, agent.principal, row, "Bitte erst abkühlen lassen.")
    )
    change(desk, ticket, lambda session, row: drafts.add_note(session, agent.principal, row, "The warehouse knows."))
    change(desk, ticket, lambda session, row: tags.add(session, row, "Großkunde"))
    for words in (
        f"#{ticket.number}", str(ticket.number), ticket.public_id,
        "uberhitzung", "ÜBERHITZUNG", "überh",
        "keller", "jose", "José Kel", "jose.keller@example.org", "JOSE.KELLER", "shop-4711", "4711",
        "läuft maschine", "LAUFT", "abkuhlen", "warehouse",
        "brewmaster", "e21", "E-21", "err e-21", "kitchen.jpg",
        "grosskunde", "GROSSKUNDE warehouse überhitzung e21",
    ):  # fmt: skip
        assert find(words) == ["Überhitzung"], words
    for words in ("uberhitzung parcel", "e22", "erhitzung", "???", '"', "' OR 1=1", "NOT keller parcel", "NEAR(", "*"):
        assert find(words) == [], words


def test_words_that_are_gone_are_no_longer_found(desk: Desk, ticket: Ticket, agent: Persona, find: Find) -> None:
    change(desk, ticket, lambda session, row: tags.add(session, row, "urlaub"))
    assert find("urlaub") == find("brewmaster") == ["Überhitzung"]
    change(desk, ticket, lambda session, row: tags.remove(session, row, "urlaub"))
    with desk.db.begin() as session:
        photo = session.scalars(select(Attachment)).one()
        correct_evidence(session, agent.principal, photo.public_id, {}, lines={0: "Lamp"}, taxonomy=desk.taxonomy)
    assert find("urlaub") == find("brewmaster") == []
    assert find("lamp e21") == ["Überhitzung"]
    with desk.db.begin() as session:
        customer = session.scalars(select(Customer).where(Customer.external_id == "shop-4711")).one()
        people.rename(session, customer, name="Josephine Meier", email=None)
    assert find("keller jose") == ["Überhitzung"], "the address is still the same"
    assert find("meier") == ["Überhitzung"]
    with desk.db.begin() as session:
        other = session.scalars(select(Customer).where(Customer.name == "Kim Other")).first()
        assert other is not None
        state.change_customer(session, ticket.conversation_id, other)
    assert find("meier") == find("keller") == []


def test_nobody_finds_the_words_of_what_they_may_not_see(desk: Desk, ticket: Ticket, find: Find) -> None:
    charlie = make_agent(desk.db, "charlie", team="orders").principal
    with desk.db.begin() as session:
        state.change_ticket(session, session.get_one(Ticket, ticket.id), team=people.find_team(session, "technical"))
    assert find("überhitzung") == ["Überhitzung"]
    assert find("überhitzung", charlie) == []


def test_few_of_many_tickets_with_a_word_are_found_newest_first(
    desk: Desk, find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant.desk.search._AT_ONCE", 2)
    opened = [make_ticket(desk, "The display is dark.", subject=f"Display {number}") for number in range(9)]
    with desk.db.begin() as session:
        team = people.find_team(session, "orders")
        for at in (0, 4):
            state.change_ticket(session, session.get_one(Ticket, opened[at].id), team=team)
        for at in (1, 2, 3, 5, 6, 7, 8):
            row = session.get_one(Ticket, opened[at].id)
            state.change_ticket(session, row, team=people.find_team(session, "technical"))
    assert find("display") == [f"Display {number}" for number in reversed(range(9))]
    assert find("display", limit=3) == ["Display 8", "Display 7", "Display 6"]
    charlie = make_agent(desk.db, "charlie", team="orders").principal
    assert find("dark", charlie) == ["Display 4", "Display 0"]
    assert find("dark", charlie, limit=1) == ["Display 4"]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def seeing(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime]) -> Desk:
    """A desk whose model sees in every photo that something leaks, and a red light."""
    url = {} if request.param == "sqlite" else {"database_url": request.getfixturevalue("postgres_url")}
    model = FakeDecisions({"condition": "leaking", "lights": "red", "product": "brewmaster-300"})
    return make_runtime(capabilities=fake_capabilities(Mode.SMALL_VLM, decisions=model), **url).desk


def read_all(desk: Desk) -> None:
    with desk.db.read() as session:
        messages = session.scalars(select(Attachment.message_id)).all()
    for message_id in messages:
        evidence.read_photos(desk, message_id)


def shown(desk: Desk, query: str) -> set[str]:
    machine = make_machine(desk.db)
    with desk.db.read() as session:
        asking = Asking(machine, desk.taxonomy, desk.now())
        holds = conditions.compiled(session, conditions.parse(query), asking)
        return {ticket.subject for ticket in session.scalars(visible_tickets(machine).where(*holds))}


def test_tickets_are_found_by_what_their_photos_show_as_read_or_corrected(seeing: Desk) -> None:
    machine = make_machine(seeing.db)
    for subject in ("Puddle", "Drops"):
        photo = make_upload(data=make_photo(subject))
        make_ticket(seeing, "Look.", subject=subject, uploads=[photo])
    make_ticket(seeing, "It is leaking, a red light. ˢleaking ˢredlight", subject="Words")
    read_all(seeing)
    both = {"Puddle", "Drops"}
    assert (
        shown(seeing, "shows:leaking") == shown(seeing, 'shows:"Red Light"') == shown(seeing, "shows:red-light") == both
    )
    assert (
        shown(seeing, 'shows:damaged,"amber light"')
        == shown(seeing, "shows:leak")
        == shown(seeing, "shows:???")
        == set()
    )
    assert shown(seeing, "-shows:leaking") == {"Words"}
    assert shown(seeing, "sredlight") == {"Words"}, "what photos show is no word"
    with seeing.db.begin() as session:
        drops = session.scalars(select(Attachment).order_by(Attachment.id.desc())).first()
        assert drops is not None
        changes = {"condition": "intact", "lights": "green"}
        correct_evidence(session, machine, drops.public_id, changes, taxonomy=seeing.taxonomy)
    assert shown(seeing, "shows:leaking") == shown(seeing, 'shows:"red light"') == {"Puddle"}
    assert shown(seeing, 'shows:intact shows:"green light"') == {"Drops"}


def test_a_photo_that_is_read_anew_shows_what_was_read_last(seeing: Desk) -> None:
    make_ticket(seeing, "Look.", subject="Puddle", uploads=[make_upload()])
    read_all(seeing)
    with seeing.db.begin() as session:
        first = session.scalars(select(Evidence)).one()
        fields = {**first.fields, "condition": {**first.fields["condition"], "value": "damaged"}}
        kept = {"sha256": first.sha256, "model": first.model, "mode": first.mode, "visible_text": []}
        session.add(Evidence(revision="newer", fields=fields, **kept))
        evidence.tell(session, first.sha256, EvidenceRead)
    assert shown(seeing, "shows:leaking") == set()
    assert shown(seeing, "shows:damaged") == {"Puddle"}
