"""The desk's skills as LangChain tools: LangChain's own tests of tools, and an agent that calls them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from pydantic import Field
from sqlalchemy import func, select

from assistant.desk.access import AgentPrincipal, MachinePrincipal, Scope
from assistant.desk.desk import Desk
from assistant.models import AgentRole, Attachment, PhotoQuestion, Ticket
from assistant.tools.toolkit import DeskToolkit
from assistant.worker import run_until_idle
from tests.factories import Persona, make_articles, make_photo, make_ticket, make_upload
from tests.fakes import FakeOCR, fake_capabilities

PHOTO = {"base64": base64.b64encode(make_photo("E21")).decode(), "name": "display.jpg"}
CALLS: dict[str, dict[str, Any]] = {
    "search_articles": {"query": "coffee machine E21"},
    "triage_ticket": {"text": "My coffee machine shows E21.", "photos": [PHOTO]},
    "read_photo": {"photo": PHOTO},
    "answer_question": {"question": "My coffee machine shows E21, what should I do?"},
}


@pytest.fixture
def tools(desk: Desk, tmp_path: Path) -> dict[str, BaseTool]:
    make_articles(desk, tmp_path / "articles")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "display.jpg").write_bytes(make_photo("E21"))
    (tmp_path / "secret.jpg").write_bytes(make_photo("secret"))
    (tmp_path / "photos" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    return {tool.name: tool for tool in DeskToolkit(desk=desk, folder=tmp_path / "photos").get_tools()}


class _Standard:
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture(params=CALLS, autouse=True)
    def _choose(self, request: pytest.FixtureRequest, tools: dict[str, BaseTool]) -> None:
        self.name, self.tools = request.param, tools

    @pytest.fixture
    def tool(self) -> BaseTool:
        return self.tools[self.name]

    @property
    def tool_constructor(self) -> BaseTool:
        return self.tools[self.name]

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return CALLS[self.name]


class TestAsAnyTool(_Standard, ToolsUnitTests):
    """What LangChain expects of a tool's shape."""


@pytest.mark.anyio
class TestInUse(_Standard, ToolsIntegrationTests):
    """What LangChain expects when a tool is called."""


def test_a_photo_of_a_ticket_is_asked_on_somebodys_behalf_with_their_rights(
    desk: Desk, alice: Persona, charlie: Persona
) -> None:
    desk = replace(desk, capabilities=fake_capabilities(ocr=FakeOCR("BrewMaster 300", "Serial no: 4711-0815")))
    ticket = make_ticket(desk, "It does not start.", uploads=[make_upload("plate.jpg")])
    run_until_idle(desk)
    with desk.db.begin() as session:
        session.get_one(Ticket, ticket.id).team_id = alice.principal.team_id
        photo = session.scalars(select(Attachment)).one().public_id
        viewer = replace(alice.principal, role=AgentRole.VIEWER)
    given = {"photo_id": photo, "question": "What is the serial number?"}

    def answers(by: AgentPrincipal | MachinePrincipal) -> str:
        (tool,) = [tool for tool in DeskToolkit(desk=desk, by=by).get_tools() if tool.name == "ask_photo"]
        return str(tool.invoke(given))

    said = json.loads(answers(alice.principal))
    assert (said["answer"], said["answered_by"], len(said["regions"])) == ("4711-0815", "text in the photo", 1)
    assert said["confidence"] > 0.6
    reads = MachinePrincipal(1, "shop", frozenset({Scope.TICKETS_READ}))
    elsewhere = MachinePrincipal(1, "shop", frozenset({Scope.TICKETS_WRITE}), inbox_ids=frozenset({0}))
    refused = [answers(by) for by in (charlie.principal, viewer, reads, elsewhere)]
    assert not any("4711" in one or one.startswith("{") for one in refused)
    with desk.db.read() as session:
        (kept,) = session.scalars(select(PhotoQuestion)).all()
        assert kept.agent_id == alice.principal.agent_id


def test_what_they_answer_and_nothing_is_stored(tools: dict[str, BaseTool], desk: Desk) -> None:
    assert tools.keys() == CALLS.keys()
    answers = {name: json.loads(tools[name].invoke(given)) for name, given in CALLS.items()}
    assert "E21" in answers["search_articles"]["passages"][0]["text"]
    triage = {one["field"]: one for one in answers["triage_ticket"]["triage"]}
    assert 0 < triage["category"]["probability"] <= 1
    assert answers["triage_ticket"]["photos"][0]["photo"] == "display.jpg"
    assert answers["read_photo"]["photo"] == "display.jpg"
    assert "heatmap" not in json.dumps(answers)
    assert answers["answer_question"]["citations"][0]["quote"]
    with desk.db.read() as session:
        assert session.scalar(select(func.count()).select_from(Ticket)) == 0
        assert session.scalar(select(func.count()).select_from(Attachment)) == 0


def test_paths_lead_to_photos_of_the_open_folder_alone(tools: dict[str, BaseTool], desk: Desk, tmp_path: Path) -> None:
    read = tools["read_photo"]
    assert json.loads(read.invoke({"photo": {"path": "display.jpg"}}))["photo"] == "display.jpg"
    for path in ("../secret.jpg", "link.jpg", str(tmp_path / "secret.jpg"), "missing.jpg", "."):
        assert "no such file" in read.invoke({"photo": {"path": path}}), path
    closed = {tool.name: tool for tool in DeskToolkit(desk=desk).get_tools()}["read_photo"]
    assert "base64" in closed.invoke({"photo": {"path": "display.jpg"}})


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("read_photo", {"photo": {"base64": "no photo!"}}, "not valid base64"),
        ("read_photo", {"photo": {"base64": base64.b64encode(b"text").decode()}}, "not"),
        ("read_photo", {"photo": {}}, "Tool input validation error"),
        ("triage_ticket", {}, "nothing to assess"),
        ("search_articles", {"query": "pump", "inbox": "nowhere"}, "inbox"),
    ],
)
def test_what_is_wrong_is_said_to_the_model(
    tools: dict[str, BaseTool], name: str, given: dict[str, Any], says: str
) -> None:
    answer = tools[name].invoke({"name": name, "args": given, "id": "1", "type": "tool_call"})
    assert isinstance(answer, ToolMessage)
    assert answer.status == "error"
    assert says in str(answer.content)


class CallingModel(GenericFakeChatModel):
    """Calls what it is told to; ``offered`` are the names of the tools that it was given."""

    offered: list[str] = Field(default_factory=list)

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> CallingModel:  # type: ignore[override]
        self.offered[:] = [tool.name for tool in tools]
        return self


def test_an_agent_uses_them(tools: dict[str, BaseTool]) -> None:
    calls = [{"name": name, "args": CALLS[name], "id": name} for name in ("read_photo", "answer_question")]
    model = CallingModel(messages=iter([AIMessage("", tool_calls=calls), AIMessage("Descale it.")]))
    agent = create_agent(model, list(tools.values()))
    messages = agent.invoke({"messages": [HumanMessage("What does the customer's machine show?")]})["messages"]
    answers = {one.name: one for one in messages if isinstance(one, ToolMessage)}
    assert answers.keys() == {"read_photo", "answer_question"}
    assert answers["read_photo"].artifact["visible_text"] is not None
    assert json.loads(str(answers["answer_question"].content))["citations"]
    assert messages[-1].content == "Descale it."
    assert set(model.offered) == CALLS.keys()
