"""Categories changed in the browser: as a draft that counts for nothing, checked, tried, published for everybody."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from assistant import worker
from assistant.desk import category_trial, taxonomies, triage
from assistant.desk.desk import Desk
from assistant.models import Event, TaxonomyVersion, Ticket, TriageField, TriageResult
from assistant.runtime import Runtime
from tests.factories import make_agent, make_ticket, signed_in_client
from tests.web.test_console import submit

BASE = "/console/settings/categories"
BOATS = {
    "name": "Boats",
    "description": "Sailing, rowing and everything on the water.",
    "examples": "My sailing boat lost its mast.\nThe rowing boat leaks.\nWhere can I moor the boat?",
    "team": "orders",
}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def desk(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime]) -> Desk:
    url = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    return make_runtime(**url).desk


@pytest.fixture
def admin(make_app: Callable[..., APIFlask], make_runtime: Callable[..., Runtime], desk: Desk) -> FlaskClient:
    return signed_in_client(make_app(Runtime(desk.settings, desk)), desk.db, make_agent(desk.db, "ada", admin=True))


def keys(desk: Desk) -> list[str]:
    return [label.key for label in desk.taxonomy.categories]


def category_of(desk: Desk, ticket: Ticket) -> str | None:
    with desk.db.read() as session:
        return session.get_one(Ticket, ticket.id).category


def test_a_draft_counts_for_nothing_until_it_is_published_and_then_everywhere(
    admin: FlaskClient, desk: Desk, make_runtime: Callable[..., Runtime]
) -> None:
    usual = keys(desk)
    assert "Publish" not in admin.get(BASE).text
    assert submit(admin, f"{BASE}/add", key="boats", **BOATS).status_code == 302
    listed = admin.get(BASE).text
    assert "Boats" in listed
    assert "nothing counts before it is published" in listed
    assert keys(desk) == usual
    assert submit(admin, f"{BASE}/{usual[0]}/remove").status_code == 302
    early = make_ticket(desk, "My sailing boat lost its mast.")
    worker.run_until_idle(desk)
    assert category_of(desk, early) != "boats"
    assert submit(admin, f"{BASE}/publish").status_code == 302
    assert keys(desk) == [*usual[1:], "boats"]
    assert taxonomies.find(desk.taxonomy.categories, "boats").examples == tuple(BOATS["examples"].split("\n"))
    late = make_ticket(desk, "My sailing boat lost its mast.")
    worker.run_until_idle(desk)
    assert category_of(desk, late) == "boats"
    with desk.db.read() as session:
        assert session.get_one(Ticket, late.id).team.key == "orders"  # type: ignore[union-attr]
    other = taxonomies.Taxonomies(desk.db, desk.taxonomies.file)  # as another process sees it
    assert [label.key for label in other.current().categories] == keys(desk)
    assert submit(admin, f"{BASE}/publish").status_code == 409


def test_another_process_sees_what_was_published_and_goes_on_while_the_database_is_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_agent(desk.db, "ada", admin=True).principal
    other = taxonomies.Taxonomies(desk.db, desk.taxonomies.file)
    with desk.db.begin() as session:
        label = taxonomies.find(desk.taxonomy.categories, "device_fault")
        taxonomies.drop(session, desk.taxonomies.file, agent, label.key)
        taxonomies.publish(session, agent)
    assert label in other.current().categories  # it does not look all the time
    monkeypatch.setattr(taxonomies, "LOOK_EVERY", 0.0)
    assert label not in other.current().categories
    other._db = desk.db.__class__("sqlite:////nowhere/at/all.db")
    assert label not in other.current().categories


def test_a_draft_is_tried_on_past_tickets_without_changing_anything(admin: FlaskClient, desk: Desk) -> None:
    agent = make_agent(desk.db, "eve", team="orders").principal
    boat = make_ticket(desk, "My sailing boat lost its mast.")
    make_ticket(desk, "Where is my parcel? It was not delivered.")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        row = session.get_one(Ticket, boat.id)
        triage.decide_field(session, agent, row, "category", taxonomy=desk.taxonomy, value="delivery")
    assert "All would be triaged as they are now" in admin.get(f"{BASE}/trial").text
    submit(admin, f"{BASE}/add", key="boats", **BOATS)

    def stored() -> tuple[int, ...]:
        with desk.db.read() as session:
            return tuple(session.scalar(select(func.count(one.id))) or 0 for one in (TriageResult, TriageField, Event))

    before = stored()
    page = admin.get(f"{BASE}/trial").text
    assert "Of the last 2 tickets, read by their text alone, 1 would be triaged differently" in page
    assert boat.public_id in page
    assert "Of 1 that agents have decided it would get 0 right" in page
    assert stored() == before
    with desk.db.read() as session:
        draft = taxonomies.draft(session, desk.taxonomies.file)
    assert draft is not None
    assert [one.then.category for one in category_trial.try_out(desk, draft.categories).moved] == ["boats"]
    assert submit(admin, f"{BASE}/discard").status_code == 302
    assert "Boats" not in admin.get(BASE).text


def test_categories_that_are_too_much_alike_and_examples_that_mislead_are_named(admin: FlaskClient) -> None:
    copied = "It keeps blinking red and won't start.\nThe device does not turn on any more.\nA grinding noise."
    submit(admin, f"{BASE}/add", key="broken", name="Broken", description="A broken device.", examples=copied)
    submit(admin, f"{BASE}/add", key="misc", name="Miscellaneous", description="All that is left over", examples="")
    listed = admin.get(BASE).text
    assert "sentences read like Device fault" in listed
    assert "Few examples" in listed
    pairs = admin.get(f"{BASE}/overlap").text
    assert "Broken" in pairs
    assert "“The device does not turn on any more.”" in pairs
    assert "Too few sentences" not in pairs
    shown = admin.get(f"{BASE}/broken").text
    assert "“The device does not turn on any more.” reads like Device fault." in shown


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"key": "Boats!"}, "is no key"),
        ({"key": "device_fault"}, "already a category"),
        ({"name": ""}, "needs a name"),
        ({"description": "", "examples": " \n "}, "description or examples"),
        ({"team": "nowhere"}, "no team"),
    ],
)
def test_what_cannot_be_a_category_is_refused_and_stays_typed(
    admin: FlaskClient, desk: Desk, wrong: dict[str, str], said: str
) -> None:
    refused = submit(admin, f"{BASE}/add", **{"key": "boats", **BOATS, "name": "Boats <b>", **wrong})
    assert refused.status_code in (409, 422)
    assert said in refused.text
    assert "name" in wrong or "Boats &lt;b&gt;" in refused.text
    with desk.db.read() as session:
        assert session.scalars(select(TaxonomyVersion)).all() == []


def test_two_categories_are_left(admin: FlaskClient, desk: Desk) -> None:
    for key in keys(desk)[2:]:
        assert submit(admin, f"{BASE}/{key}/remove").status_code == 302
    refused = submit(admin, f"{BASE}/{keys(desk)[0]}/remove")
    assert (refused.status_code, "at least 2" in refused.text) == (422, True)
    assert submit(admin, f"{BASE}/nonsense/remove").status_code == 404
