"""The customer's side over HTTP: conversations, messages, photos, streams, and whose they are."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from assistant.db import Database
from assistant.desk import conversations, tickets
from assistant.desk.desk import Desk
from assistant.desk.events import EventKind
from assistant.models import Conversation, ConversationState, Message, Ticket
from assistant.ports import HandoffReason
from assistant.runtime import Runtime
from assistant.settings import Settings
from assistant.wording import Notice, catalogue_of_widget, word_all
from assistant.worker import run_once, run_until_idle
from tests.factories import Browser, Persona, bearer, make_articles, make_figure, make_photo

API = "/widget/v1"


@pytest.fixture
def start(client: FlaskClient) -> Callable[[], Browser]:
    """Another customer's browser."""
    return lambda: Browser(client, name="Rosa")


@pytest.fixture
def rosa(start: Callable[[], Browser]) -> Browser:
    return start()


def events(stream: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in stream.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def read_stream(browser: Browser, *, since: int, messages: int = 1) -> list[tuple[str, dict[str, Any]]]:
    """What has happened since, until so many messages have been told."""
    response = browser.get(f"/events?last_event_id={since}", buffered=False)
    assert response.mimetype == "text/event-stream"
    frames = iter(response.response)
    text = ""
    while text.count("event: message.created") < messages or not text.endswith("\n\n"):
        frame = next(frames)
        text += frame.decode() if isinstance(frame, bytes) else frame
    response.close()
    return events(text)


def test_photo_and_text_are_answered_with_a_citation(
    client: FlaskClient, rosa: Browser, desk: Desk, tmp_path: Path
) -> None:
    make_articles(desk, tmp_path / "articles")
    sent = rosa.say("What does E21 mean?", ("p.jpg", make_photo("E21")))
    assert (sent.status_code, sent.json["rejected_files"]) == (201, [])
    run_until_idle(desk)
    shown = rosa.get().json
    assert [said["author"] for said in shown["messages"]] == ["customer", "assistant"]
    answer = shown["messages"][1]
    assert "draws no water" in answer["text"]
    assert answer["citations"][0]["article_title"] == "BrewMaster 300: error codes"
    assert answer["citations"][0]["quote"]
    assert (shown["state"], shown["mode"]) == ("assistant", "no_vlm")


def test_the_page_can_ask_for_another_language(client: FlaskClient) -> None:
    words = client.get(f"{API}/words?language=sv,ar,de", headers={"Accept-Language": "ar-EG"}).json
    assert (words["language"], words["locale"], words["direction"]) == ("ar", "ar-EG", "rtl")
    assert words["texts"] == catalogue_of_widget("ar")


@pytest.mark.parametrize(("risky", "offered"), [("refuse", [".pdf", ".md"]), ("mark", None)])
def test_the_picker_offers_what_is_taken(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., Any], risky: str, offered: list[str] | None
) -> None:
    app = make_app(make_runtime(risky_files=risky, file_types=[".PDF", "md"]))
    page = app.test_client().get("/widget/").text
    config = json.loads(html.unescape(re.findall(r"data-config='(.*?)'", page)[0]))
    assert config["accept"] == offered


def test_a_message_sent_twice_is_stored_once(client: FlaskClient, rosa: Browser, db: Database) -> None:
    sent = [rosa.say("It leaks.", client_id="m-1") for _ in range(3)]
    assert [response.status_code for response in sent] == [201, 200, 200]
    assert len({response.json["message"]["id"] for response in sent}) == 1
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(Message)) == 1


def test_another_message_under_the_same_id_is_refused_and_not_lost(client: FlaskClient, rosa: Browser) -> None:
    rosa.say("It leaks.", client_id="m-1")
    for text, photos in (("It drips.", ()), ("It leaks.", [("a.jpg", make_photo("E21"))])):
        refused = rosa.say(text, *photos, client_id="m-1")
        assert (refused.status_code, refused.json["code"]) == (409, "conflict")
    assert rosa.say(" It leaks. ", client_id="m-1").status_code == 200


def test_a_file_that_is_refused_does_not_take_the_message_with_it(client: FlaskClient, rosa: Browser) -> None:
    files = (("good.jpg", make_photo("ok")), ("bad.jpg", b"\xff\xd8\xff\xe0 not a photo"))
    sent = rosa.say("See both", *files)
    assert sent.status_code == 201
    assert [file["filename"] for file in sent.json["message"]["attachments"]] == ["good.jpg"]
    refused = sent.json["rejected_files"][0]
    assert refused["filename"] == "bad.jpg"
    assert 400 <= refused["status"] < 500
    assert refused["detail"]


def test_an_empty_message_is_refused(client: FlaskClient, rosa: Browser, db: Database) -> None:
    assert rosa.say("  ").status_code == 422
    assert rosa.say("x" * 30_000).status_code == 422
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(Message)) == 0


