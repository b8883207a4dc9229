"""``assistant inboxes``: the secrets that sign customers' identities."""

from __future__ import annotations

import click

from assistant.cli.common import migrated


@click.group()
def inboxes() -> None:
    """Manage inboxes. The default one needs no configuration."""


@inboxes.command("secret")
@click.argument("key", default="default")
@click.option("--withdraw-previous", is_flag=True, help="Make no new one; accept only the newest from now on.")
def renew_secret(key: str, withdraw_previous: bool) -> None:
    """Make and print a new secret that signs customers' identities. The previous one stays valid until withdrawn."""
    from assistant.desk.inboxes import find, withdraw_previous_secret
    from assistant.desk.inboxes import renew_secret as renew

    with migrated() as database, database.begin() as session:
        inbox = find(session, key)
        if withdraw_previous:
            withdraw_previous_secret(inbox)
            secret = None
        else:
            secret = renew(inbox)
        previous = inbox.previous_secret is not None
    if secret is None:
        click.echo("Only the newest secret is valid now.")
        return
    click.echo(secret)
    click.echo("Keep it on your server: whoever has it can pose as any customer.", err=True)
    if previous:
        advice = f"once your site uses the new one: assistant inboxes secret {key} --withdraw-previous"
        click.echo(f"The previous secret is still valid; {advice}", err=True)
