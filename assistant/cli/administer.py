"""``assistant db``, ``jobs``, ``heads`` and ``mail``: what an administrator does now and then."""

from __future__ import annotations

import json
import sys
from contextlib import closing

import click

from assistant.cli.common import json_option, migrated, read_settings


@click.group()
def db() -> None:
    """Upgrade, check and move the database. `assistant backup` backs it up, with all files."""


@db.command("upgrade")
@click.option("--dry-run", is_flag=True, help="Only list what would be done.")
def db_upgrade(dry_run: bool) -> None:
    """Upgrade the tables to this version. `serve` and `demo` do so themselves.

    A SQLite database is copied before, to a file beside it that ends in upgraded-from-REVISION.
    """
    from assistant.db import head_revision, migrate, pending

    url = read_settings().sqlalchemy_url
    if not dry_run:
        migrate(url, keep_before=True)
        click.echo(f"The database is at {head_revision()}.")
        return
    steps = pending(url)
    for step in steps:
        click.echo(step)
    click.echo(f"{len(steps)} migrations would be applied." if steps else "The database is at this version already.")


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


@db.command("move")
@click.argument("url")
def db_move(url: str) -> None:
    """Copy everything to the empty database at URL: from SQLite to PostgreSQL, or back.

    Stop the server and the workers first: what they write meanwhile would be left behind. Files stay where they are.
    """
    from assistant.cli.common import progress_bar
    from assistant.db import Database
    from assistant.settings import Settings
    from assistant.transfer import move

    settings = read_settings()
    target = Settings.model_validate({"database_url": url}).sqlalchemy_url
    with closing(Database(settings.sqlalchemy_url)) as database, progress_bar(quiet=False) as progress:
        if database.is_sqlite:
            database.require_unused()
        counts = move(database, target, progress=progress)
    click.echo(f"{sum(counts.values()):,} rows of {len(counts)} tables are there. Start again with")
    click.echo(f"ASSISTANT_DATABASE_URL={url}")


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


@click.group()
def mail() -> None:
    """Try outgoing mail."""


@mail.command("test")
@click.argument("address")
def mail_test(address: str) -> None:
    """Send a mail to ADDRESS now, as the settings say, and print what the mail server says to it."""
    from assistant.desk.mail import try_out
    from assistant.mailer import open_mailer

    settings = read_settings()
    server = settings.smtp_url
    try_out(settings, open_mailer(server.get_secret_value() if server is not None else None), address)
    click.echo(f"The mail server has taken a mail to {address}. See whether it arrives.")
