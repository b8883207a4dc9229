"""What the API refuses, and how: keys, scopes, bodies, hostile values, hostile files, too many requests."""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import func, select, text, update

from assistant.db import Database, utcnow
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.errors import EngineBusy, EngineTimeout
from assistant.models import APIKey, Ticket
from assistant.ports import Mode
from assistant.runtime import Runtime
from tests.factories import EVERY_SCOPE, bearer, make_articles, make_key, make_photo, make_ticket
from tests.fakes import FakeDecisions, FakeOCR, ScriptedChatModel, fake_capabilities

Key = dict[str, str]
TICKETS = "/api/v1/tickets"


def is_problem(response: Any, status: int) -> bool:
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    body = response.json
    assert body["status"] == status
    assert body["type"] == f"urn:assistant:{body['code']}"
    assert body["detail"]
    assert "Traceback" not in response.text
    return True


def count_tickets(db: Database) -> int:
    with db.read() as session:
        return session.execute(select(func.count()).select_from(Ticket)).scalar_one()


# Keys and scopes


def test_a_refusal_names_the_scope_that_the_key_lacks(client: FlaskClient, db: Database) -> None:
    others = bearer(make_key(db, *(other for other in EVERY_SCOPE if other is not Scope.TICKETS_READ)))
    refused = client.get(TICKETS, headers=others)
    assert is_problem(refused, 403)
    assert "tickets:read" in refused.json["detail"]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer ask_wrong", "ask_wrong", "Bearer ü", "Bearer a b c"]
)
def test_anything_but_a_valid_key_is_unauthenticated(client: FlaskClient, header: str) -> None:
    response = client.get(TICKETS, headers={"Authorization": header})
    assert is_problem(response, 401)
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_revoked_key_is_refused_from_the_next_request_on(client: FlaskClient, key: Key, db: Database) -> None:
    assert client.get(TICKETS, headers=key).status_code == 200
    with db.begin() as session:
        session.execute(update(APIKey).values(revoked_at=utcnow()))
    assert is_problem(client.get(TICKETS, headers=key), 401)


# Bodies


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/xml", "text/json", "application/json2", ""],
)
def test_a_body_of_another_kind_is_refused(client: FlaskClient, key: Key, db: Database, content_type: str) -> None:
    response = client.post(TICKETS, data='{"text": "x"}', content_type=content_type, headers=key)
    assert is_problem(response, 415)
    assert response.get_json()["detail"] == "Send application/json, or multipart/form-data."
    assert count_tickets(db) == 0


def test_a_form_is_taken_only_where_files_are(client: FlaskClient, key: Key, desk: Desk) -> None:
    ticket = make_ticket(desk)
    response = client.patch(
        f"{TICKETS}/{ticket.public_id}", data={"status": "solved"}, content_type="multipart/form-data", headers=key
    )
    assert is_problem(response, 415)


@pytest.mark.parametrize(
    "body", [b"{", b"{'text': 1}", b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 50_000, b"nul", b"1" * 5000, b"NaN"]
)
def test_malformed_json_is_a_bad_request(client: FlaskClient, key: Key, body: bytes) -> None:
    assert is_problem(client.post(TICKETS, data=body, content_type="application/json", headers=key), 400)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null", b"true"])
def test_json_that_is_no_object_is_refused(client: FlaskClient, key: Key, body: bytes) -> None:
    assert is_problem(client.post(TICKETS, data=body, content_type="application/json", headers=key), 422)


