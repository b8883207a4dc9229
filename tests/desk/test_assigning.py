"""Auto-assignment: who gets which ticket, and who gets none."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant import worker
from assistant.cli import main
from assistant.desk import assigning, people, state
from assistant.desk.desk import Desk
from assistant.errors import AssistantError
from assistant.models import Agent, Priority, Ticket, TicketStatus
from assistant.runtime import Runtime
from tests.factories import Persona, make_agent, make_noise, make_ticket
from tests.fakes import SetClock


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def desk(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime]) -> Desk:
    url = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    desk = make_runtime(**url).desk
    object.__setattr__(desk, "now", SetClock())
    make_noise(desk.db, 3)
    return desk


def assign(desk: Desk, how: str) -> None:
    with desk.db.begin() as session:
        assigning.set_assignment(session, "technical", how)


def set_agent(desk: Desk, who: Persona, *, capacity: int | None = None, away: bool = False) -> None:
    with desk.db.begin() as session:
        agent = people.find_agent(session, who.public_id)
        assigning.set_capacity(session, agent, capacity)
        assigning.set_away(session, agent, away=away)


def arrive(desk: Desk, *, team: str = "technical", priority: Priority = Priority.NORMAL) -> Ticket:
    """A ticket that triage has sent to its team."""
    ticket = make_ticket(desk)
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        state.change_ticket(session, row, team=people.find_team(session, team), priority=priority)
    return ticket


def change(desk: Desk, ticket: Ticket, **changes: Any) -> None:
    with desk.db.begin() as session:
        state.change_ticket(session, session.get_one(Ticket, ticket.id), **changes)
    worker.run_until_idle(desk)


def holders(desk: Desk, tickets: list[Ticket]) -> list[str | None]:
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        agents = [session.get_one(Ticket, ticket.id).agent for ticket in tickets]
        return [agent.name if agent is not None else None for agent in agents]


def test_round_robin_gives_each_agent_of_the_team_one_after_another(
    desk: Desk, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    other = arrive(desk, team="orders")  # whose agents take their tickets themselves
    assign(desk, "round_robin")
    tickets = [arrive(desk) for _ in range(4)]
    assert holders(desk, [*tickets, other]) == ["Alice", "Bob", "Alice", "Bob", None]


def test_the_least_busy_gets_the_next_one(desk: Desk, alice: Persona, bob: Persona) -> None:
    assign(desk, "least_busy")
    tickets = [arrive(desk) for _ in range(3)]
    assert holders(desk, tickets) == ["Alice", "Bob", "Alice"]
    change(desk, tickets[0], status=TicketStatus.SOLVED)
    change(desk, tickets[2], status=TicketStatus.PENDING)  # waits for its customer: nobody works on it
    assert holders(desk, [arrive(desk)]) == ["Alice"]


def test_who_is_away_or_full_gets_none_and_what_waits_is_given_out_later(
    desk: Desk, alice: Persona, bob: Persona
) -> None:
    set_agent(desk, alice, capacity=1)
    set_agent(desk, bob, away=True)
    assign(desk, "round_robin")
    first, second = arrive(desk), arrive(desk)
    urgent = arrive(desk, priority=Priority.URGENT)
    assert holders(desk, [first, second, urgent]) == ["Alice", None, None]
    change(desk, first, status=TicketStatus.SOLVED)
    assert holders(desk, [second, urgent]) == [None, "Alice"]  # the most urgent first
    set_agent(desk, bob)
    assert holders(desk, [second]) == ["Bob"]


def test_a_ticket_of_somebody_is_left_to_them(desk: Desk, alice: Persona, bob: Persona) -> None:
    mine = arrive(desk)
    with desk.db.begin() as session:
        row = session.get_one(Ticket, mine.id)
        state.change_ticket(session, row, agent=people.find_agent(session, bob.public_id))
    assign(desk, "round_robin")
    assert holders(desk, [mine]) == ["Bob"]
    with desk.db.read() as session:
        assert session.scalars(select(Agent.given_at)).all() == [None, None]


def test_two_workers_never_give_more_than_somebody_can_take(desk: Desk, alice: Persona, bob: Persona) -> None:
    tickets = [arrive(desk) for _ in range(6)]
    for who in (alice, bob):
        set_agent(desk, who, capacity=2)
    assign(desk, "least_busy")
    with desk.db.read() as session:
        team_id = people.find_team(session, "technical").id
    threads = [threading.Thread(target=assigning.assign_waiting, args=(desk, team_id)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(holders(desk, tickets), key=str) == ["Alice", "Alice", "Bob", "Bob", None, None]


def test_a_capacity_is_a_number(desk: Desk) -> None:
    erin = make_agent(desk.db, "erin", team="technical")
    with pytest.raises(AssistantError, match="from 0"), desk.db.begin() as session:
        assigning.set_capacity(session, people.find_agent(session, erin.public_id), -1)


class TestOnOneDatabase:
    """The same wherever it is stored."""

    @pytest.fixture
    def desk(self, runtime: Runtime) -> Desk:
        return runtime.desk

    def test_an_agent_says_in_the_console_that_they_are_away(
        self, runtime: Runtime, alice: Persona, sign_in: Callable[..., FlaskClient]
    ) -> None:
        client = sign_in(alice)
        assert "/console/away" not in client.get("/console/").text  # nothing is given to anybody yet
        assign(runtime.desk, "round_robin")
        assert "Available" in client.get("/console/").text
        found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/console/").text)
        token = {"csrf_token": found[1] if found else ""}
        assert client.post("/console/away", data={"away": "1", **token}).status_code == 302
        assert "You are away" in client.get("/console/").text
        ticket = arrive(runtime.desk)
        assert holders(runtime.desk, [ticket]) == [None]
        client.post("/console/away", data={"away": "0", **token})
        assert holders(runtime.desk, [ticket]) == ["Alice"]

    def test_assignment_on_the_command_line(
        self, runtime: Runtime, alice: Persona, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASSISTANT_DATA_DIR", str(runtime.settings.data_dir))

        def run(*arguments: str) -> Any:
            return CliRunner().invoke(main, ["assignment", *arguments])

        assert run("set", "technical", "least_busy").exit_code == 0
        assert run("capacity", alice.email, "3").exit_code == 0
        assert run("away", alice.email).exit_code == 0
        (team,) = [one for one in json.loads(run("show", "--json").output) if one["team"] == "technical"]
        assert team["assignment"] == "least_busy"
        assert team["agents"] == [{"email": alice.email, "capacity": 3, "away": True}]
        assert "at most 3, away" in run("show").output
        assert "round_robin" in run("set", "technical", "alphabetically").output
        assert "no team" in run("set", "nobody", "off").output
        assert "no agent" in run("away", "nobody@example.org").output
