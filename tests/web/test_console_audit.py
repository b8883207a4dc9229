"""The audit log: whatever needs a role, and signing in, is in it; nobody changes it; admins read it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from assistant.db import Database
from assistant.desk import api_keys, audit
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.models import AuditEntry, Customer
from assistant.runtime import Runtime
from assistant.web import console_roles
from tests.factories import PASSWORD, Persona, bearer, make_key, make_ticket, make_upload
from tests.web.test_console import photo_of, submit

SignIn = Callable[[Persona], FlaskClient]
LOG = "/console/settings/audit"


def log(db: Database) -> list[tuple[str, str, str]]:
    with db.read() as session:
        return [(one.agent, one.action, one.subject) for one in reversed(audit.entries(session))]


def test_every_change_that_needs_a_role_is_noted(client: FlaskClient) -> None:
    rules = [rule for rule in client.application.url_map.iter_rules() if rule.endpoint.startswith("console.")]
    writing = [rule.endpoint for rule in rules if "POST" in (rule.methods or ())]
    privileged = [one for one in writing if one.startswith(("console.admin.", "console.customers.erase"))]
    assert len(privileged) > 30
    assert [one for one in privileged if not console_roles.is_noted(one, "POST")] == []
    views = client.application.view_functions
    noted_views = [one for one in writing if console_roles.is_noted(one, "POST")]
    assert [one for one in noted_views if not (views[one].__doc__ or "").partition(". ")[0]] == []  # the log's words
    for noted in ("sign_in", "sign_out", "join", "password", "end_sessions", "setup.first_admin", "customers.merge"):
        assert console_roles.is_noted(f"console.{noted}", "POST"), noted
        assert not console_roles.is_noted(f"console.{noted}", "GET"), noted
    assert console_roles.is_noted("console.customers.export", "GET")
    assert not console_roles.is_noted("console.ticket.reply", "POST")


def test_signing_in_and_out_is_noted_with_what_failed(client: FlaskClient, db: Database, alice: Persona) -> None:
    submit(client, "/console/sign-in", email=alice.email, password="wrong")
    submit(client, "/console/sign-in", email="my secret password", password="wrong")
    submit(client, "/console/sign-in", email=alice.email, password=PASSWORD)
    submit(client, "/console/sign-out", at="/console/")
    told = [("sign_in_refused", alice.email), ("sign_in_refused", "unknown"), ("sign_in", alice.email)]
    assert [(action, agent) for agent, action, _ in log(db)] == [*told, ("sign_out", alice.email)]


def test_who_did_what_to_whom_is_noted_without_what_was_typed(
    sign_in: SignIn, desk: Desk, dora: Persona, alice: Persona
) -> None:
    admin = sign_in(dora)
    page = f"/console/settings/agents/{alice.public_id}"
    assert submit(admin, page, at=page, name="", role="god").status_code >= 400  # nothing was done
    assert submit(admin, page, at=page, name="Alina", role="lead", team="technical").status_code == 302
    ticket = make_ticket(desk, requester_name="Rosa", requester_email="rosa@example.org")
    with desk.db.read() as session:
        rosa = session.scalars(select(Customer.public_id).where(Customer.id == ticket.requester_id)).one()
    admin.get(f"/console/customers/{rosa}/export").close()
    submit(admin, f"/console/customers/{rosa}/erase")
    noted = [entry for entry in log(desk.db) if entry[0] == dora.email]
    assert [action for _, action, _ in noted] == ["admin.agent", "customers.export", "customers.erase"]
    assert [subject for *_, subject in noted] == [alice.public_id, rosa, rosa]
    with desk.db.read() as session:
        first = session.scalars(select(AuditEntry)).first()
        assert first is not None
        assert set(first.fields) >= {"name", "role"}
    assert "Alina" not in admin.get(LOG, query_string={"csv": 1}).text
    shown = admin.get(LOG).text
    assert all(said in shown for said in ("Change an agent", "Export a customer", "Erase a customer"))


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_entries_are_never_changed(
    make_runtime: Callable[..., Runtime], request: pytest.FixtureRequest, database: str
) -> None:
    url = {"database_url": request.getfixturevalue("postgres_url")} if database == "postgresql" else {}
    db = make_runtime(**url).desk.db
    with db.begin() as session:
        audit.record_refusal(session, email="x", address="127.0.0.1")
    for change in (update(AuditEntry).values(agent="somebody else"), delete(AuditEntry)):
        with pytest.raises(DBAPIError), db.begin() as session:
            session.execute(change)


def test_admins_read_it_page_by_page_and_nobody_else(
    sign_in: SignIn, db: Database, dora: Persona, alice: Persona
) -> None:
    with db.begin() as session:
        for number in range(120):
            audit.record(session, alice.principal, f"macros.change_{number}", address="127.0.0.1")
        audit.record(session, dora.principal, "sign_in", address="127.0.0.1")
    assert sign_in(alice).get(LOG).status_code == 403
    admin = sign_in(dora)
    page = admin.get(LOG).text
    assert "macros.change_119" in page
    assert "macros.change_20<" not in page
    assert "macros.change_119" not in admin.get(LOG, query_string={"who": dora.email}).text
    assert "macros.change_119" not in admin.get(LOG, query_string={"what": "sign"}).text
    with db.read() as session:
        last = audit.entries(session, limit=100)[-1].id
    assert "macros.change_20<" in admin.get(LOG, query_string={"before": last}).text
    assert len(admin.get(LOG, query_string={"csv": 1}).text.splitlines()) == 122


def test_looking_at_a_photo_as_it_was_sent_is_noted_once_a_day(
    sign_in: SignIn, desk: Desk, alice: Persona, bob: Persona
) -> None:
    ticket = make_ticket(desk, team="technical", uploads=[make_upload()])
    photo = f"/console/attachments/{photo_of(desk.db, ticket).public_id}"
    one, other = sign_in(alice), sign_in(bob)
    one.get(f"/console/tickets/{ticket.public_id}")
    assert one.get(photo, query_string={"thumbnail": 1}).status_code == 200
    assert log(desk.db) == []
    for client in (one, one, other):
        assert client.get(photo).status_code == 200
    assert [(who, what) for who, what, _ in log(desk.db)] == [(alice.email, "attachment"), (bob.email, "attachment")]


def test_a_key_that_gets_a_photo_as_it_was_sent_is_noted_once_a_day(
    client: FlaskClient, sign_in: SignIn, desk: Desk, dora: Persona
) -> None:
    ticket = make_ticket(desk, uploads=[make_upload()])
    photo = photo_of(desk.db, ticket).public_id
    one, other = (bearer(make_key(desk.db, Scope.TICKETS_READ)) for _ in range(2))
    assert client.get(f"/api/v1/attachments/{photo}?thumbnail=true", headers=one).status_code == 200
    assert client.get(f"/api/v1/attachments/att_{'0' * 20}", headers=one).status_code == 404
    assert log(desk.db) == []
    for headers in (one, one, other):
        assert client.get(f"/api/v1/attachments/{photo}", headers=headers).status_code == 200
    with desk.db.read() as session:
        keys = [key.public_id for key in reversed(api_keys.all_keys(session))][-2:]
    assert log(desk.db) == [(key, "attachment", photo) for key in keys]
    page = sign_in(dora).get(LOG, query_string={"who": keys[0]}).text
    assert f"shop ({keys[0]})" in page
    assert keys[1] not in page
