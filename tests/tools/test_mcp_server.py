"""The desk as an MCP server, asked by the SDK's own client: over stdio from a process, over HTTP from a real server."""

from __future__ import annotations

import base64
import json
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import uvicorn
from click.testing import CliRunner
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from assistant import tools
from assistant.cli import main
from assistant.db import Database
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.tools import mcp_server
from assistant.worker import run_until_idle
from tests.factories import make_articles, make_key, make_photo, make_ticket, make_upload

BOUND = 60.0  # seconds
PHOTO = {"base64": base64.b64encode(make_photo("E21")).decode(), "name": "display.jpg"}
READS = {"search_articles": Scope.KNOWLEDGE_READ, "triage_ticket": Scope.TRIAGE, "read_photo": Scope.TRIAGE}
TOOLS = READS | {
    "search_tickets": Scope.TICKETS_READ,
    "get_ticket": Scope.TICKETS_READ,
    "ask_photo": Scope.TICKETS_WRITE,
}
pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def ticket_id(desk: Desk, tmp_path: Path) -> str:
    make_articles(desk, tmp_path / "articles")
    ticket = make_ticket(desk, "My coffee machine shows E21.", uploads=[make_upload("display.jpg")], subject="Coffee")
    run_until_idle(desk)
    return ticket.public_id