def test_asking_for_a_person_hands_off_once_and_says_so(client: FlaskClient, rosa: Browser, desk: Desk) -> None:
    rosa.say("It leaks.")
    for _ in range(2):
        asked = client.post(f"{rosa.path}/handoff", headers=rosa.headers)
        assert (asked.json["state"], asked.json["queue_position"], asked.json["reason"]) == (
            "handed_off",
            1,
            "customer_asked",
        )
    run_until_idle(desk)
    said = rosa.get().json["messages"]
    assert [entry["author"] for entry in said] == ["customer", "system"]  # no answer by the assistant any more


@pytest.mark.parametrize("reason", HandoffReason)
def test_a_handoff_is_told_by_codes_that_the_widget_words(
    client: FlaskClient, rosa: Browser, desk: Desk, reason: HandoffReason
) -> None:
    rosa.say("It leaks.")
    with desk.db.begin() as session:
        conversations.hand_off(session, session.scalars(select(Conversation)).one(), reason)
    told = rosa.get().json["messages"][-1]
    notices = [Notice(**notice) for notice in told["notices"]]
    assert [notice.code for notice in notices] == [f"handoff_{reason.value}", "sees_everything", "come_back_later"]
    assert told["text"] == word_all(notices)
    assert "Fenster schließen" in word_all(notices, "de")


def test_a_refusal_has_a_code_and_values(client: FlaskClient, rosa: Browser) -> None:
    refused = rosa.say("See", ("empty.jpg", b"")).json["rejected_files"][0]
    assert refused["notice"] == {"code": "file_empty", "params": {"name": "empty.jpg"}}
    problem = rosa.say(" ").json
    assert (problem["code"], problem["notice"]) == ("invalid", {"code": "message_empty", "params": {}})


@pytest.mark.parametrize(
    ("site", "browser", "language", "locale"),
    [
        ("", "de-AT,de;q=0.9,en;q=0.8", "de", "de-AT"),
        ("ar", "de", "ar", "ar"),
        ("sv,fi", "pt-BR", "pt", "pt-BR"),
        ("sv", "fi", "en", "en"),
        ("<b>,..,x", "ja", "ja", "ja"),
    ],
)
def test_the_chat_speaks_the_sites_language_else_the_browsers(
    client: FlaskClient, site: str, browser: str, language: str, locale: str
) -> None:
    page = client.get(f"/widget/?language={site}", headers={"Accept-Language": browser})
    html = page.get_data(as_text=True)
    assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in html
    config = json.loads(re.search(r"data-config='(.*?)'", html)[1])  # type: ignore[index]
    assert (config["language"], config["locale"], config["known"]) == (language, locale, language != "en")
    assert config["texts"] == catalogue_of_widget(language)
    assert "Accept-Language" in page.headers["Vary"]


def test_a_conversation_keeps_what_the_page_or_browser_speaks(client: FlaskClient, db: Database) -> None:
    for language, browser in (("fr-CA", "de"), ("", "de-AT,en"), ("\x00!", "")):
        headers = {**Browser(client).headers, "Accept-Language": browser}
        client.post(f"{API}/conversations", data={"text": "E21", "language": language}, headers=headers)
    with db.read() as session:
        spoken = session.scalars(select(Conversation.language).order_by(Conversation.id)).all()
    assert spoken == ["fr-CA", "de-AT", None]


def test_who_waits_is_told_how_many_are_before_them(
    client: FlaskClient, rosa: Browser, start: Callable[[], Browser], desk: Desk
) -> None:
    def before() -> int | None:
        told: int | None = rosa.get().json["jobs_ahead"]
        return told

    for text in ("one", "two"):
        start().say(text)
    rosa.say("What does E21 mean?")
    start().say("three")
    assert before() == 2
    run_once(desk)
    assert before() == 1
    run_until_idle(desk)
    assert before() is None


def test_a_stream_begins_where_the_client_stopped(client: FlaskClient, rosa: Browser) -> None:
    rosa.say("first")
    seen = rosa.get().json["last_event_id"]
    rosa.say("second")
    created = EventKind.MESSAGE_CREATED
    texts = [data["text"] for name, data in read_stream(rosa, since=seen) if name == created]
    assert texts == ["second"]
    texts = [data["text"] for name, data in read_stream(rosa, since=0, messages=2) if name == created]
    assert texts == ["first", "second"]


def test_customer_cannot_read_another_customers_conversation_or_photo(
    client: FlaskClient, start: Callable[[], Browser], db: Database
) -> None:
    rosa, mallory = start(), start()
    sent = rosa.say("secret", ("p.jpg", make_photo("secret")))
    mallory.say("hello")
    photo = sent.json["message"]["attachments"][0]["id"]
    assert rosa.get(f"/attachments/{photo}").status_code == 200
    assert mallory.get(f"/attachments/{photo}").status_code == 404
    for path in ("", f"/attachments/{photo}", "/events"):
        assert client.get(rosa.path + path, headers=mallory.headers).status_code == 404
    for path in ("messages", "handoff"):
        assert client.post(f"{rosa.path}/{path}", headers=mallory.headers, data={"text": "x"}).status_code == 404
    shown = mallory.get().get_data(as_text=True)
    assert "secret" not in shown
    streamed = json.dumps(read_stream(mallory, since=0))
    assert "secret" not in streamed


