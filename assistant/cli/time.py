"""``assistant sla``, ``automations`` and ``assignment``: how long answers may take, and what happens by itself."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.common import json_option, migrated, read_settings

if TYPE_CHECKING:
    from assistant.models import Automation, SLAPolicy


class Length(click.ParamType[timedelta]):
    """A length of time: 30m, 8h, 2d."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        from assistant.desk import deadlines
        from assistant.errors import Invalid

        try:
            return deadlines.read(str(value))
        except Invalid as error:
            self.fail(error.message)


@click.group()
def sla() -> None:
    """Manage SLA policies: how long responses and resolutions may take. Hours and holidays are those of the inbox."""


@sla.command("list")
@json_option
def list_policies(as_json: bool) -> None:
    """List the policies in the order in which they are tried: the first that fits a ticket counts."""
    from assistant.desk.deadlines import policies

    with migrated() as database, database.read() as session:
        shown = [_to_json(policy) for policy in policies(session)]
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False, indent=2))
        return
    for policy in shown:
        goals = ", ".join(f"{name.replace('_', ' ')} {length}" for name, length in policy["goals"].items())
        always = ", around the clock" if policy["around_the_clock"] else ""
        click.echo(f"{policy['position']:>3}  {policy['name']:<20} {policy['when'] or 'every ticket'}: {goals}{always}")


@sla.command("set")
@click.argument("name")
@click.option("--when", default="", help="Which tickets, e.g. 'priority:urgent team:orders' (default: every ticket).")
@click.option("--first-response", type=Length(), help="From when a person is first asked for, e.g. 30m or 4h.")
@click.option("--next-response", type=Length(), help="To what the customer writes after that.")
@click.option("--resolution", type=Length(), help="Until the ticket is solved.")
@click.option("--around-the-clock", is_flag=True, help="Count nights and holidays, too.")
@click.option("--position", type=click.IntRange(1), help="Where it is tried, from 1 (default: where it is, or last).")
def set_policy(name: str, when: str, around_the_clock: bool, position: int | None, **goals: timedelta | None) -> None:
    """Add the policy NAME, or replace it. Tickets that are not solved count by it from their beginning."""
    from assistant.desk import conditions, deadlines
    from assistant.models import SLATarget

    with migrated() as database, database.begin() as session:
        policy = deadlines.put(
            session,
            name,
            holds=conditions.parse(when),
            goals={target: goals[target.value] for target in SLATarget},
            around_the_clock=around_the_clock,
            position=position,
        )
        shown = policy.name
    click.echo(f"The policy {shown!r} is set. `assistant sla list` shows all in their order.")


@sla.command("remove")
@click.argument("name")
def remove_policy(name: str) -> None:
    """Remove the policy NAME. Its tickets count by the next that fits them."""
    from assistant.desk import deadlines

    with migrated() as database, database.begin() as session:
        deadlines.remove(session, name)
    click.echo(f"The policy {name!r} is removed.")


def _to_json(policy: SLAPolicy) -> dict[str, Any]:
    from assistant.desk import conditions, deadlines
    from assistant.models import SLATarget

    goals = {target.value: policy.goal(target) for target in SLATarget}
    return {
        "position": policy.position,
        "name": policy.name,
        "when": conditions.write(conditions.from_json(policy.conditions)),
        "goals": {name: deadlines.written(goal) for name, goal in goals.items() if goal is not None},
        "around_the_clock": policy.around_the_clock,
    }


@click.group()
def automations() -> None:
    """Manage automations: by an event or by time, if conditions hold, then actions."""


@automations.command("list")
@json_option
def list_automations(as_json: bool) -> None:
    """List all automations in the order in which they run."""
    from assistant.desk.automations import all_automations

    with migrated() as database, database.read() as session:
        shown = [_automation_to_json(automation) for automation in all_automations(session)]
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False, indent=2))
        return
    for one in shown:
        state = "on " if one["enabled"] else "off"
        then = ", ".join(_said(action) for action in one["actions"])
        click.echo(f"{state}  {one['name']:<24} {one['trigger']}, {one['when'] or 'every ticket'}: {then}")


@automations.command("add")
@click.argument("name")
@click.option("--on", "trigger", required=True, help="What it is run by, e.g. opened, breached or time; see README.md.")
@click.option("--when", default="", help="Which tickets, e.g. 'status:pending updated:>3d' (default: every ticket).")
@click.option("--do", "then", multiple=True, required=True, help="An action, e.g. add_tag=refund. Repeat for several.")
def add_automation(name: str, trigger: str, when: str, then: tuple[str, ...]) -> None:
    """Add the automation NAME. It does nothing until it is enabled."""
    from assistant.desk import automations as desk
    from assistant.desk import conditions

    given = [_action(text) for text in then]
    with migrated() as database, database.begin() as session:
        desk.add(session, _taxonomy(session), name, trigger=trigger, holds=conditions.parse(when), then=given)
    click.echo(f"Added. See which tickets it means: assistant automations test {name!r}")


@automations.command("test")
@click.argument("name")
@json_option
def test_automation(name: str, as_json: bool) -> None:
    """Show on which of the last 500 tickets NAME would act now. Changes nothing."""
    from assistant.db import utcnow
    from assistant.desk import automations as desk

    with migrated() as database, database.read() as session:
        automation = desk.find(session, name)
        trial = desk.try_out(session, _taxonomy(session), automation, now=utcnow())
        fits = [{"number": one.number, "subject": one.subject} for one in trial.tickets]
        then = ", ".join(_said(action) for action in automation.actions)
    if as_json:
        click.echo(json.dumps({"looked_at": trial.looked_at, "tickets": fits}, ensure_ascii=False, indent=2))
        return
    for one in fits:
        click.echo(f"#{one['number']:<8} {one['subject']}")
    click.echo(f"{len(fits)} of the last {trial.looked_at} tickets: {then}")


