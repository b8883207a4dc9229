"""The ``assistant`` command: arguments and printing only. Heavy imports stand inside the commands."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assistant import __version__
from assistant.cli.access import agents, keys, secrets
from assistant.cli.administer import db, heads, jobs, mail
from assistant.cli.backup import backup
from assistant.cli.bench import bench, lab
from assistant.cli.common import Commands, json_option, photo_option, progress_bar, read_settings, running
from assistant.cli.customers import customers
from assistant.cli.fields import fields
from assistant.cli.inboxes import inboxes
from assistant.cli.knowledge import kb
from assistant.cli.mcp import mcp
from assistant.cli.measure import evaluate
from assistant.cli.products import products
from assistant.cli.time import assignment, automations, sla
from assistant.cli.train import train
from assistant.cli.widget import widget
from assistant.errors import AssistantError
from assistant.signals import ended_when_told

if TYPE_CHECKING:
    from assistant.settings import Settings


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="assistant")
@click.option("--debug", is_flag=True, help="Show tracebacks of unexpected errors.")
def main(debug: bool) -> None:
    """A self-hosted customer-support assistant that reads the photo.

    Try it:  assistant demo        Check the installation:  assistant doctor
    """


for _command in (
    kb,
    db,
    backup,
    agents,
    customers,
    fields,
    inboxes,
    keys,
    secrets,
    jobs,
    heads,
    products,
    mail,
    evaluate,
    bench,
    lab,
    train,
    widget,
    mcp,
    sla,
    automations,
    assignment,
):
    main.add_command(_command)


@main.command()
@click.option("--host", help="Address to listen on (default: ASSISTANT_HOST, 127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on (default: ASSISTANT_PORT, 8000).")
def serve(host: str | None, port: int | None) -> None:
    """Serve the widget, the API and the console, with workers, in one process."""
    with ended_when_told():
        from assistant.server import serve as run

        settings = read_settings(host=host, port=port)
        click.echo(f"Serving on {settings.base_url} (press Ctrl-C to stop)")
        if link := _link_for_first_admin(settings):
            click.echo(f"Nobody can sign in yet. Set it up in your browser, by this link of one day:\n{link}")
        run(settings)


def _link_for_first_admin(settings: Settings) -> str | None:
    """Of a database without agents, also of one that is still to be made; None if it cannot be looked at now: `serve`
    says why."""
    from assistant.desk import setup
    from assistant.faults import passing_fault
    from assistant.runtime import open_database

    try:
        with closing(open_database(settings)) as database, database.read() as session:
            return setup.url(settings) if setup.is_needed(session) else None
    except Exception as error:
        if not isinstance(error, AssistantError) and passing_fault(error) is None:
            raise
        return None


@main.command()
def worker() -> None:
    """Run the workers alone. Start `serve` with ASSISTANT_WORKERS=0 then."""
    with ended_when_told():
        from assistant.server import work

        work(read_settings())


@main.command()
@click.option("--no-serve", is_flag=True, help="Exit after printing the results.")
@click.option("--host", help="Address to serve on afterwards.")
@click.option("--port", type=int, help="Port to serve on afterwards.")
@json_option
def demo(no_serve: bool, host: str | None, port: int | None, as_json: bool) -> None:
    """Import the sample articles, process the sample tickets and their photos, then serve everything."""
    from assistant import demo as demonstration
    from assistant import sample
    from assistant.cli import printing
    from assistant.server import check_address
    from assistant.server import serve as run

    settings = read_settings(host=host, port=port)
    if "company" not in settings.model_fields_set:
        settings = settings.model_copy(update={"company": sample.COMPANY})
    if not no_serve:
        check_address(settings.host, settings.port)
    tell = (lambda _ticket: None) if as_json else printing.print_ticket
    with running(settings) as runtime:
        report = demonstration.run(runtime, bar=lambda: progress_bar(quiet=as_json), tell=tell)
    if as_json:
        click.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=2))
    else:
        printing.print_report(report)
    if not no_serve:
        with running(settings) as runtime:
            access = demonstration.prepare_access(runtime)
        printing.print_addresses(settings, access)
        run(settings)


@main.command()
@click.option("--text", required=True, help="What the customer wrote.")
@click.option("--subject", default="", help="The ticket's subject.")
@click.option("--inbox", default="default", show_default=True, help="Key of the inbox that it came to.")
@photo_option
@json_option
def triage(text: str, subject: str, inbox: str, photos: tuple[Path, ...], as_json: bool) -> None:
    """Assess a ticket with its photos: evidence, triage, passages and a draft. Stores nothing, needs no server."""
    from assistant.cli import printing
    from assistant.desk.assess import assess
    from assistant.media.files import Upload

    uploads = [Upload(photo.name, None, photo.read_bytes()) for photo in photos]
    with running(read_settings()) as runtime:
        assessment = assess(runtime.desk, subject=subject, text=text, uploads=uploads, inbox=inbox)
    if as_json:
        click.echo(json.dumps(assessment.to_json(), ensure_ascii=False, indent=2))
    else:
        printing.print_assessment(assessment.to_json())


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check the model, device, memory, OCR, embeddings, database, queue and disk. Exits with 1 if a check fails."""
    from assistant import doctor as checks

    results = checks.run(read_settings())
    if as_json:
        click.echo(json.dumps([result.to_json() for result in results], ensure_ascii=False, indent=2))
    else:
        for result in results:
            colour = {"ok": "green", "warn": "yellow", "fail": "red"}[result.status]
            click.echo(f"{click.style(f'{result.status:<4}', fg=colour)}  {result.name:<12} {result.detail}")
            if result.advice:
                click.echo(f"{'':<19}→ {result.advice}")
    if any(result.status == "fail" for result in results):
        sys.exit(1)


@main.command()
@click.argument(
    "what", type=click.Choice(["dockerfile", "compose", "compose-apart", "systemd", "nginx", "caddy", "alerts"])
)
def deploy(what: str) -> None:
    """Print a file for deployment, filled in from the settings; its first lines say where it goes.

    dockerfile and compose run all in one container, compose-apart with PostgreSQL, workers and a model server of their
    own; systemd is a hardened service; nginx and caddy are TLS proxies in front; alerts are rules for Prometheus.
    """
    from assistant.app import templates_dir
    from assistant.deployment import render

    click.echo(render(what, read_settings(), templates_dir()), nl=False)


@main.command()
def openapi() -> None:
    """Print the API's OpenAPI 3.1 document."""
    from assistant.app import create_app
    from assistant.web.api import openapi_document

    with running(read_settings()) as runtime:
        app = create_app(runtime)
        with app.app_context():
            click.echo(json.dumps(openapi_document(), ensure_ascii=False, indent=2))
