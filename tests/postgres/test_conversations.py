"""Customers who write at the same instant, on PostgreSQL, where transactions run side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from assistant import worker
from assistant.db import utcnow
from assistant.desk import conversations, feed, inboxes, rollup, search, state
from assistant.desk.access import CustomerPrincipal
from assistant.desk.conversations import Posted
from assistant.desk.counting import Measure
from assistant.desk.retention import Retention
from assistant.models import (
    Attachment,
    Conversation,
    Customer,
    Evidence,
    FileCondition,
    Message,
    ReportCount,
    Ticket,
    TicketStatus,
)
from assistant.runtime import Runtime
from tests.factories import make_conversation, make_ticket, make_upload
from tests.fakes import FakeOCR, fake_capabilities

pytestmark = pytest.mark.postgres

WAITING = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")


def test_a_message_sent_into_two_conversations_at_once_is_stored_once(
    make_runtime: Callable[..., Runtime], postgres_url: str
) -> None:
    desk = make_runtime(database_url=postgres_url).desk
    with desk.db.begin() as session:
        rosa, inbox = Customer(name="Rosa"), inboxes.find(session, "default")
        two = [state.begin_conversation(session, rosa, channel="widget", inbox=inbox) for _ in range(2)]
    posted: list[Posted] = []
    made = make_conversation(desk)  # what is loaded once is there before the clocks of locks run
    conversations.post_message(desk, CustomerPrincipal(made.id), text="Hello, it leaks.", uploads=[], client_id=None)

    def post(conversation_id: int) -> None:
        customer = CustomerPrincipal(conversation_id)
        posted.append(conversations.post_message(desk, customer, text="It leaks.", uploads=[], client_id="m-1"))

    threads = [threading.Thread(target=post, args=(one.id,)) for one in two]
    with desk.db.begin() as other:
        other.execute(
            select(func.pg_advisory_xact_lock(feed._EVENT_LOCK))
        )  # until this is over, nobody tells of a message
        for thread in threads:
            thread.start()
        ends_at = time.monotonic() + 30
        while other.scalar(WAITING) < len(threads):
            assert time.monotonic() < ends_at
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert sorted(one.repeated for one in posted) == [False, True]
    with desk.db.read() as session:
        assert session.scalar(select(func.count()).select_from(Message).where(Message.client_id == "m-1")) == 1


def test_what_has_been_kept_long_enough_goes(make_runtime: Callable[..., Runtime], postgres_url: str) -> None:
    ocr = FakeOCR("BrewMaster 300", "ZX81QQ")
    desk = make_runtime(database_url=postgres_url, capabilities=fake_capabilities(ocr=ocr)).desk
    tickets = [make_ticket(desk, text, uploads=[make_upload(f"{text}.jpg")]) for text in ("one", "two")]
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        for ticket, days in zip(tickets, (40, 10), strict=True):
            state.change_ticket(session, session.get_one(Ticket, ticket.id), status=TicketStatus.SOLVED)
            session.get_one(Conversation, ticket.conversation_id).updated_at = utcnow() - timedelta(days=days)
        inboxes.change(inboxes.default(session), {"keep_files_days": 5, "keep_conversations_days": 30})
    rollup.roll_up(desk)
    assert Retention(desk.db, desk.storage, desk.settings.data_dir, desk.taxonomy).run(now=utcnow()) is False
    with desk.db.read() as session:
        assert session.scalars(select(Ticket.subject)).all() == ["two"]
        assert [one.condition for one in session.scalars(select(Attachment))] == [FileCondition.REMOVED]
        assert session.scalars(select(Evidence)).all() == []
        assert session.scalars(select(Ticket.id).where(search.has(session, "ZX81QQ"))).all() == []
        opened = select(func.sum(ReportCount.count)).where(ReportCount.measure == Measure.OPENED)
        assert session.scalar(opened) == 2
