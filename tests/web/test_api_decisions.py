"""Many decisions and corrections in one request: each for itself, and all of them once."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from assistant import worker
from assistant.desk import api_keys, bulk, triage
from assistant.desk.desk import Desk
from assistant.errors import Unavailable
from assistant.models import Event, Ticket, TriageField
from tests.factories import EVERY_SCOPE, bearer, make_inbox, make_ticket, make_upload

DECISIONS, CORRECTIONS = "/api/v1/triage/decisions", "/api/v1/evidence/corrections"
Key = dict[str, str]


@pytest.fixture
def tickets(desk: Desk) -> list[Ticket]:
    made = [make_ticket(desk, f"Where is my parcel number {number}?") for number in range(3)]
    worker.run_until_idle(desk)
    return made


def decide(client: FlaskClient, key: Key, *decisions: dict[str, Any], **headers: str) -> Any:
    return client.post(DECISIONS, json={"decisions": decisions}, headers={**key, **headers})


def etag(client: FlaskClient, key: Key, ticket: Ticket) -> str:
    return client.get(f"/api/v1/tickets/{ticket.public_id}", headers=key).headers["ETag"]


def decided(desk: Desk) -> dict[tuple[int, str], str | None]:
    with desk.db.read() as session:
        rows = session.scalars(select(TriageField).where(TriageField.decided_at.is_not(None)))
        return {(row.result.ticket_id, row.name): row.label for row in rows}


def test_each_decision_succeeds_or_fails_by_itself(
    client: FlaskClient, key: Key, tickets: list[Ticket], desk: Desk
) -> None:
    first, second, third = tickets
    seen, old = etag(client, key, first), etag(client, key, third)
    client.patch(f"/api/v1/tickets/{third.public_id}", json={"tags": ["x"]}, headers=key)
    answer = decide(
        client,
        key,
        {"ticket_id": first.public_id, "field": "category", "value": "billing_and_refund", "if_match": seen},
        {"number": second.number, "field": "category"},
        {"ticket_id": "tck_" + "0" * 20, "field": "category"},
        {"number": 10**30, "field": "category"},
        {"number": second.number, "field": "colour", "value": "red"},
        {"number": second.number, "field": "priority", "value": "enormous"},
        {"ticket_id": third.public_id, "field": "priority", "value": "high", "if_match": old},
        {"number": first.number, "field": "priority", "value": "high", "if_match": seen},
    )
    assert answer.status_code == 200, answer.text
    told = [(one["status"], (one["error"] or {}).get("status")) for one in answer.json["results"]]
    assert told == [
        ("overridden", None), ("accepted", None), (None, 404), (None, 404), (None, 404), (None, 422), (None, 412),
        ("overridden", None),
    ]  # fmt: skip
    assert answer.json["failed"] == 5
    assert "Choose from" in answer.json["results"][5]["error"]["detail"]
    assert [one["position"] for one in answer.json["results"]] == list(range(8))
    proposed = answer.json["results"][1]["value"]
    assert decided(desk) == {
        (first.id, "category"): "billing_and_refund",
        (first.id, "priority"): "high",
        (second.id, "category"): proposed,
    }
    shown = client.get(f"/api/v1/tickets/{first.public_id}", headers=key).json
    assert (shown["category"], shown["priority"]) == ("billing_and_refund", "high")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ([], "decisions"),
        ([{"field": "category"}], "decisions.0"),
        ([{"field": "category", "number": 1, "ticket_id": "x"}], "decisions.0"),
        ([{"field": "category", "number": "x"}], "decisions.0.number"),
        ([{"field": "category", "number": 1, "if_match": "17"}], "decisions.0.if_match"),
        ([{"field": "category", "number": 1}] * 501, "decisions"),
        ({"field": "category"}, "decisions"),
    ],
)
def test_what_is_no_list_of_decisions_is_refused_as_a_whole(
    client: FlaskClient, key: Key, wrong: object, field: str
) -> None:
    refused = client.post(DECISIONS, json={"decisions": wrong}, headers=key)
    assert (refused.status_code, refused.json["field"]) == (422, field)
    assert "tuple" not in refused.json["detail"]


def test_a_fault_in_the_middle_loses_nothing_and_the_rest_is_done_when_it_is_sent_again(
    client: FlaskClient, key: Key, desk: Desk, monkeypatch: pytest.MonkeyPatch, tickets: list[Ticket]
) -> None:
    monkeypatch.setattr(bulk, "_TOGETHER", 2)
    wanted = [
        {"number": one.number, "field": "priority", "value": "high", "if_match": etag(client, key, one)}
        for one in tickets
    ]
    real, calls = triage.decide_field, []

    def fails(*args: Any, **more: Any) -> TriageField:
        calls.append(args)
        if len(calls) == 3:
            raise Unavailable("The database is locked.", cause="database_locked")
        return real(*args, **more)

    monkeypatch.setattr(triage, "decide_field", fails)
    broken = decide(client, key, *wanted, **{"Idempotency-Key": "all"})
    assert broken.status_code == 503
    assert len(decided(desk)) == 2
    again = decide(client, key, *wanted, **{"Idempotency-Key": "all"})
    assert [one["value"] for one in again.json["results"]] == ["high"] * 3
    assert again.json["failed"] == 0
    assert decide(client, key, *wanted, **{"Idempotency-Key": "all"}).json == again.json
    with desk.db.read() as session:
        told = session.scalar(select(func.count()).select_from(Event).where(Event.kind == "triage.decided"))
    assert told == 3


def test_a_key_for_an_inbox_decides_nothing_elsewhere(client: FlaskClient, desk: Desk, tickets: list[Ticket]) -> None:
    make_inbox(desk.db, "acme")
    mine = make_ticket(desk, inbox="acme")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        limits = api_keys.Limits(inboxes=["acme"])
        key = bearer(api_keys.add(session, name="acme", scopes=[*EVERY_SCOPE], limits=limits)[1])
    answer = decide(client, key, *({"number": one.number, "field": "category"} for one in (mine, tickets[0]))).json
    assert [(one["ticket_id"], one["status"]) for one in answer["results"]] == [
        (mine.public_id, "accepted"),
        (None, None),
    ]


def test_photos_are_corrected_each_for_itself(client: FlaskClient, key: Key, desk: Desk) -> None:
    ticket = make_ticket(desk, uploads=[make_upload("a.jpg"), make_upload("b.jpg")])
    worker.run_until_idle(desk)
    where = f"/api/v1/tickets/{ticket.public_id}"
    first, second = (one["id"] for one in client.get(where, headers=key).json["messages"][0]["attachments"])
    body = [
        {"attachment_id": first, "fields": {"condition": "damaged"}},
        {"attachment_id": "att_" + "0" * 20, "fields": {"condition": "damaged"}},
        {"attachment_id": second, "fields": {"condition": "purple"}},
    ]
    answer = client.post(CORRECTIONS, json={"corrections": body}, headers=key).json
    assert [(one["attachment_id"], (one["error"] or {}).get("status")) for one in answer["results"]] == [
        (first, None),
        ("att_" + "0" * 20, 404),
        (second, 422),
    ]
    worker.run_until_idle(desk)
    shown = client.get(where, headers=key).json["messages"][0]["attachments"]
    states = [(one["evidence"]["condition"] or {}).get("value") for one in shown]
    assert states[0] == "damaged" != states[1]
