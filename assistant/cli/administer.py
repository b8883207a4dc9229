"""``assistant db``, ``agents``, ``keys``, ``jobs`` and ``heads``: what an administrator does now and then."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from assistant.cli.common import json_option, migrated, read_settings


@click.group()
def db() -> None:
    """Upgrade, check and back up the database."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Upgrade the tables to this version. `serve` and `demo` do so themselves."""
    from assistant.db import head_revision, migrate

    migrate(read_settings().sqlalchemy_url)
    click.echo(f"The database is at {head_revision()}.")


@db.command("check")
def db_check() -> None:
    """Check that database and stored files are at this version, undamaged and consistent. Reads every file."""
    from assistant.db import Database, check
    from assistant.desk.files import lost_files
    from assistant.storage import Storage

    settings = read_settings()
    database = Database(settings.sqlalchemy_url)
    problems = check(database) or list(lost_files(database, Storage.open(settings.attachments_url)))
    database.close()
    for problem in problems:
        click.echo(f"fail  {problem}", err=True)
    if problems:
        sys.exit(1)
    click.echo("ok    at the current version, undamaged, no broken references, every file is there")


@db.command("backup")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def db_backup(path: Path) -> None:
    """Copy the SQLite database to PATH, even while it is in use. Back up the attachments separately."""
    from assistant.db import Database, backup

    database = Database(read_settings().sqlalchemy_url)
    backup(database, path)
    database.close()
    click.echo(f"Backed up to {path} ({path.stat().st_size / 1e6:.1f} MB).")


@click.group()
def agents() -> None:
    """Manage the people who answer tickets."""


@agents.command("add")
@click.argument("email")
@click.option("--name", default="", help="Name shown to customers (default: the address).")
@click.option("--admin", is_flag=True, help="Allow access to every team's tickets.")
@click.option("--team", "team_key", help="Key of the team in the taxonomy.")
@click.option("--password", help="At least 10 characters (default: ask, or read standard input).")
def agents_add(email: str, name: str, admin: bool, team_key: str | None, password: str | None) -> None:
    """Add an agent who signs in with EMAIL."""
    from assistant.desk import people
    from assistant.models import AgentRole

    password = password or _ask_password()
    with migrated() as database, database.begin() as session:
        role = AgentRole.ADMIN if admin else AgentRole.AGENT
        people.add_agent(session, email=email, name=name, password=password, role=role, team_key=team_key)
    click.echo(f"{email} can sign in now.")


def _ask_password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise click.UsageError("No password given. Use --password, or pass one on standard input.")
    return password


@click.group()
def keys() -> None:
    """Manage API keys."""


_SCOPES = "tickets:read, tickets:write, triage, knowledge:read or metrics. Repeat for several."


@keys.command("add")
@click.argument("name", default="api")
@click.option("--scope", "scopes", multiple=True, required=True, help=_SCOPES)
def keys_add(name: str, scopes: tuple[str, ...]) -> None:
    """Create an API key called NAME and print it once."""
    from assistant.desk import credentials

    with migrated() as database, database.begin() as session:
        _, secret = credentials.add_key(session, name=name, scopes=list(scopes))
    click.echo(secret)
    click.echo("Store it safely: it cannot be shown again.", err=True)


@click.group()
def jobs() -> None:
    """Manage background jobs."""


@jobs.command("retry")
def jobs_retry() -> None:
    """Retry all jobs that gave up, e.g. once the disk has space or the model is back."""
    from assistant.desk.queue import retry_dead

    with migrated() as database:
        click.echo(f"Queued {retry_dead(database)} jobs again.")


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def heads(ctx: click.Context, as_json: bool) -> None:
    """Show what triage has learned from agents' decisions, and take it back.

    Without a command: every learned head with its state, the decisions it learned from, and how it did on decisions
    that it had not learned from, beside what served before it.
    """
    if ctx.invoked_subcommand is not None:
        return
    from assistant.cli import printing
    from assistant.desk.learning import list_heads

    with migrated() as database, database.read() as session:
        found = list_heads(session)
    if as_json:
        click.echo(json.dumps([head.to_json() for head in found], ensure_ascii=False, indent=2))
    else:
        printing.print_heads(found)


@heads.command("rollback")
@click.argument("field")
def heads_rollback(field: str) -> None:
    """Stop serving FIELD's learned head: the one before it serves, or what was known before the first decision.

    Heads that are learned later wait until `assistant heads promote FIELD`.
    """
    from assistant.desk.learning import roll_back

    with migrated() as database, database.begin() as session:
        before = roll_back(session, field)
    served = f"head {before.id}, of {before.decisions} decisions" if before is not None else "no learned head"
    click.echo(f"{field} is served by {served} now.")


@heads.command("promote")
@click.argument("field")
def heads_promote(field: str) -> None:
    """Serve FIELD's newest head that waits or was rolled back."""
    from assistant.desk.learning import promote

    with migrated() as database, database.begin() as session:
        head = promote(session, field)
    click.echo(f"{field} is served by head {head.id}, of {head.decisions} decisions, now.")
