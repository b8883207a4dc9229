"""``assistant inboxes``: several widgets on one installation, each with a brand, a team and articles of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.common import json_option, migrated, operator, read_settings

if TYPE_CHECKING:
    from assistant.db import Database
    from assistant.desk.retention import Due
    from assistant.models import Inbox
    from assistant.settings import Settings


@click.group()
def inboxes() -> None:
    """Manage inboxes: several widgets on one installation. The default one needs no configuration."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.option("--name", help="Brand that customers read (default: ASSISTANT_COMPANY)."),
            click.option("--team", help="Key of the team that its tickets go to until triage routes them."),
            click.option("--language", help="Language of the widget where the page names none, e.g. de."),
            click.option("--greeting", help="Shown before the first message instead of the usual greeting."),
            click.option("--quick-reply", "quick_replies", multiple=True, help="A first message that one click sends."),
            click.option("--accent", help="Colour of the brand, e.g. '#0b6e5f'."),
            click.option(
                "--origin", "origins", multiple=True, help="A site that may embed it, e.g. https://a.example."
            ),
            click.option("--contact", help="E-mail address or page for when the widget cannot be reached."),
            click.option("--hours", help="Business hours, as JSON; see README.md."),
            click.option(
                "--answer-threshold",
                type=click.FloatRange(0, 1),
                help="Confidence from which the assistant answers (default: ASSISTANT_ANSWER_THRESHOLD).",
            ),
            click.option(
                "--never-answer",
                multiple=True,
                help="Tickets that a person answers, as in the search box: category:safety. Repeat for several.",
            ),
            click.option(
                "--never-say",
                multiple=True,
                help="A word or phrase that the assistant never says: 'full refund'. Repeat for several.",
            ),
            click.option(
                "--keep-files-days",
                type=int,
                help="For how many days files of conversations that are over are kept (default: for good).",
            ),
            click.option(
                "--keep-conversations-days",
                type=int,
                help="For how many days conversations that are over are kept (default: for good).",
            ),
            click.option("--tone", help="How answers sound that a model writes, e.g. 'Short, no jargon.'"),
            click.option("--prechat", help="Form before the first message, as JSON; see README.md."),
            click.option(
                "--logo", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Picture of the brand."
            ),
            click.option("--clear", multiple=True, help="Take a setting back, e.g. greeting. Repeat for several."),
        )
    ):
        command = option(command)
    return command


@inboxes.command("list")
@json_option
def list_inboxes(as_json: bool) -> None:
    """List all inboxes."""
    from assistant.desk.inboxes import all_inboxes

    settings = read_settings()
    with migrated() as database, database.read() as session:
        shown = [_to_json(inbox, settings) for inbox in all_inboxes(session)]
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False, indent=2))
        return
    for inbox in shown:
        state = "archived" if inbox["archived"] else f"team {inbox['team']}" if inbox["team"] else ""
        click.echo(f"{inbox['key']:<20} {inbox['name']:<28} {state}".rstrip())


@inboxes.command("add")
@click.argument("key")
@_options
def add_inbox(key: str, **changes: Any) -> None:
    """Add an inbox that pages name KEY."""
    from assistant.desk.inboxes import add

    settings = read_settings()
    with migrated() as database, database.begin() as session:
        inbox = add(session, key)
        _change(session, inbox, settings, **changes)
        shown = _described(inbox, settings)
    click.echo(shown)


@inboxes.command("set")
@click.argument("key")
@_options
def set_inbox(key: str, **changes: Any) -> None:
    """Change the inbox KEY. What is not given stays; --quick-reply and --origin replace all that were set."""
    from assistant.desk.inboxes import find

    settings = read_settings()
    with migrated() as database, database.begin() as session:
        inbox = find(session, key, archived=True)
        _change(session, inbox, settings, **changes)
        shown = _described(inbox, settings)
    click.echo(shown)


@inboxes.command("show")
@click.argument("key", default="default")
@json_option
def show_inbox(key: str, as_json: bool) -> None:
    """Show the inbox KEY, and the line to paste into its pages."""
    from assistant.desk.inboxes import find

    settings = read_settings()
    with migrated() as database, database.read() as session:
        inbox = find(session, key, archived=True)
        shown = _to_json(inbox, settings)
        described = _described(inbox, settings)
    click.echo(json.dumps(shown, ensure_ascii=False, indent=2) if as_json else described)


@inboxes.command("secret")
@click.argument("key", default="default")
@click.option("--withdraw-previous", is_flag=True, help="Make no new one; accept only the newest from now on.")
def renew_secret(key: str, withdraw_previous: bool) -> None:
    """Make and print a new secret that signs customers' identities. The previous one stays valid until withdrawn."""
    from assistant.desk.inboxes import find, withdraw_previous_secret
    from assistant.desk.inboxes import renew_secret as renew

    settings = read_settings()
    with migrated() as database, database.begin() as session:
        inbox = find(session, key)
        if withdraw_previous:
            withdraw_previous_secret(inbox)
            secret = None
        else:
            secret = renew(inbox, settings)
        previous = inbox.previous_secret is not None
    if secret is None:
        click.echo("Only the newest secret is valid now.")
        return
    click.echo(secret)
    click.echo("Keep it on your server: whoever has it can pose as any customer.", err=True)
    if previous:
        advice = f"once your site uses the new one: assistant inboxes secret {key} --withdraw-previous"
        click.echo(f"The previous secret is still valid; {advice}", err=True)


