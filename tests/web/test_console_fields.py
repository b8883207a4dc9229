"""Custom fields in the browser, over the API and on the command line: defined, shown, set, refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from assistant.cli import main
from assistant.db import Database
from assistant.desk import custom_fields, tickets
from assistant.desk.desk import Desk
from assistant.models import Automation, CustomField, Macro, Ticket
from assistant.settings import PREFIX
from tests.factories import Persona, make_ticket
from tests.web.test_console import HTMX, SignIn, csrf_of, submit

FIELDS = "/console/settings/fields"
API = "/api/v1/tickets"
Key = dict[str, str]


@pytest.fixture
def defined(db: Database) -> None:
    with db.begin() as session:
        custom_fields.add(session, "Order", "text")
        custom_fields.add(session, "Colour", "choice", choices=["Red", "Blue"])
        custom_fields.add(session, "Paid", "number")
        custom_fields.add(session, "Bought", "date")


@pytest.fixture
def ticket(desk: Desk, defined: None) -> Ticket:
    return make_ticket(desk)


def values(db: Database, ticket: Ticket) -> dict[str, str]:
    with db.read() as session:
        return session.get_one(Ticket, ticket.id).fields


def test_fields_are_added_changed_archived_and_used_again(sign_in: SignIn, dora: Persona, db: Database) -> None:
    client = sign_in(dora)
    assert "No fields of your own" in client.get(FIELDS).text
    wrong = submit(client, f"{FIELDS}/add", name="Colour", kind="choice", choices="")
    assert (wrong.status_code, "Give the choices" in wrong.text, 'value="Colour"' in wrong.text) == (422, True, True)
    submit(client, f"{FIELDS}/add", name="Colour", kind="choice", choices="Red\nBlue")
    assert submit(client, f"{FIELDS}/add", name="Colour", kind="text").status_code == 409
    submit(client, f"{FIELDS}/colour", name="Shade", choices="Red\nGreen")
    with db.read() as session:
        field = session.scalars(select(CustomField)).one()
    assert (field.key, field.name, field.choices) == ("colour", "Shade", ["Red", "Green"])
    for state in ("Archived", "In use"):
        submit(client, f"{FIELDS}/colour/archive")
        assert state in client.get(FIELDS).text
    assert client.get(f"{FIELDS}/gone").status_code == 404


def test_fields_are_set_on_the_ticket_and_a_refusal_keeps_what_was_typed(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket
) -> None:
    client, page = sign_in(alice), f"/console/tickets/{ticket.public_id}"
    shown = client.get(page).text
    for name in ("Order", "Colour", "Paid", "Bought"):
        assert f">{name}</label>" in shown
    token = csrf_of(client.get(page).text)

    def set_field(key: str, text: str, saw: str = "") -> tuple[int, str]:
        form = {"csrf_token": token, "text": text, "saw": saw}
        answer = client.post(f"{page}/fields/{key}", data=form, headers=HTMX)
        return answer.status_code, answer.text

    assert set_field("colour", "Blue")[0] == 200
    assert set_field("colour", "Blue")[0] == 200, "once more is fine"
    status, text = set_field("paid", "a lot")
    assert (status, "takes a number" in text, 'value="a lot" data-typed' in text) == (422, True, True)
    status, text = set_field("order", "B-2"), set_field("order", "C-3")
    assert text[0] == 409
    assert "it is “B-2” now" in text[1]
    assert 'name="saw" value="B-2"' in text[1]
    assert 'value="C-3" data-typed' in text[1]
    assert values(db, ticket) == {"colour": "Blue", "order": "B-2"}
    assert set_field("order", "C-3", saw="B-2")[0] == 200
    assert set_field("colour", "", saw="Blue")[0] == 200
    assert values(db, ticket) == {"order": "C-3"}
    with db.begin() as session:
        custom_fields.archive(session, custom_fields.find(session, "order"))
    assert "Order</label>" not in client.get(page).text


def test_without_fields_nothing_of_them_is_shown(sign_in: SignIn, alice: Persona, desk: Desk) -> None:
    page = sign_in(alice).get(f"/console/tickets/{make_ticket(desk).public_id}").text
    assert 'aria-label="Fields" hidden' in page


def test_a_choice_that_is_gone_stays_on_its_ticket(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket
) -> None:
    page = f"/console/tickets/{ticket.public_id}"
    submit(sign_in(alice), f"{page}/fields/colour", at=page, text="Blue")
    with db.begin() as session:
        custom_fields.change(session, custom_fields.find(session, "colour"), name="Colour", choices=["Red"])
    assert "<option selected>Blue</option>" in sign_in(alice).get(page).text


def test_macros_and_automations_set_fields(sign_in: SignIn, dora: Persona, db: Database, ticket: Ticket) -> None:
    client = sign_in(dora)
    form = {"name": "Red", "text": "", "scope": "mine", "field.colour": "Red", "field.order": "=1=", "field.paid": ""}
    assert submit(client, "/console/macros", **form).status_code == 302
    wrong = submit(client, "/console/macros", **{**form, "field.paid": "much"})
    assert (wrong.status_code, "takes a number" in wrong.text, 'value="much"' in wrong.text) == (422, True, True)
    with db.read() as session:
        macro = session.scalars(select(Macro)).one()
    assert [one["arguments"]["field"] for one in macro.actions] == ["colour=Red", "order==1="]
    shown = client.get(f"/console/macros?edit={macro.public_id}").text
    assert '<option value="Red" selected>' in shown
    assert 'value="=1="' in shown
    rule = {"name": "Blue", "trigger": "opened", "when": "field.colour:none", "field.colour": "nobody"}
    submit(client, "/console/settings/automations/add", **rule)
    with db.read() as session:
        assert session.scalars(select(Automation)).one().actions[0]["arguments"] == {"field": "colour="}


def test_several_tickets_get_a_field_at_once_and_lose_it_again(
    sign_in: SignIn, alice: Persona, db: Database, desk: Desk, ticket: Ticket
) -> None:
    client, other = sign_in(alice), make_ticket(desk)
    ids = [ticket.public_id, other.public_id]
    token = csrf_of(client.get("/console/").text)
    for action, text, expected in (
        ("set_field colour=Red", "", {"colour": "Red"}),
        ("set_field order", "A-1", {"order": "A-1", "colour": "Red"}),
        ("set_field colour=", "", {"order": "A-1"}),
    ):
        form = {"csrf_token": token, "ticket": ids, "action": action, "tag": text}
        assert "2 tickets" in client.post("/console/bulk", data=form, headers=HTMX).text
        assert [values(db, one) for one in (ticket, other)] == [expected, expected]
    nothing = client.post(
        "/console/bulk", data={"csrf_token": token, "ticket": ids, "action": "set_field order"}, headers=HTMX
    )
    assert "Choose what is to be done" in nothing.text
    assert "Colour to nothing" in client.get("/console/").text


def test_the_api_sets_and_shows_fields(client: FlaskClient, key: Key, defined: None) -> None:
    new = {"text": "Hello", "fields": {"order": "A-1", "paid": 12.5, "colour": "red", "bought": "2026-11-01"}}
    opened = client.post(API, json=new, headers=key)
    assert opened.json["fields"] == {"order": "A-1", "colour": "Red", "paid": 12.5, "bought": "2026-11-01"}
    where = f"{API}/{opened.json['id']}"
    changed = client.patch(where, json={"fields": {"paid": 3, "colour": None}}, headers=key).json
    assert changed["fields"] == {"order": "A-1", "paid": 3, "bought": "2026-11-01"}
    assert client.get(API, headers=key).json["tickets"][0]["fields"] == changed["fields"]
    for wrong in ({"paid": "much"}, {"shoe": "x"}, {"order": True}, {"order": ["x"]}):
        refused = client.patch(where, json={"status": "solved", "fields": wrong}, headers=key)
        assert refused.status_code == 422
    assert client.get(where, headers=key).json["status"] == "new"
    listed = client.get("/api/v1/fields", headers=key).json["fields"]
    assert listed[1] == {"key": "colour", "name": "Colour", "kind": "choice", "choices": ["Red", "Blue"]}


def test_a_refused_field_opens_no_ticket_and_forms_can_have_fields(
    client: FlaskClient, key: Key, db: Database, defined: None
) -> None:
    assert client.post(API, json={"text": "Hi", "fields": {"paid": "x"}}, headers=key).status_code == 422
    with db.read() as session:
        assert session.scalars(select(Ticket)).all() == []

    def post(**form: str) -> TestResponse:
        return client.post(API, data={"text": "Hi", **form}, headers=key, content_type="multipart/form-data")

    assert post(**{"fields.paid": "7"}).json["fields"] == {"paid": 7}
    assert post(fields="x").status_code == 422


def test_a_repeated_request_with_other_fields_is_another_one(client: FlaskClient, key: Key, defined: None) -> None:
    headers = {**key, "Idempotency-Key": "one"}
    first = client.post(API, json={"text": "Hi", "fields": {"paid": 1}}, headers=headers)
    again = client.post(API, json={"text": "Hi", "fields": {"paid": 1}}, headers=headers)
    assert (again.status_code, again.json["id"]) == (201, first.json["id"])
    assert client.post(API, json={"text": "Hi", "fields": {"paid": 2}}, headers=headers).status_code == 422


def test_the_command_line_manages_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path / "own"))

    def run(*arguments: str) -> str:
        return CliRunner().invoke(main, ["fields", *arguments]).output

    assert "field.order_number" in run("add", "Order number")
    run("add", "Colour", "--kind", "choice", "--choice", "Red", "--choice", "Blue")
    assert "Choose from" in run("add", "Shoe", "--kind", "shoe")
    run("set", "colour", "--name", "Shade")
    run("archive", "order_number")
    shown = json.loads(run("list", "--json"))
    assert [(one["name"], one["choices"], one["archived"]) for one in shown] == [
        ("Shade", ["Red", "Blue"], False),
        ("Order number", [], True),
    ]
    run("archive", "order_number", "--undo")
    assert "(archived)" not in run("list")


def test_a_field_is_a_column_of_lists_and_saved_views_and_a_placeholder_of_macros(
    sign_in: SignIn, dora: Persona, desk: Desk, ticket: Ticket
) -> None:
    client = sign_in(dora)
    make_ticket(desk, "Another one")
    with desk.db.begin() as session:
        tickets.set_fields(session, session.get_one(Ticket, ticket.id), {"order": "B-42"})
    shown = client.get("/console/?tab=all&column=field.order&column=status&column=field.gone").text
    assert re.findall(r'<th class="wide"><bdi>(\w+)</bdi>', shown) == ["Status", "Order"]
    assert re.findall(r'<td class="wide"><bdi>(.+?)</bdi>', shown) == ["–", "B-42"]
    view = submit(client, "/console/views", at="/console/", name="Orders", sort="newest", column="field.order").location
    assert "B-42" in client.get(view).text
    wrong = submit(client, "/console/macros", name="Where", text="About {{field.gone}}", scope="mine")
    assert (wrong.status_code, "field.order" in wrong.text) == (422, True)
    submit(client, "/console/macros", name="Where", text="About {{field.order}} in {{field.colour|grey}}", scope="mine")
    with desk.db.read() as session:
        macro = session.scalars(select(Macro)).one()
    page = f"/console/tickets/{ticket.public_id}"
    used = submit(client, f"{page}/macros/{macro.public_id}", at=page)
    assert "About B-42 in grey" in used.text
    submit(client, f"{FIELDS}/order/archive")
    assert "B-42" not in client.get(view).text
