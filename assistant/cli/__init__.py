"""The ``assistant`` command: argument parsing and printing only. Heavy imports stand inside the commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from assistant import __version__
from assistant.cli.common import Commands, json_option, migrated, progress_bar, read_settings, running
from assistant.cli.knowledge import kb
from assistant.cli.measure import bench, evaluate, train


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="assistant")
@click.option("--debug", is_flag=True, help="Show tracebacks of unexpected failures.")
def main(debug: bool) -> None:
    """A self-hosted customer-support assistant that reads the photo.

    Try it:  assistant demo        Is everything all right:  assistant doctor
    """


for _command in (kb, evaluate, bench, train):
    main.add_command(_command)


@main.command()
@click.option("--host", help="Address to listen on (default: ASSISTANT_HOST, 127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on (default: ASSISTANT_PORT, 8000).")
def serve(host: str | None, port: int | None) -> None:
    """Serve the widget, the API and the console, with workers, in one process."""
    from assistant.server import serve as run

    settings = read_settings(host=host, port=port)
    click.echo(f"Serving on {settings.base_url} (Ctrl-C stops)")
    run(settings)


@main.command()
def worker() -> None:
    """Work on jobs in a process of its own (set ASSISTANT_WORKERS=0 for `serve` then)."""
    from assistant.server import work

    work(read_settings())


@main.command()
@click.option("--no-serve", is_flag=True, help="End after printing.")
@click.option("--host", help="Address to serve on afterwards.")
@click.option("--port", type=int, help="Port to serve on afterwards.")
@json_option
def demo(no_serve: bool, host: str | None, port: int | None, as_json: bool) -> None:
    """Install the sample knowledge base, run real tickets with photos through it, then serve everything."""
    from assistant import demo as demonstration
    from assistant.server import check_address
    from assistant.server import serve as run

    settings = read_settings(host=host, port=port)
    if not no_serve:
        check_address(settings.host, settings.port)
    tell = (lambda _ticket: None) if as_json else demonstration.show_ticket
    with running(settings) as runtime:
        report = demonstration.run(runtime, bar=lambda: progress_bar(quiet=as_json), tell=tell)
    if as_json:
        click.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=2))
    else:
        demonstration.show(report)
    if not no_serve:
        with running(settings) as runtime:
            access = demonstration.prepare_access(runtime)
        demonstration.show_addresses(settings, access)
        run(settings)


@main.group()
def db() -> None:
    """The database: upgrade, check, back up."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the database to this version's tables. `serve` and `demo` do this by themselves."""
    from assistant.db import head_revision, migrate

    migrate(read_settings().sqlalchemy_url)
    click.echo(f"The database is at {head_revision()}.")


@db.command("check")
def db_check() -> None:
    """Say whether the database is at this version, whole and consistent."""
    from assistant.db import Database, check

    database = Database(read_settings().sqlalchemy_url)
    problems = check(database)
    database.close()
    for problem in problems:
        click.echo(f"fail  {problem}", err=True)
    if problems:
        sys.exit(1)
    click.echo("ok    at the current version, whole, and every reference points at something")


@db.command("backup")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def db_backup(path: Path) -> None:
    """Copy the SQLite database to PATH while it is in use. Attachments lie beside it in the data folder."""
    from assistant.db import Database, backup

    database = Database(read_settings().sqlalchemy_url)
    backup(database, path)
    database.close()
    click.echo(f"Backed up to {path} ({path.stat().st_size / 1e6:.1f} MB).")


@main.command()
@click.option("--text", required=True, help="What the customer wrote.")
@click.option("--subject", default="", help="The ticket's subject.")
@click.option(
    "--photo",
    "photos",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A photo of it; may be given several times.",
)
@json_option
def triage(text: str, subject: str, photos: tuple[Path, ...], as_json: bool) -> None:
    """Read a ticket with its photos: evidence, triage, passages and draft. Stores nothing, needs no server."""
    from assistant import demo as demonstration
    from assistant.desk.assess import assess
    from assistant.media.files import Upload

    uploads = [Upload(photo.name, None, photo.read_bytes()) for photo in photos]
    with running(read_settings()) as runtime:
        assessment = assess(runtime.desk, subject=subject, text=text, uploads=uploads)
    if as_json:
        click.echo(json.dumps(assessment.to_json(), ensure_ascii=False, indent=2))
    else:
        demonstration.show_assessment(assessment.to_json())


@main.group()
def agents() -> None:
    """The people who answer tickets."""


@agents.command("add")
@click.argument("email")
@click.option("--name", default="", help="Shown to customers (default: the address).")
@click.option("--admin", is_flag=True, help="May see every team's tickets.")
@click.option("--team", "team_key", help="Key of the team, as in the taxonomy.")
@click.option("--password", help="At least 10 characters; asked for, or read from standard input, if not given.")
def agents_add(email: str, name: str, admin: bool, team_key: str | None, password: str | None) -> None:
    """Add an agent who signs in with EMAIL."""
    from assistant.desk import access
    from assistant.models import AgentRole

    password = password or _asked_password()
    with migrated() as database, database.begin() as session:
        role = AgentRole.ADMIN if admin else AgentRole.AGENT
        access.add_agent(session, email=email, name=name, password=password, role=role, team_key=team_key)
    click.echo(f"{email} can sign in now.")


def _asked_password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise click.UsageError("Give --password, or a password on standard input: nobody is there to be asked.")
    return password


@main.group()
def keys() -> None:
    """API keys of other systems."""


_SCOPES = "tickets:read, tickets:write, triage, knowledge:read or metrics; may be given several times."


@keys.command("add")
@click.argument("name", default="api")
@click.option("--scope", "scopes", multiple=True, required=True, help=_SCOPES)
def keys_add(name: str, scopes: tuple[str, ...]) -> None:
    """Make an API key called NAME and print it, once."""
    from assistant.desk import access

    with migrated() as database, database.begin() as session:
        _, secret = access.add_key(session, name=name, scopes=list(scopes))
    click.echo(secret)
    click.echo("Keep it safe: it is not stored and cannot be shown again.", err=True)


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check model, device, memory, OCR, embeddings, database, queue and disk. Exit code 1 on a failure."""
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
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the API."""
    from assistant.app import create_app
    from assistant.web.api import openapi_document

    with running(read_settings()) as runtime:
        app = create_app(runtime)
        with app.app_context():
            click.echo(json.dumps(openapi_document(), ensure_ascii=False, indent=2))


@main.group()
def jobs() -> None:
    """Background work."""


@jobs.command("retry")
def jobs_retry() -> None:
    """Queue again every job that failed for good, e.g. once the disk has room or the model is back."""
    from assistant.desk.queue import retry_dead

    with migrated() as database:
        click.echo(f"{retry_dead(database)} jobs are queued again.")