@pytest.mark.parametrize("header", [{}, bearer("x"), bearer("eyJhbGciOiJub25lIn0.e30."), {"Authorization": "Basic x"}])
def test_a_token_that_is_none_is_refused(client: FlaskClient, rosa: Browser, header: dict[str, str]) -> None:
    rosa.say("It leaks.")
    for path in (f"{API}/conversations", rosa.path, f"{rosa.path}/events", f"{rosa.path}/attachments/att_1"):
        assert client.get(path, headers=header).status_code == 401
    for path in (
        f"{API}/conversations",
        f"{rosa.path}/messages",
        f"{rosa.path}/handoff",
        f"{API}/sessions/current/token",
    ):
        assert client.post(path, headers=header, data={"text": "x"}).status_code == 401
    assert client.delete(f"{API}/sessions/current", headers=header).status_code == 401


def test_notes_of_agents_never_reach_the_customer(
    client: FlaskClient, rosa: Browser, db: Database, alice: Persona
) -> None:
    from assistant.models import Author, MessageVisibility

    rosa.say("It leaks.")
    with db.begin() as session:
        conversation = session.scalars(select(Conversation)).one()
        for text, visibility in (("internal!", MessageVisibility.INTERNAL), ("Hello Rosa", MessageVisibility.PUBLIC)):
            conversations.add_reply(
                session, conversation, author=Author.AGENT, agent=alice.principal, text=text, visibility=visibility
            )
    shown = rosa.get().get_data(as_text=True)
    streamed = json.dumps(read_stream(rosa, since=0))
    assert "Hello Rosa" in shown
    assert "internal!" not in shown + streamed


def test_only_configured_sites_may_frame_the_widget(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., Any]
) -> None:
    client = make_app(make_runtime(widget_origins=["https://shop.example"])).test_client()
    policy = client.get("/widget/").headers["Content-Security-Policy"]
    assert "frame-ancestors 'self' https://shop.example" in policy
    assert "unsafe" not in policy
    elsewhere = client.get("/console/sign-in").headers["Content-Security-Policy"]
    assert "shop.example" not in elsewhere


def test_a_customer_who_comes_back_reopens(client: FlaskClient, rosa: Browser, db: Database, alice: Persona) -> None:
    rosa.say("It leaks.")
    with db.begin() as session:
        tickets.solve(session, session.scalars(select(Ticket)).one())
    rosa.say("It leaks again.")
    with db.read() as session:
        assert session.scalars(select(Conversation)).one().state is ConversationState.ASSISTANT


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With answers that the hash embeddings are not sure of."""
    return settings.model_copy(update={"answer_threshold": 0.0})


@pytest.fixture
def answered(client: FlaskClient, rosa: Browser, desk: Desk, tmp_path: Path) -> dict[str, Any]:
    """An answer of the assistant that cites a passage with a figure beside it."""
    make_figure(desk, tmp_path / "manual")
    rosa.say("How do I turn the valve?")
    run_until_idle(desk)
    answer: dict[str, Any] = rosa.get().json["messages"][1]
    return answer


def test_the_figure_beside_a_cited_passage_can_be_seen(
    client: FlaskClient, rosa: Browser, answered: dict[str, Any], desk: Desk, tmp_path: Path
) -> None:
    [figure] = answered["citations"][0]["figures"]
    assert (figure["alt"], figure["width"]) == ("The valve behind the flap", 640)
    seen = client.get(f"{API}/figures/{figure['id']}", headers=rosa.headers)
    assert (seen.mimetype, seen.data[:4]) == ("image/png", b"\x89PNG")
    assert client.get(f"{API}/figures/{figure['id']}?thumbnail=1", headers=rosa.headers).mimetype == "image/jpeg"
    internal = make_figure(desk, tmp_path / "internal", visibility="internal", text="SECRET")
    assert client.get(f"{API}/figures/{internal}", headers=rosa.headers).status_code == 404


def test_a_customer_says_whether_an_answer_helped_and_takes_it_back(
    client: FlaskClient, rosa: Browser, answered: dict[str, Any]
) -> None:
    address = f"{rosa.path}/messages/{answered['id']}/helpful"
    for helpful in (False, True, True, None):
        said = client.put(address, headers=rosa.headers, json={"helpful": helpful})
        assert (said.status_code, said.json["helpful"]) == (200, helpful)
        shown = rosa.get().json["messages"][1]
        assert shown["helpful"] is helpful


def test_only_answers_of_the_own_conversation_can_be_rated(
    client: FlaskClient, start: Callable[[], Browser], rosa: Browser, answered: dict[str, Any]
) -> None:
    address = f"{rosa.path}/messages/{answered['id']}/helpful"
    assert client.put(address, headers=start().headers, json={"helpful": True}).status_code == 404
    assert client.put(address, json={"helpful": True}).status_code == 401
    own = rosa.get().json["messages"][0]["id"]
    assert (
        client.put(f"{rosa.path}/messages/{own}/helpful", headers=rosa.headers, json={"helpful": True}).status_code
        == 404
    )
    for body in ({}, {"helpful": "yes"}, {"helpful": 1}, [], "text"):
        assert client.put(address, headers=rosa.headers, json=body).status_code == 422
