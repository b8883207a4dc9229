"""Questions about a photo, by key and in the console: answered, kept with the photo, told, and gone with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, select

from assistant import worker
from assistant.db import Database
from assistant.desk import photo_questions
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.errors import NotFound
from assistant.models import AgentRole, Attachment, Customer, Event, PhotoQuestion, Ticket
from assistant.ports import Capabilities, Mode
from tests.factories import Persona, bearer, make_agent, make_key, make_ticket, make_upload
from tests.fakes import FakeOCR, ScriptedChatModel, fake_capabilities
from tests.web.test_console import as_htmx, photo_of, submit

QUESTION = "What is the serial number?"


@pytest.fixture
def capabilities() -> Capabilities:
    return fake_capabilities(ocr=FakeOCR("BrewMaster 300", "Serial no: 4711-0815"))


@pytest.fixture
def ticket(desk: Desk, alice: Persona) -> Ticket:
    opened = make_ticket(desk, "It does not start.", uploads=[make_upload("plate.jpg")])
    worker.run_until_idle(desk)
    return opened


def test_a_machine_asks_a_photo_and_its_answers_are_kept(
    client: FlaskClient, key: dict[str, str], db: Database, desk: Desk, ticket: Ticket
) -> None:
    photo = photo_of(db, ticket)
    path = f"/api/v1/attachments/{photo.public_id}/questions"
    answer = client.post(path, json={"question": QUESTION}, headers=key)
    assert answer.status_code == 200
    said = answer.json
    assert (said["answer"], said["answered_by"], said["reason"]) == ("4711-0815", "text in the photo", None)
    assert (said["asks"], said["asked_by"], said["outdated"]) == ("serial", "shop", False)
    assert said["confidence"] > 0.6
    assert len(said["regions"]) == 1
    torn = client.post(path, json={"question": "Is the seal torn?"}, headers=key).json
    assert (torn["answer"], torn["confidence"], torn["reason"]) == ("cannot tell", 0, "needs_eyes")
    again = client.post(path, json={"question": f"  {QUESTION.upper()} "}, headers=key).json
    assert again["id"] == said["id"]
    whole = client.get(f"/api/v1/tickets/{ticket.public_id}", headers=key).json
    assert whole["messages"][0]["attachments"][0]["questions"] == [torn, again]

    fields = {"lines": [{"index": 1, "text": "Serial no: 4711-0816"}]}
    client.patch(path.replace("questions", "evidence"), json=fields, headers=key)
    listed = client.get(path, headers=key).json["questions"]
    assert [one["outdated"] for one in listed] == [True, True]
    assert client.post(path, json={"question": QUESTION}, headers=key).json["answer"] == "4711-0816"

    for refused in ("", " \n ", "?" * 301):
        assert client.post(path, json={"question": refused}, headers=key).status_code == 422
    assert client.post(path.replace("att_", "att_x"), json={"question": QUESTION}, headers=key).status_code == 404
    reads = bearer(make_key(db, Scope.TICKETS_READ))
    assert client.post(path, json={"question": QUESTION}, headers=reads).status_code == 403
    assert client.get(path, headers=reads).status_code == 200

    with db.begin() as session:
        told = session.scalars(select(Event).where(Event.kind == "photo.asked").order_by(Event.id)).all()
        assert [event.payload["question"]["answer"] for event in told][:2] == ["4711-0815", "cannot tell"]
        assert {event.audience for event in told} == {"agent"}
        session.execute(delete(Customer))
    with db.read() as session:
        assert session.scalars(select(PhotoQuestion)).all() == []


def test_that_nobody_knows_how_sure_an_answer_is_is_said(
    key: dict[str, str], desk: Desk, sign_in: Callable[[Persona], FlaskClient], alice: Persona
) -> None:
    silent = replace(desk, capabilities=fake_capabilities())
    ticket = make_ticket(silent, "How many are there?", uploads=[make_upload("parcels.jpg")])
    worker.run_until_idle(silent)
    chat = ScriptedChatModel(default='{"answer": "Two.", "box": [0, 0, 500, 500]}')
    looking = replace(desk, capabilities=fake_capabilities(Mode.FULL_VLM, chat_model=chat))
    photo, client = photo_of(desk.db, ticket), sign_in(alice)
    asked = photo_questions.ask(looking, alice.principal, photo.public_id, "How many parcels are there?")
    assert (asked.answer, asked.confidence, asked.regions) == ("Two.", None, ((0, 0, 0.5, 0.5),))
    listed = client.get(f"/api/v1/attachments/{photo.public_id}/questions", headers=key).json["questions"]
    assert listed == [asked.to_json()]
    assert "How sure that is nobody knows" in client.get(f"/console/tickets/{ticket.public_id}").text


def test_of_many_questions_the_newest_are_kept(
    db: Database, desk: Desk, alice: Persona, ticket: Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_questions, "KEPT", 2)
    photo = photo_of(db, ticket)
    for number in range(4):
        photo_questions.ask(desk, alice.principal, photo.public_id, f"How many volts is number {number}?")
    with db.read() as session:
        kept = [one.question for one in photo_questions.asked_about(session, alice.principal, photo.public_id)]
    assert kept == ["How many volts is number 2?", "How many volts is number 3?"]
    with db.begin() as session:
        session.get_one(Attachment, photo.id).sha256 = "unread"
    with pytest.raises(NotFound, match="not been read yet"):
        photo_questions.ask(desk, alice.principal, photo.public_id, QUESTION)


def test_an_agent_asks_on_the_photos_card_and_a_viewer_only_reads(
    sign_in: Callable[[Persona], FlaskClient], db: Database, alice: Persona, ticket: Ticket, desk: Desk
) -> None:
    photo, page = photo_of(db, ticket), f"/console/tickets/{ticket.public_id}"
    path = f"{page}/photos/{photo.public_id}/questions"
    shown = submit(sign_in(alice), path, at=page, question=QUESTION, **as_htmx())
    assert shown.status_code == 200
    assert '<bdi class="answer">4711-0815</bdi>' in shown.text
    with db.read() as session:
        row = session.scalars(select(PhotoQuestion)).one()
        assert row.agent is not None
        assert row.agent.name == alice.principal.name
        answer_id = row.public_id
    assert shown.text.count(f'data-field="{answer_id}"') == 2  # in the list and in the photo
    silent = submit(sign_in(alice), path, at=page, question="Is the seal torn?", **as_htmx())
    assert "Cannot tell: one has to look at the photo" in silent.text
    empty = submit(sign_in(alice), path, at=page, question="", **as_htmx())
    assert empty.status_code == 422
    assert 'role="alert"' in empty.text
    viewer = sign_in(make_agent(db, "vera", role=AgentRole.VIEWER))
    read = viewer.get(page).text
    assert "4711-0815</bdi>" in read
    assert path not in read
    assert submit(viewer, path, at=page, question=QUESTION, **as_htmx()).status_code == 403
    other = make_ticket(desk, uploads=[make_upload("other.jpg")])
    worker.run_until_idle(desk)
    elsewhere = f"{page}/photos/{photo_of(db, other).public_id}/questions"
    assert submit(sign_in(alice), elsewhere, at=page, question=QUESTION, **as_htmx()).status_code == 404
