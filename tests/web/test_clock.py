"""The clock is set by an hour: nobody is signed out, nothing is done twice, and nothing waits for that hour."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest
from flask.testing import FlaskClient
from itsdangerous import BadSignature, SignatureExpired, TimestampSigner
from sqlalchemy import func, select

from assistant import db as database
from assistant.db import Database, utcnow
from assistant.desk import deadlines, queue
from assistant.desk.desk import Desk
from assistant.models import Conversation, Job, JobStatus, SLATarget, Ticket, TriageResult
from assistant.web import cookies
from assistant.worker import run_until_idle
from tests.factories import PASSWORD, Browser, Persona

HOUR = timedelta(hours=1)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Of the whole process, by so much."""
    ahead = timedelta(0)

    class Shown(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + ahead

    def set_it(by: timedelta) -> None:
        nonlocal ahead
        ahead += by

    monkeypatch.setattr(database, "datetime", Shown)
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: int(utcnow().timestamp()))
    return set_it


def sign_in(client: FlaskClient, agent: Persona) -> int:
    return client.post("/console/sign-in", data={"email": agent.email, "password": PASSWORD}).status_code


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forward", "back"])
def test_whoever_is_in_stays_in_and_what_is_sent_again_is_known(
    client: FlaskClient,
    key: dict[str, str],
    desk: Desk,
    db: Database,
    alice: Persona,
    set_clock: Callable[[timedelta], None],
    by: timedelta,
) -> None:
    with db.begin() as session:
        goals = {SLATarget.FIRST_RESPONSE: 8 * HOUR}
        deadlines.put(session, "Everybody", holds=[], goals=goals, around_the_clock=True)
    client.application.config["WTF_CSRF_ENABLED"] = False
    assert sign_in(client, alice) == 302
    browser, shop = Browser(client), client.application.test_client()
    assert browser.say("It shows E21.", client_id="1").status_code == 201
    opened = shop.post("/api/v1/tickets", json={"text": "It leaks."}, headers={**key, "Idempotency-Key": "1"})
    assert opened.status_code == 201
    set_clock(by)
    assert client.get("/console/").status_code == 200
    assert browser.say("It shows E21.", client_id="1").status_code == 200
    assert browser.say("Still so.", client_id="2").status_code == 201
    again = shop.post("/api/v1/tickets", json={"text": "It leaks."}, headers={**key, "Idempotency-Key": "1"})
    assert (again.status_code, again.data) == (201, opened.data)
    queue.set_right(db, now=desk.now())
    run_until_idle(desk)
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(Conversation)) == 2
        ticket = session.scalars(select(Ticket).where(Ticket.public_id == opened.json["id"])).one()
        assert len(session.scalars(select(TriageResult).where(TriageResult.ticket_id == ticket.id)).all()) == 1
        waiting = select(Job.name).where(Job.status != JobStatus.DONE, Job.run_at < utcnow() + HOUR)
        assert not session.scalars(waiting).all()
    assert ticket.due_at is not None
    assert abs(ticket.due_at - ticket.created_at - 8 * HOUR) < timedelta(minutes=1)


def test_a_cookie_that_is_too_old_still_ends(client: FlaskClient, set_clock: Callable[[timedelta], None]) -> None:
    signer = cookies.Signer("secret")
    signed = signer.sign("session")
    set_clock(2 * HOUR)
    assert signer.unsign(signed, max_age=7201) == b"session"
    with pytest.raises(SignatureExpired):
        signer.unsign(signed, max_age=7199)
    with pytest.raises(BadSignature):
        signer.unsign(signed + b"x")