@automations.command("log")
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many runs.")
@json_option
def show_log(name: str | None, limit: int, as_json: bool) -> None:
    """Show what automations did, or NAME alone: the newest first."""
    from assistant.desk import automations as desk

    with migrated() as database, database.read() as session:
        automation = desk.find(session, name) if name is not None else None
        runs: list[dict[str, Any]] = [
            {
                "at": run.created_at.isoformat(timespec="seconds"),
                "automation": run.automation.name,
                "ticket": run.ticket.number,
                "outcome": run.outcome.value,
                "problem": run.problem,
                "actions": run.actions,
            }
            for run in desk.log(session, automation, limit=limit)
        ]
    if as_json:
        click.echo(json.dumps(runs, ensure_ascii=False, indent=2))
        return
    for run in runs:
        said = run["problem"] or ", ".join(_said(action) for action in run["actions"])
        click.echo(f"{run['at']}  {run['automation']:<24} #{run['ticket']:<8} {run['outcome']}: {said}")


@automations.command("enable")
@click.argument("name")
def enable_automation(name: str) -> None:
    """Have the automation NAME run from now on."""
    _enable(name, enabled=True)


@automations.command("disable")
@click.argument("name")
def disable_automation(name: str) -> None:
    """Have the automation NAME run no more."""
    _enable(name, enabled=False)


@automations.command("remove")
@click.argument("name")
def remove_automation(name: str) -> None:
    """Remove the automation NAME, with its log."""
    from assistant.desk import automations as desk

    with migrated() as database, database.begin() as session:
        desk.remove(session, desk.find(session, name))
    click.echo(f"The automation {name!r} is removed.")


def _enable(name: str, *, enabled: bool) -> None:
    from assistant.desk import automations as desk

    with migrated() as database, database.begin() as session:
        desk.enable(session, desk.find(session, name), enabled=enabled)
    click.echo(f"The automation {name!r} is {'on' if enabled else 'off'}.")


def _taxonomy(session: Any) -> Any:
    from assistant.desk.taxonomies import current
    from assistant.skills.taxonomy import load_taxonomy

    return current(session, load_taxonomy(read_settings().taxonomy))


def _action(text: str) -> dict[str, Any]:
    """``add_tag=refund``, as it is stored."""
    from assistant.desk.actions import KINDS

    name, has_value, value = text.partition("=")
    if name not in KINDS or not has_value:
        raise click.BadParameter(
            f"{text!r} is no action. Write NAME=VALUE with one of: {', '.join(KINDS)}.", param_hint="--do"
        )
    return {"name": name, "arguments": {KINDS[name].argument: value}}


def _said(action: dict[str, Any]) -> str:
    return f"{action['name']}={next(iter(action['arguments'].values()), '')}"


def _automation_to_json(automation: Automation) -> dict[str, Any]:
    from assistant.desk import conditions

    return {
        "id": automation.public_id,
        "name": automation.name,
        "trigger": automation.trigger.value,
        "when": conditions.write(conditions.from_json(automation.conditions)),
        "actions": automation.actions,
        "enabled": automation.enabled,
    }


@click.group()
def assignment() -> None:
    """Give the tickets that wait for a person to the agents of their team, automatically."""


@assignment.command("show")
@json_option
def show_assignment(as_json: bool) -> None:
    """Show how each team's tickets are given out, and its agents."""
    from assistant.desk.assigning import overview

    with migrated() as database, database.read() as session:
        shown = overview(session)
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False, indent=2))
        return
    for team in shown:
        click.echo(f"{team['team']:<20} {team['assignment']}")
        for agent in team["agents"]:
            room = f"at most {agent['capacity']}" if agent["capacity"] is not None else "any number"
            click.echo(f"  {agent['email']:<30} {room}{', away' if agent['away'] else ''}")


@assignment.command("set")
@click.argument("team")
@click.argument("how", metavar="HOW")
def set_assignment(team: str, how: str) -> None:
    """Give out the tickets of TEAM by HOW: round_robin, least_busy or off."""
    from assistant.desk import assigning

    with migrated() as database, database.begin() as session:
        assigning.set_assignment(session, team, how)
    click.echo(f"The tickets of {team!r}: {how}.")


@assignment.command("capacity")
@click.argument("email")
@click.argument("capacity", type=click.IntRange(0), required=False)
def set_capacity(email: str, capacity: int | None) -> None:
    """Give the agent EMAIL at most CAPACITY tickets at once; without a number, any number."""
    from assistant.desk import assigning

    with migrated() as database, database.begin() as session:
        assigning.set_capacity(session, assigning.named(session, email), capacity)
    click.echo(
        f"{email} is given {f'at most {capacity}' if capacity is not None else 'any number of'} tickets at once."
    )


@assignment.command("away")
@click.argument("email")
@click.option("--back", is_flag=True, help="They are back.")
def set_away(email: str, back: bool) -> None:
    """Give the agent EMAIL no tickets until they are back. Agents can say so themselves, in the console."""
    from assistant.desk import assigning

    with migrated() as database, database.begin() as session:
        assigning.set_away(session, assigning.named(session, email), away=not back)
    click.echo(f"{email} is {'back' if back else 'away'}.")
