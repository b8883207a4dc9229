"""Settings of what the assistant may say by itself, and of outgoing mail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import select

from assistant import worker
from assistant.desk import audit, inboxes
from assistant.desk.desk import Desk
from assistant.models import Author, Conversation, ConversationState, Draft, Message, Ticket
from assistant.ports import HandoffReason, Mode
from assistant.runtime import Runtime
from tests.desk.test_turns import FACT, say
from tests.factories import BREWMASTER, Persona, make_agent, make_articles, make_inbox, make_ticket, signed_in_client
from tests.fakes import ScriptedChatModel, fake_capabilities
from tests.mail_server import open_mailbox
from tests.web.test_console import submit

BASE = "/console/settings"


@pytest.fixture
def admin(sign_in: Callable[[Persona], FlaskClient], desk: Desk) -> FlaskClient:
    return sign_in(make_agent(desk.db, "ada", admin=True))


def answered(desk: Desk) -> bool:
    with desk.db.read() as session:
        newest = session.scalars(select(Message).order_by(Message.id.desc())).all()
        return any(one.author is Author.ASSISTANT for one in newest)


def test_guardrails_are_set_for_each_inbox_and_nothing_else_of_it_changes(admin: FlaskClient, desk: Desk) -> None:
    make_inbox(desk.db, "acme", name="Acme", greeting="Moin")
    listed = admin.get(f"{BASE}/guardrails").text
    assert "50% (usual)" in listed
    address = f"{BASE}/guardrails/acme"
    for wrong, said in (
        ({"threshold": "much"}, "from 0 to 100"),
        ({"threshold": "101"}, "from 0 to 100"),
        ({"never_answer": "category:safety\ncolour:red"}, "colour:red"),
        ({"tone": "x" * 301}, "tone"),
    ):
        refused = submit(admin, address, **{"threshold": "70", "never_answer": "", "tone": "", **wrong})
        assert (refused.status_code, said in refused.text) == (422, True), wrong
    typed = {
        "threshold": "72.5",
        "never_answer": "category:safety\n\nchargeback",
        "never_say": "full refund\n",
        "tone": "Short.",
    }
    assert submit(admin, address, **typed).status_code == 302
    with desk.db.read() as session:
        own = inboxes.settings_of(inboxes.find(session, "acme"))
    assert (own.answer_threshold, own.never_answer, own.tone) == (0.725, ("category:safety", "chargeback"), "Short.")
    assert (own.greeting, own.never_say) == ("Moin", ("full refund",))
    shown = admin.get(address).text
    assert 'value="72.5"' in shown
    assert "category:safety\nchargeback</textarea>" in shown
    path = f"{BASE}/inboxes/acme"
    assert submit(admin, path, name="Acme", greeting="Hello").status_code == 302  # the other form keeps them
    with desk.db.read() as session:
        assert inboxes.settings_of(inboxes.find(session, "acme")).answer_threshold == 0.725


@pytest.mark.parametrize(
    ("rules", "is_answered"),
    [
        ({}, True),
        ({"answer_threshold": 1.0}, False),
        ({"never_answer": ["priority:urgent"]}, True),
        ({"never_answer": ["priority:urgent", "pump water"]}, True),
        ({"never_answer": ["priority:urgent", '"e21"']}, False),
        ({"never_answer": ["tag:gone"]}, False),  # cannot be understood any more: a person looks
    ],
)
def test_what_may_not_be_answered_goes_to_a_person_with_a_draft(
    desk: Desk, tmp_path: Path, rules: dict[str, object], is_answered: bool
) -> None:
    make_articles(desk, tmp_path / "articles")
    with desk.db.begin() as session:
        inboxes.change(inboxes.default(session), rules)
    say(desk, "What does E21 mean?")
    worker.run_until_idle(desk)
    assert answered(desk) == is_answered
    with desk.db.read() as session:
        conversation = session.scalars(select(Conversation)).one()
        waits = conversation.state is ConversationState.HANDED_OFF
        assert waits != is_answered
        if "never_answer" in rules and waits:
            assert conversation.handoff_reason is HandoffReason.NEEDS_HUMAN
            assert "draws no water" in session.scalars(select(Draft)).one().text


RULE = {"never_say": ["draws no water"]}


def never_said(desk: Desk) -> tuple[str, list[str]]:
    """What of the only draft would have been said."""
    with desk.db.read() as session:
        draft = session.scalars(select(Draft)).one()
        return draft.text, [one["text"] for one in draft.withheld or ()]


def test_what_is_never_said_is_not_quoted_and_the_agent_sees_what_would_have_been(
    admin: FlaskClient, desk: Desk, tmp_path: Path
) -> None:
    make_articles(desk, tmp_path / "articles")
    assert (
        submit(admin, f"{BASE}/guardrails/default", threshold="", never_say="Draws no  WATER\nNordwind").status_code
        == 302
    )
    assert "Draws no  WATER; Nordwind" in admin.get(f"{BASE}/guardrails").text
    say(desk, "What does E21 mean?")
    worker.run_until_idle(desk)
    assert not answered(desk)
    text, withheld = never_said(desk)
    assert (text, "draws no water" in withheld[0]) == ("", True)
    assert len(withheld) == 2, "the heading of the source has it, too"
    with desk.db.read() as session:
        conversation = session.scalars(select(Conversation)).one()
        assert conversation.handoff_reason is HandoffReason.NEVER_SAID
        told = session.scalars(select(Message.text).where(Message.author == Author.SYSTEM)).one()
        page = f"/console/tickets/{session.scalars(select(Ticket.public_id)).one()}"
    assert told.startswith("I may not answer this myself")
    shown = admin.get(page).text
    assert "Would have said, but this inbox never says" in shown
    assert "has words that this inbox never says" in shown


def test_a_model_that_writes_says_the_rest(make_runtime: Callable[..., Runtime], tmp_path: Path) -> None:
    wrote = "Error E21 means that the pump draws no water from the tank. [1] You may call us on Mondays. [2]"
    model = ScriptedChatModel(default=wrote)
    desk = make_runtime(capabilities=fake_capabilities(Mode.FULL_VLM, chat_model=model)).desk
    hours = "# Hours for E21\n\n## Telephone\n\nYou may call us on Mondays about E21.\n"
    make_articles(desk, tmp_path / "articles", {"brewmaster.md": BREWMASTER, "hours.md": hours})
    with desk.db.begin() as session:
        inboxes.change(inboxes.default(session), RULE)
    say(desk, "What does E21 mean?")
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        said = session.scalars(select(Message.text).where(Message.author == Author.ASSISTANT)).all()
    assert said == ["You may call us on Mondays."]
    with desk.db.begin() as session:
        inboxes.change(inboxes.default(session), {"never_say": ["Monday", "pumps"]})
    ticket = make_ticket(desk, "What does E21 mean?")
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        draft = session.scalars(select(Draft).where(Draft.ticket_id == ticket.id)).one()
    assert (draft.text, draft.handoff_reason) == ("", HandoffReason.NEVER_SAID)
    assert [one["phrase"] for one in draft.withheld or ()] == ["pumps", "Monday"]


def test_agents_are_asked_before_they_say_it_and_machines_are_refused(
    admin: FlaskClient, desk: Desk, key: dict[str, str], tmp_path: Path
) -> None:
    make_articles(desk, tmp_path / "articles")
    ticket = make_ticket(desk, "What does E21 mean?")
    worker.run_until_idle(desk)
    page = f"/console/tickets/{ticket.public_id}"
    with desk.db.begin() as session:
        inboxes.change(inboxes.default(session), RULE)
        draft = session.scalars(select(Draft)).one()
    path = f"/api/v1/tickets/{ticket.public_id}/drafts/{draft.public_id}/send"
    refused = admin.application.test_client().post(path, headers=key)
    assert (refused.status_code, refused.json["field"]) == (422, "text")
    asked = submit(admin, f"{page}/drafts/{draft.public_id}/send", at=page, text=draft.text)
    assert (asked.status_code, "Send it all the same" in asked.text) == (422, True)
    text = "It drew, now it draws no water."
    asked = submit(admin, f"{page}/reply", at=page, text=text)
    assert (asked.status_code, "never says “draws no water”" in asked.text, text in asked.text) == (422, True, True)
    assert not answered(desk)
    assert overrides(desk) == []
    submit(admin, f"{page}/reply", at=page, text="Let us call you.", all_the_same="on")
    assert overrides(desk) == [], "there was nothing to override"
    assert submit(admin, f"{page}/reply", at=page, text=text, all_the_same="on").status_code == 302
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        replies = session.scalars(select(Message.text).where(Message.author == Author.AGENT)).all()
    assert text in replies
    assert overrides(desk) == [("ada@example.org", ticket.public_id, ["never_say"])]


def overrides(desk: Desk) -> list[tuple[str, str, list[str]]]:
    with desk.db.read() as session:
        found = audit.entries(session, what="guardrails.override")
        return [(one.agent, one.subject, one.fields) for one in found]


def test_a_model_is_told_the_tone_of_the_inbox(make_runtime: Callable[..., Runtime], tmp_path: Path) -> None:
    model = ScriptedChatModel(default=FACT)
    desk = make_runtime(capabilities=fake_capabilities(Mode.FULL_VLM, chat_model=model)).desk
    make_articles(desk, tmp_path / "articles")
    say(desk, "What does E21 mean?")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        inboxes.change(inboxes.default(session), {"tone": "Short, no jargon."})
    say(desk, "What does E21 mean?")
    worker.run_until_idle(desk)
    before, after = (text for text in model.prompts if "numbered passages" in text)
    assert "tone" not in before
    assert "Write in this tone: Short, no jargon." in after


def test_mail_settings_are_shown_without_secrets_and_a_test_mail_is_sent_at_once(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    with open_mailbox() as mailbox:
        url = SecretStr(f"smtp://{mailbox.url}")
        runtime = make_runtime(smtp_url=url, mail_from="Our shop <help@shop.example>")
        client = signed_in_client(make_app(runtime), runtime.desk.db, make_agent(runtime.desk.db, "ada", admin=True))
        page = client.get(f"{BASE}/mail").text
        assert "help@shop.example" in page
        assert "STARTTLS where it is offered" in page
        assert 'value="ada@example.org"' in client.get(f"{BASE}/mail/test").text
        assert submit(client, f"{BASE}/mail/test", to="ada@").status_code == 422
        assert mailbox.mails == []
        assert submit(client, f"{BASE}/mail/test", to="you@example.org").status_code == 302
        assert [mail["To"] for mail in mailbox.mails] == ["you@example.org"]
    away = submit(client, f"{BASE}/mail/test", to="you@example.org")
    assert (away.status_code, "cannot be used" in away.text) == (503, True)


def test_a_password_in_the_mail_server_s_address_is_not_shown(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    runtime = make_runtime(smtp_url=SecretStr("smtps://us%40shop:hidden@mail.example"), mail_from="help@shop.example")
    client = signed_in_client(make_app(runtime), runtime.desk.db, make_agent(runtime.desk.db, "ada", admin=True))
    page = client.get(f"{BASE}/mail").text
    assert "mail.example, TLS, as us@shop with a password" in page
    assert "hidden@" not in page
    assert ":hidden" not in page


def test_without_a_mail_server_no_test_is_offered(admin: FlaskClient) -> None:
    page = admin.get(f"{BASE}/mail").text
    assert "nobody is sent mail" in page
    assert f"{BASE}/mail/test" not in page
    assert submit(admin, f"{BASE}/mail/test", to="you@example.org").status_code == 422
