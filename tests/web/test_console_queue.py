"""The queue over HTTP: views, order, search, pages that stay, and what is done to several tickets at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, select

from assistant import worker
from assistant.db import Database, utcnow
from assistant.desk import actions, conversations, drafts, people, state, tickets, views
from assistant.desk.access import CustomerPrincipal
from assistant.desk.desk import Desk
from assistant.models import Priority, SavedView, Ticket, TicketStatus
from assistant.ports import Capabilities
from tests.factories import Persona, make_conversation, make_noise, make_ticket, make_upload
from tests.fakes import FakeOCR, fake_capabilities

SignIn = Callable[[Persona], FlaskClient]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def capabilities() -> Capabilities:
    return fake_capabilities(ocr=FakeOCR("BrewMaster 300", "E21"))


@pytest.fixture
def some(desk: Desk, alice: Persona, bob: Persona) -> dict[str, Ticket]:
    """By subject: who waits how long, who has them, and how urgent they are. Noise belongs to another team."""
    make_noise(desk.db, 5, team="orders")
    made = {name: make_ticket(desk, f"The text of {name}.", subject=name) for name in ("old", "new", "urgent", "hers")}
    made |= {name: make_ticket(desk, "It blinks.", subject=name) for name in ("his", "answered", "solved")}
    made |= {name: make_ticket(desk, "It hums.", subject=name) for name in ("later", "soon")}
    with desk.db.begin() as session:
        row = {name: session.get_one(Ticket, ticket.id) for name, ticket in made.items()}
        state.change_ticket(session, row["urgent"], priority=Priority.URGENT)
        tickets.assign(session, row["hers"], alice.public_id)
        tickets.assign(session, row["his"], bob.public_id)
        drafts.reply(session, bob.principal, row["answered"], "Please switch it off.")
        tickets.solve(session, row["solved"], bob.principal)
        for days, name in enumerate(("soon", "later"), start=1):
            state.change_ticket(session, row[name], agent=row["hers"].agent, priority=Priority.URGENT)
            actions.snooze(session, row[name], utcnow() + timedelta(days=days))
            row[name].due_at = utcnow() - timedelta(hours=1)
        for hours, name in enumerate(("urgent", "new", "hers", "his", "old"), start=1):
            row[name].waiting_since = utcnow() - timedelta(hours=hours)
    return made  # not triaged: that would give them teams


VIEWS = {
    "mine": {"hers"},
    "waiting": {"urgent", "old", "hers", "new"},
    "urgent": {"urgent"},
    "overdue": set(),
    "unassigned": {"urgent", "old", "new"},
    "assistant": {"bot"},
    "snoozed": {"later", "soon"},
    "solved": {"solved"},
    "all": {"bot", "later", "soon", "solved", "answered", "his", "hers", "urgent", "new", "old"},
}


def test_views_hold_and_count_what_they_say(
    sign_in: SignIn, alice: Persona, desk: Desk, some: dict[str, Ticket]
) -> None:
    started = CustomerPrincipal(make_conversation(desk, name="Widget").id)
    conversations.post_message(desk, started, text="bot", uploads=[], client_id=None)
    client = sign_in(alice)
    for tab, subjects in VIEWS.items():
        html = client.get(f"/console/?tab={tab}").text
        assert set(subjects_of(html)) == subjects, tab
        assert counts_of(html) == {one: len(found) for one, found in VIEWS.items()}


def test_snoozed_tickets_stand_in_their_own_view_alone_until_they_wake_or_are_solved(
    sign_in: SignIn, alice: Persona, desk: Desk, some: dict[str, Ticket]
) -> None:
    client = sign_in(alice)
    html = client.get("/console/?tab=snoozed").text
    assert subjects_of(html) == ["soon", "later"], "the first to wake first"
    with desk.db.read() as session:
        until = session.get_one(Ticket, some["soon"].id).snoozed_until
    assert until is not None
    assert f'snoozed until <time datetime="{until.isoformat()}"' in html
    for name in ("soon", "later"):
        customer = CustomerPrincipal(some[name].conversation_id)
        if name == "soon":
            conversations.post_message(desk, customer, text="It smokes now!", uploads=[], client_id=None)
        else:
            with desk.db.begin() as session:
                row = session.get_one(Ticket, some[name].id)
                tickets.solve(session, row, alice.principal)
                tickets.reopen(session, row, alice.principal)
    assert subjects_of(client.get("/console/?tab=snoozed").text) == []
    assert {"soon", "later"} <= set(subjects_of(client.get("/console/?tab=mine").text))


def test_the_working_order_is_overdue_urgent_then_who_waits_longest(
    sign_in: SignIn, alice: Persona, desk: Desk, some: dict[str, Ticket]
) -> None:
    client = sign_in(alice)
    assert subjects_of(client.get("/console/").text) == ["urgent", "old", "hers", "new"]
    assert subjects_of(client.get("/console/?sort=waiting").text) == ["old", "hers", "new", "urgent"]
    assert subjects_of(client.get("/console/?tab=all&sort=oldest").text)[:3] == ["old", "new", "urgent"]
    with desk.db.begin() as session:
        session.get_one(Ticket, some["hers"].id).due_at = desk.now() - timedelta(minutes=1)
    assert subjects_of(client.get("/console/").text) == ["hers", "urgent", "old", "new"]
    assert subjects_of(client.get("/console/?tab=overdue").text) == ["hers"]
    with desk.db.begin() as session:
        session.get_one(Ticket, some["hers"].id).due_at = None
    # An answer ends the wait, and what its customer writes then is a new one.
    with desk.db.begin() as session:
        drafts.reply(session, alice.principal, session.get_one(Ticket, some["old"].id), "Hm?")
    assert subjects_of(client.get("/console/").text) == ["urgent", "hers", "new"]
    customer = CustomerPrincipal(some["old"].conversation_id)
    conversations.post_message(desk, customer, text="Still broken", uploads=[], client_id=None)
    assert subjects_of(client.get("/console/").text) == ["urgent", "hers", "new", "old"]


def test_a_row_says_who_spoke_last_and_what_this_agent_has_not_read(
    sign_in: SignIn, alice: Persona, bob: Persona, desk: Desk, some: dict[str, Ticket]
) -> None:
    client, his = sign_in(alice), sign_in(bob)
    row = row_of(client.get("/console/?tab=all").text, "answered")
    for shown in (f"#{some['answered'].number}", "Bob", "Please switch it off.", "is-unread", "Visitor"):
        assert shown in row
    page = f"/console/tickets/{some['answered'].public_id}"
    post(client, page, f"{page}/presence")
    assert "is-unread" not in row_of(client.get("/console/?tab=all").text, "answered")
    assert "is-unread" in row_of(his.get("/console/?tab=all").text, "answered"), "everybody reads for themselves"
    assert "answered" not in subjects_of(client.get("/console/?q=is:unread").text)
    customer = CustomerPrincipal(some["answered"].conversation_id)
    conversations.post_message(desk, customer, text="It does not help!", uploads=[], client_id=None)
    row = row_of(client.get("/console/?tab=all").text, "answered")
    assert "is-unread" in row
    assert "It does not help!" in row


def test_search_finds_in_all_views_and_says_what_is_wrong_with_a_query(
    sign_in: SignIn, alice: Persona, some: dict[str, Ticket]
) -> None:
    client = sign_in(alice)
    assert subjects_of(client.get("/console/?tab=mine&q=blinks").text) == ["solved", "answered", "his"]
    assert subjects_of(client.get("/console/?q=blinks+-status:solved+assignee:bob").text) == ["answered", "his"]
    assert subjects_of(client.get("/console/?q=noise").text) == []
    found = client.get(f"/console/?q=%23{some['old'].number}")
    assert found.location == f"/console/tickets/{some['old'].public_id}"
    wrong = client.get("/console/?q=colour:red")
    assert (wrong.status_code, subjects_of(wrong.text)) == (200, [])
    assert "There is no field 'colour' to search by." in unescape(wrong.text)
    assert 'value="colour:red"' in wrong.text, "what was typed stays"


def test_a_page_stays_where_it_is_while_tickets_come(sign_in: SignIn, alice: Persona, db: Database, desk: Desk) -> None:
    make_noise(db, 2 * views.PAGE + 5)
    client = sign_in(alice)
    first = client.get("/console/?tab=all").text
    second_at = link_of(first, "page-after")
    second = client.get(second_at).text
    make_ticket(desk, "arrived meanwhile", subject="arrived")
    assert subjects_of(client.get(renewal_of(second), headers=HTMX).text) == subjects_of(second)
    third = client.get(link_of(second, "page-after")).text
    assert link_of(third, "page-after") == ""
    seen = [*subjects_of(first), *subjects_of(second), *subjects_of(third)]
    assert seen == [f"Noise {number}" for number in reversed(range(2 * views.PAGE + 5))]
    assert subjects_of(client.get(link_of(third, "page-before")).text) == subjects_of(second)
    back = client.get(link_of(second, "page-before")).text
    assert subjects_of(back) == subjects_of(first)
    newest = client.get(link_of(back, "page-before")).text
    assert subjects_of(newest) == ["arrived", *subjects_of(first)[:-1]], "the first page is always whole"
    assert client.get("/console/?tab=all&at=nonsense").status_code == 422
    # From a ticket, the way back leads to the same page.
    opened = unescape(re.findall(r'<a id="row-\w+" href="([^"]*)"', second)[0])
    assert link_of(client.get(opened).text, "to-queue") == second_at


@pytest.mark.parametrize("sort", views.SORTS)
def test_every_order_is_paged_without_gaps_or_repeats(
    sign_in: SignIn, alice: Persona, db: Database, sort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_noise(db, 23)
    with db.begin() as session:
        for number, row in enumerate(session.scalars(select(Ticket))):
            row.waiting_since = utcnow() - timedelta(minutes=number % 3) if number % 4 else None
            row.priority = Priority.URGENT if number % 5 == 0 else Priority.LOW
            row.solved_at = row.updated_at if number % 2 else None
    client, seen, path = sign_in(alice), [], f"/console/?tab=all&sort={sort}"
    monkeypatch.setattr(views.page, "__kwdefaults__", {"cursor": None, "limit": 5})
    pages = []
    while path:
        html = client.get(path).text
        pages.append(subjects_of(html))
        path = link_of(html, "page-after")
    seen = [one for page in pages for one in page]
    assert sorted(seen) == sorted(f"Noise {number}" for number in range(23))
    assert subjects_of(client.get(link_of(html, "page-before")).text) == pages[-2]


def test_the_queue_takes_as_many_statements_for_many_tickets_as_for_one(
    sign_in: SignIn, alice: Persona, db: Database, desk: Desk
) -> None:
    make_ticket(desk, "E21", team="technical", uploads=[make_upload("0.jpg")])
    worker.run_until_idle(desk)
    client = sign_in(alice)
    client.get("/console/?tab=all")
    with counted(db) as few:
        client.get("/console/?tab=all")
    make_noise(db, 300, team="technical")
    for number in range(3):
        make_ticket(desk, f"E21 again {number}", team="technical", uploads=[make_upload(f"{number}.jpg")])
    worker.run_until_idle(desk)
    with counted(db) as many:
        html = client.get("/console/?tab=all").text
    assert len(subjects_of(html)) == views.PAGE
    assert len(few) == len(many) <= 22
    assert not [said for said in many if "triage" in said], "a list needs no triage, let alone its history"


def test_several_tickets_are_changed_at_once_and_changed_back(
    sign_in: SignIn, alice: Persona, desk: Desk, some: dict[str, Ticket]
) -> None:
    with desk.db.begin() as session:
        state.change_ticket(session, session.get_one(Ticket, some["solved"].id), status=TicketStatus.CLOSED)
    client = sign_in(alice)
    chosen = [some[name].public_id for name in ("old", "new", "hers", "solved")] + ["tck_00000000000000000000"]
    sent = {"ticket": chosen, "action": "set_status pending", "tag": "later", "place": "tab=all"}
    done = post(client, "/console/?tab=all", "/console/bulk", sent, headers=HTMX).text
    assert "Changed 3 tickets." in done
    assert "2 could not be changed" in done
    assert "closed" in done
    assert standing(desk, some) == {"old": "pending later", "new": "pending later", "hers": "pending later"}
    with desk.db.begin() as session:  # somebody is faster
        tickets.set_status(session, session.get_one(Ticket, some["new"].id), TicketStatus.ON_HOLD)
    undo = unescape(re.findall(r'name="undo" value="([^"]*)"', done)[0])
    back = post(client, "/console/?tab=all", "/console/undo", {"undo": undo, "place": "tab=all"}, headers=HTMX).text
    assert "Taken back on" in back
    assert standing(desk, some) == {"old": "new", "new": "on_hold", "hers": "new"}
    for wrong in ({"ticket": [], "action": "assign me"}, {"ticket": chosen, "action": ""}):
        assert 'class="error"' in post(client, "/console/", "/console/bulk", wrong, headers=HTMX).text
    assert post(client, "/console/", "/console/undo", {"undo": "[]"}).status_code == 422
    page = post(client, "/console/", "/console/bulk", {"ticket": chosen[:1], "action": "assign me", "place": ""})
    assert "Changed 1 ticket." in page.text
    assert "<!doctype html>" in page.text, "without scripts, a whole page"


def test_nobody_changes_what_they_may_not_see(
    sign_in: SignIn, charlie: Persona, desk: Desk, some: dict[str, Ticket]
) -> None:
    with desk.db.begin() as session:
        row = session.get_one(Ticket, some["hers"].id)
        state.change_ticket(session, row, team=people.find_team(session, "technical"))
    client = sign_in(charlie)
    sent = {"ticket": [some["hers"].public_id], "action": "set_status solved", "tag": "mine"}
    assert "There is no such ticket." in post(client, "/console/", "/console/bulk", sent, headers=HTMX).text
    assert standing(desk, some)["hers"] == "new"


def test_solve_and_next_goes_on_in_the_view_from_which_one_came(
    sign_in: SignIn, alice: Persona, desk: Desk, some: dict[str, Ticket]
) -> None:
    client = sign_in(alice)
    at = f"/console/tickets/{some['old'].public_id}?place=tab%3Dwaiting"
    for current, following in (("old", "hers"), ("hers", "new"), ("new", "urgent")):
        page = f"/console/tickets/{some[current].public_id}"
        answer = post(client, at, f"{page}/solve-and-next", {"place": "tab=waiting"})
        assert answer.location == f"/console/tickets/{some[following].public_id}?place=tab%3Dwaiting", current
    last = post(client, at, f"/console/tickets/{some['urgent'].public_id}/solve-and-next", {"place": "tab=waiting"})
    assert last.location == "/console/?tab=waiting"
    with desk.db.read() as session:
        solved = session.scalars(select(Ticket.subject).where(Ticket.status == TicketStatus.SOLVED)).all()
    assert set(solved) == {"old", "hers", "new", "urgent", "solved"}


def test_views_are_saved_for_oneself_or_the_team_and_changed_by_their_owner(
    sign_in: SignIn, alice: Persona, bob: Persona, charlie: Persona, db: Database, some: dict[str, Ticket]
) -> None:
    hers, his, others = sign_in(alice), sign_in(bob), sign_in(charlie)
    new = {"query": "blinks is:unsolved", "sort": "oldest", "column": ["team", "created"]}
    own = post(hers, "/console/", "/console/views", {**new, "name": "  Blinking  "}).location
    team = post(hers, "/console/", "/console/views", {**new, "name": "Ours", "shared": "on"}).location
    shown = hers.get(own).text
    assert subjects_of(shown) == ["answered", "his"], "what has words in it is shown newest first"
    assert re.findall(r'<th class="wide"><bdi>(\w+)</bdi>', shown) == ["Team", "Created"]
    assert "Blinking" in shown
    assert subjects_of(his.get(team).text) == ["answered", "his"]
    assert "Blinking" not in his.get("/console/").text
    assert "Ours" not in others.get("/console/").text
    key = team.partition("tab=")[2]
    assert post(his, "/console/", f"/console/views/{key}/remove").status_code == 403
    assert post(others, "/console/", f"/console/views/{key}/remove").status_code == 404
    post(hers, "/console/", "/console/views", {**new, "name": "Ours now", "view": key})
    assert "Ours now" not in his.get("/console/").text, "no longer shared"
    for wrong, said in (
        ({"name": " "}, "needs a name"),
        ({"query": "colour:red"}, "no field"),
        ({"sort": "random"}, "no order"),
        ({"column": ["mood"]}, "no column"),
    ):
        refused = post(hers, "/console/", "/console/views", {**new, "name": "X", **wrong})
        assert said in hers.get(refused.location).text
    with db.begin() as session:
        row = session.scalars(select(SavedView).where(SavedView.name == "Blinking")).one()
        row.conditions = [{"field": "gone", "operator": "is", "value": ["x"]}]
    broken = hers.get(own)
    assert (broken.status_code, subjects_of(broken.text)) == (200, [])
    assert "There is no field 'gone'" in unescape(broken.text)
    assert post(hers, "/console/", f"/console/views/{own.partition('tab=')[2]}/remove").status_code == 302
    assert "Blinking" not in hers.get("/console/").text


# Helpers


def standing(desk: Desk, some: dict[str, Ticket]) -> dict[str, str]:
    """Of three tickets, status and tags."""
    with desk.db.read() as session:
        rows = {name: session.get_one(Ticket, some[name].id) for name in ("old", "new", "hers")}
        return {
            name: " ".join([row.status.value, *(tag.name for tag in row.tags)]).strip() for name, row in rows.items()
        }


def post(
    client: FlaskClient,
    at: str,
    path: str,
    fields: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> Any:
    """Send a form as the page ``at`` would, with its CSRF token."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(at).text)
    assert found is not None
    return client.post(path, data={**(fields or {}), "csrf_token": found.group(1)}, headers=headers)


def subjects_of(html: str) -> list[str]:
    return re.findall(r'<a id="row-\w+"[^>]*>([^<]*)</a>', html)


def row_of(html: str, subject: str) -> str:
    return next(row for row in re.findall(r"<tr .*?</tr>", html, re.DOTALL) if f"{subject}</a>" in row)


def counts_of(html: str) -> dict[str, int]:
    found = re.findall(r'<a id="tab-(\w+)".*?<span class="count">(\d+)</span>', html)
    return {name: int(count) for name, count in found}


def link_of(html: str, element_id: str) -> str:
    found = re.search(rf'<a [^>]*?id="{element_id}"[^>]*>', html)
    return unescape(re.findall(r'href="([^"]*)"', found.group())[0]) if found is not None else ""


def renewal_of(html: str) -> str:
    return unescape(re.findall(r'<section id="rows"[^>]*hx-get="([^"]*)"', html)[0])


@contextmanager
def counted(db: Database) -> Iterator[list[str]]:
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
