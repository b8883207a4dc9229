"""Settings: SLA policies, automations with dry run and log, and how teams' tickets are given out."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant import worker
from assistant.desk import automations, deadlines, tags
from assistant.desk.desk import Desk
from assistant.models import Agent, Assignment, Automation, SLAPolicy, Team, Ticket
from tests.factories import Persona, make_agent, make_ticket
from tests.web.test_console import submit

BASE = "/console/settings"


@pytest.fixture
def admin(sign_in: Callable[[Persona], FlaskClient], desk: Desk) -> FlaskClient:
    return sign_in(make_agent(desk.db, "ada", admin=True))


def test_policies_are_added_changed_put_in_order_and_removed(admin: FlaskClient, desk: Desk) -> None:
    assert "nothing is ever overdue" in admin.get(f"{BASE}/deadlines").text
    add = f"{BASE}/deadlines/add"
    submit(admin, add, name="Usual", when="", first_response="4h", resolution="3d")
    wrong = submit(admin, add, name="A/B", when="priority:urgent", first_response="soon")
    assert (wrong.status_code, "no length of time" in wrong.text, 'value="soon"' in wrong.text) == (422, True, True)
    assert submit(admin, add, name="A/B", when="colour:red", first_response="30m").status_code == 422
    submit(admin, add, name="A/B", when="priority:urgent", first_response="30m", clock="yes", position="1")
    with desk.db.read() as session:
        urgent, usual = deadlines.policies(session)
    assert (urgent.name, urgent.first_response, urgent.around_the_clock) == ("A/B", 30, True)
    assert (usual.name, usual.first_response, usual.resolution) == ("Usual", 240, 4320)
    listed = admin.get(f"{BASE}/deadlines").text
    assert listed.index("A/B") < listed.index("Usual")
    address = f"{BASE}/deadlines/{urgent.public_id}"
    shown = admin.get(address).text
    assert 'value="30m"' in shown
    assert 'value="priority:urgent"' in shown
    submit(admin, address, when="priority:urgent", first_response="1h", position="1")
    submit(admin, f"{BASE}/deadlines/{usual.public_id}/remove")
    with desk.db.read() as session:
        assert [(one.first_response, one.around_the_clock) for one in session.scalars(select(SLAPolicy))] == [
            (60, False)
        ]
    assert admin.get(f"{BASE}/deadlines/{usual.public_id}").status_code == 404


def test_an_automation_is_tried_switched_on_seen_in_its_log_changed_and_removed(admin: FlaskClient, desk: Desk) -> None:
    fits = make_ticket(desk, "The battery is swollen")
    make_ticket(desk, "Where is my parcel?")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        tags.add(session, session.get_one(Ticket, fits.id), "hot")
    add = f"{BASE}/automations/add"
    nothing = submit(admin, add, name="Hot/urgent", trigger="changed", when="tag:hot")
    assert (nothing.status_code, "at least one action" in nothing.text, "tag:hot" in nothing.text) == (422, True, True)
    submit(admin, add, name="Hot/urgent", trigger="changed", when="tag:hot", priority="urgent", add_tags="late, seen")
    with desk.db.read() as session:
        rule = session.scalars(select(Automation)).one()
    assert rule.actions == [
        {"name": "set_priority", "arguments": {"priority": "urgent"}},
        {"name": "add_tag", "arguments": {"tag": "late"}},
        {"name": "add_tag", "arguments": {"tag": "seen"}},
    ]
    address = f"{BASE}/automations/{rule.public_id}"
    shown = admin.get(address).text
    assert 'value="late, seen"' in shown
    assert re.search(r'value="urgent" selected', shown)
    dry = admin.get(f"{address}/dry-run").text
    assert "act on 1 now" in dry
    assert fits.public_id in dry
    assert "It has not run yet" in admin.get(f"{address}/log").text
    submit(admin, f"{address}/switch")
    with desk.db.begin() as session:
        tags.add(session, session.get_one(Ticket, fits.id), "again")
    worker.run_until_idle(desk)
    log = admin.get(f"{address}/log").text
    assert "Done" in log
    assert fits.public_id in log
    submit(admin, address, trigger="time", when="", note="Look at {{ticket.number}}")
    with desk.db.read() as session:
        changed = automations.get(session, rule.public_id)
        assert (changed.trigger, changed.enabled, changed.actions[0]["name"]) == ("time", True, "note")
    submit(admin, f"{address}/switch")
    assert ">Off<" in admin.get(f"{BASE}/automations").text
    submit(admin, f"{address}/remove")
    assert "Nothing happens by itself" in admin.get(f"{BASE}/automations").text


def test_a_teams_tickets_are_given_out_as_its_page_says(admin: FlaskClient, desk: Desk) -> None:
    eve = make_agent(desk.db, "eve", team="orders")
    address, capacity = f"{BASE}/teams/orders", f"capacity-{eve.public_id}"
    assert "tickets at once" in admin.get(address).text
    assert submit(admin, address, assignment="least_busy", **{capacity: "many"}).status_code == 422
    submit(admin, address, assignment="least_busy", **{capacity: "8"})
    with desk.db.read() as session:
        assert session.scalars(select(Team).where(Team.key == "orders")).one().assignment is Assignment.LEAST_BUSY
        assert session.scalars(select(Agent).where(Agent.email == eve.email)).one().capacity == 8
    assert "whoever has the fewest" in admin.get(f"{BASE}/teams").text
