"""Webhooks, told to a real receiver: signed, in order, at least once, and never where they must not go."""

from __future__ import annotations

import dataclasses
import json
import random
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook as Verifier

from assistant import worker
from assistant.db import Database
from assistant.desk import erasure, feed, sealing, tickets, webhooks
from assistant.desk.desk import Desk
from assistant.desk.events import EventKind
from assistant.errors import Invalid, NotAllowed
from assistant.models import Customer, DeliveryState, Ticket, TicketStatus, Webhook, WebhookDelivery
from assistant.runtime import Runtime
from tests.factories import make_inbox, make_machine, make_ticket
from tests.fakes import ManualClock

README = Path(__file__).parents[2] / "README.md"
CREATED, UPDATED, SAID = (
    kind.value for kind in (EventKind.TICKET_CREATED, EventKind.TICKET_UPDATED, EventKind.MESSAGE_CREATED)
)


class Receiver:
    """Another system. ``answers`` says with which status it answers a try, by default 204."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.taken: list[str] = []  # ids
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.answers: Callable[[dict[str, Any]], int] = lambda _event: 204
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver._take(body, {name.lower(): value for name, value in self.headers.items()})
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, body: bytes, headers: dict[str, str]) -> int:
        event = json.loads(body)
        with self._lock:
            self.got.append(event)
            self.headers.append(headers)
            self.bodies.append(body)
            status = self.answers(event)
            if status < 300:
                self.taken.append(event["id"])
        return status

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.got]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def desk(make_runtime: Callable[..., Runtime]) -> Desk:
    desk = make_runtime(webhook_private_addresses=True).desk
    return dataclasses.replace(desk, now=ManualClock(desk.now() + timedelta(minutes=1)))


def add(desk: Desk, receiver: Receiver, *kinds: str, **more: Any) -> tuple[Webhook, str]:
    with desk.db.begin() as session:
        return webhooks.add(session, desk.settings, url=receiver.url, kinds=kinds, **more)


def solve(desk: Desk, ticket: Ticket, status: TicketStatus = TicketStatus.SOLVED) -> None:
    with desk.db.begin() as session:
        tickets.set_status(session, session.get_one(Ticket, ticket.id), status)


def later(desk: Desk, by: timedelta) -> None:
    assert isinstance(desk.now, ManualClock)
    desk.now.advance(by)
    worker.run_until_idle(desk)


def rows(db: Database) -> list[WebhookDelivery]:
    with db.read() as session:
        return list(session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.event_id)))


def test_what_happens_is_told_in_order_as_the_list_of_events_has_it_and_signed(desk: Desk, receiver: Receiver) -> None:
    _, secret = add(desk, receiver)
    with desk.db.read() as session:
        before = feed.last_event_id(session)
    ticket = make_ticket(desk)
    worker.run_until_idle(desk)
    solve(desk, ticket)
    worker.run_until_idle(desk)
    assert receiver.types[:2] == [SAID, CREATED] or receiver.types[:2] == [CREATED, SAID]
    assert "ticket.triaged" in receiver.types
    assert receiver.types.count(UPDATED) >= 1
    with desk.db.read() as session:
        told, _ = feed.told(session, make_machine(desk.db), before)
    assert receiver.got == [one.to_json() for one in told]
    assert {event["ticket"]["id"] for event in receiver.got} == {ticket.public_id}
    for headers, body in zip(receiver.headers, receiver.bodies, strict=True):
        Verifier(secret).verify(body, headers)


def test_only_what_is_wanted_and_has_happened_since_is_told(desk: Desk, receiver: Receiver) -> None:
    make_inbox(desk.db, "outdoor")
    make_ticket(desk, "before")
    add(desk, receiver, CREATED, only=["outdoor"])
    make_ticket(desk, "elsewhere")
    there = make_ticket(desk, "here", inbox="outdoor")
    worker.run_until_idle(desk)
    assert [(event["type"], event["ticket"]["id"]) for event in receiver.got] == [(CREATED, there.public_id)]


def test_what_is_not_taken_is_tried_again_and_what_is_newer_waits(desk: Desk, receiver: Receiver) -> None:
    add(desk, receiver, CREATED, UPDATED)
    refused = {CREATED: 3}

    def answers(event: dict[str, Any]) -> int:
        refused[event["type"]] = refused.get(event["type"], 0) - 1
        return 500 if refused[event["type"]] >= 0 else 200

    receiver.answers = answers
    solve(desk, make_ticket(desk))
    worker.run_until_idle(desk)
    assert receiver.types == [CREATED]
    [row] = rows(desk.db)
    assert (row.state, row.tries, row.status) == (DeliveryState.PENDING, 1, 500)
    for pause in (6, 19, 60):
        later(desk, timedelta(seconds=pause))
    assert receiver.types[:4] == [CREATED] * 4
    assert receiver.types[4:] == [UPDATED] * len(receiver.types[4:]) != []
    assert {row.state for row in rows(desk.db)} == {DeliveryState.DELIVERED}
    assert rows(desk.db)[0].tries == 4


def test_what_nobody_takes_for_a_day_is_given_up_and_can_be_delivered_again(desk: Desk, receiver: Receiver) -> None:
    webhook, _ = add(desk, receiver, CREATED, UPDATED)
    receiver.answers = lambda event: 500 if event["type"] == CREATED else 200
    ticket = make_ticket(desk)
    solve(desk, ticket)
    worker.run_until_idle(desk)
    for _ in range(60):
        later(desk, timedelta(minutes=37))
    first, *others = rows(desk.db)
    assert first.state is DeliveryState.GIVEN_UP
    assert 30 < first.tries < 70
    assert {row.state for row in others} == {DeliveryState.DELIVERED}
    receiver.answers = lambda _event: 200
    with desk.db.begin() as session:
        webhooks.replay(session, session.get_one(Webhook, webhook.id), first.public_id)
    receiver.got.clear()
    worker.run_until_idle(desk)
    assert receiver.types == [CREATED]
    assert rows(desk.db)[0].state is DeliveryState.DELIVERED


def test_a_receiver_that_is_away_is_told_when_it_is_back(desk: Desk) -> None:
    away = Receiver()
    away.close()
    add(desk, away, CREATED)
    make_ticket(desk)
    worker.run_until_idle(desk)
    [row] = rows(desk.db)
    assert row.status is None
    assert row.problem is not None
    assert "cannot be reached" in row.problem


def test_of_each_ticket_nothing_is_lost_or_overtaken_with_an_unsteady_receiver_and_several_workers(
    desk: Desk, receiver: Receiver
) -> None:
    add(desk, receiver)
    chance = random.Random(7)
    receiver.answers = lambda _event: 200 if chance.random() < 0.6 else 503
    for number in range(6):
        solve(desk, make_ticket(desk, f"Ticket {number}"))

    def work() -> None:
        while worker.run_once(desk, only=worker.OUTWARD):
            pass

    worker.run_until_idle(desk)
    for _ in range(40):
        assert isinstance(desk.now, ManualClock)
        desk.now.advance(timedelta(minutes=35))
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with desk.db.read() as session:
        told, _ = feed.told(session, make_machine(desk.db), 0, limit=500)
    by_ticket: dict[str, list[str]] = {}
    for event_id in dict.fromkeys(receiver.taken):
        by_ticket.setdefault(next(one.ticket.id for one in told if one.id == event_id), []).append(event_id)
    for ticket_id, taken in by_ticket.items():
        assert taken == [one.id for one in told if one.ticket.id == ticket_id]
    assert len(receiver.taken) == len(set(receiver.taken)) == len(told)


def test_while_a_secret_is_replaced_both_are_good(desk: Desk, receiver: Receiver) -> None:
    webhook, old = add(desk, receiver, CREATED)
    with desk.db.begin() as session:
        row = session.get_one(Webhook, webhook.id)
        new = webhooks.rotate(session, desk.settings, row)
        assert new not in row.secret  # sealed
        assert sealing.unseal(desk.settings, row.secret) == new
    make_ticket(desk)
    worker.run_until_idle(desk)
    for secret in (old, new):
        Verifier(secret).verify(receiver.bodies[0], receiver.headers[0])
    later(desk, webhooks.GRACE)
    webhooks.sweep(desk.db, now=desk.now())
    make_ticket(desk)
    worker.run_until_idle(desk)
    headers = receiver.headers[1]  # the clock of the official check is the real one
    given = {"message_id": headers["webhook-id"], "timestamp": headers["webhook-timestamp"], "body": receiver.bodies[1]}
    assert headers["webhook-signature"] == webhooks.sign(new, **given)


def test_a_disabled_webhook_is_told_what_happens_once_it_is_enabled_again(desk: Desk, receiver: Receiver) -> None:
    webhook, _ = add(desk, receiver, CREATED)
    receiver.answers = lambda _event: 410
    make_ticket(desk, "It is gone")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        row = session.get_one(Webhook, webhook.id)
        assert row.disabled_at is not None
    make_ticket(desk, "Meanwhile")
    later(desk, timedelta(hours=1))
    assert len(receiver.got) == 1
    receiver.answers = lambda _event: 200
    with desk.db.begin() as session:
        webhooks.change(session, desk.settings, session.get_one(Webhook, webhook.id), enabled=True)
    new = make_ticket(desk, "From now on")
    worker.run_until_idle(desk)
    assert [event["ticket"]["id"] for event in receiver.got[1:]] == [new.public_id]


@pytest.mark.parametrize("url", ["http://shop.example/hook", "ftp://shop.example", "https://u:p@shop.example", "shop"])
def test_addresses_that_are_not_safe_are_refused(make_runtime: Callable[..., Runtime], url: str) -> None:
    desk = make_runtime().desk
    with pytest.raises(Invalid) as refused, desk.db.begin() as session:
        webhooks.add(session, desk.settings, url=url)
    assert refused.value.fields["field"] == "url"


def test_nothing_is_sent_into_the_private_network_unless_that_is_allowed(
    make_runtime: Callable[..., Runtime], receiver: Receiver
) -> None:
    desk = make_runtime().desk
    with desk.db.begin() as session:
        webhook, _ = webhooks.add(session, desk.settings, url="https://shop.example/hook")
        webhook.url = receiver.url  # as a name that has changed its address since
    make_ticket(desk)
    worker.run_until_idle(desk)
    assert receiver.got == []
    problem = rows(desk.db)[0].problem
    assert problem is not None
    assert "ASSISTANT_WEBHOOK_PRIVATE_ADDRESSES" in problem


def test_a_key_for_some_inboxes_cannot_learn_of_others_by_a_webhook(desk: Desk, receiver: Receiver) -> None:
    there = make_inbox(desk.db, "outdoor")
    machine = dataclasses.replace(make_machine(desk.db), inbox_ids=frozenset({there.id}))
    for only in ([], ["default"], ["default", "outdoor"]):
        with pytest.raises(NotAllowed):
            add(desk, receiver, only=only, machine=machine)
    own, _ = add(desk, receiver, only=["outdoor"], machine=machine)
    add(desk, receiver)
    with desk.db.read() as session:
        assert [one.id for one in webhooks.all_webhooks(session, machine)] == [own.id]


def test_an_erased_customer_is_told_of_no_more(desk: Desk, receiver: Receiver) -> None:
    add(desk, receiver, CREATED)
    receiver.answers = lambda _event: 500
    make_ticket(desk, requester_email="kim@example.org")
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        customer = session.scalars(select(Customer).where(Customer.email == "kim@example.org")).one()
    erasure.erase(desk.db, desk.storage, desk.settings.data_dir, [customer.public_id])
    assert rows(desk.db) == []
    receiver.got.clear()
    later(desk, timedelta(hours=1))
    assert receiver.got == []


def test_the_log_is_kept_as_long_as_the_feed_and_nothing_is_told_twice_for_it(desk: Desk, receiver: Receiver) -> None:
    add(desk, receiver, CREATED)
    make_ticket(desk)
    worker.run_until_idle(desk)
    assert len(rows(desk.db)) == 1
    month = desk.now() + timedelta(days=31)
    webhooks.sweep(desk.db, now=month)
    assert len(rows(desk.db)) == 1  # its event is still there
    feed.sweep(desk.db, now=month)
    webhooks.sweep(desk.db, now=month)
    assert rows(desk.db) == []


def test_the_receiver_of_the_readme_takes_what_is_ours_once(desk: Desk, receiver: Receiver, monkeypatch: Any) -> None:
    _, secret = add(desk, receiver, CREATED)
    make_ticket(desk)
    worker.run_until_idle(desk)
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    example = next(one for one in README.read_text().split("```python\n") if "webhook-signature" in one).split("```")[0]
    names: dict[str, Any] = {"__name__": "example"}
    exec(example, names)
    theirs, body, headers = names["app"].test_client(), receiver.bodies[0], receiver.headers[0]
    assert isinstance(desk.now, ManualClock)
    monkeypatch.setattr(names["time"], "time", lambda: desk.now().timestamp())

    def post(body: bytes, headers: dict[str, str]) -> int:
        return int(theirs.post("/hook", data=body, headers=headers, content_type="application/json").status_code)

    assert [post(body, headers), post(body, headers)] == [204, 204]
    assert len(names["seen"]) == 1
    assert post(body.replace(b"new", b"old"), headers) == 401
    desk.now.advance(timedelta(minutes=6))
    assert post(body, headers) == 401
