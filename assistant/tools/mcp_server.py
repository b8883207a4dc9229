"""The desk as a server of the Model Context Protocol, for other assistants.

It asks a running installation through `assistant.client`, with the key of whoever asks, so it holds no model, no
database and no rights of its own: what a key may not do is not offered, and the installation refuses it. Over stdio
there is one key; over HTTP each request brings its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast

import anyio
import httpx
import mcp_types as types
import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from pydantic import AnyHttpUrl, BaseModel, ValidationError
from starlette.applications import Starlette

from assistant import __version__
from assistant.client import Client, Problem, shapes
from assistant.errors import AssistantError, NotAllowed, NotFound
from assistant.tools import digest, offers, photos

NAME = "support-assistant"
PATH = "/mcp"
_LARGEST_REQUEST = 64 * 1024 * 1024  # photos in base64
_CLIENT_ATTEMPTS = 2  # whoever asks waits

Answer = dict[str, Any]
Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True)
class Tool:
    """``needs``: the scope of a key that may use it. ``keeps``: whether it leaves something behind."""

    name: str
    needs: shapes.Scope
    arguments: type[BaseModel]
    run: Callable[..., Answer]
    keeps: bool = False

    def described(self) -> types.Tool:
        return types.Tool(
            name=self.name,
            description=offers.describe(self.arguments),
            input_schema=self.arguments.model_json_schema(),
            annotations=types.ToolAnnotations(read_only_hint=not self.keeps, open_world_hint=False),
        )


class Caller(Protocol):
    """Who asks: the key, and what it may do. Raises `Problem` or `httpx.TransportError` if that cannot be told."""

    def __call__(self, context: Context) -> tuple[str, frozenset[str]]: ...


class Desk:
    """The tools of the installation at ``url``. ``folder``: photos below it may be named by their paths."""

    def __init__(self, url: str, *, folder: Path | None = None) -> None:
        self.url, self.folder = url, folder
        self._transport = httpx.HTTPTransport(retries=1)  # shared: each caller's client is made anew
        offered: list[tuple[shapes.Scope, type[BaseModel], Callable[..., Answer]]] = [
            ("knowledge:read", offers.SearchArticles, _search_articles),
            ("triage", offers.TriageTicket, partial(_triage_ticket, folder=folder)),
            ("triage", offers.ReadPhoto, partial(_read_photo, folder=folder)),
            ("tickets:read", offers.SearchTickets, _search_tickets),
            ("tickets:read", offers.GetTicket, _get_ticket),
            ("tickets:write", offers.AskPhoto, _ask_photo),
        ]
        named = [(_snake_case(arguments.__name__), needs, arguments, run) for needs, arguments, run in offered]
        self.tools = {
            name: Tool(name, needs, arguments, run, keeps=needs == "tickets:write")
            for name, needs, arguments, run in named
        }

    def connect(self, key: str) -> Client:
        return Client(self.url, key, attempts=_CLIENT_ATTEMPTS, transport=self._transport)

    def scopes_of(self, key: str) -> frozenset[str]:
        return frozenset(self.connect(key).key()["scopes"])

    def call(self, key: str, scopes: frozenset[str], name: str, given: Mapping[str, Any]) -> Answer:
        """Raises what `_refusals` are, with a message for whoever asked."""
        tool = self.tools.get(name)
        if tool is None:
            raise NotFound(f"There is no tool {name!r}.")
        if tool.needs not in scopes:
            raise NotAllowed(f"This key lacks the scope {tool.needs}, which {name} needs.")
        return tool.run(self.connect(key), tool.arguments.model_validate(given))


def make_server(desk: Desk, caller: Caller) -> Server[Any]:
    async def list_tools(context: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        try:
            _, scopes = await anyio.to_thread.run_sync(caller, context)
        except _REFUSALS as error:
            raise MCPError(types.INTERNAL_ERROR, _words(error)) from error
        return types.ListToolsResult(tools=[one.described() for one in desk.tools.values() if one.needs in scopes])

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        def work() -> Answer:
            return desk.call(*caller(context), params.name, params.arguments or {})

        try:
            answer = await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        except _REFUSALS as error:
            return types.CallToolResult(content=[types.TextContent(text=_words(error))], is_error=True)
        text = types.TextContent(text=json.dumps(answer, ensure_ascii=False))
        return types.CallToolResult(content=[text], structured_content=answer)

    return Server(
        NAME,
        version=__version__,
        instructions=offers.INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def run_stdio(desk: Desk, key: str) -> None:
    """Until whoever started it closes its input. Raises `Problem` at once if the key is not accepted."""
    desk.scopes_of(key)
    server = make_server(desk, lambda _context: (key, desk.scopes_of(key)))

    async def serve() -> None:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    anyio.run(serve)


def run_http(desk: Desk, *, host: str, port: int) -> None:
    uvicorn.run(make_app(desk, host=host), host=host, port=port, log_level="warning")


def make_app(desk: Desk, *, host: str) -> Starlette:
    """Streamable HTTP at `PATH`, without sessions: any process can answer any request."""
    return make_server(desk, _bearer).streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        json_response=True,
        host=host,
        max_request_body_size=_LARGEST_REQUEST,
        auth=AuthSettings(issuer_url=AnyHttpUrl(desk.url), resource_server_url=None),
        token_verifier=_Keys(desk),
    )


class _Keys:
    """Looks up the key of each request. One that the installation does not accept is answered with 401."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            scopes = await anyio.to_thread.run_sync(self._desk.scopes_of, token)
        except (Problem, httpx.TransportError) as error:
            if isinstance(error, Problem) and error.status in (401, 403):
                return None
            return AccessToken(token=token, client_id="", scopes=[], claims={"trouble": _words(error)})
        return AccessToken(token=token, client_id="", scopes=sorted(scopes))


