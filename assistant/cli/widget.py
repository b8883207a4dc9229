"""``assistant widget``: what a site writes on its pages."""

from __future__ import annotations

import click

from assistant.cli.common import migrated, read_settings


@click.group()
def widget() -> None:
    """Put the widget on a site."""


@widget.command("snippet")
@click.option("--inbox", help="Key of the inbox (default: the default one).")
@click.option("--pin", is_flag=True, help="Name exactly this version by its hash (subresource integrity).")
@click.option("--after-load", is_flag=True, help="Fetch nothing before the page has everything of its own.")
def print_snippet(inbox: str | None, pin: bool, after_load: bool) -> None:
    """Print the line for a site's pages. List the site in ASSISTANT_WIDGET_ORIGINS, or in its inbox.

    A pinned version is kept in the data folder and served for ever; upgrades reach the site once it has a new snippet.
    """
    from assistant.desk import inboxes
    from assistant.models import DEFAULT_INBOX
    from assistant.web import embedding

    settings = read_settings()
    with migrated() as db, db.read() as session:
        found = inboxes.find(session, inbox or DEFAULT_INBOX)
        pinned = embedding.pin(settings, found) if pin else None
    click.echo(embedding.snippet(f"{settings.base_url}/widget/", inbox=inbox, pinned=pinned, after_load=after_load))
