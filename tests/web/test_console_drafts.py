"""Drafts that agents have made again, rewritten and rated, what became of earlier ones, and articles for replies."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant import worker
from assistant.db import Database
from assistant.desk import conversations, drafts
from assistant.desk.access import CustomerPrincipal
from assistant.desk.desk import Desk
from assistant.models import Draft, DraftStatus, Ticket
from assistant.ports import Capabilities, Mode
from assistant.runtime import Runtime
from tests.factories import Persona, make_articles, make_ticket, signed_in_client
from tests.fakes import ScriptedChatModel, fake_capabilities
from tests.web.test_console import HTMX, as_htmx, error_of, submit, textarea_of

SignIn = Callable[[Persona], FlaskClient]
ARTICLES = {
    "brewmaster.md": """\
---
product: brewmaster-300
url: https://help.example.org/e21
---
# BrewMaster 300: error codes

## E21: the pump draws no water

Error E21 means that the pump draws no water from the tank. The coffee machine blinks red until E21 is gone.

1. Fill the tank to the mark.
2. Press the start button.
""",
    "secret.md": "---\nvisibility: internal\n---\n# E21 inside\n\nError E21 of the coffee machine costs us 12 euros.\n",
}
WRITTEN = (
    "Error E21 means that the pump draws no water from the tank. [1] "
    "The coffee machine blinks red until E21 is gone. [1]"
)


@pytest.fixture
def chat_model() -> ScriptedChatModel:
    return ScriptedChatModel().enqueue(WRITTEN)


@pytest.fixture
def writing(make_runtime: Callable[..., Runtime], chat_model: ScriptedChatModel) -> Runtime:
    """With a model that may write."""
    return make_runtime(capabilities=fake_capabilities(Mode.FULL_VLM, chat_model=chat_model))


@pytest.fixture
def capabilities() -> Capabilities:
    return fake_capabilities()


@pytest.fixture
def ticket(desk: Desk, tmp_path: Path) -> Ticket:
    return drafted(desk, tmp_path)


def drafted(desk: Desk, folder: Path) -> Ticket:
    make_articles(desk, folder / "articles", ARTICLES)
    opened = make_ticket(desk, "My coffee machine shows E21 and blinks red. What does E21 mean?", team="technical")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        session.get_one(Ticket, opened.id).team_id = opened.team_id
    return opened


def newest(db: Database, ticket: Ticket) -> Draft:
    with db.read() as session:
        return session.scalars(select(Draft).where(Draft.ticket_id == ticket.id).order_by(Draft.id.desc())).first()


def page(ticket: Ticket) -> str:
    return f"/console/tickets/{ticket.public_id}"


def ask_for(client: FlaskClient, db: Database, ticket: Ticket, wish: str, **form: Any) -> Any:
    offered = newest(db, ticket).public_id
    return submit(client, f"{page(ticket)}/drafts/{offered}/as/{wish}", at=page(ticket), **form, **as_htmx())


def wishes_in(shown: str) -> set[str]:
    return set(re.findall(r'formaction="[^"]*/as/([\w-]+)"', shown))


def test_without_a_model_that_writes_nothing_is_offered_that_needs_one(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket
) -> None:
    client = sign_in(alice)
    assert wishes_in(client.get(page(ticket)).text) == {"again", "shorter"}
    before = newest(db, ticket)
    for wish in ("friendlier", "de"):
        refused = ask_for(client, db, ticket, wish)
        assert (refused.status_code, "No model that writes" in error_of(refused.text)) == (409, True)
    assert ask_for(client, db, ticket, "nonsense").status_code == 404
    assert newest(db, ticket).id == before.id


def test_a_shorter_quoted_draft_has_fewer_quotes_each_whole_and_cited(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket
) -> None:
    client, before = sign_in(alice), newest(db, ticket)
    with db.read() as session:
        quoted = [one.sentence for one in session.get_one(Draft, before.id).citations]
    assert len(quoted) > 1
    shown = ask_for(client, db, ticket, "shorter")
    assert shown.status_code == 200
    after = newest(db, ticket)
    with db.read() as session:
        old, new = session.get_one(Draft, before.id), session.get_one(Draft, after.id)
        assert (old.status, new.status, new.wish) == (DraftStatus.REPLACED, DraftStatus.PROPOSED, "shorter")
        assert old.agent_id == alice.principal.agent_id
        assert 0 < len(new.text) < len(old.text)
        assert {one.sentence for one in new.citations} < set(quoted)
        assert all(one.sentence in new.text for one in new.citations)
        assert new.confidence <= old.confidence
    assert after.text in html.unescape(textarea_of(shown.text, f"draft-text-{after.public_id}"))
    assert "Earlier drafts (1)" in shown.text
    assert "<strong>Replaced</strong>" in shown.text
    while (again := ask_for(client, db, ticket, "shorter")).status_code == 200:
        pass
    assert "cannot be cut" in error_of(again.text)


def test_a_model_rewrites_what_the_agent_has_made_of_it_and_what_was_typed_is_kept(
    make_app: Callable[..., APIFlask], writing: Runtime, chat_model: ScriptedChatModel, alice: Persona, tmp_path: Path
) -> None:
    db, ticket = writing.desk.db, drafted(writing.desk, tmp_path)
    client = signed_in_client(make_app(writing), db, alice)
    before = newest(db, ticket)
    assert {"again", "shorter", "friendlier", "de", "ja"} < wishes_in(client.get(page(ticket)).text)
    typed = f"Dear Maria,\n\n{before.text}"
    chat_model.enqueue(
        "[1] Liebe Maria,\n[2] Fehler E21 heißt, dass die Pumpe kein Wasser aus dem Tank zieht.\n"
        "[3] Die Maschine blinkt rot, bis E21 weg ist."
    )
    shown = ask_for(client, db, ticket, "de", text=typed)
    after = newest(db, ticket)
    assert after.text.startswith("Liebe Maria,\n\nFehler E21")
    assert after.confidence == before.confidence
    with db.read() as session:
        cited = {one.sentence: one.quote for one in session.get_one(Draft, after.id).citations}
    assert len(cited) == 2
    assert all("E21" in sentence and sentence in after.text for sentence in cited)
    assert html.unescape(textarea_of(shown.text, "reply-text")) == typed
    assert re.search(r'id="mode-draft" checked', shown.text)
    assert "In German" in chat_model.prompts[-1] or "into German" in chat_model.prompts[-1]


def test_a_refused_wish_changes_nothing_and_keeps_what_was_typed(
    make_app: Callable[..., APIFlask], writing: Runtime, chat_model: ScriptedChatModel, alice: Persona, tmp_path: Path
) -> None:
    db, ticket = writing.desk.db, drafted(writing.desk, tmp_path)
    client, before = signed_in_client(make_app(writing), db, alice), newest(db, ticket)
    chat_model.enqueue(RuntimeError("the model server is gone"))
    refused = ask_for(client, db, ticket, "friendlier", text="My own words.")
    assert "The model gave no answer" in error_of(refused.text)
    assert textarea_of(refused.text, f"draft-text-{before.public_id}") == "My own words."
    assert newest(db, ticket).id == before.id


def test_what_is_made_too_late_is_not_offered(
    make_app: Callable[..., APIFlask], writing: Runtime, chat_model: ScriptedChatModel, alice: Persona, tmp_path: Path
) -> None:
    """The customer writes while the model works."""
    desk, db, ticket = writing.desk, writing.desk.db, drafted(writing.desk, tmp_path)

    def meanwhile(_messages: object) -> str:
        customer = CustomerPrincipal(ticket.conversation_id)
        conversations.post_message(desk, customer, text="And what is E22?", uploads=[], client_id=None)
        return "[1] E21: the pump draws no water.\n[2] It blinks red."

    chat_model.enqueue(meanwhile)
    before = newest(db, ticket)
    refused = ask_for(signed_in_client(make_app(writing), db, alice), db, ticket, "shorter")
    assert (refused.status_code, "moved on" in error_of(refused.text)) == (409, True)
    with db.read() as session:
        assert session.get_one(Draft, before.id).status is DraftStatus.WITHDRAWN
    assert newest(db, ticket).id == before.id


def test_a_draft_is_made_again_once_the_articles_say_something_else(
    sign_in: SignIn, alice: Persona, desk: Desk, db: Database, ticket: Ticket, tmp_path: Path
) -> None:
    client, before = sign_in(alice), newest(db, ticket)
    assert "the same again" in error_of(ask_for(client, db, ticket, "again").text)
    changed = ARTICLES["brewmaster.md"].replace("draws no water from the tank", "is blocked by lime")
    make_articles(desk, tmp_path / "articles", {"brewmaster.md": changed})
    ask_for(client, db, ticket, "again")
    assert "blocked by lime" in newest(db, ticket).text
    submit(client, f"{page(ticket)}/drafts/{newest(db, ticket).public_id}/discard", at=page(ticket))
    make_articles(desk, tmp_path / "articles", ARTICLES)
    shown = client.get(f"{page(ticket)}/draft", headers=HTMX).text
    assert 'id="draft-again"' in shown, "also of one that was discarded"
    ask_for(client, db, ticket, "again")
    assert newest(db, ticket).text == before.text
    worker.run_until_idle(desk)
    submit(client, f"{page(ticket)}/reply", at=page(ticket), text="Fill the tank.")
    assert newest(db, ticket).status is DraftStatus.WITHDRAWN
    assert 'id="draft-again"' not in client.get(f"{page(ticket)}/draft", headers=HTMX).text
    assert ask_for(client, db, ticket, "again").status_code == 409


def test_a_draft_is_rated_and_what_was_typed_stays(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket
) -> None:
    client, offered = sign_in(alice), newest(db, ticket).public_id

    def rate(verdict: str, **form: str) -> str:
        where = f"{page(ticket)}/drafts/{offered}/rate/{verdict}"
        return str(submit(client, where, at=page(ticket), **form, **as_htmx()).text)

    shown = rate("not-helpful", text="I am writing this")
    assert textarea_of(shown, f"draft-text-{offered}") == "I am writing this"
    assert re.search(r'id="rate-not-helpful" aria-pressed="true"', shown)
    assert newest(db, ticket).helpful is False
    rate("helpful")
    assert newest(db, ticket).helpful is True
    rate("unrated")
    assert newest(db, ticket).helpful is None
    assert "A draft is rated" in rate("nonsense")


def test_earlier_drafts_tell_what_became_of_them(
    sign_in: SignIn, alice: Persona, desk: Desk, db: Database, ticket: Ticket
) -> None:
    client, first = sign_in(alice), newest(db, ticket)
    submit(client, f"{page(ticket)}/drafts/{first.public_id}/send", at=page(ticket), text=f"{first.text} Regards")
    customer = CustomerPrincipal(ticket.conversation_id)
    for question in ("And what does E21 mean when it blinks red?", "Does E21 of the pump blink red as well?"):
        conversations.post_message(desk, customer, text=question, uploads=[], client_id=None)
        worker.run_until_idle(desk)
    shown = client.get(page(ticket)).text
    history = shown.split('id="earlier-drafts"')[1].split("</ol>")[0]
    assert "<strong>Sent with changes</strong> by <bdi>Alice</bdi>" in history
    assert "Regards" in history
    with db.read() as session:
        kept = [one for one, _ in drafts.earlier_drafts(session, session.get_one(Ticket, ticket.id))]
    assert [one.id for one in kept] == sorted((one.id for one in kept), reverse=True)
    assert DraftStatus.PROPOSED not in {one.status for one in kept}


def test_articles_are_found_for_the_question_and_put_into_the_reply_with_their_source(
    sign_in: SignIn, alice: Persona, charlie: Persona, ticket: Ticket
) -> None:
    client = sign_in(alice)
    found = client.get(f"{page(ticket)}/articles", headers=HTMX).text
    texts = [html.unescape(one) for one in re.findall(r'data-insert="([^"]*)"', found)]
    source = "— [BrewMaster 300: error codes](https://help.example.org/e21)"
    assert any(one.startswith("Error E21 means") and one.endswith(source) for one in texts)
    assert f"1. Fill the tank to the mark.\n2. Press the start button.\n{source}" in texts
    assert "12 euros" not in found, "customers may not read this"
    assert "Press the start" in client.get(f"{page(ticket)}/articles?q=start+button", headers=HTMX).text
    whole = client.get(f"{page(ticket)}/articles?q=start+button").text
    assert "Press the start" in whole, "also without scripts"
    assert "reply-text" in whole
    assert sign_in(charlie).get(f"{page(ticket)}/articles", headers=HTMX).status_code == 404
