"""``assistant customers``: who they are to us, the sessions of their browsers, and what is known of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assistant.cli.common import concerns, json_option, migrated, read_settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from assistant.models import Customer


@click.group()
def customers() -> None:
    """Show, export and erase customers, and end the sessions of their browsers."""


@customers.command("show")
@click.argument("who")
def show(who: str) -> None:
    """Show the customers that WHO means: an id (cus_…), your own id of them, or an e-mail address."""
    from assistant.desk import people, sessions

    with migrated() as database, database.read() as session:
        for customer in people.find_customers(session, who):
            said = f"verified by {customer.verified_by}" if customer.verified_by else "unverified"
            own = f", your id {customer.external_id}" if customer.external_id else ""
            click.echo(f"{customer.public_id}  {customer.display_name}, {customer.email or 'no address'}{own}  {said}")
            for one in sessions.valid_sessions(session, customer):
                where = one.origin or "no page"
                click.echo(
                    f"  {one.public_id}  {where}  since {one.created_at:%F %R}, used {one.last_used_at:%F %R} UTC"
                )


@customers.command("revoke")
@click.argument("who")
def revoke(who: str) -> None:
    """End all sessions of the customer WHO, e.g. after a token was stolen.

    A signed customer has their conversations again as soon as their site signs them in; an unverified one loses them.
    """
    from assistant.desk import sessions

    with migrated() as database, database.begin() as session:
        customer = _only(session, who)
        count = sessions.revoke(session, customer_id=customer.id)
    click.echo(f"Ended {count} session{'' if count == 1 else 's'} of {customer.public_id}.")


@customers.command("export")
@click.argument("who")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def export(who: str, path: Path) -> None:
    """Write all that is known of the customer WHO to the ZIP file PATH: person.json and their files.

    Whoever was merged with them is the same person. Internal notes and what was concluded are in it, too.
    """
    from assistant.desk import erasure
    from assistant.storage import Storage

    if path.exists():
        raise click.UsageError(f"{path} already exists. Choose another name.")
    settings = read_settings()
    with migrated() as database:
        with database.read() as session:
            customer = _only(session, who)
        erasure.write_archive(database, Storage.open(settings.attachments_url), customer, path)
    click.echo(f"Exported {customer.public_id} to {path} ({path.stat().st_size / 1e6:.1f} MB).")


@customers.command("erase")
@click.argument("who")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def erase(who: str, yes: bool, as_json: bool) -> None:
    """Erase the customer WHO for good: conversations, files, what was read and concluded, mails, notes, sessions.

    Whoever was merged with them is the same person. Prints a receipt. From a backup that is restored they are erased
    when the server starts, by the list erasures.jsonl in the data folder: keep it. Other copies are yours to delete.
    """
    from assistant.desk import erasure
    from assistant.storage import Storage

    settings = read_settings()
    with migrated() as database:
        with database.read() as session:
            customer = _only(session, who)
            rows = erasure.preview(session, customer)
        counts = f"{rows.get('conversations', 0)} conversations, {rows.get('attachments', 0)} files"
        if not yes:
            name = f"{customer.display_name} ({customer.public_id}; {counts})"
            click.confirm(f"Erase {name} for good?", abort=True, err=True)
        storage = Storage.open(settings.attachments_url)
        receipt = erasure.erase(database, storage, settings.data_dir, [customer.public_id])
    if as_json:
        click.echo(json.dumps(receipt.to_json(), indent=2))
        return
    click.echo(f"Erased {', '.join(receipt.customers)} at {receipt.erased_at:%F %R} UTC.")
    for table, count in receipt.rows.items():
        click.echo(f"  {count:6} {table.replace('_', ' ')}")
    click.echo(f"  {receipt.files:6} stored files; {receipt.later} more within a day")


def _only(session: Session, who: str) -> Customer:
    from assistant.desk import people

    found = people.find_customers(session, who)
    if len(found) > 1:
        ids = ", ".join(customer.public_id for customer in found)
        raise click.UsageError(f"{who} may be any of {ids}. Name one of them.")
    concerns(found[0].public_id)
    return found[0]
