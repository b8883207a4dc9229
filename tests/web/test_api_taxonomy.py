"""Categories through the API: a draft that two may work on, tried, compared, published, and brought back."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from assistant import worker
from assistant.desk import api_keys, taxonomies, triage
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.models import Ticket
from tests.factories import EVERY_SCOPE, bearer, make_agent, make_inbox, make_key, make_ticket

API = "/api/v1/taxonomy"
DRAFT = f"{API}/draft"
BOATS = {
    "key": "boats",
    "name": "Boats",
    "description": "Sailing, rowing and everything on the water.",
    "examples": ["My sailing boat lost its mast.", "The rowing boat leaks.", "Where can I moor the boat?"],
    "team": "orders",
}
Key = dict[str, str]


@pytest.fixture
def machine(desk: Desk) -> Key:
    return bearer(make_key(desk.db, Scope.SETTINGS))


def put(client: FlaskClient, key: Key, categories: Any, **headers: str) -> Any:
    return client.put(DRAFT, json={"categories": categories}, headers={**key, **headers})


def counting(client: FlaskClient, key: Key) -> list[dict[str, Any]]:
    newest = client.get(f"{API}/versions", headers=key).json["versions"][0]
    return list(client.get(f"{API}/versions/{newest['version']}", headers=key).json["categories"])


def test_a_draft_is_put_tried_published_and_an_old_version_brought_back(
    client: FlaskClient, machine: Key, desk: Desk
) -> None:
    boat = make_ticket(desk, "My sailing boat lost its mast.")
    make_ticket(desk, "Where is my parcel? It was not delivered.")
    worker.run_until_idle(desk)
    agent = make_agent(desk.db, "eve").principal
    with desk.db.begin() as session:
        row = session.get_one(Ticket, boat.id)
        triage.decide_field(session, agent, row, "category", taxonomy=desk.taxonomy, value="delivery")
    usual = counting(client, machine)
    begun = client.get(DRAFT, headers=machine)
    assert (begun.json["exists"], begun.json["categories"]) == (False, usual)
    saved = put(client, machine, [*usual[1:], BOATS], **{"If-Match": begun.headers["ETag"]})
    assert saved.status_code == 200, saved.json
    assert (saved.json["added"], saved.json["removed"], saved.json["changed"]) == (["boats"], [usual[0]["key"]], [])
    assert saved.json["saved_by"]["kind"] == "key"
    assert saved.headers["ETag"] not in (begun.headers["ETag"], None)
    assert [one.key for one in desk.taxonomy.categories] == [one["key"] for one in usual]

    trial = client.post(f"{DRAFT}/trial", json={"newest": 50}, headers=machine).json
    (moved,) = trial["moved"]
    assert (moved["ticket"]["id"], moved["then"]["category"]) == (boat.public_id, "boats")
    assert 0 < moved["then"]["probability"] <= 1
    assert (trial["tickets"], trial["decided"], trial["right_then"], trial["accuracy_then"]) == (2, 1, 0, 0.0)

    published = client.post(f"{DRAFT}/publish", headers={**machine, "If-Match": saved.headers["ETag"]})
    assert published.json["categories"] == [*usual[1:], BOATS]
    assert desk.taxonomy.categories[-1].key == "boats"
    assert client.post(f"{DRAFT}/publish", headers=machine).status_code == 409
    assert not client.get(DRAFT, headers=machine).json["exists"]
    shown = client.get(f"{API}/versions", headers=machine).json["versions"]
    assert [(one["version"], one["is_current"]) for one in shown] == [(published.json["version"], True), (0, False)]
    assert (shown[0]["published_by"]["name"], shown[1]["published_by"]) == ("shop", None)

    back = client.post(f"{API}/versions/0/restore", headers=machine)
    assert (back.json["exists"], back.json["categories"], back.json["removed"]) == (True, usual, ["boats"])
    assert client.post(f"{API}/versions/0/restore", headers=machine).status_code == 409
    again = client.post(f"{API}/versions/0/restore", headers={**machine, "If-Match": back.headers["ETag"]})
    assert again.status_code == 200
    assert client.delete(DRAFT, headers={**machine, "If-Match": '"1"'}).status_code == 412
    assert client.delete(DRAFT, headers=machine).status_code == 204
    assert not client.get(DRAFT, headers=machine).json["exists"]
    for number in (str(shown[0]["version"] + 1), "9" * 40):
        assert client.get(f"{API}/versions/{number}", headers=machine).status_code == 404


def test_of_two_editors_the_second_is_told(client: FlaskClient, machine: Key, desk: Desk) -> None:
    usual = counting(client, machine)
    seen = client.get(DRAFT, headers=machine).headers["ETag"]
    first = put(client, machine, [*usual, BOATS], **{"If-Match": seen})
    second = put(client, machine, usual[1:], **{"If-Match": seen})
    assert (first.status_code, second.status_code, second.json["code"]) == (200, 412, "precondition_failed")
    in_console = make_agent(desk.db, "ada", admin=True).principal
    with desk.db.begin() as session:
        taxonomies.drop(session, desk.taxonomies.file, in_console, usual[0]["key"])
    assert client.post(f"{DRAFT}/publish", headers={**machine, "If-Match": first.headers["ETag"]}).status_code == 412
    left = client.get(DRAFT, headers=machine).json
    assert (left["removed"], left["added"]) == ([usual[0]["key"]], ["boats"])
    assert left["saved_by"] == {"kind": "agent", "id": in_console.public_id, "name": "Ada"}
    assert put(client, machine, usual, **{"If-Match": "nonsense"}).status_code == 422


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"key": "Boats!"}, "categories.1.key"),
        ({"key": "other"}, "categories.1.key"),
        ({"name": " "}, "categories.1.name"),
        ({"description": "", "examples": []}, "categories.1.description"),
        ({"team": "nowhere"}, "categories.1.team"),
        ({"team": 7}, "categories.1.team"),
        ({"examples": "one"}, "categories.1.examples"),
        ({"aliases": ["x"]}, "categories.1.aliases"),
    ],
)
def test_what_is_wrong_is_named_by_its_place_and_nothing_is_stored(
    client: FlaskClient, machine: Key, wrong: dict[str, Any], field: str
) -> None:
    other = {"key": "other", "name": "Other", "description": "Everything else."}
    refused = put(client, machine, [other, {**BOATS, **wrong}])
    assert (refused.status_code, refused.json["field"]) == (422, field)
    assert put(client, machine, [other]).json["field"] == "categories"
    assert not client.get(DRAFT, headers=machine).json["exists"]


def test_which_categories_are_mistaken_for_each_other_is_told_in_probabilities(
    client: FlaskClient, machine: Key, desk: Desk
) -> None:
    twin = {**BOATS, "key": "ships", "name": "Ships", "examples": ["My sailing boat lost its mast again."]}
    lone = {"key": "rest", "name": "Rest", "description": "Invoices, prices and discounts."}
    put(client, machine, [BOATS, twin, lone])
    report = client.get(f"{DRAFT}/overlap", headers=machine).json
    assert report["embedding_model"] == desk.capabilities.embedding_model
    pairs = {(one["category"], one["other"]): one for one in report["pairs"]}
    assert len(pairs) == 6
    assert {report["pairs"][0]["category"], report["pairs"][0]["other"]} == {"boats", "ships"}
    for key in ("boats", "ships"):
        shares = [one["by_words"] for (own, _), one in pairs.items() if own == key]
        assert 0 < sum(shares) < 1
        assert pairs[key, "rest"]["by_words"] == min(shares)
    assert pairs["ships", "boats"]["sentences"][0]["probability"] > 0.3
    assert pairs["rest", "boats"]["by_words"] is None  # there is its description alone
    assert {one["by_agents"] for one in report["pairs"]} == {None}
    assert len(client.get(f"{DRAFT}/overlap?limit=1", headers=machine).json["pairs"]) == 1


def test_what_agents_decided_shows_what_was_mistaken(client: FlaskClient, machine: Key, desk: Desk) -> None:
    agent = make_agent(desk.db, "eve").principal
    for _ in range(3):
        make_ticket(desk, "Where is my parcel? It was not delivered.")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        tickets = session.query(Ticket).order_by(Ticket.id).all()
        proposed = next(one for one in tickets[0].current_triage.fields if one.name == "category").value  # type: ignore[union-attr]
        for ticket, value in zip(tickets, ("feedback", "feedback", None), strict=True):
            triage.decide_field(session, agent, ticket, "category", taxonomy=desk.taxonomy, value=value)
    pairs = client.get(f"{DRAFT}/overlap", headers=machine).json["pairs"]
    told = {one["category"]: one for one in pairs if one["other"] == proposed}["feedback"]
    assert (told["decided"], told["proposed"], told["by_agents"]) == (2, 2, 1.0)
    assert {one["decided"] for one in pairs if one["category"] == proposed} == {1}
    assert {one["proposed"] for one in pairs if one["category"] == proposed} == {0}


def test_a_key_without_the_scope_or_for_one_inbox_changes_nothing(client: FlaskClient, desk: Desk) -> None:
    make_inbox(desk.db, "acme")
    with desk.db.begin() as session:
        limits = api_keys.Limits(inboxes=["acme"])
        _, secret = api_keys.add(session, name="acme", scopes=[*EVERY_SCOPE], limits=limits)
    for key in (bearer(secret), bearer(make_key(desk.db, *(one for one in Scope if one is not Scope.SETTINGS)))):
        refused = put(client, key, [BOATS])
        assert (refused.status_code, refused.json["code"]) == (403, "forbidden")
        assert client.get(DRAFT, headers=key).status_code == 403


def test_a_put_that_is_sent_again_is_answered_as_the_first_time(client: FlaskClient, machine: Key) -> None:
    usual = counting(client, machine)
    headers = {"Idempotency-Key": "draft-1", "If-Match": client.get(DRAFT, headers=machine).headers["ETag"]}
    first = put(client, machine, [*usual, BOATS], **headers)
    again = put(client, machine, [*usual, BOATS], **headers)
    assert (first.status_code, again.status_code, again.json) == (200, 200, first.json)
    assert again.headers["ETag"] == first.headers["ETag"]
    assert put(client, machine, usual, **headers).status_code == 422
