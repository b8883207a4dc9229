"""What other systems learn through the API: events by cursor, by waiting and as a stream, and webhooks."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from flask.testing import FlaskClient

from assistant.desk import api_keys, feed, webhooks
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.models import DeliveryState, IdempotencyKey, WebhookDelivery
from assistant.web import repeats
from assistant.web.limits import OpenStreams
from assistant.worker import run_until_idle
from tests.factories import bearer, make_inbox, make_key, make_ticket

EVENTS, WEBHOOKS = "/api/v1/events", "/api/v1/webhooks"
Key = dict[str, str]


def test_events_go_on_from_the_cursor_and_leave_nothing_out(client: FlaskClient, key: Key, desk: Desk) -> None:
    start = client.get(EVENTS, headers=key).json
    assert start["events"] == []
    cursor, got = start["next_cursor"], []
    first = make_ticket(desk)
    run_until_idle(desk)
    second = make_ticket(desk)
    for _ in range(20):
        page = client.get(EVENTS, query_string={"cursor": cursor, "limit": 3}, headers=key).json
        assert len(page["events"]) <= 3
        got += page["events"]
        cursor = page["next_cursor"]
    with desk.db.read() as session:
        last = feed.last_event_id(session)
    assert got[-1]["id"] == f"evt_{last}"
    assert [one["id"] for one in got] == list(dict.fromkeys(one["id"] for one in got))
    assert {one["ticket"]["id"] for one in got} == {first.public_id, second.public_id}
    triaged = next(one for one in got if one["type"] == "ticket.triaged")
    told = client.get(f"/api/v1/tickets/{triaged['ticket']['id']}/triage", headers=key).json
    assert triaged["data"]["triage"] == told
    again = client.get(EVENTS, query_string={"cursor": got[0]["id"]}, headers=key).json["events"]
    assert again == got[1:]


def test_events_of_one_ticket_and_of_some_types(client: FlaskClient, key: Key, desk: Desk) -> None:
    cursor = client.get(EVENTS, headers=key).json["next_cursor"]
    make_ticket(desk)
    wanted = make_ticket(desk)
    run_until_idle(desk)
    query = {"cursor": cursor, "ticket_id": wanted.public_id, "type": "ticket.created,ticket.triaged"}
    got = client.get(EVENTS, query_string=query, headers=key).json["events"]
    assert [one["type"] for one in got] == ["ticket.created", "ticket.triaged"]
    assert {one["ticket"]["id"] for one in got} == {wanted.public_id}


def test_whoever_waits_is_told_at_once(client: FlaskClient, key: Key, desk: Desk) -> None:
    cursor = client.get(EVENTS, headers=key).json["next_cursor"]
    threading.Timer(0.3, make_ticket, (desk,)).start()
    began = time.monotonic()
    got = client.get(EVENTS, query_string={"cursor": cursor, "wait": 20}, headers=key).json["events"]
    assert got
    assert time.monotonic() - began < 10
    assert client.get(EVENTS, query_string={"wait": 1}, headers=key).json["events"] == []


def test_waiting_takes_no_more_threads_than_its_share(client: FlaskClient, key: Key, monkeypatch: Any) -> None:
    monkeypatch.setattr(OpenStreams, "enter", lambda *_args, **_limits: False)
    assert client.get(EVENTS, query_string={"wait": 1}, headers=key).status_code == 429
    assert client.get(f"{EVENTS}/stream", headers=key).status_code == 429
    assert client.get(EVENTS, headers=key).status_code == 200


def test_a_cursor_from_before_what_is_kept_is_refused(client: FlaskClient, key: Key) -> None:
    old = client.get(EVENTS, query_string={"cursor": "evt_1@1000"}, headers=key)
    assert (old.status_code, old.json["code"]) == (410, "gone")
    for cursor in ("1", "evt_x", "evt_1@", "evt_1@x"):
        assert client.get(EVENTS, query_string={"cursor": cursor}, headers=key).status_code == 422


def test_a_key_for_some_inboxes_is_told_of_those(client: FlaskClient, desk: Desk) -> None:
    make_inbox(desk.db, "outdoor")
    with desk.db.begin() as session:
        scopes = [Scope.TICKETS_READ.value]
        secret = api_keys.add(session, name="outdoor", scopes=scopes, limits={"inboxes": ["outdoor"]})[1]
    make_ticket(desk)
    there = make_ticket(desk, inbox="outdoor")
    got = client.get(EVENTS, query_string={"cursor": "evt_0"}, headers=bearer(secret)).json["events"]
    assert {one["ticket"]["id"] for one in got} == {there.public_id}


def test_the_stream_goes_on_after_the_last_event_id(client: FlaskClient, key: Key, desk: Desk) -> None:
    make_ticket(desk)
    first, *others = client.get(EVENTS, query_string={"cursor": "evt_0"}, headers=key).json["events"]
    last_id = first["id"].removeprefix("evt_")
    with client.get(f"{EVENTS}/stream", headers={**key, "Last-Event-ID": last_id}) as response:
        assert response.mimetype == "text/event-stream"
        frames = iter(response.response)
        text = ""
        while text.count("data: ") < len(others):
            part = next(frames)
            text += part.decode() if isinstance(part, bytes) else part
    data = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    assert data == others
    assert f"event: {others[0]['type']}" in text


def test_a_webhook_is_added_changed_rotated_and_removed(client: FlaskClient, key: Key) -> None:
    body = {"url": "https://shop.example/hook", "types": ["ticket.created"]}
    added = client.post(WEBHOOKS, json=body, headers=key)
    assert added.status_code == 201
    assert added.json["secret"].startswith("whsec_")
    one = f"{WEBHOOKS}/{added.json['id']}"
    shown = client.get(one, headers=key).json
    assert "secret" not in shown
    assert client.get(WEBHOOKS, headers=key).json == {"webhooks": [shown]}
    changed = client.patch(one, json={"types": ["ticket.created", "ticket.triaged"], "enabled": False}, headers=key)
    assert (changed.json["types"], changed.json["enabled"]) == (["ticket.created", "ticket.triaged"], False)
    rotated = client.post(f"{one}/rotate", headers=key).json
    assert rotated["secret"] != added.json["secret"]
    assert rotated["previous_secret_until"] is not None
    assert client.delete(one, headers=key).status_code == 204
    assert client.get(one, headers=key).status_code == 404


def test_a_webhook_is_added_once_and_its_secret_is_stored_sealed_alone(
    client: FlaskClient, key: Key, desk: Desk, monkeypatch: Any
) -> None:
    headers, body = {**key, "Idempotency-Key": "hook-1"}, {"url": "https://shop.example/hook"}
    first, again = (client.post(WEBHOOKS, json=body, headers=headers) for _ in range(2))
    assert (again.status_code, again.data) == (201, first.data)
    with desk.db.begin() as session:
        kept = session.query(IdempotencyKey).one()
        assert first.json["secret"].encode() not in (kept.body or b"")
        kept.status = kept.body = None  # as if the process had died before it answered
    monkeypatch.setattr(repeats, "_ANSWERED_WITHIN", 0.1)
    lost = client.post(WEBHOOKS, json=body, headers=headers)
    assert (lost.status_code, lost.json["id"]) == (409, first.json["id"])
    assert len(client.get(WEBHOOKS, headers=key).json["webhooks"]) == 1


def test_wrong_webhooks_are_refused_with_the_reason(client: FlaskClient, key: Key) -> None:
    for body, field in (
        ({"url": "http://shop.example"}, "url"),
        ({"url": "https://shop.example", "types": ["typing"]}, "types.0"),
        ({"url": "https://shop.example", "types": ["ticket.painted"]}, "types.0"),
        ({"url": "https://shop.example", "inboxes": ["none"]}, "inbox"),
    ):
        refused = client.post(WEBHOOKS, json=body, headers=key)
        assert (refused.status_code, refused.json["field"]) == (422, field), refused.json


def test_webhooks_need_their_scope(client: FlaskClient, desk: Desk) -> None:
    others = bearer(make_key(desk.db, *(scope for scope in Scope if scope is not Scope.WEBHOOKS)))
    assert client.get(WEBHOOKS, headers=others).status_code == 403


def test_deliveries_are_listed_and_replayed(client: FlaskClient, key: Key, desk: Desk) -> None:
    body = {"url": "https://127.0.0.1:9/hook", "types": ["ticket.created", "message.created"]}
    webhook = client.post(WEBHOOKS, json=body, headers=key).json
    ticket = make_ticket(desk)
    run_until_idle(desk)
    deliveries = f"{WEBHOOKS}/{webhook['id']}/deliveries"
    [only] = client.get(deliveries, query_string={"state": "pending"}, headers=key).json["deliveries"]
    assert (only["ticket_id"], only["tries"], only["status"]) == (ticket.public_id, 1, None)
    assert "private network" in only["problem"]
    assert client.get(f"{WEBHOOKS}/{webhook['id']}", headers=key).json["pending"] == 1
    with desk.db.begin() as session:
        row = session.query(WebhookDelivery).one()
        row.state = DeliveryState.GIVEN_UP
    again = client.post(f"{deliveries}/{only['id']}/replay", headers=key)
    assert again.status_code == 202
    with desk.db.read() as session:
        assert webhooks.deliveries(session, session.query(WebhookDelivery).one().webhook)[0].row.tries == 0
    assert client.get(deliveries, query_string={"cursor": "dlv_x"}, headers=key).status_code == 422
