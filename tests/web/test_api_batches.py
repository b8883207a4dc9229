"""Many tickets read at once through the API: the same as one at a time, with failures of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from assistant.db import Database, utcnow
from assistant.desk import batches
from assistant.desk.desk import Desk
from assistant.models import Batch, BatchItem, Job
from assistant.ports import Mode, WorkPriority, current_priority, seconds_left
from assistant.runtime import Runtime
from assistant.worker import run_until_idle
from tests.factories import bearer, make_articles, make_key, make_ticket
from tests.fakes import FakeDecisions, fake_capabilities

TRIAGE, BATCH, BATCHES = "/api/v1/triage", "/api/v1/triage/batch", "/api/v1/triage/batches"
TEXTS = ["My coffee machine shows E21", "Where is my parcel?", "There is smoke coming out of it!", "Danke, alles gut."]
Key = dict[str, str]


def sent(client: FlaskClient, key: Key, texts: list[str] = TEXTS, **more: Any) -> str:
    tickets = [{"text": text, "reference": f"own-{number}"} for number, text in enumerate(texts)]
    response = client.post(BATCH, json={"tickets": tickets, **more}, headers=key)
    assert response.status_code == 202, response.text
    assert client.get(response.headers["Location"], headers=key).json == response.json
    return str(response.json["id"])


@pytest.mark.parametrize("with_draft", [True, False])
def test_a_batch_says_of_each_what_it_would_say_of_it_alone(
    client: FlaskClient, key: Key, desk: Desk, tmp_path: Any, with_draft: bool
) -> None:
    make_articles(desk, tmp_path / "articles")
    for _ in range(2):
        make_ticket(desk, "My coffee machine shows E21")
    run_until_idle(desk)
    batch = sent(client, key, with_draft=with_draft)
    waiting = client.get(f"{BATCHES}/{batch}", headers=key).json
    assert (waiting["done"], waiting["jobs_ahead"]) == (0, 0)
    later = client.get(f"{BATCHES}/{sent(client, key)}", headers=key).json
    assert later["jobs_ahead"] == 1
    run_until_idle(desk)
    status = client.get(f"{BATCHES}/{batch}", headers=key).json
    assert (status["total"], status["done"], status["failed"], status["jobs_ahead"]) == (4, 4, 0, None)
    assert status["finished_at"] is not None
    results = client.get(f"{BATCHES}/{batch}/results", headers=key).json["results"]
    assert [(one["position"], one["reference"]) for one in results] == [(n, f"own-{n}") for n in range(4)]
    for text, one in zip(TEXTS, results, strict=True):
        alone = client.post(TRIAGE, json={"text": text, "with_draft": with_draft}, headers=key).json
        for assessed in (alone, one["result"]):
            assert (assessed["draft"] is not None) == with_draft
            (assessed["draft"] or {}).pop("created_at", None)
            for when in ("created_at", "seconds"):
                del assessed["triage"][when]
            assert assessed["similar"]["tickets"] == (2 if text.startswith("My") else 0)
            del assessed["timing"]
        assert one["result"] == alone


def test_one_that_fails_says_why_and_the_others_go_on(client: FlaskClient, key: Key, desk: Desk) -> None:
    batch = sent(client, key, ["Where is my parcel?", "   ", "x" * 50_000, "It leaks"])
    run_until_idle(desk)
    first = client.get(f"{BATCHES}/{batch}/results", query_string={"limit": 2}, headers=key).json
    rest = client.get(f"{BATCHES}/{batch}/results", query_string={"cursor": first["next_cursor"]}, headers=key).json
    results = [*first["results"], *rest["results"]]
    assert [one["error"] and one["error"]["status"] for one in results] == [None, 422, 422, None]
    assert all((one["result"] is None) == (one["error"] is not None) for one in results)
    assert "nothing to assess" in results[1]["error"]["detail"]
    assert client.get(f"{BATCHES}/{batch}", headers=key).json["failed"] == 2


def test_a_batch_waits_behind_those_for_whom_somebody_waits(client: FlaskClient, key: Key, db: Database) -> None:
    sent(client, key)
    with db.read() as session:
        assert session.scalars(select(Job.priority)).one() == WorkPriority.BATCH


def test_what_is_done_when_a_process_dies_is_not_done_again(
    client: FlaskClient, key: Key, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, calls, assess = sent(client, key), [], batches.assess

    def counted(*args: Any, **more: Any) -> Any:
        calls.append(more["text"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return assess(*args, **more)

    monkeypatch.setattr(batches, "assess", counted)
    with pytest.raises(KeyboardInterrupt):
        run_until_idle(desk)
    with desk.db.begin() as session:
        session.execute(Job.__table__.update().values(leased_until=utcnow() - timedelta(minutes=1)))
    run_until_idle(desk)
    assert calls == [*TEXTS[:3], *TEXTS[2:]]
    assert client.get(f"{BATCHES}/{batch}", headers=key).json["done"] == 4


def test_a_batch_is_its_keys_alone_and_goes_after_a_day(client: FlaskClient, key: Key, desk: Desk) -> None:
    batch = sent(client, key)
    other = bearer(make_key(desk.db))
    assert client.get(f"{BATCHES}/{batch}", headers=other).status_code == 404
    run_until_idle(desk)
    batches.sweep(desk.db, now=utcnow())
    assert client.get(f"{BATCHES}/{batch}", headers=key).status_code == 200
    batches.sweep(desk.db, now=utcnow() + timedelta(days=1, minutes=1))
    assert client.get(f"{BATCHES}/{batch}", headers=key).status_code == 404
    with desk.db.read() as session:
        assert session.scalars(select(BatchItem)).all() == []


def test_a_batch_can_be_removed_before_it_is_done(client: FlaskClient, key: Key, desk: Desk) -> None:
    batch = sent(client, key)
    assert client.delete(f"{BATCHES}/{batch}", headers=key).status_code == 204
    run_until_idle(desk)
    with desk.db.read() as session:
        assert session.scalars(select(Batch)).all() == []


def test_too_much_is_refused(client: FlaskClient, key: Key, desk: Desk) -> None:
    for tickets in ([], [{"text": "x"}] * 501, [{"text": ""}, {"photo": "x"}]):
        assert client.post(BATCH, json={"tickets": tickets}, headers=key).status_code == 422
    for _ in range(batches.MOST_BATCHES):
        sent(client, key, ["x"])
    assert client.post(BATCH, json={"tickets": [{"text": "x"}]}, headers=key).status_code == 409


def test_who_waits_is_told_when_it_is_done(client: FlaskClient, key: Key, desk: Desk) -> None:
    batch = sent(client, key)
    assert client.get(f"{BATCHES}/{batch}", query_string={"wait": 1}, headers=key).json["finished_at"] is None
    run_until_idle(desk)
    assert client.get(f"{BATCHES}/{batch}", query_string={"wait": 20}, headers=key).json["finished_at"] is not None


def test_what_is_not_done_by_its_deadline_fails_alone(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    seen: list[WorkPriority] = []

    class Slow(FakeDecisions):
        def decide(self, state: str, *args: Any, **more: Any) -> Any:
            seen.append(current_priority())
            while "slow" in state and (seconds_left() or 60) < 50:
                time.sleep(0.01)
            return super().decide(state, *args, **more)

    runtime = make_runtime(capabilities=fake_capabilities(Mode.FULL_VLM, decisions=Slow()))
    client, key = make_app(runtime).test_client(), bearer(make_key(runtime.desk.db))
    late = client.post(TRIAGE, json={"text": "slow", "deadline_seconds": 0.2, "with_draft": False}, headers=key)
    assert (late.status_code, late.json["code"], late.headers["Retry-After"]) == (503, "deadline", "5")
    calm = {"text": "slow", "deadline_seconds": 60, "priority": "normal", "with_draft": False}
    assert client.post(TRIAGE, json=calm, headers=key).status_code == 200
    assert set(seen) == {WorkPriority.INTERACTIVE, WorkPriority.DRAFT}
    assert client.post(TRIAGE, json={"text": "x", "deadline_seconds": 0}, headers=key).status_code == 422
    assert client.post(TRIAGE, json={"text": "x", "priority": "urgent"}, headers=key).status_code == 422

    batch = sent(client, key, ["quick", "slow"], with_draft=False, deadline_seconds=600, priority="interactive")
    over = sent(client, key, ["quick"], with_draft=False, deadline_seconds=600)
    with runtime.desk.db.begin() as session:
        assert sorted(session.scalars(select(Job.priority))) == [WorkPriority.INTERACTIVE, WorkPriority.BATCH]
        session.execute(update(Batch).where(Batch.public_id == batch).values(deadline_at=in_seconds(0.3)))
        session.execute(update(Batch).where(Batch.public_id == over).values(deadline_at=in_seconds(-1)))
    run_until_idle(runtime.desk)
    results = client.get(f"{BATCHES}/{batch}/results", headers=key).json["results"]
    assert results[1]["error"]["code"] == "deadline"
    [gone] = client.get(f"{BATCHES}/{over}/results", headers=key).json["results"]
    assert gone["error"]["code"] == "deadline"
    assert client.get(f"{BATCHES}/{over}", headers=key).json["failed"] == 1


def in_seconds(number: float) -> datetime:
    return utcnow() + timedelta(seconds=number)


def test_where_a_model_takes_part_several_are_asked_of_it_at_once(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    meeting = threading.Barrier(4, timeout=20)

    class Together(FakeDecisions):
        def decide(self, *args: Any, **more: Any) -> Any:
            meeting.wait()
            assert current_priority() is WorkPriority.BATCH
            return super().decide(*args, **more)

    runtime = make_runtime(capabilities=fake_capabilities(Mode.FULL_VLM, decisions=Together()))
    client, key = make_app(runtime).test_client(), bearer(make_key(runtime.desk.db))
    batch = sent(client, key, with_draft=False)
    run_until_idle(runtime.desk)
    status = client.get(f"{BATCHES}/{batch}", headers=key).json
    assert (status["done"], status["failed"]) == (4, 0)
    assert not meeting.broken
