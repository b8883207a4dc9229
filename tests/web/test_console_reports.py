"""The console's reports: pages with figures, the same as CSV, and who may see what."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from assistant import worker
from assistant.db import utcnow
from assistant.desk import drafts, rollup, tickets, triage
from assistant.desk.desk import Desk
from assistant.models import AgentRole, Gap, GapKind, GapQuestion, Ticket
from tests.factories import Browser, Persona, make_agent, make_articles, make_noise, make_ticket

SignIn = Callable[[Persona], FlaskClient]
PAGES = ("", "/times", "/answers", "/triage", "/agents")


def table(client: FlaskClient, page: str, figure: str, **query: str) -> list[list[str]]:
    answer = client.get(f"/console/reports{page}", query_string={"csv": figure, **query})
    assert answer.mimetype == "text/csv"
    return list(csv.reader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff"))))


def test_an_empty_desk_has_reports_that_say_so(sign_in: SignIn, desk: Desk) -> None:
    client = sign_in(make_agent(desk.db, "ada", admin=True))
    for page in PAGES:
        shown = client.get(f"/console/reports{page}")
        assert shown.status_code == 200
        assert "Not counted yet" in shown.text
    worker.run_until_idle(desk)  # looking at them has them counted
    assert "Not counted yet" not in client.get("/console/reports").text


def test_reports_tell_what_happened_and_say_it_as_csv_too(
    sign_in: SignIn, desk: Desk, client: FlaskClient, tmp_path: Path
) -> None:
    make_articles(desk, tmp_path / "articles")
    ada = make_agent(desk.db, "ada", admin=True)
    ticket = make_ticket(desk, "My parcel did not arrive. The pump shows E21.")
    browser = Browser(client)
    browser.say("My coffee machine shows E21. What does it mean?")
    make_noise(desk.db, 3, team="orders")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        triage.decide_field(session, ada.principal, row, "category", value="delivery", taxonomy=desk.taxonomy)
        drafts.reply(session, ada.principal, row, "It is on its way.")
        tickets.solve(session, row, ada.principal)
        gap = Gap(title="=HYPERLINK(1) how do I descale?")
        question = session.get_one(Ticket, ticket.id).conversation.messages[0]
        gap.questions.append(
            GapQuestion(message_id=question.id, kind=GapKind.NOT_FOUND, text="?", embedding_model="m", embedding=b"",
                        asked_at=utcnow())
        )  # fmt: skip
        session.add(gap)
    rollup.roll_up(desk)
    mine = sign_in(ada)
    volume = mine.get("/console/reports").text
    assert re.search(r"<dt>Opened</dt><dd><strong>5</strong>", volume)
    assert ["Delivery", "1", "20 %"] in table(mine, "", "category")
    assert ["API", "4", "80 %"] in table(mine, "", "channel")
    assert sum(int(cell) for row in table(mine, "", "hours")[1:] for cell in row[1:]) == 5
    assert ["Too early to tell: less than 72 hours ago", "1", "100 %"] in table(mine, "/answers", "outcomes")
    assert table(mine, "/answers", "gaps")[1][0] == "'=HYPERLINK(1) how do I descale?"  # no formula
    assert ["Category", "0", "1", "0 %"] in table(mine, "/triage", "accuracy")
    assert table(mine, "/agents", "agents")[1][:4] == ["Ada", "1", "1", "1"]
    assert "Resolution, median" in mine.get("/console/reports/times").text
    assert re.search(r"<dt>Opened</dt><dd><strong>3</strong>", mine.get("/console/reports?team=orders").text)
    yesterday = (utcnow() - timedelta(days=1)).date().isoformat()
    assert "<strong>0</strong>" in mine.get(f"/console/reports?until={yesterday}&since=nonsense").text
    assert table(mine, "", "opened", since="2025-01-01")[0] == ["Week from", "Opened"]
    assert mine.get("/console/reports?csv=nonsense").status_code == 404


@pytest.mark.parametrize("role", [AgentRole.AGENT, AgentRole.VIEWER])
def test_what_each_agent_did_is_for_leads(sign_in: SignIn, desk: Desk, role: AgentRole) -> None:
    client = sign_in(make_agent(desk.db, "eve", role=role, team="orders"))
    assert "/reports/agents" not in client.get("/console/reports").text
    for path in ("/console/reports/agents", "/console/reports/agents?csv=agents"):
        assert client.get(path).status_code == 403
    assert client.get("/console/reports/answers").status_code == 200
    lead = sign_in(make_agent(desk.db, "lea", role=AgentRole.LEAD))
    assert "/reports/agents" in lead.get("/console/reports").text


def test_a_report_takes_few_statements_however_many_days(sign_in: SignIn, desk: Desk) -> None:
    make_noise(desk.db, 30)
    rollup.roll_up(desk)
    client = sign_in(make_agent(desk.db, "ada", admin=True))
    executed: list[str] = []
    event.listen(desk.db.engine, "before_cursor_execute", lambda *call: executed.append(call[2]))
    for page in PAGES:
        client.get(f"/console/reports{page}")  # the count is asked for
        executed.clear()
        client.get(f"/console/reports{page}?since=2025-11-29&until=2026-11-29")
        assert len(executed) <= 20, executed