def _bearer(context: Context) -> tuple[str, frozenset[str]]:
    user = cast("AuthenticatedUser", context.request.user)  # type: ignore[union-attr]
    token = user.access_token
    if token.claims:
        raise Problem(503, {"detail": token.claims["trouble"]})
    return token.token, frozenset(token.scopes)


_REFUSALS = (Problem, AssistantError, ValidationError, httpx.TransportError)


def _words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'arguments'}: {first['msg'].removeprefix('Value error, ')}."
    if isinstance(error, httpx.TransportError):
        return "The support desk cannot be reached now. Try again later."
    return error.detail if isinstance(error, Problem) else str(error)


def _search_articles(client: Client, given: offers.SearchArticles) -> Answer:
    found = client.search_articles(given.query, product=given.product, inbox=given.inbox, limit=given.limit)
    return {"passages": digest.passages(found)}


def _triage_ticket(client: Client, given: offers.TriageTicket, *, folder: Path | None) -> Answer:
    files = [photos.read(photo, folder) for photo in given.photos]
    return digest.assessment(client.triage(given.text, subject=given.subject, inbox=given.inbox, photos=files))


def _read_photo(client: Client, given: offers.ReadPhoto, *, folder: Path | None) -> Answer:
    answer = client.triage(photos=[photos.read(given.photo, folder)])
    return digest.evidence(answer["evidence"][0])


def _search_tickets(client: Client, given: offers.SearchTickets) -> Answer:
    wanted: Any = {"q": given.words or None, "status": given.status or None}
    return {"tickets": [digest.summary(one) for one in islice(client.list_tickets(**wanted), given.limit)]}


def _get_ticket(client: Client, given: offers.GetTicket) -> Answer:
    return digest.ticket(client.get_ticket(given.ticket_id))


def _ask_photo(client: Client, given: offers.AskPhoto) -> Answer:
    return digest.answered(client.ask_photo(given.photo_id, given.question))


def _snake_case(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
