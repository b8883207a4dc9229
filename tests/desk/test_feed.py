"""Streams of what happens: each hears what concerns it, whichever process did it, and waiting costs little."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from sqlalchemy import event

from assistant.db import Database
from assistant.desk import feed
from assistant.desk.desk import Desk
from assistant.desk.events import AnswerDelta, Audience
from assistant.models import Event
from tests.factories import make_ticket

HEARD_WITHIN = 30.0  # seconds, on a machine that may be busy


class Listener(threading.Thread):
    """A stream of one conversation or (None) of all, which ends once it was told something."""

    def __init__(self, db: Database, conversation_id: int | None) -> None:
        super().__init__(daemon=True)
        self.db, self.conversation_id = db, conversation_id
        self.began, self.leaves = threading.Event(), threading.Event()
        self.heard: list[Event] = []
        self.start()
        assert self.began.wait(HEARD_WITHIN)

    def run(self) -> None:
        with self.db.read() as session:
            since = feed.last_event_id(session)
        following: Iterator[Sequence[Event]] = feed.follow(
            self.db, since, conversation_id=self.conversation_id, audience=Audience.AGENT
        )
        for batch in following:
            self.began.set()
            self.heard += batch
            if self.heard or self.leaves.is_set():
                following.close()  # type: ignore[attr-defined]
                return

    def leave(self) -> list[Event]:
        self.leaves.set()
        self.join(HEARD_WITHIN)
        assert not self.is_alive()
        return self.heard


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "POLL", 0.05)


@pytest.fixture
def elsewhere(desk: Desk) -> Iterator[Database]:
    """The database as another process has it open."""
    with closing(Database(desk.settings.sqlalchemy_url)) as db:
        yield db


def tell(db: Database, conversation_id: int) -> None:
    with db.begin() as session:
        feed.append(session, conversation_id, AnswerDelta(text="Fill the tank.", turn=1))


@pytest.mark.usefixtures("hurry")
def test_what_another_process_does_is_heard_by_whom_it_concerns(desk: Desk, elsewhere: Database) -> None:
    one, other = (make_ticket(desk).conversation_id for _ in range(2))
    for _ in range(2):  # the second time, after nobody has listened for a while
        agent, customer, stranger = (Listener(desk.db, it) for it in (None, one, other))
        tell(elsewhere, one)
        for listener in (agent, customer):
            listener.join(HEARD_WITHIN)
            assert [it.conversation_id for it in listener.heard] == [one]
        assert stranger.leave() == []
        tell(elsewhere, other)


@pytest.mark.usefixtures("hurry")
def test_however_many_streams_wait_the_database_is_asked_as_often(desk: Desk) -> None:
    conversation = make_ticket(desk).conversation_id

    def questions(streams: int) -> int:
        listeners, asked = [Listener(desk.db, conversation) for _ in range(streams)], 0

        def count(*_: object) -> None:
            nonlocal asked
            asked += 1

        event.listen(desk.db.engine, "before_cursor_execute", count)
        time.sleep(1.0)
        event.remove(desk.db.engine, "before_cursor_execute", count)
        for listener in listeners:
            assert listener.leave() == []
        return asked

    alone = questions(1)
    assert alone > 1
    assert questions(20) < 3 * alone
