"""Messages that crash the process that reads them: bounded, told, and harmless to every other message."""

from __future__ import annotations

import io
import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from assistant import worker
from assistant.db import utcnow
from assistant.desk import queue
from assistant.desk.desk import Desk
from assistant.media.files import Upload
from assistant.models import Conversation, ConversationState, Draft, Job, JobStatus, Message, TriageResult
from assistant.ports import HandoffReason, TextLine
from assistant.runtime import Runtime, build
from assistant.settings import Settings
from assistant.worker import Workers
from tests.desk.test_turns import say
from tests.factories import make_photo, make_upload
from tests.fakes import FakeOCR, HashEmbeddings, ManualClock, fake_capabilities
from tests.processes import Process, Tell


class DyingOCR(FakeOCR):
    """Dies of blue photos."""

    def read(self, photo: bytes) -> list[TextLine]:
        time.sleep(0.3)  # meanwhile others take what there is
        image = Image.open(io.BytesIO(photo)).convert("RGB")
        red, _, blue = image.getpixel((image.width - 4, image.height - 4))
        if blue > 200 > red:
            os._exit(139)
        return super().read(photo)


class DyingEmbeddings(HashEmbeddings):
    """Die of a word."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if any("deadly" in text for text in texts):
            os._exit(139)
        return super().embed_documents(texts)


def work(_tell: Tell, data: Path, late: timedelta) -> None:
    """A worker process, so much later than it is, until nothing is left to do."""
    capabilities = fake_capabilities(ocr=DyingOCR("E21"), embeddings=DyingEmbeddings())
    runtime = build(Settings(data_dir=data, workers=0), capabilities=capabilities, now=lambda: utcnow() + late)
    workers = Workers(runtime.desk, count=4)
    workers.start()
    while True:
        with runtime.desk.db.read() as session:
            count = queue.counts(session)
        if not count[JobStatus.QUEUED] + count[JobStatus.RUNNING]:
            break
        time.sleep(0.05)
    workers.stop()


GIVEN_UP_AFTER = 30  # processes: far more than are right


def processes_until_idle(data: Path) -> int:
    """Start worker processes, minutes after each other, until one survives. Returns how many died."""
    for number in range(GIVEN_UP_AFTER):
        status = Process(work, data, timedelta(minutes=2 * number)).wait()
        if status == 0:
            return number
        assert status == 139
    return GIVEN_UP_AFTER


def upload(colour: str) -> Upload:
    return make_upload(f"{colour}.png", make_photo(colour, colour=colour, kind="PNG"))


@pytest.mark.slow
def test_messages_that_kill_every_process_are_dead_after_three_and_nobody_elses_suffers(
    desk: Desk, tmp_path: Path
) -> None:
    deadly = [say(desk, f"It blinks {n}", uploads=[upload("blue")]) for n in range(2)]
    harmless = [say(desk, f"What does E21 mean? {n}", uploads=[upload("white")]) for n in range(4)]
    assert processes_until_idle(tmp_path / "var") <= 2 * queue.MAX_CRASHES
    with desk.db.read() as session:
        for posted in deadly:
            message = session.get_one(Message, posted.message.id)
            conversation = session.get_one(Conversation, message.conversation_id)
            assert message.failed
            assert conversation.handoff_reason is HandoffReason.ENGINE_DOWN
            assert session.scalar(select(TriageResult).where(TriageResult.message_id == message.id)) is not None
        for posted in harmless:
            assert not session.get_one(Message, posted.message.id).failed
        dead = session.scalars(select(Job).where(Job.status == JobStatus.DEAD)).all()
        assert sorted(job.payload["message_id"] for job in dead) == [posted.message.id for posted in deadly]
        assert all("died" in (job.error or "") for job in dead)


@pytest.mark.slow
def test_a_text_that_kills_even_the_last_resort_still_reaches_a_person(desk: Desk, tmp_path: Path) -> None:
    posted = say(desk, "a deadly text")
    assert processes_until_idle(tmp_path / "var") <= queue.MAX_CRASHES + 1
    with desk.db.read() as session:
        assert session.get_one(Message, posted.message.id).failed
        conversation = session.scalars(select(Conversation)).one()
        assert conversation.state is ConversationState.HANDED_OFF
        assert session.scalars(select(Draft)).all() == []


def abandon(desk: Desk, clock: ManualClock, *, count: int) -> list[int]:
    """Claim as many jobs as a process that then dies. Returns their ids."""
    claimed = [queue.claim(desk.db, now=clock()) for _ in range(count)]
    clock.advance(timedelta(minutes=1))
    return [job.id for job in claimed if job is not None]


def test_jobs_whose_process_died_run_one_at_a_time_and_others_beside_them(desk: Desk) -> None:
    clock = ManualClock(desk.now() + timedelta(seconds=1))
    for number in range(5):
        say(desk, f"Message {number}")
    suspects = abandon(desk, clock, count=3)
    claimed = [queue.claim(desk.db, now=clock()) for _ in range(5)]
    ids = [job.id for job in claimed if job is not None]
    assert len(set(suspects) & set(ids)) == 1
    assert len(ids) == 3  # both that never ran, and one suspect


def test_who_crashed_less_often_comes_first(desk: Desk) -> None:
    clock = ManualClock(desk.now() + timedelta(seconds=1))
    for number in range(3):
        say(desk, f"Message {number}")
    abandon(desk, clock, count=3)
    tried = Counter(job_id for _ in range(6) for job_id in abandon(desk, clock, count=1))
    assert set(tried.values()) == {2}


def test_a_server_that_stops_leaves_its_jobs_to_others_at_once(desk: Desk) -> None:
    clock = ManualClock(desk.now() + timedelta(seconds=1))
    say(desk, "What does E21 mean?")
    for _ in range(2 * queue.MAX_CRASHES):
        job = queue.claim(desk.db, now=clock())
        assert job is not None
        queue.release(desk.db, [job], now=clock())
    with desk.db.read() as session:
        assert session.scalars(select(Job)).one().status is JobStatus.QUEUED


def test_a_dead_message_that_an_operator_retries_is_answered_and_no_longer_called_failed(
    make_runtime: Callable[..., Runtime],
) -> None:
    desk = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("E21"))).desk
    clock = ManualClock(desk.now() + timedelta(seconds=1))
    object.__setattr__(desk, "now", clock)
    posted = say(desk, "It blinks", photo=True)
    for _ in range(queue.MAX_CRASHES):
        abandon(desk, clock, count=1)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert session.get_one(Message, posted.message.id).failed
        assert session.scalars(select(Draft)).all() == []
    queue.retry_dead(desk.db)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert not session.get_one(Message, posted.message.id).failed
        assert len(session.scalars(select(Draft)).all()) == 1
