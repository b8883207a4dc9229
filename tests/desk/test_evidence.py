"""Photos that come while the model is down: OCR reads them, and the model once it is back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from assistant import worker
from assistant.db import utcnow
from assistant.desk import evidence
from assistant.desk.corrections import correct_evidence
from assistant.desk.desk import Desk
from assistant.desk.events import EventKind
from assistant.errors import EngineFailed
from assistant.models import Attachment, Event, Evidence, Generation, Job
from assistant.ports import Mode
from assistant.runtime import Runtime
from tests.desk.test_turns import say
from tests.factories import make_agent
from tests.fakes import FakeDecisions, FakeOCR, ManualClock, fake_capabilities

MINUTE = timedelta(minutes=1)


@pytest.fixture
def down(make_runtime: Callable[..., Runtime]) -> tuple[Desk, FakeDecisions, ManualClock]:
    """A desk whose model is down."""
    model, clock = FakeDecisions({"condition": "leaking"}, error=EngineFailed("down")), ManualClock(utcnow() + MINUTE)
    parts = {"decisions": model, "ocr": FakeOCR("BrewMaster 300"), "model": "remote-8b", "revision": "remote:8b"}
    desk = make_runtime(capabilities=fake_capabilities(Mode.SMALL_VLM, **parts)).desk
    return replace(desk, now=clock), model, clock


def kept(desk: Desk) -> list[Evidence]:
    with desk.db.read() as session:
        return list(session.scalars(select(Evidence).order_by(Evidence.id)))


def looks(model: FakeDecisions) -> int:
    """How often the model was asked about a photo alone."""
    return sum(any(question.key == "condition" for question in questions) for _, _, questions in model.asked)


def told(desk: Desk) -> int:
    with desk.db.read() as session:
        return list(session.scalars(select(Event.kind))).count(EventKind.EVIDENCE_READ)


def what_counts(desk: Desk) -> Evidence:
    with desk.db.read() as session:
        photo = session.scalars(select(Attachment)).first()
        assert photo is not None
        return evidence.evidence_of(session, [photo])[photo.sha256]


def test_what_ocr_alone_has_read_is_kept_as_that(down: tuple[Desk, FakeDecisions, ManualClock]) -> None:
    desk, _, _ = down
    say(desk, "It leaks", photo=True)
    worker.run_until_idle(desk)
    (row,) = kept(desk)
    assert desk.capabilities.ocr is not None
    assert row.revision == row.model == desk.capabilities.ocr.name
    assert row.mode == Mode.NO_VLM
    assert evidence.to_value(row).text == "BrewMaster 300"
    with desk.db.read() as session:
        read = session.scalars(select(Generation).where(Generation.purpose == "read_photo")).one()
        assert (read.model, read.mode) == (row.model, row.mode)


def test_once_the_model_is_back_the_photo_is_read_again(down: tuple[Desk, FakeDecisions, ManualClock]) -> None:
    desk, model, clock = down
    say(desk, "It leaks", photo=True)
    worker.run_until_idle(desk)
    clock.advance(MINUTE)
    worker.run_until_idle(desk)  # still down
    assert len(kept(desk)) == 1
    model.error = None
    clock.advance(MINUTE)
    worker.run_until_idle(desk)  # the pauses grow
    assert len(kept(desk)) == 1
    before = told(desk)
    clock.advance(MINUTE)
    worker.run_until_idle(desk)
    counts = what_counts(desk)
    assert counts.revision == "remote:8b"
    assert counts.mode == Mode.SMALL_VLM
    assert counts.fields["condition"]["value"] == "leaking"
    assert told(desk) == before + 1  # whoever looks at the ticket sees it
    asked = looks(model)
    clock.advance(timedelta(days=1))
    worker.run_until_idle(desk)
    assert looks(model) == asked


def test_what_an_agent_has_corrected_is_not_read_again(down: tuple[Desk, FakeDecisions, ManualClock]) -> None:
    desk, model, clock = down
    say(desk, "It leaks", photo=True)
    worker.run_until_idle(desk)
    agent = make_agent(desk.db, "alice").principal
    with desk.db.begin() as session:
        photo = session.scalars(select(Attachment)).one()
        correct_evidence(session, agent, photo.public_id, {"condition": "damaged"}, taxonomy=desk.taxonomy)
    model.error, asked = None, looks(model)
    clock.advance(timedelta(days=1))
    worker.run_until_idle(desk)
    assert looks(model) == asked
    assert what_counts(desk).fields["condition"]["value"] == "damaged"


def test_a_model_that_stays_down_is_not_asked_for_ever(down: tuple[Desk, FakeDecisions, ManualClock]) -> None:
    desk, model, clock = down
    say(desk, "It leaks", photo=True)
    worker.run_until_idle(desk)
    before = looks(model)
    for _ in range(20):
        clock.advance(timedelta(days=1))
        worker.run_until_idle(desk)
    assert looks(model) - before == 9
    with desk.db.read() as session:
        waiting = session.scalars(select(Job).where(Job.name == evidence.READ_AGAIN, Job.finished_at.is_(None)))
        assert waiting.all() == []
    assert len(kept(desk)) == 1
