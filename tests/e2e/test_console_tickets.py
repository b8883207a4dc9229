"""The ticket page in a real browser: nothing typed is lost, whatever becomes of its ticket or its panels."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect
from sqlalchemy import select

from assistant import worker
from assistant.db import Database
from assistant.desk import custom_fields, people, state
from assistant.lab.real_server import Server
from assistant.models import FieldValue, Priority, Ticket
from assistant.runtime import Runtime, build
from assistant.settings import Settings
from tests.e2e.test_console_keys import Office, sign_in
from tests.e2e.test_end_to_end import Witness
from tests.factories import make_agent, make_ticket
from tests.fakes import fake_capabilities

pytestmark = pytest.mark.e2e


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    runtime = build(Settings(data_dir=tmp_path / "var"), capabilities=fake_capabilities())
    yield runtime
    runtime.close()


@pytest.fixture
def db(runtime: Runtime) -> Database:
    return runtime.desk.db


@pytest.fixture
def office(runtime: Runtime) -> Iterator[Office]:
    """Two tickets of the technical team, which Alice is of, and custom fields."""
    with runtime.desk.db.begin() as session:
        custom_fields.add(session, "Order", "text")
        custom_fields.add(session, "Paid", "number")
        custom_fields.add(session, "Colour", "choice", choices=["Red", "Blue"])
    make_agent(runtime.desk.db, "alice", team="technical")
    first, second = (make_ticket(runtime.desk, f"It is the {word} one", subject=word) for word in ("First", "Second"))
    worker.run_until_idle(runtime.desk)
    for one in (first, second):
        move(runtime.desk.db, one.public_id, "technical")
    server = Server(runtime.desk.settings.data_dir, at_once=True, model="none", ocr="off", workers=0)
    try:
        server.start()
        yield Office(server, first.public_id, second.public_id)
    finally:
        server.close()


def at_the_first(browser: Browser, office: Office, pictures: Path) -> Witness:
    """Alice, with the first ticket open."""
    agent = sign_in(browser, office, pictures, "alice")
    agent.page.goto(f"{office.server.url}/console/tickets/{office.first}")
    expect(agent.page.locator("#connection")).to_have_text("Live")
    return agent


def move(db: Database, ticket: str, team: str) -> None:
    """As triage would."""
    with db.begin() as session:
        row = session.scalars(select(Ticket).where(Ticket.public_id == ticket)).one()
        state.change_ticket(session, row, team=people.find_team(session, team))


def fields(db: Database) -> dict[str, str]:
    """Of the first ticket, as they are stored."""
    with db.read() as session:
        return dict(session.execute(select(FieldValue.key, FieldValue.value)).all())


def wait_for(page: Page, db: Database, **expected: str) -> None:
    for _ in range(200):
        if fields(db) == expected:
            return
        page.wait_for_timeout(50)
    assert fields(db) == expected


def test_a_ticket_that_is_moved_away_says_where_it_went_and_gives_back_what_was_typed(
    browser: Browser, office: Office, db: Database, pictures: Path
) -> None:
    agent = at_the_first(browser, office, pictures)
    page = agent.page
    page.locator("#reply-text").fill("Half an answer")
    page.locator("#new-tag").fill("a tag")
    page.wait_for_timeout(500)  # until it has told the server who is here
    move(db, office.first, "orders")
    expect(page.locator("#live [role=alert]")).to_contain_text("#1001 is now with the team Orders and billing")
    kept = page.locator("#unsent textarea")
    expect(kept).to_have_count(2)
    assert {one.input_value() for one in kept.all()} == {"Half an answer", "a tag"}
    expect(page.locator("#notice")).to_be_empty()
    agent.picture("moved-away")
    asked: list[Dialog] = []
    page.on("dialog", lambda dialog: (asked.append(dialog), dialog.accept()))
    page.get_by_role("link", name="Back to tickets").click()
    expect(page.locator("#rows")).to_be_visible()
    assert [one.type for one in asked] == ["beforeunload"]
    assert [said for said in agent.complaints if "404" not in said] == []


def test_fields_are_saved_by_enter_one_after_the_other_and_before_the_page_is_left(
    browser: Browser, office: Office, db: Database, pictures: Path
) -> None:
    agent = sign_in(browser, office, pictures, "alice")
    page = agent.page
    there = f"{office.server.url}/console/tickets/{office.first}"
    page.goto(there)
    order, paid = page.locator("#custom-order"), page.locator("#custom-paid")
    order.fill("A-1")
    order.press("Enter")
    wait_for(page, db, order="A-1")
    expect(order).to_be_focused()
    order.press("End")
    page.keyboard.type("2")
    page.keyboard.press("Tab")
    page.keyboard.type("7")  # its panel is replaced once the order is saved
    expect(page.locator("#fields input[name=saw]").first).to_have_value("A-12")
    page.keyboard.press("Tab")
    wait_for(page, db, order="A-12", paid="7")
    order.fill("B-3")
    paid.fill("much")
    page.get_by_role("link", name="Articles", exact=True).first.click()
    page.wait_for_url("**/knowledge**")
    wait_for(page, db, order="B-3", paid="7")
    told = ""
    while not told:  # on this page or, if that was faster, on the next one
        told = page.locator("#notice").inner_text()
        page.goto(there)
    assert "Not saved in #1001: " in told
    assert "takes a number like 12 or 12.5, not 'much'." in told
    page.locator("#custom-colour").select_option("Blue")
    page.goto(f"{office.server.url}/console/")
    wait_for(page, db, order="B-3", paid="7", colour="Blue")
    assert [said for said in agent.complaints if "422" not in said] == []


ACTED_BETWEEN = """() => {
  window.actedBetween = [];
  let acted;
  document.addEventListener("htmx:before:swap", () => {
    acted = false;
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => (acted = true);
    port2.postMessage("as a key would come");
  });
  document.addEventListener("htmx:after:swap", () => window.actedBetween.push(acted));
}"""


def test_nobody_can_type_into_a_panel_that_is_being_replaced(
    browser: Browser, office: Office, db: Database, pictures: Path
) -> None:
    """What is typed into a new panel before it is set up would be neither restored nor saved."""
    agent = at_the_first(browser, office, pictures)
    page = agent.page
    page.evaluate(ACTED_BETWEEN)
    page.locator("#custom-order").fill("A-1")
    page.locator("#custom-order").press("Enter")
    expect(page.locator("#fields input[name=saw]").first).to_have_value("A-1")
    assert fields(db) == {"order": "A-1"}
    acted = page.evaluate("window.actedBetween")
    assert acted
    assert not any(acted)
    assert agent.complaints == []


def test_a_ticket_is_snoozed_until_a_time_of_the_browsers_zone(
    browser: Browser, office: Office, db: Database, pictures: Path
) -> None:
    agent = sign_in(browser, office, pictures, "alice")
    page = agent.page
    there = page.context.new_cdp_session(page)
    there.send("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
    page.goto(f"{office.server.url}/console/tickets/{office.first}")
    page.get_by_text("Snooze until…").click()
    page.get_by_label("Day and time").fill("2099-01-01T09:00")
    page.get_by_role("button", name="Snooze", exact=True).press("Enter")
    expect(page.locator("#status .reason").last).to_contain_text("Snoozed until 1 Jan 2099, 09:00")
    agent.picture("snoozed")
    with db.read() as session:
        row = session.scalars(select(Ticket).where(Ticket.public_id == office.first)).one()
    assert row.snoozed_until == datetime(2099, 1, 1, 3, 30, tzinfo=UTC)
    assert agent.complaints == []


def test_what_a_panel_says_of_a_refusal_outlives_its_renewal(
    browser: Browser, office: Office, db: Database, pictures: Path
) -> None:
    agent = at_the_first(browser, office, pictures)
    page = agent.page
    page.locator("#reply-text").fill("Half an answer")
    refusal = "<p class=error role=alert>Bob is sending a reply.</p>"
    page.locator("#draft").evaluate("(one, said) => one.insertAdjacentHTML('afterbegin', said)", refusal)
    page.locator("#draft").evaluate("(one) => { one.dataset.old = ''; }")
    with db.begin() as session:
        row = session.scalars(select(Ticket).where(Ticket.public_id == office.first)).one()
        state.change_ticket(session, row, priority=Priority.HIGH)
    expect(page.locator("#draft:not([data-old])")).to_be_visible()
    expect(page.locator("#draft .error")).to_have_text("Bob is sending a reply.")
    expect(page.locator("#reply-text")).to_have_value("Half an answer")

    page.get_by_text("Link or merge…").press("Enter")
    page.get_by_label("The other ticket").fill(office.second)
    page.get_by_role("button", name="Merge this one into it").press("Enter")
    question = page.get_by_label("Merge all the same")
    expect(question).to_be_visible()
    page.locator("#status").evaluate("(one) => { one.dataset.old = ''; }")
    with db.begin() as session:
        row = session.scalars(select(Ticket).where(Ticket.public_id == office.first)).one()
        state.change_ticket(session, row, priority=Priority.LOW)
    expect(page.locator("#status:not([data-old])")).to_be_visible()
    expect(question).to_be_visible()
    assert [said for said in agent.complaints if "409" not in said] == []  # that of the question


def test_choices_made_while_others_are_saved_are_saved_too(
    browser: Browser, office: Office, db: Database, pictures: Path
) -> None:
    agent = sign_in(browser, office, pictures, "alice")
    page = agent.page
    page.goto(f"{office.server.url}/console/tickets/{office.second}")
    page.locator("#set-status").select_option("on_hold")
    page.wait_for_timeout(450)  # so that the next one is on its way when the panel is replaced
    page.locator("#set-team").select_option("orders")  # a team whose tickets she does not see
    for _ in range(100):
        with db.read() as session:
            row = session.scalars(select(Ticket).where(Ticket.public_id == office.second)).one()
            if row.team is not None and row.team.key == "orders":
                break
        page.wait_for_timeout(50)
    else:
        pytest.fail("The team that was chosen was never saved.")
    assert row.status.value == "on_hold"
    assert [one for one in agent.complaints if "404" not in one] == []  # a panel may ask for what she no longer sees
