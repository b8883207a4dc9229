"""``assistant mcp``: the desk as tools for other assistants."""

from __future__ import annotations

from pathlib import Path

import click

from assistant.errors import NotReady
from assistant.signals import ended_when_told


@click.command()
@click.option(
    "--url", default="http://127.0.0.1:8000", show_default=True, help="Address of the installation that is asked."
)
@click.option("--key", envvar="ASSISTANT_API_KEY", help="API key, for stdio (default: ASSISTANT_API_KEY).")
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder whose photos may be named by their paths, for stdio.",
)
@click.option("--http", is_flag=True, help="Serve Streamable HTTP at /mcp instead of stdio.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on, with --http.")
@click.option("--port", type=int, default=8765, show_default=True, help="Port to listen on, with --http.")
def mcp(url: str, key: str | None, photos: Path | None, http: bool, host: str, port: int) -> None:
    """Offer tools of an installation to other assistants, by the Model Context Protocol.

    They search articles, triage requests and read photos; with the scope tickets:read they read tickets, too, and with
    tickets:write they ask photos of tickets something. A key decides what is offered: over stdio the one given here,
    over HTTP the bearer token of each request. No model runs in this process.
    """
    try:
        from assistant.tools import mcp_server
    except ModuleNotFoundError as error:
        raise NotReady("This needs the extra mcp: pip install 'photo-support-assistant[mcp]'") from error
    if http:
        if key or photos:
            raise click.UsageError("--key and --photos are for stdio: over HTTP, everybody who asks brings their own.")
        click.echo(f"Serving on http://{host}:{port}{mcp_server.PATH} (press Ctrl-C to stop)")
        with ended_when_told():
            mcp_server.run_http(mcp_server.Desk(url), host=host, port=port)
    elif key:
        mcp_server.run_stdio(mcp_server.Desk(url, folder=photos), key)
    else:
        make = "assistant keys add NAME --scope triage --scope knowledge:read"
        raise click.UsageError(f"Set ASSISTANT_API_KEY or give --key. Make one with: {make}")
