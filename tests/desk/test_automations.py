"""Automations: that each does what it says, once for each cause, and never runs by what it did itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from assistant import worker
from assistant.cli import main
from assistant.desk import (
    automations,
    conditions,
    conversations,
    deadlines,
    drafts,
    queue,
    state,
    subscribers,
    triage,
    turns,
)
from assistant.desk.access import CustomerPrincipal
from assistant.desk.desk import Desk
from assistant.errors import AssistantError, Conflict
from assistant.models import (
    AutomationRun,
    Job,
    JobStatus,
    Message,
    MessageVisibility,
    Priority,
    RunOutcome,
    SLATarget,
    Ticket,
    TicketStatus,
    TriageResult,
)
from assistant.runtime import Runtime
from tests.factories import Persona, make_noise, make_ticket
from tests.fakes import SetClock

MINUTES = timedelta(minutes=1)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def desk(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime]) -> Desk:
    url = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    desk = make_runtime(**url).desk
    object.__setattr__(desk, "now", SetClock())
    make_noise(desk.db, 3)
    return desk


def automate(desk: Desk, name: str, trigger: str, when: str, **then: str) -> None:
    """``then``: an action and its value each, e.g. ``add_tag="late"``."""
    arguments = {
        "add_tag": "tag",
        "set_status": "status",
        "set_priority": "priority",
        "note": "text",
        "assign": "agent",
    }
    given = [{"name": action, "arguments": {arguments[action]: value}} for action, value in then.items()]
    with desk.db.begin() as session:
        row = automations.add(session, desk.taxonomy, name, trigger=trigger, holds=conditions.parse(when), then=given)
        automations.enable(session, row)


def ran(desk: Desk) -> list[tuple[str, str]]:
    """The names of automations and the subjects of tickets, in the order of the runs."""
    with desk.db.read() as session:
        return [(run.automation.name, run.ticket.subject) for run in reversed(automations.log(session))]


def tags_of(desk: Desk, ticket: Ticket) -> list[str]:
    with desk.db.read() as session:
        return [tag.name for tag in session.get_one(Ticket, ticket.id).tags]


def notes(desk: Desk, ticket: Ticket) -> list[str]:
    with desk.db.read() as session:
        said = select(Message.text).where(
            Message.conversation_id == ticket.conversation_id, Message.visibility == MessageVisibility.INTERNAL
        )
        return list(session.scalars(said.order_by(Message.id)))


def change(desk: Desk, ticket: Ticket, **changes: Any) -> None:
    with desk.db.begin() as session:
        state.change_ticket(session, session.get_one(Ticket, ticket.id), **changes)


def later(desk: Desk, by: timedelta = 6 * MINUTES) -> None:
    desk.now.advance(by)  # type: ignore[attr-defined]
    worker.run_until_idle(desk)


def test_by_an_event_if_conditions_hold_then_actions(desk: Desk) -> None:
    automate(desk, "Sailing", "triaged", "sailing", add_tag="sport", set_priority="low")
    fits, other = make_ticket(desk, subject="Sailing clubs"), make_ticket(desk, subject="Coffee machine")
    worker.run_until_idle(desk)
    assert (tags_of(desk, fits), tags_of(desk, other)) == (["sport"], [])
    assert ran(desk) == [("Sailing", "Sailing clubs")]
    with desk.db.read() as session:
        assert session.get_one(Ticket, fits.id).priority is Priority.LOW


@pytest.mark.parametrize("trigger", ["opened", "triaged", "written", "replied", "changed", "breached", "handed_off"])
def test_every_trigger_is_pulled_by_what_it_says(desk: Desk, alice: Persona, trigger: str) -> None:
    with desk.db.begin() as session:
        goals = {SLATarget.FIRST_RESPONSE: 60 * MINUTES}
        deadlines.put(session, "Everybody", holds=(), goals=goals, around_the_clock=True)
    automate(desk, "Trigger", trigger, "", note="I saw it.")
    ticket = make_ticket(desk)
    worker.run_until_idle(desk)
    later(desk, 61 * MINUTES)
    with desk.db.begin() as session:
        drafts.reply(session, alice.principal, session.get_one(Ticket, ticket.id), "Close the valve.")
    change(desk, ticket, status=TicketStatus.SOLVED)
    conversations.post_message(
        desk, CustomerPrincipal(ticket.conversation_id), text="It still leaks.", uploads=[], client_id=None
    )
    worker.run_until_idle(desk)
    assert len(notes(desk, ticket)) >= 1


def test_what_a_new_ticket_triggers_knows_its_triage_and_runs_once(desk: Desk) -> None:
    automate(desk, "Shipping", "opened", "team:orders", add_tag="parcel")
    automate(desk, "Others", "opened", "-team:orders", add_tag="other")
    ticket = make_ticket(desk, "Where is my parcel? It was not delivered.")
    assert tags_of(desk, ticket) == []
    worker.run_until_idle(desk)
    assert tags_of(desk, ticket) == ["parcel"]
    with desk.db.begin() as session:
        session.get_one(Ticket, ticket.id).tags = []
    conversations.post_message(
        desk, CustomerPrincipal(ticket.conversation_id), text="It leaks.", uploads=[], client_id=None
    )
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert session.scalar(select(func.count(TriageResult.id)).where(TriageResult.ticket_id == ticket.id)) == 2
    assert tags_of(desk, ticket) == []
    assert [name for name, _ in ran(desk)] == ["Shipping"]


@pytest.mark.parametrize("broken", ["the photos", "all"])
def test_what_a_new_ticket_triggers_does_not_wait_for_a_triage_that_fails(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    automate(desk, "Shipping", "opened", "team:orders", add_tag="parcel")
    automate(desk, "All", "opened", "", add_tag="new")
    place = (turns, "read_photos") if broken == "the photos" else (triage, "run_triage")
    monkeypatch.setattr(*place, Mock(side_effect=ValueError("broken")))
    ticket = make_ticket(desk, "Where is my parcel? It was not delivered.")
    for _ in range(queue.MAX_ATTEMPTS + 2):
        later(desk, timedelta(hours=1))
    assert sorted(tags_of(desk, ticket)) == (["new", "parcel"] if broken == "the photos" else ["new"])
    assert sorted(name for name, _ in ran(desk)) == (["All", "Shipping"] if broken == "the photos" else ["All"])


def test_a_run_that_is_killed_or_repeated_doubles_nothing(desk: Desk) -> None:
    automate(desk, "First", "written", "", note="first")
    automate(desk, "Second", "written", "", note="second")
    ticket = make_ticket(desk)
    with desk.db.read() as session:
        (job,) = session.scalars(select(Job).where(Job.name == subscribers.AUTOMATE)).all()
        payload = dict(job.payload)
    with desk.db.begin() as session:  # as if killed between the two: what the first did is stored, the job is not done
        session.get_one(Job, job.id).status = JobStatus.QUEUED
        row = automations.find(session, "Second")
        automations.enable(session, row, enabled=False)
    automations.run_by_event(desk, **payload)
    with desk.db.begin() as session:
        automations.enable(session, automations.find(session, "Second"))
    for _ in range(2):
        automations.run_by_event(desk, **payload)
    worker.run_until_idle(desk)
    assert notes(desk, ticket) == ["first", "second"]


def test_an_automation_never_runs_by_what_it_did_nor_by_what_that_led_to(desk: Desk) -> None:
    ticket = make_ticket(desk)
    worker.run_until_idle(desk)
    automate(desk, "Up", "changed", "", set_priority="urgent")
    automate(desk, "Down", "changed", "", set_priority="low")
    change(desk, ticket, status=TicketStatus.ON_HOLD)
    worker.run_until_idle(desk)
    names = [name for name, _ in ran(desk)]
    assert names[:2] == ["Up", "Down"]  # by what the agent did, in their order
    assert sorted(names[2:]) == ["Down", "Up"]  # each by what the other did, and there it ends


def test_a_chain_has_an_end(desk: Desk) -> None:
    ticket = make_ticket(desk)
    worker.run_until_idle(desk)
    for when, then in (  # the last one first, so that none sees in the same job what its forerunner does
        ("status:pending", {"note": "the sixth"}),
        ("status:on_hold", {"set_status": "pending"}),
        ("priority:urgent status:open", {"set_status": "on_hold"}),
        ("priority:high", {"set_priority": "urgent"}),
        ("priority:normal", {"set_priority": "high"}),
        ("priority:low", {"set_priority": "normal"}),
    ):
        automate(desk, when, "changed", when, **then)
    change(desk, ticket, status=TicketStatus.OPEN, priority=Priority.LOW)
    worker.run_until_idle(desk)
    assert len(ran(desk)) == subscribers.LONGEST_CHAIN
    with desk.db.read() as session:
        row = session.get_one(Ticket, ticket.id)
        assert (row.priority, row.status) == (Priority.URGENT, TicketStatus.PENDING)
    assert notes(desk, ticket) == []


def test_by_time_once_and_again_only_after_somebody_else_changed_it(desk: Desk) -> None:
    automate(desk, "Stale", "time", "status:on_hold", note="Still waiting.")
    ticket, other = make_ticket(desk), make_ticket(desk)
    worker.run_until_idle(desk)
    change(desk, ticket, status=TicketStatus.ON_HOLD)
    for _ in range(3):
        later(desk)
    assert (notes(desk, ticket), notes(desk, other)) == (["Still waiting."], [])
    change(desk, ticket, priority=Priority.HIGH)
    for _ in range(3):
        later(desk)
    assert notes(desk, ticket) == ["Still waiting."] * 2


def test_two_by_time_that_undo_each_other_stop(desk: Desk) -> None:
    automate(desk, "Hold", "time", "status:open", set_status="on_hold")
    automate(desk, "Open", "time", "status:on_hold", set_status="open")
    ticket = make_ticket(desk)
    worker.run_until_idle(desk)
    change(desk, ticket, status=TicketStatus.OPEN)
    for _ in range(5):
        later(desk)
    assert sorted(name for name, _ in ran(desk)) == ["Hold", "Open"]


def test_what_cannot_be_done_is_done_not_at_all_and_logged(desk: Desk) -> None:
    automate(desk, "Reopen", "changed", "status:closed", note="never", set_status="open")
    ticket = make_ticket(desk)
    worker.run_until_idle(desk)
    change(desk, ticket, status=TicketStatus.CLOSED)
    worker.run_until_idle(desk)
    assert notes(desk, ticket) == []
    with desk.db.read() as session:
        run = session.scalars(select(AutomationRun)).one()
    assert (run.outcome, "closed" in (run.problem or "")) == (RunOutcome.FAILED, True)


def test_a_dry_run_says_which_tickets_and_changes_nothing(desk: Desk) -> None:
    ticket = make_ticket(desk, subject="Sailing clubs")
    make_ticket(desk)
    worker.run_until_idle(desk)
    automate(desk, "Sailing", "opened", "sailing", add_tag="sport")
    with desk.db.read() as session:
        trial = automations.try_out(session, desk.taxonomy, automations.find(session, "Sailing"), now=desk.now())
    assert (trial.looked_at, [one.id for one in trial.tickets]) == (5, [ticket.id])
    assert tags_of(desk, ticket) == []


WRONG = (
    ({"name": " "}, "needs a name"),
    ({"trigger": "tomorrow"}, "Choose from: opened"),
    ({"when": "team:nobody"}, "There is no team"),
    ({"when": "assignee:me"}, "me"),
    ({"then": []}, "at least one action"),
    ({"then": [{"name": "explode", "arguments": {}}]}, "There is no action"),
    ({"then": [{"name": "assign", "arguments": {"agent": "me"}}]}, "name the agent"),
)


@pytest.mark.parametrize(("wrong", "said"), WRONG)
def test_automations_that_cannot_be_meant_are_refused(desk: Desk, wrong: dict[str, Any], said: str) -> None:
    tag = [{"name": "add_tag", "arguments": {"tag": "x"}}]
    given = {"name": "Tag", "trigger": "opened", "when": "", "then": tag, **wrong}

    def add(**given: Any) -> None:
        with desk.db.begin() as session:
            holds = conditions.parse(given.pop("when"))
            automations.add(session, desk.taxonomy, given.pop("name"), holds=holds, **given)

    with pytest.raises(AssistantError, match=said):
        add(**given)
    add(**{**given, "name": "Tag", "trigger": "opened", "when": "", "then": tag})
    with pytest.raises(Conflict):
        add(**{**given, "name": "Tag", "trigger": "opened", "when": "", "then": tag})


def test_automations_on_the_command_line(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(runtime.settings.data_dir))
    make_ticket(runtime.desk, subject="Sailing clubs")

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["automations", *arguments])

    assert run("add", "Sport", "--on", "written", "--when", "sailing", "--do", "add_tag=sport").exit_code == 0
    assert [one["enabled"] for one in json.loads(run("list", "--json").output)] == [False]
    assert "1 of the last 1 tickets: add_tag=sport" in run("test", "Sport").output
    assert run("enable", "Sport").exit_code == 0
    with runtime.desk.db.read() as session:
        ticket = session.scalars(select(Ticket)).one()
    conversations.post_message(
        runtime.desk, CustomerPrincipal(ticket.conversation_id), text="Hello?", uploads=[], client_id=None
    )
    worker.run_until_idle(runtime.desk)
    assert tags_of(runtime.desk, ticket) == ["sport"]
    assert f"#{ticket.number}" in run("log", "Sport").output
    assert "on   Sport" in run("list").output
    assert run("disable", "Sport").exit_code == 0
    assert "no action" in run("add", "Wrong", "--on", "opened", "--do", "explode").output
    assert run("remove", "Sport").exit_code == 0
    assert "none yet" in run("test", "Sport").output
