"""How conversations end and are rated, and how a person gives one back: over HTTP, with both sides at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from assistant.db import Database, utcnow
from assistant.desk import drafts, state, tickets
from assistant.desk.desk import Desk
from assistant.desk.events import EventKind
from assistant.knowledge import gaps
from assistant.models import Event, Rating, Ticket
from assistant.settings import Settings
from assistant.worker import run_until_idle
from tests.factories import Browser, Persona, make_articles, make_ticket

QUESTION = "What does E21 mean?"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With answers that the hash embeddings are not sure of."""
    return settings.model_copy(update={"answer_threshold": 0.0})


@pytest.fixture
def rosa(client: FlaskClient, desk: Desk, tmp_path: Path) -> Browser:
    """A customer whose question has been answered."""
    make_articles(desk, tmp_path / "articles")
    browser = Browser(client, name="Rosa")
    browser.say(QUESTION)
    run_until_idle(desk)
    return browser


def change(db: Database, act: Callable[[Any, Ticket], object]) -> None:
    with db.begin() as session:
        act(session, session.query(Ticket).one())


def put(browser: Browser, path: str, body: Any) -> Any:
    return browser.client.put(browser.path + path, headers=browser.headers, json=body)


def ends(browser: Browser) -> dict[str, Any]:
    response = browser.client.post(f"{browser.path}/end", headers=browser.headers)
    assert response.status_code == 200
    return dict(response.json)


def test_a_customer_ends_the_conversation_once_and_a_question_reopens_it(rosa: Browser, db: Database) -> None:
    for _ in range(2):
        assert ends(rosa)["state"] == "closed"
    said = rosa.get().json["messages"]
    assert [notice["code"] for notice in said[-1]["notices"]] == ["conversation_ended"]
    assert [one["author"] for one in said].count("system") == 1
    with db.read() as session:
        assert session.query(Ticket).one().status == "solved"
    rosa.say("It blinks again, what now?")
    assert rosa.get().json["state"] == "assistant"


def test_thanks_after_the_end_leave_it_closed(rosa: Browser) -> None:
    ends(rosa)
    rosa.say("Thank you!")
    assert rosa.get().json["state"] == "closed"


def test_a_reply_sent_while_the_customer_ended_reaches_them(rosa: Browser, db: Database, alice: Persona) -> None:
    ends(rosa)
    change(db, lambda session, row: drafts.reply(session, alice.principal, row, "One more thing: mind the steam."))
    shown = rosa.get().json
    assert (shown["state"], shown["messages"][-1]["text"]) == ("agent", "One more thing: mind the steam.")


def rate(browser: Browser, score: Any, **more: Any) -> Any:
    return put(browser, "/rating", {"score": score, **more})


def test_how_it_was_is_asked_after_the_first_end_alone(rosa: Browser, db: Database) -> None:
    assert rosa.get().json["asks_rating"] is False
    assert rate(rosa, 5).status_code == 409
    assert ends(rosa)["asks_rating"] is True
    rosa.say("Thank you!")
    assert rosa.get().json["asks_rating"] is True  # thanks are no answer
    rosa.say("It blinks again, what now?")
    assert ends(rosa)["asks_rating"] is False  # who said nothing is not asked again
    assert rate(rosa, 4).status_code == 200  # but may still say


def test_of_a_conversation_without_an_answer_nobody_is_asked(client: FlaskClient) -> None:
    browser = Browser(client, name="Rosa")
    browser.say(QUESTION)
    assert ends(browser)["asks_rating"] is False


def test_a_rating_is_stored_told_and_changeable_for_a_day(
    rosa: Browser, db: Database, client: FlaskClient, key: dict[str, str]
) -> None:
    ends(rosa)
    for _ in range(2):
        assert rate(rosa, 2, comment=" Slow ").json["score"] == 2
    assert rate(rosa, 4, comment="Better").json["comment"] == "Better"
    shown = rosa.get().json
    assert (shown["asks_rating"], shown["rating"]["score"]) == (False, 4)
    with db.read() as session:
        told = session.query(Event).filter_by(kind=EventKind.CONVERSATION_RATED.value).order_by(Event.id)
        assert [event.payload["score"] for event in told] == [2, 4]
        ticket = session.query(Ticket).one().public_id
    assert client.get(f"/api/v1/tickets/{ticket}", headers=key).json["rating"]["comment"] == "Better"
    with db.begin() as session:
        session.query(Rating).one().created_at = utcnow() - timedelta(days=1, minutes=1)
    late = rate(rosa, 1)
    assert (late.status_code, late.json["notice"]["code"]) == (409, "rating_over")
    assert rate(rosa, 4, comment="Better").status_code == 200  # the same again, after a lost answer