@contextmanager
def over_http(url: str) -> Iterator[str]:
    """The MCP server behind a real socket; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = mcp_server.make_app(mcp_server.Desk(url), host="127.0.0.1")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    ends_at = time.monotonic() + BOUND
    while not server.started and time.monotonic() < ends_at:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}{mcp_server.PATH}"
    server.should_exit = True
    thread.join(BOUND)


@asynccontextmanager
async def asking(address: str, key: str) -> AsyncIterator[Client]:
    with anyio.fail_after(BOUND):
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=BOUND) as http,
            Client(streamable_http_client(address, http_client=http)) as client,
        ):
            yield client


async def names(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


async def ask(client: Client, name: str, **given: Any) -> dict[str, Any]:
    result = await client.call_tool(name, given)
    assert not result.is_error, result.content
    answer: dict[str, Any] = json.loads(result.content[0].text)  # type: ignore[union-attr]
    assert answer == result.structured_content
    return answer


async def refusal(client: Client, name: str, **given: Any) -> str:
    result = await client.call_tool(name, given)
    assert result.is_error
    return str(result.content[0].text)  # type: ignore[union-attr]


async def use_all(client: Client, ticket_id: str) -> None:
    assert await names(client) == TOOLS.keys()
    assert "E21" in (await ask(client, "search_articles", query="coffee machine E21"))["passages"][0]["text"]
    triaged = await ask(client, "triage_ticket", text="My coffee machine shows E21.", photos=[PHOTO])
    assert {one["field"] for one in triaged["triage"]} >= {"category", "priority"}
    assert triaged["photos"][0]["photo"] == "display.jpg"
    assert (await ask(client, "read_photo", photo=PHOTO))["photo"] == "display.jpg"
    (found,) = (await ask(client, "search_tickets", words="coffee", status=["open", "new", "pending"]))["tickets"]
    assert found["id"] == ticket_id
    whole = await ask(client, "get_ticket", ticket_id=ticket_id)
    (photo,) = whole["messages"][0]["photos"]
    asked = await ask(client, "ask_photo", photo_id=photo["id"], question="Is the seal torn?")
    assert (asked["answer"], asked["reason"], asked["answered_by"]) == ("cannot tell", "needs_eyes", None)
    (message,) = (await ask(client, "get_ticket", ticket_id=ticket_id))["messages"]
    assert message["photos"][0]["questions"] == [asked]
    assert whole["triage"]
    assert whole["drafts"]


async def test_over_http_each_request_brings_its_own_key(url: str, db: Database, ticket_id: str) -> None:
    with over_http(url) as address:
        async with asking(address, make_key(db)) as client:
            await use_all(client, ticket_id)
            assert "tic_" not in await refusal(client, "get_ticket", ticket_id="tic_" + "0" * 20)
            assert "ticket_id" in await refusal(client, "get_ticket", ticket_id="17")
            assert "photo_id" in await refusal(client, "ask_photo", photo_id="17", question="What is it?")
            writers = {tool.name for tool in (await client.list_tools()).tools if not tool.annotations.read_only_hint}  # type: ignore[union-attr]
            assert writers == {"ask_photo"}
            assert "base64" in await refusal(client, "read_photo", photo={"path": "/etc/passwd"})
            assert "nothing to assess" in await refusal(client, "triage_ticket")
            assert "no tool" in await refusal(client, "erase_everything")
        async with asking(address, make_key(db, Scope.TRIAGE)) as client:
            assert await names(client) == {name for name, scope in TOOLS.items() if scope is Scope.TRIAGE}
            for name in TOOLS.keys() - await names(client):
                assert f"lacks the scope {TOOLS[name]}" in await refusal(client, name, query="x")
            assert await ask(client, "triage_ticket", text="It leaks.")


async def test_over_http_nobody_asks_without_a_key(url: str) -> None:
    with over_http(url) as address, anyio.fail_after(BOUND):
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        async with httpx2.AsyncClient() as http:
            for headers in ({}, {"Authorization": "Bearer ask_unknown"}):
                response = await http.post(address, json=body, headers=headers)
                assert response.status_code == 401
                assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_an_installation_that_is_away_is_said(db: Database) -> None:
    with over_http("http://127.0.0.1:9") as address:
        async with asking(address, make_key(db)) as client:
            with pytest.raises(MCPError, match="cannot be reached"):
                await client.list_tools()
            assert "cannot be reached" in await refusal(client, "search_articles", query="pump")


async def test_over_stdio_one_key_and_photos_by_their_paths(
    url: str, db: Database, ticket_id: str, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "sticker.jpg").write_bytes(make_photo("E21"))
    command = ["-m", "assistant", "mcp", "--url", url, "--photos", str(tmp_path / "photos")]
    key = {"ASSISTANT_API_KEY": make_key(db), "PYTHONPATH": str(Path(__file__).parents[2])}
    with anyio.fail_after(BOUND):
        async with Client(StdioServerParameters(command=sys.executable, args=command, env=key)) as client:
            await use_all(client, ticket_id)
            assert (await ask(client, "read_photo", photo={"path": "sticker.jpg"}))["photo"] == "sticker.jpg"
            assert "no such file" in await refusal(client, "read_photo", photo={"path": "../articles/x.md"})


def test_the_command_says_what_is_missing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run: Callable[..., Any] = CliRunner().invoke
    without = run(main, ["mcp", "--url", url])
    assert (without.exit_code, "ASSISTANT_API_KEY" in without.output) == (2, True)
    wrong = run(main, ["mcp", "--url", url, "--key", "ask_unknown"])
    assert (wrong.exit_code, "not accepted" in wrong.output) == (1, True)
    both = run(main, ["mcp", "--url", url, "--http", "--key", "ask_unknown"])
    assert (both.exit_code, "--http" in both.output or "HTTP" in both.output) == (2, True)
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    monkeypatch.delitem(sys.modules, "assistant.tools.mcp_server")
    monkeypatch.delattr(tools, "mcp_server")
    missing = run(main, ["mcp", "--url", url, "--key", "ask_unknown"])
    assert (missing.exit_code, "extra mcp" in missing.output) == (1, True)


def test_every_scope_is_one_of_the_desk() -> None:
    assert {tool.needs for tool in mcp_server.Desk("http://127.0.0.1:9").tools.values()} <= {one.value for one in Scope}
    assert {name: tool.needs for name, tool in mcp_server.Desk("http://127.0.0.1:9").tools.items()} == TOOLS
