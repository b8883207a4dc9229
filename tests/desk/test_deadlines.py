"""SLA clocks of tickets: which run when, which policy counts, and that missing one is noticed and told once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant import worker
from assistant.cli import main
from assistant.db import utcnow
from assistant.desk import actions, conditions, conversations, deadlines, drafts, inboxes, state, tickets
from assistant.desk.access import CustomerPrincipal, visible_tickets
from assistant.desk.conditions import Asking
from assistant.desk.desk import Desk
from assistant.desk.events import EventKind
from assistant.errors import Invalid, NotFound
from assistant.models import Conversation, Event, Priority, SLAClock, SLATarget, Ticket, TicketStatus
from assistant.ports import HandoffReason
from assistant.runtime import Runtime
from tests.factories import (
    Persona,
    make_conversation,
    make_inbox,
    make_machine,
    make_noise,
    make_ticket,
)
from tests.fakes import SetClock

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
GOALS = {SLATarget.FIRST_RESPONSE: HOUR, SLATarget.NEXT_RESPONSE: 2 * HOUR, SLATarget.RESOLUTION: 8 * HOUR}
NEVER = {"zone": "UTC", "week": {}}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def desk(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime]) -> Desk:
    url = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    desk = make_runtime(**url).desk
    object.__setattr__(desk, "now", SetClock())
    make_noise(desk.db, 3)
    return desk


def policy(desk: Desk, name: str, when: str = "", goals: dict[SLATarget, timedelta] | None = None, **more: Any) -> None:
    with desk.db.begin() as session:
        deadlines.put(session, name, holds=conditions.parse(when), goals=goals or GOALS, **more)


def change(desk: Desk, ticket: Ticket, **changes: Any) -> None:
    with desk.db.begin() as session:
        state.change_ticket(session, session.get_one(Ticket, ticket.id), **changes)


def shown(desk: Desk, ticket: Ticket) -> dict[str, Any]:
    """Its clocks by target, as machines and agents see them."""
    with desk.db.read() as session:
        machine = make_machine(desk.db)
        row = tickets.load_ticket(session, machine, ticket.public_id)
        clocks = tickets.show_ticket(session, machine, row, desk.taxonomy).sla
    return {clock.target.value: clock for clock in clocks}


def due(desk: Desk, ticket: Ticket) -> datetime | None:
    with desk.db.read() as session:
        return session.get_one(Ticket, ticket.id).due_at


def after(desk: Desk, ticket: Ticket, length: timedelta) -> bool:
    """Whether the ticket is due so long after it was opened, a few seconds aside."""
    moment = due(desk, ticket)
    return moment is not None and abs(moment - ticket.created_at - length) < timedelta(seconds=30)


def write(desk: Desk, ticket: Ticket, text: str = "It still leaks.") -> None:
    conversations.post_message(desk, CustomerPrincipal(ticket.conversation_id), text=text, uploads=[], client_id=None)


def reply(desk: Desk, ticket: Ticket, by: Persona) -> None:
    with desk.db.begin() as session:
        drafts.reply(session, by.principal, session.get_one(Ticket, ticket.id), "Close the valve.")


def told(desk: Desk, ticket: Ticket, kind: EventKind) -> list[dict[str, Any]]:
    with desk.db.read() as session:
        query = select(Event).where(Event.kind == kind, Event.conversation_id == ticket.conversation_id)
        return [event.payload for event in session.scalars(query.order_by(Event.id))]


def later(desk: Desk, by: timedelta) -> None:
    desk.now.advance(by)  # type: ignore[attr-defined]
    worker.run_until_idle(desk)


def test_first_response_then_next_response_then_resolution(desk: Desk, alice: Persona) -> None:
    policy(desk, "Everybody")
    ticket = make_ticket(desk)
    assert after(desk, ticket, HOUR)
    assert told(desk, ticket, EventKind.TICKET_CREATED)[0]["ticket"]["due_at"] is not None  # with its first event
    reply(desk, ticket, alice)
    assert due(desk, ticket) is None  # pending: its customer's turn
    assert shown(desk, ticket)["first_response"].ended_at is not None
    assert shown(desk, ticket)["resolution"].paused
    write(desk, ticket)
    assert after(desk, ticket, 2 * HOUR)
    reply(desk, ticket, alice)
    change(desk, ticket, status=TicketStatus.OPEN)
    assert after(desk, ticket, 8 * HOUR)
    change(desk, ticket, status=TicketStatus.SOLVED)
    assert due(desk, ticket) is None
    write(desk, ticket, "No, it leaks again.")
    assert not shown(desk, ticket)["resolution"].paused
    with desk.db.read() as session:
        kept = session.scalars(select(SLAClock.target).where(SLAClock.ticket_id == ticket.id).order_by(SLAClock.id))
        first, next_one = SLATarget.FIRST_RESPONSE, SLATarget.NEXT_RESPONSE
        assert sorted(kept) == sorted([SLATarget.RESOLUTION, first, next_one, next_one])


def test_on_hold_and_thanks_and_notes_set_no_clock(desk: Desk, alice: Persona) -> None:
    policy(desk, "Everybody")
    ticket = make_ticket(desk)
    with desk.db.begin() as session:
        drafts.add_note(session, alice.principal, session.get_one(Ticket, ticket.id), "Who knows this machine?")
    assert after(desk, ticket, HOUR)
    change(desk, ticket, status=TicketStatus.ON_HOLD)
    assert due(desk, ticket) is None
    change(desk, ticket, status=TicketStatus.OPEN)
    assert after(desk, ticket, HOUR)
    reply(desk, ticket, alice)
    write(desk, ticket, "Thank you!")
    assert "next_response" not in shown(desk, ticket)


def test_nobody_waits_for_a_person_while_the_assistant_answers(desk: Desk, alice: Persona) -> None:
    policy(desk, "Everybody")
    conversation = make_conversation(desk)
    conversations.post_message(desk, CustomerPrincipal(conversation.id), text="Hello?", uploads=[], client_id=None)
    with desk.db.read() as session:
        ticket = session.scalars(select(Ticket).where(Ticket.conversation_id == conversation.id)).one()
    assert due(desk, ticket) is None
    with desk.db.begin() as session:
        row = state.lock_conversation(session, conversation.id)
        conversations.hand_off(session, row, HandoffReason.CUSTOMER_ASKED)
    assert after(desk, ticket, HOUR)
    with desk.db.begin() as session:
        state.give_back(session, session.get_one(Conversation, conversation.id))
    assert due(desk, ticket) is None
    assert shown(desk, ticket)["first_response"].ended_at is not None


def test_the_first_policy_that_fits_counts_and_from_the_beginning(desk: Desk) -> None:
    make_inbox(desk.db, "acme", name="Acme")
    policy(desk, "Everybody")
    policy(desk, "Urgent", "priority:urgent", {SLATarget.FIRST_RESPONSE: 10 * MINUTE}, position=1)
    policy(desk, "Acme", "inbox:acme team:none", {SLATarget.FIRST_RESPONSE: 30 * MINUTE}, position=2)
    plain, acme = make_ticket(desk), make_ticket(desk, inbox="acme")
    assert after(desk, plain, HOUR)
    assert after(desk, acme, 30 * MINUTE)
    change(desk, plain, priority=Priority.URGENT)
    assert after(desk, plain, 10 * MINUTE)
    changed = told(desk, plain, EventKind.TICKET_UPDATED)[-1]["changed"]
    assert changed == ["priority", "due_at"]
    with desk.db.begin() as session:
        deadlines.remove(session, "Urgent")
    worker.run_until_idle(desk)
    assert after(desk, plain, HOUR)


def test_a_policy_of_today_counts_for_tickets_of_before(desk: Desk) -> None:
    ticket = make_ticket(desk)
    assert due(desk, ticket) is None
    policy(desk, "Everybody")
    worker.run_until_idle(desk)
    assert after(desk, ticket, HOUR)
    with desk.db.begin() as session:
        inboxes.change(inboxes.default(session), {"hours": NEVER})
    worker.run_until_idle(desk)
    assert due(desk, ticket) is None
    policy(desk, "Everybody", around_the_clock=True)
    worker.run_until_idle(desk)
    assert after(desk, ticket, HOUR)


def test_a_missed_target_is_told_once_and_the_next_one_too(desk: Desk, alice: Persona) -> None:
    policy(desk, "Everybody")
    ticket, other = make_ticket(desk), make_ticket(desk)
    reply(desk, other, alice)
    worker.run_until_idle(desk)
    later(desk, 59 * MINUTE)
    assert told(desk, ticket, EventKind.TICKET_BREACHED) == []
    later(desk, 2 * MINUTE)
    later(desk, 2 * MINUTE)
    (breach,) = told(desk, ticket, EventKind.TICKET_BREACHED)
    assert (breach["target"], breach["ticket"]["breached_at"]) == ("first_response", breach["ticket"]["due_at"])
    later(desk, 8 * HOUR)
    assert [one["target"] for one in told(desk, ticket, EventKind.TICKET_BREACHED)] == ["first_response", "resolution"]
    assert told(desk, other, EventKind.TICKET_BREACHED) == []


def test_who_gets_more_time_before_anybody_looked_has_missed_nothing(desk: Desk) -> None:
    policy(desk, "Everybody")
    ticket = make_ticket(desk)
    later(desk, 61 * MINUTE)
    policy(desk, "Everybody", goals={SLATarget.FIRST_RESPONSE: 4 * HOUR})
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert session.get_one(Ticket, ticket.id).breached_at is None
    assert after(desk, ticket, 4 * HOUR)


def test_sla_is_a_condition(desk: Desk, alice: Persona) -> None:
    policy(desk, "Everybody", "inbox:default")
    make_inbox(desk.db, "acme", name="Acme")
    late, paused, none = make_ticket(desk, subject="late"), make_ticket(desk, subject="paused"), None
    reply(desk, paused, alice)
    later(desk, 61 * MINUTE)
    make_ticket(desk, subject="running")
    none = make_ticket(desk, subject="none", inbox="acme")

    def find(query: str) -> set[str]:
        machine = make_machine(desk.db)
        with desk.db.read() as session:
            asking = Asking(machine, desk.taxonomy, utcnow() + 61 * MINUTE - timedelta(minutes=30))
            holds = conditions.compiled(session, conditions.parse(query), asking)
            found = session.scalars(visible_tickets(machine).where(*holds))
            return {row.subject for row in found if not row.subject.startswith("Noise")}

    assert find("sla:missed") == {"late"}
    assert find("sla:paused") == {"paused"}
    assert find("sla:running") == {"late", "running"}  # half an hour from now
    assert find("sla:overdue") == set()
    assert find("sla:none") == {"none"}
    assert find("-sla:none due:>2020-01-01") == {"late", "running"}
    assert none.due_at is None
    assert late.due_at is not None


@pytest.mark.parametrize(
    ("name", "when", "goals", "said"),
    [
        ("", "", GOALS, "name"),
        ("x", "", {}, "at least one of first_response"),
        ("x", "", {SLATarget.RESOLUTION: timedelta(seconds=3)}, "from a minute"),
        ("x", "category:none", GOALS, "priority, inbox, team"),
        ("x", "team:nobody", GOALS, "There is no team 'nobody'"),
    ],
)
def test_policies_that_cannot_be_meant_are_refused(
    desk: Desk, name: str, when: str, goals: dict[SLATarget, timedelta], said: str
) -> None:
    with pytest.raises(Invalid, match=said), desk.db.begin() as session:
        deadlines.put(session, name, holds=conditions.parse(when), goals=goals)
    with pytest.raises(NotFound, match="none yet"), desk.db.begin() as session:
        deadlines.remove(session, "Urgent")


def test_an_undone_action_brings_its_deadline_back(desk: Desk, alice: Persona) -> None:
    policy(desk, "Everybody")
    ticket = make_ticket(desk)
    was = due(desk, ticket)
    with desk.db.begin() as session:
        row, on_hold = session.get_one(Ticket, ticket.id), [{"name": "set_status", "arguments": {"status": "solved"}}]
        done = actions.apply(session, row, actions.parse(session, on_hold), alice.principal)
        assert row.due_at is None
        actions.apply(session, row, done.undo, alice.principal)
    restored = due(desk, ticket)
    assert was is not None
    assert restored is None or restored > was  # resolution goes on; who solved it has answered


class TestOnOneDatabase:
    """The same wherever it is stored."""

    @pytest.fixture
    def desk(self, runtime: Runtime) -> Desk:
        return runtime.desk

    def test_the_ticket_page_and_the_api_show_it(
        self, desk: Desk, client: FlaskClient, key: dict[str, str], alice: Persona, sign_in: Callable[..., FlaskClient]
    ) -> None:
        policy(desk, "Everybody")
        ticket = make_ticket(desk)
        answer = client.get(f"/api/v1/tickets/{ticket.public_id}", headers=key).json
        assert answer["due_at"] == answer["sla"][-1]["due_at"] or answer["due_at"] == answer["sla"][0]["due_at"]
        page = sign_in(alice).get(f"/console/tickets/{ticket.public_id}").text
        assert "data-due" in page
        assert "Everybody" in page

    def test_policies_on_the_command_line(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ASSISTANT_DATA_DIR", str(desk.settings.data_dir))
        run = lambda *arguments: CliRunner().invoke(main, ["sla", *arguments])  # noqa: E731
        assert run("set", "Everybody", "--first-response", "8h").exit_code == 0
        assert (
            run("set", "Urgent", "--when", "priority:urgent", "--resolution", "90m", "--position", "1").exit_code == 0
        )
        assert [one["name"] for one in json.loads(run("list", "--json").output)] == ["Urgent", "Everybody"]
        assert "priority:urgent: resolution 90m" in run("list").output
        wrong = run("set", "Urgent", "--first-response", "soon")
        assert (wrong.exit_code, "30m, 8h or 2d" in wrong.output) == (2, True)
        assert "no field" in run("set", "Urgent", "--when", "colour:red", "--resolution", "1h").output
        assert run("remove", "Urgent").exit_code == 0
        assert "no SLA policy 'Urgent'" in run("remove", "Urgent").output