def test_a_rating_and_a_reopening_at_once_both_count(rosa: Browser, db: Database, alice: Persona) -> None:
    ends(rosa)
    change(db, lambda session, row: tickets.reopen(session, row, alice.principal))
    assert rate(rosa, 3).status_code == 200
    assert rosa.get().json["state"] == "agent"


def test_what_is_no_rating_is_refused(rosa: Browser) -> None:
    ends(rosa)
    for body in ({}, {"score": 0}, {"score": 6}, {"score": "5"}, {"score": 4.5}, {"score": True}, []):
        assert put(rosa, "/rating", body).status_code == 422
    assert rate(rosa, 5, comment=1).status_code == 422
    assert rate(rosa, 5, comment="x" * 2001).status_code == 422


def test_only_its_customer_rates_a_conversation(client: FlaskClient, rosa: Browser) -> None:
    ends(rosa)
    other = Browser(client, name="Max")
    other.say(QUESTION)
    other.conversation = rosa.conversation
    assert rate(other, 1).status_code == 404
    assert other.client.post(f"{other.path}/end", headers=other.headers).status_code == 404


def test_what_is_missing_in_an_answer_reaches_agents_and_gaps(rosa: Browser, db: Database, desk: Desk) -> None:
    answer = rosa.get().json["messages"][1]["id"]
    address = f"/messages/{answer}/helpful"
    assert put(rosa, address, {"helpful": False, "feedback": "x" * 2001}).status_code == 422
    put(rosa, address, {"helpful": False, "feedback": "Mine has no tank. I am rosa@example.org"})
    kept = put(rosa, address, {"helpful": False}).json
    assert kept["feedback"] == "Mine has no tank. I am rosa@example.org"
    gaps.look(desk)
    with db.read() as session:
        [gap] = gaps.list_gaps(session)
    assert "Mine has no tank." in gap.examples[0]
    assert "rosa@" not in gap.examples[0]
    assert put(rosa, address, {"helpful": True}).json["feedback"] is None


def test_a_person_gives_a_conversation_back_and_the_assistant_answers_what_is_open(
    rosa: Browser, db: Database, desk: Desk, alice: Persona, client: FlaskClient, key: dict[str, str]
) -> None:
    with db.read() as session:
        ticket = session.query(Ticket).one().public_id
    address = f"/api/v1/tickets/{ticket}/give-back"
    change(db, lambda session, row: drafts.reply(session, alice.principal, row, "Hello, Alice here."))
    rosa.say("The pump draws no water, what does E21 mean?")
    run_until_idle(desk)
    assert rosa.get().json["state"] == "agent"
    for _ in range(2):
        given = client.post(address, headers=key)
        assert (given.status_code, given.json["conversation_state"], given.json["assignee"]) == (200, "assistant", None)
    run_until_idle(desk)
    said = rosa.get().json["messages"][-2:]
    assert [notice["code"] for notice in said[0]["notices"]] == ["given_back", "person_any_time"]
    assert said[1]["author"] in ("assistant", "system")  # answered, or handed off again
    change(db, tickets.solve)
    assert client.post(address, headers=key).status_code == 409


def test_what_a_person_has_answered_is_not_answered_again(
    rosa: Browser, db: Database, desk: Desk, alice: Persona
) -> None:
    change(db, lambda session, row: drafts.reply(session, alice.principal, row, "Fill the tank."))
    before = len(rosa.get().json["messages"])
    change(db, lambda session, row: state.give_back(session, state.lock_conversation(session, row.conversation_id)))
    run_until_idle(desk)
    assert len(rosa.get().json["messages"]) == before


def test_on_a_channel_of_people_nothing_is_given_back(desk: Desk, client: FlaskClient, key: dict[str, str]) -> None:
    ticket = make_ticket(desk)
    assert client.post(f"/api/v1/tickets/{ticket.public_id}/give-back", headers=key).status_code == 409