def test_a_broken_form_is_refused_without_a_failure(client: FlaskClient, key: Key) -> None:
    for body in (b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data; name=", b"no boundary at all"):
        for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
            response = client.post(TICKETS, data=body, content_type=content_type, headers=key)
            assert 400 <= response.status_code < 500


@pytest.mark.parametrize(
    "value",
    ["nul \x00 byte", "\ud800 lone surrogate", 10**400, 1.5, True, None, [], {}, "x" * 301],
    ids=["nul", "surrogate", "huge", "float", "bool", "null", "list", "object", "long"],
)
def test_hostile_values_are_refused_and_nothing_is_stored(
    client: FlaskClient, key: Key, db: Database, value: object
) -> None:
    for body in (
        {"text": "x", "subject": value},
        {"text": "x", "requester": {"name": value}} if value is not None else {"text": None},
        {"text": "x", "requester": {"external_id": value}} if value is not None else {"subject": None},
        {"text": "x", "requester": value} if value != {} else {"text": {}},
        {"text": "x", "unknown": value},
        {"text": "x", "\ud800": value},
    ):
        response = client.post(TICKETS, data=json.dumps(body), content_type="application/json", headers=key)
        assert is_problem(response, 422)
    assert count_tickets(db) == 0


def test_strange_but_storable_text_is_kept_as_it_is(client: FlaskClient, key: Key) -> None:
    strange = "ﷺ \u202e e\u0301 👩‍👩‍👧‍👦 \ufffe \x7f \x1b[31m <script> {{ 7*7 }} '; DROP TABLE tickets; --"
    opened = client.post(TICKETS, json={"text": strange, "subject": strange}, headers=key)
    assert opened.status_code == 201
    assert opened.json["messages"][0]["text"] == strange


def test_a_json_body_far_larger_than_any_ticket_is_refused_unread(client: FlaskClient, key: Key) -> None:
    body = b'{"text": "' + b"x" * 2_000_000 + b'"}'
    assert is_problem(client.post(TICKETS, data=body, content_type="application/json", headers=key), 413)


def test_a_request_over_every_limit_is_refused(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    runtime = make_runtime(photo_max_bytes=1000, photos_per_message=1)
    client, key = make_app(runtime).test_client(), bearer(make_key(runtime.desk.db))
    body = b"--x\r\nContent-Disposition: form-data; name=text\r\n\r\n" + b"x" * 2_000_000 + b"\r\n--x--\r\n"
    form = "multipart/form-data; boundary=x"
    assert is_problem(client.post(TICKETS, data=body, content_type=form, headers=key), 413)
    data = {"text": "x", "photos": [(io.BytesIO(make_photo("x", size=(900, 900))), "a.jpg")]}
    one = client.post(TICKETS, data=data, headers=key)
    assert (one.status_code, one.json["rejected_files"][0]["status"]) == (201, 413)


def test_unknown_addresses_and_methods_are_problems_too(client: FlaskClient, key: Key) -> None:
    assert is_problem(client.get("/api/v1/nothing", headers=key), 404)
    assert is_problem(client.get("/api/v2/tickets", headers=key), 404)
    refused = client.delete(TICKETS, headers=key)
    assert is_problem(refused, 405)
    assert set(refused.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


# Files


def bad_files(data_sets: Path) -> list[Path]:
    return sorted(path for path in (data_sets / "bad_files" / "files").iterdir() if path.is_file())


def test_every_bad_file_is_taken_or_refused_with_its_reason_in_bounded_time(
    client: FlaskClient, key: Key, data_sets: Path, db: Database
) -> None:
    files = bad_files(data_sets)
    assert len(files) > 50
    for path in files:
        started = time.thread_time()
        data = {"text": "It is broken.", "photos": [(io.BytesIO(path.read_bytes()), path.name)]}
        response = client.post(TICKETS, data=data, headers=key)
        seconds = time.thread_time() - started

        assert response.status_code == 201, path.name  # the rest of the message survives
        assert seconds < 5, path.name
        kept = response.json["messages"][0]["attachments"]
        refused = response.json["rejected_files"]
        assert len(kept) + len(refused) == 1, path.name
        if refused:
            assert 400 <= refused[0]["status"] < 500, path.name
            assert len(refused[0]["detail"]) > 20, path.name
        else:
            assert client.get(f"/api/v1/attachments/{kept[0]['id']}", headers=key).status_code == 200
    assert count_tickets(db) == len(files)


def test_a_bad_file_alone_is_a_clear_4xx(client: FlaskClient, key: Key, data_sets: Path) -> None:
    for path in bad_files(data_sets):
        data = {"photos": [(io.BytesIO(path.read_bytes()), path.name)]}
        response = client.post(TICKETS, data=data, headers=key)
        assert response.status_code == 201 or is_problem(response, response.status_code)
        assert response.status_code < 500, path.name


# The model and the load


BUSY = EngineBusy("Too many requests wait for the model.", retry_after=7.2)
LATE = EngineTimeout("The model did not answer in time.")


@pytest.mark.parametrize("error", [BUSY, LATE])
def test_a_model_that_cannot_answer_is_stepped_around(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask], tmp_path: Path, error: Exception
) -> None:
    parts = {"chat_model": ScriptedChatModel().enqueue(error), "decisions": FakeDecisions(error=error)}
    runtime = make_runtime(capabilities=fake_capabilities(Mode.FULL_VLM, **parts))
    make_articles(runtime.desk, tmp_path / "articles")
    client, key = make_app(runtime).test_client(), bearer(make_key(runtime.desk.db))
    response = client.post("/api/v1/triage", json={"text": "My BrewMaster 300 shows E21."}, headers=key)
    assert response.status_code == 200
    assert "the pump draws no water" in response.json["draft"]["text"]


@pytest.mark.parametrize(("error", "status", "retry_after"), [(BUSY, 503, "7"), (LATE, 504, None)])
def test_a_reader_that_cannot_answer_is_said(
    make_runtime: Callable[..., Runtime],
    make_app: Callable[..., APIFlask],
    error: Exception,
    status: int,
    retry_after: str | None,
) -> None:
    runtime = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR(error=error)))
    client, key = make_app(runtime).test_client(), bearer(make_key(runtime.desk.db))
    data = {"photos": [(io.BytesIO(make_photo("E21")), "a.jpg")]}
    response = client.post("/api/v1/triage", data=data, headers=key)
    assert is_problem(response, status)
    assert response.json["detail"] == str(error)
    assert response.headers.get("Retry-After") == retry_after


