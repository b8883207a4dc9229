"""The console's settings, and what roles see and offer. Who may do what at all is `test_authorisation`'s."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, select

from assistant.db import Database
from assistant.desk import links, people, tickets
from assistant.desk.desk import Desk
from assistant.desk.inboxes import InboxSettings, find, settings_of, valid_secrets
from assistant.errors import NotFound
from assistant.models import AgentRole, APIKey, Job, JobStatus, Mail, Ticket, TriageHead
from assistant.models.tickets import HeadState
from assistant.runtime import Runtime
from assistant.settings import Settings
from assistant.web import console_inboxes
from tests.factories import PASSWORD, Persona, bearer, make_agent, make_ticket, make_upload, signed_in_client
from tests.web.test_console import submit

SignIn = Callable[[Persona], FlaskClient]


@pytest.mark.parametrize(
    ("role", "team", "sees"),
    [
        (AgentRole.VIEWER, "technical", False),
        (AgentRole.VIEWER, None, True),
        (AgentRole.AGENT, "technical", False),
        (AgentRole.AGENT, None, False),
        (AgentRole.LEAD, "technical", True),
        (AgentRole.ADMIN, None, True),
    ],
)
def test_which_tickets_of_other_teams_a_role_sees(
    sign_in: SignIn, desk: Desk, role: AgentRole, team: str | None, sees: bool
) -> None:
    ticket = make_ticket(desk, "Where is my parcel?")
    own = make_ticket(desk, "It leaks")
    with desk.db.begin() as session:
        session.get_one(Ticket, ticket.id).team = people.find_team(session, "orders")
        session.get_one(Ticket, own.id).team = None
    client = sign_in(make_agent(desk.db, "eve", team=team, role=role))
    assert (client.get(f"/console/tickets/{ticket.public_id}").status_code == 200) == sees
    if team or sees:
        assert client.get(f"/console/tickets/{own.public_id}").status_code == 200


def test_a_viewer_reads_a_ticket_and_nothing_on_its_page_can_be_used_or_says_it_was_read(
    sign_in: SignIn, desk: Desk
) -> None:
    ticket = make_ticket(desk, uploads=[make_upload()])
    with desk.db.begin() as session:
        session.get_one(Ticket, ticket.id).team = None
    viewer = make_agent(desk.db, "vera", role=AgentRole.VIEWER)
    page = sign_in(viewer).get(f"/console/tickets/{ticket.public_id}").text
    assert "data-presence" not in page
    forms = re.findall(r'<form method="post"[^>]*hx-post.*?</form>', page, re.DOTALL)
    assert forms
    assert all('<fieldset class="reading-only" disabled>' in form for form in forms)
    agent = make_agent(desk.db, "alf")
    page = sign_in(agent).get(f"/console/tickets/{ticket.public_id}").text
    assert "data-presence" in page
    assert "reading-only" not in page


def test_no_ticket_is_assigned_to_a_viewer_or_to_one_who_has_left(desk: Desk) -> None:
    ticket = make_ticket(desk)
    viewer, gone = make_agent(desk.db, "vera", role=AgentRole.VIEWER), make_agent(desk.db, "gus")
    lead = make_agent(desk.db, "lea", role=AgentRole.LEAD)
    with desk.db.begin() as session:
        people.deactivate_agent(session, people.colleague(session, gone.email))
    with desk.db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        for persona in (viewer, gone):
            with pytest.raises(NotFound):
                tickets.assign(session, row, persona.public_id)
        tickets.assign(session, row, lead.public_id)
        assert {agent.name for agent in people.active_agents(session)} == {"Lea"}


# Agents


def link_on(html: str) -> str:
    found = re.search(r"<textarea id=\"secret\"[^>]*>(\S+)</textarea>", html)
    assert found is not None, html
    return found.group(1)


def path_of(url: str) -> str:
    return url.partition("/console/")[1] + url.partition("/console/")[2]


def invite(client: FlaskClient, email: str = "nora@example.org", **fields: str) -> Any:
    fields = {"name": "Nora", "role": "lead", "team": "orders", "languages": "en, DE", **fields}
    return submit(
        client, "/console/settings/agents/invite", at="/console/settings/agents/invite", email=email, **fields
    )


def test_whoever_is_invited_chooses_a_password_by_a_link_that_works_once(
    sign_in: SignIn, app: Any, db: Database, dora: Persona
) -> None:
    page = invite(sign_in(dora))
    assert page.status_code == 200
    path = path_of(link_on(page.text))
    assert "mailed" not in page.text
    assert link_on(page.text) not in sign_in(dora).get("/console/settings/agents").text
    nora = app.test_client()
    assert submit(nora, "/console/sign-in", email="nora@example.org", password="!").status_code == 401
    assert "nora@example.org" in nora.get(path).text
    short = submit(nora, path, at=path, new="short", again="short")
    assert (short.status_code, "at least 10 characters" in short.text) == (422, True)
    differs = submit(nora, path, at=path, new=PASSWORD, again=PASSWORD + "x")
    assert (differs.status_code, "do not match" in differs.text) == (422, True)
    assert submit(nora, path, at=path, new=PASSWORD, again=PASSWORD).location == "/console/"
    assert nora.get("/console/").status_code == 200
    again = app.test_client().get(path)
    assert (again.status_code, "has been used" in again.text) == (404, True)
    with db.read() as session:
        agent = people.colleague(session, "nora@example.org")
        assert (agent.role, agent.languages) == (AgentRole.LEAD, ["en", "de"])
        assert agent.team is not None
        assert agent.team.key == "orders"


def test_an_invitation_is_mailed_where_there_is_a_mail_server(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., Any]
) -> None:
    from pydantic import SecretStr

    runtime = make_runtime(smtp_url=SecretStr("console:"))
    client = signed_in_client(make_app(runtime), runtime.desk.db, make_agent(runtime.desk.db, "dora", admin=True))
    page = invite(client)
    assert "also mailed" in page.text
    with runtime.desk.db.read() as session:
        mail = session.scalars(select(Mail)).one()
        assert mail.recipient == "nora@example.org"
        assert link_on(page.text) in mail.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"email": "nobody"}, "is not an e-mail address"),
        ({"email": "dora@example.org"}, "already an agent"),
        ({"languages": "de, Deutsch!"}, "is not the code of a language"),
        ({"role": "king"}, "Choose a role"),
        ({"team": "nonsense"}, "There is no team"),
    ],
)
def test_a_form_says_what_is_wrong_keeps_what_was_typed_and_does_nothing(
    sign_in: SignIn, db: Database, dora: Persona, wrong: dict[str, str], said: str
) -> None:
    page = invite(sign_in(dora), **{"name": "Nora <b>", **wrong})
    assert page.status_code in (404, 409, 422)
    assert said in page.text
    assert 'value="Nora &lt;b&gt;"' in page.text
    with db.read() as session:
        assert len(people.all_agents(session)) == 1


def test_deactivation_and_a_reset_end_sessions_at_once_and_nobody_gets_in_by_the_old_password(
    sign_in: SignIn, app: Any, db: Database, dora: Persona, alice: Persona, bob: Persona
) -> None:
    admin = sign_in(dora)
    for persona, action in ((alice, "deactivate"), (bob, "reset")):
        client = app.test_client()
        assert submit(client, "/console/sign-in", email=persona.email, password=PASSWORD).status_code == 302
        assert client.get("/console/").status_code == 200
        path = f"/console/settings/agents/{persona.public_id}/{action}"
        assert client.get("/console/").status_code == 200
        assert submit(admin, path, at=path).status_code in (200, 302)
        assert client.get("/console/").status_code == 302, action
        assert submit(client, "/console/sign-in", email=persona.email, password=PASSWORD).status_code == 401
    path = f"/console/settings/agents/{alice.public_id}/reset"
    refused = submit(admin, path, at=path)
    assert (refused.status_code, "Reactivate" in refused.text) == (409, True)
    path = f"/console/settings/agents/{alice.public_id}/reactivate"
    back = path_of(link_on(submit(admin, path, at=path).text))
    fresh = app.test_client()
    assert submit(fresh, back, at=back, new=PASSWORD, again=PASSWORD).status_code == 302
    assert fresh.get("/console/").status_code == 200


def test_a_link_is_over_once_another_one_was_made(sign_in: SignIn, app: Any, dora: Persona, bob: Persona) -> None:
    admin, path = sign_in(dora), f"/console/settings/agents/{bob.public_id}/reset"
    first, second = (path_of(link_on(submit(admin, path, at=path).text)) for _ in range(2))
    assert app.test_client().get(first).status_code == 404
    assert app.test_client().get(second).status_code == 200
    other = links.sign(app.extensions["assistant"].settings, links.Purpose.UNSUBSCRIBE, bob.public_id)
    assert app.test_client().get(f"/console/join/{other}").status_code == 404


def test_changing_the_own_password_ends_all_other_sessions(app: Any, alice: Persona) -> None:
    here, elsewhere = app.test_client(), app.test_client()
    for client in (here, elsewhere):
        submit(client, "/console/sign-in", email=alice.email, password=PASSWORD)
    fields = {"current": PASSWORD, "new": "another password", "again": "another password"}
    assert submit(here, "/console/password", at="/console/password", **fields).status_code == 302
    assert here.get("/console/").status_code == 200
    assert elsewhere.get("/console/").status_code == 302


def test_the_only_admin_stays_one(sign_in: SignIn, db: Database, dora: Persona, alice: Persona) -> None:
    client, page = sign_in(dora), f"/console/settings/agents/{dora.public_id}"
    refused = submit(client, page, at=page, name="Dora", role="agent")
    assert (refused.status_code, "only admin" in refused.text) == (409, True)
    refused = submit(client, f"{page}/deactivate", at=f"{page}/deactivate")
    assert (refused.status_code, "only admin" in refused.text) == (409, True)
    other = f"/console/settings/agents/{alice.public_id}"
    assert submit(client, other, at=other, name="Alice", role="admin", team="technical").status_code == 302
    assert submit(client, page, at=page, name="Dora", role="viewer").status_code == 302
    assert client.get("/console/settings/agents").status_code == 302  # signed out: their role is another one


def test_agents_come_in_pages_of_as_many_statements_however_many_there_are(
    sign_in: SignIn, db: Database, dora: Persona
) -> None:
    client, counts = sign_in(dora), []
    statements: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for more in (3, 60):
        for number in range(more):
            make_agent(db, f"a{more}-{number:03}", team="orders")
        statements.clear()
        page = client.get("/console/settings/agents").text
        counts.append(len(statements))
    assert counts[0] == counts[1]
    seen = re.findall(r"<small dir=\"auto\">(\S+@example.org)</small>", page)
    further = re.search(r'class="further"><a href="([^"]+)"', page)
    assert further is not None
    seen += re.findall(r"<small dir=\"auto\">(\S+@example.org)</small>", client.get(further.group(1)).text)
    assert len(seen) == len(set(seen)) == 64


def test_a_team_without_agents_is_seen(sign_in: SignIn, dora: Persona, alice: Persona) -> None:
    page = sign_in(dora).get("/console/settings/teams").text
    assert "Alice" in page
    assert "Nobody" in page


# Inboxes

FULL = {
    "language": "de", "greeting": "Moin", "quick_replies": ["Where is it?", "It leaks"], "accent": "#0b6e5f",
    "origins": ["https://shop.example"], "contact": "help@shop.example",
    "keep_files_days": 30, "keep_conversations_days": 365,
    "hours": {"zone": "Europe/Berlin", "week": {"mon": ["09:00-12:00", "13:00-18:00"], "fri": ["22:00-02:00"]},
              "holidays": ["2026-12-25", "2026-12-24"]},
    "prechat": {"name": "optional", "email": "required", "questions": [
        {"key": "order", "text": "Which order?", "required": True},
        {"key": "kind", "text": "What is it about?", "choices": ["Order", "Repair"]}]},
}  # fmt: skip


@pytest.mark.parametrize("text", ["Which order?", "This | that?"])
def test_whatever_an_inbox_can_be_set_to_is_shown_in_its_form_and_read_back(text: str) -> None:
    set_to = json.loads(json.dumps(FULL).replace("Which order?", text))
    own = InboxSettings.model_validate(set_to)
    elsewhere = {"answer_threshold", "never_answer", "never_say", "tone"}  # on the page of guardrails
    assert set(FULL) | elsewhere == set(InboxSettings.model_fields), "the form knows every other setting"
    assert InboxSettings.model_validate(console_inboxes.read(console_inboxes.written(own))) == own
    nothing = console_inboxes.read(console_inboxes.written(InboxSettings()))
    assert InboxSettings.model_validate({k: v for k, v in nothing.items() if v is not None}) == InboxSettings()


def test_an_inbox_is_added_changed_and_archived(sign_in: SignIn, db: Database, dora: Persona) -> None:
    client, path = sign_in(dora), "/console/settings/inboxes/acme"
    typed = {**console_inboxes.written(InboxSettings.model_validate(FULL)), "name": "Acme", "team": "orders"}
    add = "/console/settings/inboxes/add"
    wrong = submit(client, add, at=add, key="Acme!", **typed)
    assert (wrong.status_code, "is no key" in wrong.text, "Moin" in wrong.text) == (422, True, True)
    assert submit(client, add, at=add, key="acme", **typed).status_code == 302
    page = client.get(path).text
    assert "Moin" in page
    assert "data-inbox=&#34;acme&#34;" in page
    with db.read() as session:
        inbox = find(session, "acme")
        assert settings_of(inbox) == InboxSettings.model_validate(FULL)
        assert (inbox.name, inbox.team.key if inbox.team else None) == ("Acme", "orders")
    for change, said in (
        ({"zone": ""}, "need a time zone"),
        ({"mon": "9 to 5"}, "are no hours"),
        ({"accent": "red"}, "#"),
    ):
        refused = submit(client, path, at=path, **{**typed, **change})
        assert (refused.status_code, said in refused.text, 'role="alert"' in refused.text) in [
            (422, True, True),
            (404, True, True),
        ], change
    assert submit(client, path, at=path, name="Acme", team="").status_code == 302
    with db.read() as session:
        inbox = find(session, "acme")
        assert (settings_of(inbox), inbox.team) == (InboxSettings(), None)
    for action, is_served in (("archive", False), ("restore", True)):
        assert submit(client, f"{path}/{action}", at=f"{path}/{action}").status_code == 302
        with db.read() as session:
            assert (find(session, "acme", archived=True).archived_at is None) == is_served
    default = "/console/settings/inboxes/default/archive"
    refused = submit(client, default, at=default)
    assert (refused.status_code, "cannot be archived" in refused.text) == (409, True)


def test_a_secret_is_shown_once_and_the_one_before_stays_valid_until_it_is_withdrawn(
    sign_in: SignIn, db: Database, dora: Persona, settings: Settings
) -> None:
    client, path = sign_in(dora), "/console/settings/inboxes/default"
    first, second = (link_on(submit(client, f"{path}/secret", at=f"{path}/secret").text) for _ in range(2))
    with db.read() as session:
        assert valid_secrets(find(session, "default"), settings) == (second, first)
    assert second not in client.get(path).text
    assert submit(client, f"{path}/withdraw-secret", at=f"{path}/withdraw-secret").status_code == 302
    with db.read() as session:
        assert valid_secrets(find(session, "default"), settings) == (second,)
    assert "withdraw-secret" not in client.get(path).text


# API keys


def test_a_key_is_shown_once_opens_what_it_may_and_is_refused_once_revoked(
    sign_in: SignIn, client: FlaskClient, db: Database, dora: Persona
) -> None:
    admin, path = sign_in(dora), "/console/settings/keys/add"
    none = submit(admin, path, at=path, name="web shop")
    assert (none.status_code, "Unknown scope" in none.text) == (422, True)
    made = submit(admin, path, at=path, name="web shop", scope="tickets:read")
    headers = bearer(link_on(made.text))
    assert client.get("/api/v1/tickets", headers=headers).status_code == 200
    assert client.post("/api/v1/tickets", headers=headers, json={"text": "E21"}).status_code == 403
    listed = admin.get("/console/settings/keys").text
    assert "web shop" in listed
    assert link_on(made.text) not in listed
    assert "Never" not in listed
    with db.read() as session:
        revoke = f"/console/settings/keys/{session.scalars(select(APIKey)).one().public_id}/revoke"
    assert submit(admin, revoke, at=revoke).status_code == 302
    assert client.get("/api/v1/tickets", headers=headers).status_code == 401
    assert "Revoked" in admin.get("/console/settings/keys").text


# Learned heads and the system


def test_a_learned_head_is_rolled_back_and_served_again(sign_in: SignIn, db: Database, dora: Persona) -> None:
    client = sign_in(dora)
    assert "Nothing is learned yet" in client.get("/console/settings/heads").text
    figures = {"accuracy": 0.9, "calibration_error": 0.05}
    trial = {"decisions": 20, "head": figures, "before": {**figures, "accuracy": 0.7}, "worse": False}
    with db.begin() as session:
        session.add(
            TriageHead(
                field="category",
                payload=b"",
                label_count=40,
                labels={"leak": 40},
                embedding_model="hash-512",
                state=HeadState.SERVED,
                trial=trial,
            )
        )
    page = client.get("/console/settings/heads").text
    assert "90% of 20 right" in page
    assert "70% of 20 right" in page
    for action, state in (("roll-back", HeadState.ROLLED_BACK), ("promote", HeadState.SERVED)):
        path = f"/console/settings/heads/category/{action}"
        assert path in client.get("/console/settings/heads").text
        assert submit(client, path, at=path).status_code == 302
        refused = submit(client, path, at=path)
        assert (refused.status_code, 'role="alert"' in refused.text) == (409, True)
        with db.read() as session:
            assert session.scalars(select(TriageHead.state)).one() is state


def test_the_system_page_says_what_the_doctor_says_and_retries_dead_jobs(
    sign_in: SignIn, db: Database, dora: Persona
) -> None:
    client = sign_in(dora)
    page = client.get("/console/settings/system").text
    for part in ("database", "storage", "mail", "jobs"):
        assert f"<bdi>{part}</bdi>" in page, part
    assert "Retry…" not in page
    with db.begin() as session:
        session.add(Job(name="process_message", payload={"message_id": 0}, status=JobStatus.DEAD))
    assert "Retry…" in client.get("/console/settings/system").text
    assert submit(client, "/console/settings/system/retry", at="/console/settings/system/retry").status_code == 302
    with db.read() as session:
        assert session.scalars(select(Job.status)).one() is JobStatus.QUEUED


def test_only_admins_are_led_to_the_settings(sign_in: SignIn, dora: Persona, alice: Persona, db: Database) -> None:
    assert "/console/settings/" in sign_in(dora).get("/console/").text
    for persona in (alice, make_agent(db, "lea", role=AgentRole.LEAD)):
        assert "/console/settings/" not in sign_in(persona).get("/console/").text
