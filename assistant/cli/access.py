"""``assistant agents``, ``keys`` and ``secrets``: who gets in, and what proves it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.common import json_option, migrated, read_settings

if TYPE_CHECKING:
    from assistant.desk.api_keys import Limits
    from assistant.desk.invitations import Invitation
    from assistant.desk.people import AgentChanges


@click.group()
def agents() -> None:
    """Manage the people who answer tickets."""


_role_option = click.option(
    "--role",
    type=click.Choice(["viewer", "agent", "lead", "admin"]),
    help="viewer reads; agent works their team's tickets, lead every team's; admin also changes settings.",
)


def _who_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.option("--name", help="Name shown to customers."),
            _role_option,
            click.option("--team", help="Key of the team in the taxonomy; empty for none."),
            click.option("--language", "languages", multiple=True, help="A language they write, e.g. de."),
        )
    ):
        command = option(command)
    return command


@agents.command("add")
@click.argument("email")
@click.option("--name", default="", help="Name shown to customers (default: the address).")
@click.option("--admin", is_flag=True, help="As --role admin.")
@_role_option
@click.option("--team", "team_key", help="Key of the team in the taxonomy.")
@click.option("--password", help="At least 10 characters (default: ask, or read standard input).")
def agents_add(
    email: str, name: str, admin: bool, role: str | None, team_key: str | None, password: str | None
) -> None:
    """Add an agent who signs in with EMAIL. `assistant agents invite` makes a link instead of a password."""
    from assistant.desk import people
    from assistant.models import AgentRole

    password = password or _ask_password()
    with migrated() as database, database.begin() as session:
        chosen = AgentRole.ADMIN if admin else AgentRole(role or "agent")
        people.add_agent(session, email=email, name=name, password=password, role=chosen, team_key=team_key)
    click.echo(f"{email} can sign in now.")


@agents.command("list")
@json_option
def agents_list(as_json: bool) -> None:
    """List everybody who can sign in, or could."""
    from assistant.desk import credentials, people

    with migrated() as database, database.read() as session:
        found = [
            {
                "id": agent.public_id,
                "email": agent.email,
                "name": agent.name,
                "role": agent.role.value,
                "team": agent.team.key if agent.team is not None else None,
                "languages": agent.languages,
                "second_factor": agent.totp_since is not None,
                "state": "deactivated" if agent.deactivated_at
                else "invited" if credentials.has_no_password(agent) else "active",
            }
            for agent in people.all_agents(session)
        ]  # fmt: skip
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for one in found:
        click.echo(f"{one['email']:<32} {one['role']:<7} {one['team'] or '-':<16} {one['state']}")


@agents.command("invite")
@click.argument("email")
@_who_options
def agents_invite(email: str, **given: Any) -> None:
    """Add an agent who signs in with EMAIL, and print the link by which they choose a password once."""
    from assistant.desk import invitations

    settings = read_settings()
    with migrated() as database, database.begin() as session:
        invited = invitations.invite(session, settings, email=email, changes=_agent_changes(**given))
        _print_link(invited)


@agents.command("set")
@click.argument("email")
@_who_options
def agents_set(email: str, **given: Any) -> None:
    """Change the agent EMAIL. What is not given stays."""
    from assistant.desk import people

    with migrated() as database, database.begin() as session:
        people.change_agent(session, people.colleague(session, email), _agent_changes(**given))
    click.echo(f"{email} is changed.")


@agents.command("deactivate")
@click.argument("email")
def agents_deactivate(email: str) -> None:
    """Let the agent EMAIL sign in no longer, and end their sessions at once."""
    from assistant.desk import people

    with migrated() as database, database.begin() as session:
        left = people.deactivate_agent(session, people.colleague(session, email))
    click.echo(f"{email} is deactivated and signed out. Open tickets still assigned to them: {left}.")


@agents.command("reset")
@click.argument("email")
@click.option("--second-factor", is_flag=True, help="Take away the second factor instead; the password stays.")
def agents_reset(email: str, second_factor: bool) -> None:
    """End the sessions and the password of the agent EMAIL, and print a link to choose another one."""
    from assistant.desk import invitations, people
    from assistant.desk.second_factor import reset

    settings = read_settings()
    with migrated() as database, database.begin() as session:
        if second_factor:
            reset(session, people.colleague(session, email))
            click.echo(f"{email} is signed out, and signs in without a second factor now.")
            return
        _print_link(invitations.reset(session, settings, people.colleague(session, email)))


@agents.command("reactivate")
@click.argument("email")
def agents_reactivate(email: str) -> None:
    """Let the agent EMAIL in again, and print a link to choose a password."""
    from assistant.desk import invitations, people

    settings = read_settings()
    with migrated() as database, database.begin() as session:
        _print_link(invitations.reactivate(session, settings, people.colleague(session, email)))


def _agent_changes(*, name: str | None, role: str | None, team: str | None, languages: tuple[str, ...]) -> AgentChanges:
    from assistant.models import AgentRole

    changes: AgentChanges = {}
    if name is not None:
        changes["name"] = name
    if role is not None:
        changes["role"] = AgentRole(role)
    if team is not None:
        changes["team"] = team or None
    if languages:
        changes["languages"] = languages
    return changes


def _print_link(invitation: Invitation) -> None:
    click.echo(invitation.url)
    mailed = " It was also mailed." if invitation.is_mailed else ""
    click.echo(f"Give it to {invitation.agent.email}: it works once, for a week.{mailed}", err=True)


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


_SCOPES = (
    "tickets:read, tickets:write, triage, knowledge:read, knowledge:write, settings (categories, what triage has "
    "learned), keys (that may do no more), webhooks or metrics. Repeat for several."
)


def _limit_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.option("--expires", metavar="DAY", help="Last day on which it is valid, like 2027-01-31, in UTC."),
            click.option("--inbox", "inboxes", multiple=True, help="Only tickets of this inbox. Repeat for several."),
            click.option("--network", "networks", multiple=True, help="Only from there: 192.0.2.7 or 10.0.0.0/8."),
            click.option("--rate-limit", help='At most so many requests, e.g. "600 per minute".'),
        )
    ):
        command = option(command)
    return command


@keys.command("add")
@click.argument("name", default="api")
@click.option("--scope", "scopes", multiple=True, required=True, help=_SCOPES)
@_limit_options
def keys_add(name: str, scopes: tuple[str, ...], **limits: Any) -> None:
    """Create an API key called NAME and print it once."""
    from assistant.desk import api_keys

    with migrated() as database, database.begin() as session:
        _, secret = api_keys.add(session, name=name, scopes=list(scopes), limits=_limits(**limits))
    click.echo(secret)
    click.echo("Store it safely: it cannot be shown again.", err=True)


@keys.command("list")
@json_option
def keys_list(as_json: bool) -> None:
    """List the API keys: what they may do, what limits them, and when and from where they were last used."""
    from assistant.desk import api_keys

    with migrated() as database, database.read() as session:
        found: list[dict[str, Any]] = [
            {
                "id": key.public_id,
                "name": key.name,
                "scopes": " ".join(key.scopes),
                "inboxes": api_keys.inbox_keys(session, key),
                "networks": key.networks,
                "rate_limit": key.rate_limit,
                "expires_at": key.expires_at.isoformat() if key.expires_at else None,
                "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
                "last_used_from": key.last_used_from,
                "state": api_keys.state_of(key),
                "revoked": key.revoked_at is not None,
            }
            for key in api_keys.all_keys(session)
        ]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for one in found:
        state = one["state"] if one["state"] != "active" else one["last_used_at"] or "never used"
        limits = [f"inbox {key}" for key in one["inboxes"]] + [f"from {network}" for network in one["networks"]]
        limits += [f"until {one['expires_at'][:10]}"] if one["expires_at"] else []
        limits += [one["rate_limit"]] if one["rate_limit"] else []
        click.echo(f"{one['id']}  {one['name']:<20} {state:<34} {one['scopes']}  {', '.join(limits)}".rstrip())


@keys.command("set")
@click.argument("key_id")
@_limit_options
@click.option("--unlimited", is_flag=True, help="Take away every limit that is not given.")
def keys_set(key_id: str, unlimited: bool, **limits: Any) -> None:
    """Change what limits the key KEY_ID. What is not given stays."""
    from assistant.desk import api_keys
    from assistant.desk.api_keys import Limits

    none = Limits(expires_on=None, inboxes=(), networks=(), rate_limit=None) if unlimited else Limits()
    with migrated() as database, database.begin() as session:
        key = api_keys.find(session, key_id)
        api_keys.limit(session, key, {**none, **_limits(**limits)})
        name = key.name
    click.echo(f"The key {name} is changed.")


@keys.command("rotate")
@click.argument("key_id")
@click.option("--grace", "hours", type=click.IntRange(0), default=24, show_default=True, help="Hours for the old one.")
def keys_rotate(key_id: str, hours: int) -> None:
    """Print a new key in place of KEY_ID, with its scopes and limits. The old one stays valid for a while."""
    from datetime import timedelta

    from assistant.desk import api_keys

    with migrated() as database, database.begin() as session:
        secret = api_keys.rotate(session, key_id, grace=timedelta(hours=hours))
    click.echo(secret)
    click.echo(f"Store it safely: it cannot be shown again. The old one is valid for {hours} hours.", err=True)


@keys.command("revoke")
@click.argument("key_id")
def keys_revoke(key_id: str) -> None:
    """Refuse the key KEY_ID (key_…, see `assistant keys list`) from now on."""
    from assistant.desk import api_keys

    with migrated() as database, database.begin() as session:
        name = api_keys.revoke(session, key_id).name
    click.echo(f"The key {name} is revoked.")


def _limits(
    *, expires: str | None, inboxes: tuple[str, ...], networks: tuple[str, ...], rate_limit: str | None
) -> Limits:
    from datetime import date

    limits: Limits = {}
    if expires is not None:
        try:
            limits["expires_on"] = date.fromisoformat(expires)
        except ValueError as error:
            raise click.UsageError("Write the last day like 2027-01-31.") from error
    if inboxes:
        limits["inboxes"] = inboxes
    if networks:
        limits["networks"] = networks
    if rate_limit is not None:
        limits["rate_limit"] = rate_limit
    return limits


@click.group()
def secrets() -> None:
    """Manage the secrets that are stored: those of inboxes and of second factors."""


@secrets.command("reencrypt")
def secrets_reencrypt() -> None:
    """Encrypt stored secrets with the secret key in use, so that those of before can be dropped."""
    from assistant.desk import sealing

    settings = read_settings()
    with migrated() as database, database.begin() as session:
        count = sealing.renew(session, settings)
    click.echo(f"Encrypted anew: {count}. All stored secrets are encrypted with the secret key in use.")
