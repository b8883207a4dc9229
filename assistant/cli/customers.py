"""``assistant customers``: who they are to us, and the sessions of their browsers."""

from __future__ import annotations

import click

from assistant.cli.common import migrated


@click.group()
def customers() -> None:
    """Show customers and end the sessions of their browsers."""


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
    from assistant.desk import people, sessions

    with migrated() as database, database.begin() as session:
        found = people.find_customers(session, who)
        if len(found) > 1:
            ids = ", ".join(customer.public_id for customer in found)
            raise click.UsageError(f"{who} may be any of {ids}. Name one of them.")
        count = sessions.revoke(session, customer_id=found[0].id)
    click.echo(f"Ended {count} session{'' if count == 1 else 's'} of {found[0].public_id}.")
