"""``assistant fields``: the custom fields of tickets."""

from __future__ import annotations

import json
from typing import Any

import click

from assistant.cli.common import json_option, migrated


@click.group()
def fields() -> None:
    """Manage custom fields of tickets: text, number, choice or date."""


@fields.command("list")
@json_option
def list_fields(as_json: bool) -> None:
    """List all fields, the archived ones last."""
    from assistant.desk.custom_fields import all_fields

    with migrated() as database, database.read() as session:
        shown: list[dict[str, Any]] = [
            {
                "key": one.key,
                "name": one.name,
                "kind": one.kind.value,
                "choices": one.choices,
                "archived": one.archived_at is not None,
            }
            for one in all_fields(session)
        ]
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False, indent=2))
        return
    for one in shown:
        more = f": {', '.join(one['choices'])}" if one["choices"] else ""
        click.echo(f"{one['key']:<24} {one['name']}, {one['kind']}{more}{' (archived)' if one['archived'] else ''}")


@fields.command("add")
@click.argument("name")
@click.option("--kind", default="text", show_default=True, help="text, number, choice or date.")
@click.option("--choice", "choices", multiple=True, help="Of the kind choice: one of its values. Repeat for several.")
@click.option("--key", default="", help="What searches and the API call it (default: made of the name).")
def add_field(name: str, kind: str, choices: tuple[str, ...], key: str) -> None:
    """Add the field NAME to all tickets."""
    from assistant.desk import custom_fields

    with migrated() as database, database.begin() as session:
        added = custom_fields.add(session, name, kind, key=key, choices=choices).key
    click.echo(f"Added. Searches find it as field.{added}, actions set it by set_field={added}=VALUE.")


@fields.command("set")
@click.argument("key")
@click.option("--name", help="Its new name.")
@click.option("--choice", "choices", multiple=True, help="All of its choices, one each. Tickets keep those left out.")
def set_field(key: str, name: str | None, choices: tuple[str, ...]) -> None:
    """Change the name or the choices of the field KEY."""
    from assistant.desk import custom_fields

    with migrated() as database, database.begin() as session:
        field = custom_fields.find(session, key)
        custom_fields.change(session, field, name=name or field.name, choices=choices or field.choices)
    click.echo(f"{key} is changed.")


@fields.command("archive")
@click.argument("key")
@click.option("--undo", is_flag=True, help="Use it again.")
def archive_field(key: str, undo: bool) -> None:
    """Show and set the field KEY no longer. Tickets keep their values, and searches find them."""
    from assistant.desk import custom_fields

    with migrated() as database, database.begin() as session:
        custom_fields.archive(session, custom_fields.find(session, key), archived=not undo)
    click.echo(f"{key} is {'in use again' if undo else 'archived'}.")
