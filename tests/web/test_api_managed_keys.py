"""Keys that make, limit, replace and revoke keys: never any that may do more than they."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from assistant.desk import api_keys, audit
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from tests.factories import bearer, make_inbox, make_key

KEYS = "/api/v1/keys"
TODAY = datetime.now(UTC).date()
Key = dict[str, str]


@pytest.fixture
def shops(desk: Desk) -> Key:
    """May triage and read tickets of two inboxes, from two networks, for ten days; and make keys."""
    for name in ("acme", "outdoor", "other"):
        make_inbox(desk.db, name)
    limits = api_keys.Limits(
        inboxes=["acme", "outdoor"], networks=["127.0.0.0/8", "2001:db8::/32"], expires_on=TODAY + timedelta(10)
    )
    with desk.db.begin() as session:
        scopes = ["keys", "tickets:read", "triage"]
        return bearer(api_keys.add(session, name="shops", scopes=scopes, limits=limits)[1])


def add(client: FlaskClient, key: Key, **body: Any) -> Any:
    return client.post(KEYS, json={"name": "till", "scopes": ["triage"], **body}, headers=key)


def test_a_key_makes_limits_replaces_and_revokes_another(client: FlaskClient, desk: Desk, shops: Key) -> None:
    made = add(client, shops, inboxes=["acme"], networks=["127.0.0.1"], expires_on=str(TODAY + timedelta(1)))
    assert made.status_code == 201, made.text
    assert (made.json["scopes"], made.json["inboxes"], made.json["networks"]) == (
        ["triage"],
        ["acme"],
        ["127.0.0.1/32"],
    )
    assert made.json["state"] == "active"
    where = made.headers["Location"]
    till = bearer(made.json["secret"])
    assert client.get("/api/v1/key", headers=till).json["inboxes"] == ["acme"]
    shown = client.get(where, headers=shops).json
    assert "secret" not in shown
    assert shown["last_used_from"] == "127.0.0.1"
    assert [one["name"] for one in client.get(KEYS, headers=shops).json["keys"]] == ["till", "shops"]

    changed = client.patch(where, json={"name": "till 2", "inboxes": ["outdoor"]}, headers=shops).json
    assert (changed["name"], changed["inboxes"], changed["networks"]) == ("till 2", ["outdoor"], ["127.0.0.1/32"])
    headers = {**shops, "Idempotency-Key": "rotate-1"}
    rotated = client.post(f"{where}/rotate", json={"grace_hours": 1}, headers=headers)
    assert client.post(f"{where}/rotate", json={"grace_hours": 1}, headers=headers).json == rotated.json
    assert rotated.json["previous_until"] is not None
    for secret in (till, bearer(rotated.json["secret"])):
        assert client.get("/api/v1/key", headers=secret).status_code == 200
    revoked = client.post(f"{where}/revoke", headers=shops).json
    assert (revoked["state"], client.get("/api/v1/key", headers=till).status_code) == ("revoked", 401)
    assert client.post(f"{where}/rotate", json={}, headers=shops).status_code == 409
    with desk.db.read() as session:
        noted = audit.entries(session)
        names = {one.agent for one in noted}
        assert [one.action.removeprefix("api.") for one in noted] == [
            "revoke_key",
            "rotate_key",
            "update_key",
            "add_key",
        ]
    assert names == {next(one["id"] for one in client.get(KEYS, headers=shops).json["keys"] if one["name"] == "shops")}
    assert {one.subject for one in noted} == {made.json["id"]}


def test_what_is_left_out_is_as_of_the_key_that_asks(client: FlaskClient, shops: Key) -> None:
    made = add(client, shops).json
    own = next(one for one in client.get(KEYS, headers=shops).json["keys"] if one["name"] == "shops")
    for name in ("inboxes", "networks", "expires_at"):
        assert made[name] == own[name]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"scopes": ["triage", "tickets:write"]}, "the scope tickets:write"),
        ({"scopes": ["keys"]}, "made by a person"),
        ({"inboxes": []}, "other inboxes"),
        ({"inboxes": ["acme", "other"]}, "some inboxes only"),
        ({"inboxes": ["nowhere"]}, "some inboxes only"),
        ({"networks": []}, "other networks"),
        ({"networks": ["127.0.0.1", "10.0.0.0/8"]}, "other networks"),
        ({"networks": ["0.0.0.0/0"]}, "other networks"),
        ({"networks": ["2001::/16"]}, "other networks"),
        ({"expires_on": None}, "a time after"),
        ({"expires_on": str(TODAY + timedelta(11))}, "a time after"),
    ],
)
def test_a_key_gives_no_other_more_than_it_has(
    client: FlaskClient, shops: Key, wanted: dict[str, Any], said: str
) -> None:
    refused = add(client, shops, **wanted)
    assert (refused.status_code, said in refused.json["detail"]) == (403, True), refused.text
    assert len(client.get(KEYS, headers=shops).json["keys"]) == 1
    if "scopes" not in wanted:
        for where in (add(client, shops, inboxes=["acme"]).headers["Location"], own_path(client, shops)):
            assert client.patch(where, json=wanted, headers=shops).status_code == 403


def own_path(client: FlaskClient, key: Key) -> str:
    found = client.get(KEYS, headers=key).json["keys"]
    return f"{KEYS}/{next(one['id'] for one in found if 'keys' in one['scopes'])}"


def test_of_keys_that_may_do_more_it_is_told_nothing(client: FlaskClient, desk: Desk, shops: Key) -> None:
    make_key(desk.db, Scope.TICKETS_READ)  # of every inbox
    with desk.db.read() as session:
        stronger = api_keys.all_keys(session)[0].public_id
    for method, path, body in (
        ("get", "", None),
        ("patch", "", {"name": "mine"}),
        ("post", "/rotate", {}),
        ("post", "/revoke", None),
    ):
        answer = client.open(f"{KEYS}/{stronger}{path}", method=method, json=body, headers=shops)
        assert answer.status_code == 404, (method, path)
    assert [one["name"] for one in client.get(KEYS, headers=shops).json["keys"]] == ["shops"]
    own = own_path(client, shops)
    assert client.patch(own, json={"inboxes": ["acme"]}, headers=shops).json["inboxes"] == ["acme"]
    assert client.patch(own, json={"inboxes": ["outdoor"]}, headers=shops).status_code == 403


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": " "}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes.0"),
        ({"expires_on": "tomorrow"}, "expires_on"),
        ({"expires_on": "2020-01-01"}, "expires_on"),
        ({"networks": ["nonsense"]}, "networks"),
        ({"secret": "ask_x"}, "secret"),
    ],
)
def test_what_is_wrong_is_said(client: FlaskClient, shops: Key, wrong: dict[str, Any], field: str) -> None:
    refused = add(client, shops, **wrong)
    assert (refused.status_code, refused.json["field"]) == (422, field), refused.text