def test_too_many_requests_are_told_when_to_come_back(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    runtime = make_runtime(rate_limit="3 per minute")
    client = make_app(runtime, limited=True).test_client()
    key, other = bearer(make_key(runtime.desk.db)), bearer(make_key(runtime.desk.db))
    assert [client.get(TICKETS, headers=key).status_code for _ in range(3)] == [200] * 3
    refused = client.post(TICKETS, json={"text": "x"}, headers=key)
    assert is_problem(refused, 429)
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert count_tickets(runtime.desk.db) == 0
    assert client.get(TICKETS, headers=other).status_code == 200  # a key's allowance is its own
    assert client.get("/livez").status_code == 200


def test_invented_keys_and_tokens_share_the_limit_of_their_address(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    runtime = make_runtime(rate_limit="3 per minute")
    client = make_app(runtime, limited=True).test_client()
    for path in (TICKETS, "/widget/v1/conversations"):
        for given in ("ask_{}", "ey{}", "{}"):
            client.get(path, headers={"Authorization": f"Bearer {given.format(uuid.uuid4().hex)}"})
        assert is_problem(client.get(path, headers={"Authorization": f"Bearer {uuid.uuid4().hex}"}), 429)
    assert client.get(TICKETS, headers=bearer(make_key(runtime.desk.db))).status_code == 200


def test_a_database_that_is_gone_is_a_problem_without_inner_details(
    client: FlaskClient, key: Key, db: Database
) -> None:
    with db.begin() as session:
        session.execute(text("ALTER TABLE api_keys RENAME TO gone"))
    response = client.get(TICKETS, headers=key)
    assert is_problem(response, 500)
    assert "api_keys" not in response.text


def test_a_request_that_is_too_large_is_told_how_large_it_may_be(client: FlaskClient, key: dict[str, str]) -> None:
    answer = client.post("/api/v1/tickets", headers=key, data=b"x" * 1_100_000, content_type="application/json")
    assert answer.status_code == 413
    assert "larger than 1 MB" in answer.json["detail"]  # type: ignore[index]
