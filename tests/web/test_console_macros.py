"""Macros in the console: who has and changes which, and that what they do is done with the reply they are for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant.db import Database
from assistant.desk import attention, conversations, macros
from assistant.desk.desk import Desk
from assistant.desk.macros import MacroText, Scope
from assistant.models import AgentRole, Macro, Presence, Ticket
from tests.factories import Persona, make_agent, make_ticket
from tests.web.test_console import csrf_of, submit, textarea_of

SignIn = Callable[[Persona], FlaskClient]
HTMX = {"HX-Request": "true"}
MACROS = "/console/macros"


@pytest.fixture
def ticket(desk: Desk) -> Ticket:
    return make_ticket(desk, requester_name="Maria Keller", requester_email="maria@example.org")


def make_macro(db: Database, by: Persona, name: str = "Refund", *, scope: Scope = Scope.MINE, **fields: Any) -> Macro:
    text = fields.pop("text", "Hello {{customer.first_name|there}}, the money is on its way. {{agent.name}}")
    tags = [{"name": "add_tag", "arguments": {"tag": "refund"}}]
    with db.begin() as session:
        return macros.save(session, by.principal, MacroText(name, text, fields.pop("actions", tags), scope))


def test_a_macro_is_written_changed_and_removed_in_the_browser(sign_in: SignIn, dora: Persona, db: Database) -> None:
    client = sign_in(dora)
    form = {"name": " On  hold ", "text": "We look into it.", "scope": "all", "status": "on_hold", "agent": "nobody"}
    assert submit(client, MACROS, **form, add_tags="a, b").status_code == 302
    with db.read() as session:
        row = session.scalars(select(Macro)).one()
    assert (row.name, row.agent_id, row.team_id) == ("On hold", None, None)
    assert [(one["name"], *one["arguments"].values()) for one in row.actions] == [
        ("set_status", "on_hold"), ("assign", ""), ("add_tag", "a"), ("add_tag", "b"),
    ]  # fmt: skip
    edit = client.get(f"{MACROS}?edit={row.public_id}").text
    assert 'value="a, b"' in edit
    assert '<option value="nobody" selected>' in edit
    changed = {"id": row.public_id, "name": "Later", "text": "", "scope": "mine", "until": "+1d"}
    submit(client, MACROS, at=f"{MACROS}?edit={row.public_id}", **changed)
    with db.read() as session:
        row = session.scalars(select(Macro)).one()
    assert (row.name, row.text, row.agent_id, len(row.actions)) == ("Later", "", dora.principal.agent_id, 1)
    assert submit(client, f"{MACROS}/{row.public_id}/remove", at=MACROS).status_code == 302
    with db.read() as session:
        assert session.scalars(select(Macro)).all() == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "needs a name"),
        ({"text": ""}, "a text or something to do"),
        ({"text": "Hi {{customer.shoe}}"}, "no placeholder"),
        ({"scope": "world"}, "whose macro"),
        ({"scope": "all"}, "Only an admin"),
        ({"status": "gone"}, "is none of"),
        ({"team": "nowhere"}, "no team"),
    ],
)
def test_a_wrong_macro_is_refused_and_what_was_typed_stays(
    sign_in: SignIn, alice: Persona, db: Database, wrong: dict[str, str], said: str
) -> None:
    answer = submit(sign_in(alice), MACROS, **{"name": "Mine", "text": "Typed <with> care", "scope": "mine"} | wrong)
    assert answer.status_code in (403, 404, 422)
    assert said in answer.text
    assert ("Typed &lt;with&gt; care" in answer.text) == ("text" not in wrong)
    with db.read() as session:
        assert session.scalars(select(Macro)).all() == []


def test_one_has_ones_own_the_teams_and_everybodys_and_changes_ones_own_leads_the_teams_admins_all(
    sign_in: SignIn, db: Database, alice: Persona, bob: Persona, charlie: Persona, dora: Persona
) -> None:
    lead = make_agent(db, "leo", team="technical", role=AgentRole.LEAD)
    elsewhere = make_agent(db, "lou", team="orders", role=AgentRole.LEAD)
    own = make_macro(db, alice, "alices")
    teams = make_macro(db, lead, "technicals", scope=Scope.TEAM)
    everybodys = make_macro(db, dora, "everybodys", scope=Scope.ALL)

    def names(persona: Persona) -> list[str]:
        return sorted(re.findall(r'<strong dir="auto">(\w+)</strong>', sign_in(persona).get(MACROS).text))

    assert names(alice) == ["alices", "everybodys", "technicals"]
    assert names(bob) == ["everybodys", "technicals"]
    assert names(charlie) == ["everybodys"]

    def removes(persona: Persona, macro: Macro) -> int:
        return int(submit(sign_in(persona), f"{MACROS}/{macro.public_id}/remove", at=MACROS).status_code)

    def offered(persona: Persona) -> list[str]:
        return re.findall(r'<option value="(mine|team|all)"', sign_in(persona).get(MACROS).text)

    assert [offered(one) for one in (bob, lead, dora)] == [["mine"], ["mine", "team"], ["mine", "all"]]
    assert [removes(charlie, one) for one in (own, teams, everybodys)] == [404, 404, 403]
    assert [removes(bob, one) for one in (own, teams, everybodys)] == [404, 403, 403]
    refused = submit(sign_in(bob), MACROS, name="Ours", text="Hello", scope="team")
    assert (refused.status_code, "Only a lead" in refused.text) == (403, True)
    assert removes(elsewhere, teams) == 404
    assert [removes(lead, one) for one in (teams, everybodys)] == [302, 403]
    assert [removes(alice, own), removes(dora, everybodys)] == [302, 302]


def test_a_macro_goes_below_what_was_typed_and_acts_when_it_is_sent(
    sign_in: SignIn, db: Database, alice: Persona, ticket: Ticket
) -> None:
    macro, page = make_macro(db, alice), f"/console/tickets/{ticket.public_id}"
    client = sign_in(alice)
    put = submit(client, f"{page}/macros/{macro.public_id}", at=page, text="Thank you.", headers=HTMX)
    text = textarea_of(put.text, "reply-text")
    assert text == "Thank you.\n\nHello Maria, the money is on its way. Alice"
    assert f'name="macro" value="{macro.public_id}"' in put.text

    def stands() -> tuple[list[str], int, int]:
        with db.read() as session:
            row = session.get_one(Ticket, ticket.id)
            said = conversations.all_messages(session, row.conversation_id)
            return [tag.name for tag in row.tags], session.get_one(Macro, macro.id).uses, len(said)

    assert stands() == ([], 0, 1)  # nothing has happened yet
    refused = submit(client, f"{page}/reply", at=page, text=" ", macro=macro.public_id, headers=HTMX)
    assert (refused.status_code, f'value="{macro.public_id}" checked' in refused.text) == (422, True)
    assert stands() == ([], 0, 1)
    submit(client, f"{page}/reply", at=page, text=text, macro=macro.public_id, headers=HTMX)
    assert stands() == (["refund"], 1, 2)


def test_a_macro_without_a_text_acts_at_once_and_leaves_the_reply_alone(
    sign_in: SignIn, db: Database, alice: Persona, ticket: Ticket
) -> None:
    macro, page = make_macro(db, alice, text=""), f"/console/tickets/{ticket.public_id}"
    done = submit(sign_in(alice), f"{page}/macros/{macro.public_id}", at=page, text="Half a", headers=HTMX)
    assert textarea_of(done.text, "reply-text") == "Half a"
    with db.read() as session:
        assert [tag.name for tag in session.get_one(Ticket, ticket.id).tags] == ["refund"]
        assert session.get_one(Macro, macro.id).uses == 1


def test_anothers_macro_is_not_there(
    sign_in: SignIn, db: Database, alice: Persona, bob: Persona, ticket: Ticket
) -> None:
    macro, page = make_macro(db, bob), f"/console/tickets/{ticket.public_id}"
    client = sign_in(alice)
    late = submit(client, f"{page}/macros/{macro.public_id}", at=page, text="Half a", headers=HTMX)
    assert (late.status_code, textarea_of(late.text, "reply-text")) == (404, "Half a")
    token = csrf_of(client.get(page).text)
    form = {"csrf_token": token, "text": "Hi", "macro": macro.public_id}
    sent = client.post(f"{page}/reply", data=form, headers=HTMX)
    assert sent.status_code == 404
    with db.read() as session:
        assert len(conversations.all_messages(session, ticket.conversation_id)) == 1  # nothing was sent, either


def test_a_ticket_is_snoozed_followed_and_given_to_another_team(
    sign_in: SignIn, db: Database, alice: Persona, dora: Persona, ticket: Ticket
) -> None:
    page, client = f"/console/tickets/{ticket.public_id}", sign_in(dora)

    def act(action: str, value: str) -> Any:
        return submit(client, f"{page}/actions/{action}", at=page, value=value, headers=HTMX)

    assert "Snoozed until" in act("snooze", "+1d").text
    assert "Snoozed until" not in act("snooze", "").text
    assert ">Unfollow</button>" in act("follow", "me").text
    assert ">Follow</button>" in act("unfollow", "me").text
    assert '<option value="orders" selected>' in act("transfer", "orders").text
    assert sign_in(alice).get(page).status_code == 404
    for action, value, status in (("snooze", "soon", 422), ("transfer", "nowhere", 404), ("reply", "Hi", 404)):
        assert act(action, value).status_code == status, action
    with db.read() as session:
        assert len(conversations.all_messages(session, ticket.conversation_id)) == 1


def test_one_sees_who_else_is_at_a_ticket_and_who_writes(
    sign_in: SignIn, db: Database, alice: Persona, bob: Persona, ticket: Ticket
) -> None:
    page = f"/console/tickets/{ticket.public_id}"
    first, second = sign_in(alice), sign_in(bob)

    def tell(client: FlaskClient, **form: str) -> Any:
        return submit(client, f"{page}/presence", at=page, **form).json["colleagues"]

    assert tell(first) == []
    assert tell(second) == [{"name": "Alice", "writes": False}]
    assert tell(second, typing="1") == [{"name": "Alice", "writes": False}]
    assert tell(first) == [{"name": "Bob", "writes": True}]
    with db.begin() as session:
        for row in session.scalars(select(Presence)):
            row.seen_at = row.wrote_at = row.seen_at - attention.HERE_FOR
    assert tell(first) == []