@inboxes.command("archive")
@click.argument("key")
@click.option("--restore", is_flag=True, help="Serve it again.")
def archive_inbox(key: str, restore: bool) -> None:
    """Serve the widget of the inbox KEY no longer. Its conversations stay."""
    from assistant.desk.inboxes import archive, find
    from assistant.desk.inboxes import restore as serve_again

    with migrated() as database, database.begin() as session:
        inbox = find(session, key, archived=True)
        if restore:
            serve_again(inbox)
        else:
            archive(inbox)
    click.echo(f"The inbox {key!r} is {'served again' if restore else 'archived'}.")


@inboxes.command("retention")
@click.argument("key", required=False)
@click.option("--keep-files-days", type=int, help="See what would go by this rule, in place of the inbox's own.")
@click.option("--keep-conversations-days", type=int, help="See what would go by this rule, in place of its own.")
@click.option("--apply", is_flag=True, help="Remove what is due now; a worker does so each day.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def retention(key: str | None, apply: bool, yes: bool, as_json: bool, **other: int | None) -> None:
    """Show what the retention rules of the inbox KEY, or of all inboxes, would remove now.

    Nothing is removed unless an inbox says for how long files or conversations are kept: see `assistant inboxes set`.
    """
    from assistant.db import utcnow
    from assistant.desk.inboxes import all_inboxes, find, read_settings, settings_of
    from assistant.desk.retention import due, rules_of

    changes = {name: days for name, days in other.items() if days is not None}
    if apply and (key is not None or changes):
        raise click.UsageError("--apply removes what is due by the rules of all inboxes, as they are set.")
    with migrated() as database:
        with database.read() as session:
            chosen = [find(session, key, archived=True)] if key is not None else all_inboxes(session)
            tried = [(one, read_settings(settings_of(one).model_dump(mode="json") | changes)) for one in chosen]
            found = [due(session, rule, now=utcnow()) for one, own in tried for rule in rules_of(one, own)]
        if as_json:
            click.echo(json.dumps([_due_json(one) for one in found], indent=2))
        else:
            click.echo("\n".join(map(_due_line, found)) or "No inbox has a retention rule: everything is kept.")
        if apply and any(one.conversations for one in found):
            if not yes:
                click.confirm("Remove this for good?", abort=True, err=True)
            _apply_rules(database)


def _apply_rules(database: Database) -> None:
    from assistant.db import utcnow
    from assistant.desk.retention import Retention
    from assistant.desk.taxonomies import Taxonomies
    from assistant.skills.taxonomy import load_taxonomy
    from assistant.storage import Storage

    settings = read_settings()
    taxonomy = Taxonomies(database, load_taxonomy(settings.taxonomy)).current()
    keeper = Retention(database, Storage.open(settings.attachments_url), settings.data_dir, taxonomy)
    while keeper.run(now=utcnow(), user=operator()):
        pass
    click.echo("Removed. The audit log has the receipt.", err=True)


def _due_json(found: Due) -> dict[str, Any]:
    return {
        "inbox": found.rule.inbox,
        "kind": found.rule.kind.value,
        "days": found.rule.days,
        "conversations": found.conversations,
        "files": found.files,
        "oldest": found.oldest.isoformat() if found.oldest is not None else None,
    }


def _due_line(found: Due) -> str:
    rule, since = found.rule, f", the oldest untouched since {found.oldest:%F}" if found.oldest is not None else ""
    counts = f"conversations: {found.conversations}, files: {found.files}"
    return f"{rule.inbox:<20} {rule.kind.value:<14} kept for {rule.days} days; would go: {counts}{since}"


def _change(
    session: Any,
    inbox: Inbox,
    settings: Settings,
    *,
    logo: Path | None,
    clear: tuple[str, ...],
    **given: Any,
) -> None:
    from assistant.db import utcnow
    from assistant.desk import guardrails
    from assistant.desk.inboxes import BESIDE, InboxSettings, configure
    from assistant.desk.taxonomies import current
    from assistant.skills.taxonomy import load_taxonomy

    if unknown := set(clear) - {*BESIDE, *InboxSettings.model_fields}:
        choices = ", ".join((*BESIDE, *InboxSettings.model_fields))
        raise click.BadParameter(f"{', '.join(sorted(unknown))} cannot be cleared. Choose from: {choices}.")
    values = {key: value for key, value in given.items() if value not in (None, ())}
    values |= {key: _parsed(key, values[key]) for key in ("hours", "prechat") if key in values}
    if filters := values.get("never_answer"):
        guardrails.check(session, current(session, load_taxonomy(settings.taxonomy)), filters, now=utcnow())
    file = (logo.name, logo.read_bytes()) if logo is not None else None
    configure(session, inbox, settings, dict.fromkeys(clear) | values, logo=file)


def _parsed(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"is not JSON: {error}", param_hint=f"--{option}") from error


def _to_json(inbox: Inbox, settings: Settings, *, only_set: bool = False) -> dict[str, Any]:
    from assistant.desk.inboxes import brand, origins, settings_of, valid_secrets

    return {
        "id": inbox.public_id,
        "key": inbox.key,
        "name": brand(inbox, settings),
        "team": inbox.team.key if inbox.team is not None else None,
        **settings_of(inbox).model_dump(mode="json", exclude_defaults=only_set),
        "origins": list(origins(inbox, settings)),
        "logo": inbox.logo_sha256 is not None,
        "secrets": len(valid_secrets(inbox, settings)),
        "archived": inbox.archived_at is not None,
    }


def _described(inbox: Inbox, settings: Settings) -> str:
    """What is set, then the line for its pages."""
    from assistant.web.embedding import snippet

    key = inbox.key if inbox.key != "default" else None
    values = {name: value for name, value in _to_json(inbox, settings, only_set=True).items() if value}
    lines = [f"{name:<14} {value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
    line = snippet(f"{settings.base_url}/widget/", inbox=key)
    return "\n".join([*lines, "", "Paste this into the pages of its sites:", line])
