"""Nothing is offered that the role may not do: as each role, every link and form of the console's pages is tried."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.exceptions import HTTPException

from assistant import worker
from assistant.db import utcnow
from assistant.desk import customers, macros, people, state
from assistant.desk.desk import Desk
from assistant.desk.macros import MacroText, Scope
from assistant.knowledge import writing
from assistant.knowledge.writing import Content
from assistant.models import (
    AgentRole,
    Assignment,
    Gap,
    GapKind,
    GapQuestion,
    Message,
    SavedView,
    SolvedAnswer,
    Ticket,
    TicketStatus,
)
from assistant.runtime import Runtime
from tests.factories import make_agent, make_articles, make_ticket, make_upload, signed_in_client

OUT = "/console/sign-out"  # would end the walk
PER_KIND = 3  # pages of one kind that are looked at


@dataclass
class Offered(HTMLParser):
    """The links of a page, and where its forms go that can be submitted."""

    at: str
    links: set[str] = field(default_factory=set)
    forms: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self._form: str | None = None
        self._disabled: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            self.links.add(self._whole(given["href"]))
        elif tag == "form":
            self._form = self._whole(given.get("action")) if given.get("method") == "post" else None
        elif tag == "fieldset":
            self._disabled.append("disabled" in given)
        elif tag == "button" and not any(self._disabled) and given.get("type") != "button":
            self.forms |= {self._whole(given["formaction"])} if given.get("formaction") else set()
            self.forms |= {self._form} if self._form is not None else set()
        elif tag == "select" and self._form is not None and not any(self._disabled):
            self.forms.add(self._form)  # some are submitted by choosing

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "fieldset":
            self._disabled.pop()

    def _whole(self, address: str | None) -> str:
        return urldefrag(urljoin(self.at, address or "")).url


@pytest.fixture
def busy(desk: Desk, tmp_path: Path) -> None:
    """Something of everything that a page shows with buttons beside it."""
    lead = make_agent(desk.db, "leo", team="technical", role=AgentRole.LEAD)
    admin = make_agent(desk.db, "ada", admin=True)
    make_articles(desk, tmp_path / "articles")
    ticket = make_ticket(desk, uploads=[make_upload()], requester_email="rosa@example.org")
    solved = make_ticket(desk, "Where is my parcel?")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        team = people.find_team(session, "technical")
        team.assignment = Assignment.ROUND_ROBIN
        for opened in (ticket, solved):
            state.change_ticket(session, session.get_one(Ticket, opened.id), team=team)
        state.change_ticket(session, session.get_one(Ticket, solved.id), status=TicketStatus.SOLVED)
        customers.add_note(session, lead.principal, session.get_one(Ticket, ticket.id).requester, "Calls at night.")
        macros.save(session, admin.principal, MacroText("For all", "Hello", [], Scope.ALL))
        macros.save(session, lead.principal, MacroText("For the team", "Hello", [], Scope.TEAM))
        view = {"sort": "work", "columns": [], "conditions": [], "created_at": utcnow()}
        session.add(SavedView(name="Shared", agent_id=lead.principal.agent_id, team_id=team.id, **view))
        message_id = session.scalars(select(Message.id)).first()
        gap = Gap(title="How to descale")
        asked = {"kind": GapKind.NOT_FOUND, "embedding_model": "m", "embedding": b"", "asked_at": utcnow()}
        gap.questions.append(GapQuestion(message_id=message_id, text="How do I descale it?", **asked))
        answer = SolvedAnswer(ticket_id=solved.id, question="Where is it?", answer="On its way.", language="en")
        session.add_all([gap, answer])
        writing.save(session, lead.principal, Content("Descaling", "Pour vinegar into the tank."))


@dataclass
class Walk:
    """All pages that are reached by links, some of each kind."""

    client: FlaskClient
    seen: dict[str, int] = field(default_factory=dict)  # by endpoint
    forms: dict[str, str] = field(default_factory=dict)  # with the page where they stand
    refused: list[tuple[str, str]] = field(default_factory=list)

    def from_page(self, start: str) -> Walk:
        waiting, known = [(start, "")], {start}
        while waiting:
            address, before = waiting.pop(0)
            endpoint = self._endpoint(address)
            if endpoint is None or self.seen.get(endpoint, 0) >= PER_KIND:
                continue
            self.seen[endpoint] = self.seen.get(endpoint, 0) + 1
            response = self.client.get(address, follow_redirects=True)
            if response.status_code == 403:
                self.refused.append((address, before))
            if response.mimetype != "text/html" or response.status_code != 200:
                continue
            page = Offered(address)
            page.feed(response.text)
            self.forms |= {form: address for form in page.forms if form not in self.forms}
            waiting += [(link, address) for link in sorted(page.links - known)]
            known |= page.links
        return self

    def _endpoint(self, address: str) -> str | None:
        parts = urlsplit(address)
        if parts.netloc or not parts.path.startswith("/console"):
            return None
        with suppress(HTTPException):
            endpoint, _ = self.client.application.url_map.bind("localhost").match(parts.path)
            return str(endpoint)
        return None


@pytest.mark.parametrize("role", [AgentRole.VIEWER, AgentRole.AGENT, AgentRole.LEAD])
@pytest.mark.usefixtures("busy")
def test_no_link_and_no_form_on_any_page_is_refused(
    runtime: Runtime, make_app: Callable[..., APIFlask], desk: Desk, role: AgentRole
) -> None:
    app = make_app(runtime)
    app.config["WTF_CSRF_ENABLED"] = False
    client = signed_in_client(app, desk.db, make_agent(desk.db, "one", team="technical", role=role))
    walk = Walk(client).from_page("/console/")
    assert {"console.ticket.page", "console.customers.customer", "console.knowledge.gap_list"} < set(walk.seen)
    assert not walk.refused
    for form, page in walk.forms.items():
        if form != OUT:
            assert client.post(form).status_code != 403, (form, page)
    writes = {form for form in walk.forms if form not in (OUT, "/console/password", "/console/second-factor/begin")}
    assert bool(writes) == (role is not AgentRole.VIEWER), writes
