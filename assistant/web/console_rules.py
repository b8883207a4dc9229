"""Settings: what happens by time and by itself: SLA policies, and automations with their dry run and their log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from flask import request, url_for

from assistant.desk import automations, conditions, deadlines, people
from assistant.models import Automation, RunOutcome, SLAPolicy, SLATarget, Trigger
from assistant.text.storable import storable
from assistant.web import console_macros, console_words
from assistant.web.console_pages import Cell, Field, Row, To, blueprint, form, given, listed, question, said
from assistant.web.context import desk
from assistant.web.responses import Reply

TRIGGERS = {
    Trigger.OPENED: "A ticket is opened (and triaged for the first time)",
    Trigger.TRIAGED: "It has been triaged, each time",
    Trigger.HANDED_OFF: "Its customer waits for a person",
    Trigger.WRITTEN: "Its customer has written",
    Trigger.REPLIED: "Its customer has got a reply",
    Trigger.CHANGED: "It has been changed",
    Trigger.BREACHED: "An SLA target was missed",
    Trigger.RATED: "Its customer has rated it",
    Trigger.TIME: "Time has passed (looked at every few minutes)",
}
_GOALS = {
    SLATarget.FIRST_RESPONSE: "From when a person is first asked for: 30m, 4h or 2d. Empty: as long as it takes.",
    SLATarget.NEXT_RESPONSE: "To what the customer writes after that.",
    SLATarget.RESOLUTION: "Until the ticket is solved. Pending and on hold do not count.",
}
_WHEN = "As in the search box, e.g. priority:urgent team:orders. Empty: every ticket."
_LOG = 100


# Deadlines


@blueprint.get("/deadlines")
def policies() -> Reply:
    with desk().db.read() as session:
        rows = [_policy_row(policy) for policy in deadlines.policies(session)]
    return listed(
        "policies",
        "Deadlines",
        ("Policy", "For", *(console_words.words(target.value) for target in SLATarget), "Counts"),
        rows,
        add=To("Add a policy", url_for("console.admin.add_policy")),
        about="The first policy that fits a ticket counts. Business hours and holidays are those of its inbox.",
        nothing="No policies: nothing is ever overdue.",
    )


def _policy_row(policy: SLAPolicy) -> Row:
    goals = [policy.goal(target) for target in SLATarget]
    return Row(
        policy.name,
        (
            Cell(_when(policy.conditions) or "Every ticket"),
            *(Cell(deadlines.written(goal) if goal is not None else "–") for goal in goals),
            Cell("Around the clock" if policy.around_the_clock else "Business hours"),
        ),
        url=url_for("console.admin.policy", policy_id=policy.public_id),
        note=f"{policy.position}.",
    )


@blueprint.route("/deadlines/add", methods=["GET", "POST"])
def add_policy() -> Reply:
    """Add an SLA policy."""

    def fields() -> Sequence[Field]:
        return Field("name", "Name", required=True), *_policy_fields(None)

    return form("policies", "Add a policy", fields, lambda: _put(given("name")), button="Add")


@blueprint.route("/deadlines/<public_id:policy_id>", methods=["GET", "POST"])
def policy(policy_id: str) -> Reply:
    """Change an SLA policy."""
    with desk().db.read() as session:
        row = deadlines.find(session, policy_id)
    name, remove = row.name, To("Remove…", url_for("console.admin.remove_policy", policy_id=policy_id))
    return form("policies", name, lambda: _policy_fields(row), lambda: _put(name), button="Save", actions=[remove])


def _policy_fields(policy: SLAPolicy | None) -> Sequence[Field]:
    goals = {target: policy.goal(target) if policy is not None else None for target in SLATarget}
    clock = ["yes"] if policy is not None and policy.around_the_clock else []
    return (
        Field("when", "For which tickets", _when(policy.conditions) if policy is not None else "", hint=_WHEN),
        *(
            Field(target.value, console_words.words(target.value), _written(goals[target]), hint=hint)
            for target, hint in _GOALS.items()
        ),
        Field("clock", "Nights and holidays", clock, "checks", [("yes", "Count them, too")]),
        Field(
            "position", "Place", policy.position if policy is not None else "", "number", hint="Tried in this order."
        ),
    )


def _put(name: str) -> Reply:
    with desk().db.begin() as session:
        deadlines.put(
            session,
            name,
            holds=conditions.parse(given("when")),
            goals={target: _read(target) for target in SLATarget},
            around_the_clock=bool(request.form.get("clock")),
            position=request.form.get("position", type=int),
        )
    return said(f"The policy {name} is set. Tickets that are not solved count by it from their beginning.", "policies")


@blueprint.route("/deadlines/<public_id:policy_id>/remove", methods=["GET", "POST"])
def remove_policy(policy_id: str) -> Reply:
    """Remove an SLA policy."""
    with desk().db.read() as session:
        name = deadlines.find(session, policy_id).name

    def done() -> Reply:
        with desk().db.begin() as session:
            deadlines.remove(session, name)
        return said(f"The policy {name} is removed.", "policies")

    about = "Its tickets count by the next policy that fits them."
    return question("policies", f"Remove the policy {name}?", about, "Remove", done, is_dangerous=True)


def _read(target: SLATarget) -> timedelta | None:
    return deadlines.read(given(target.value), field=target.value) if given(target.value) else None


def _written(goal: timedelta | None) -> str:
    return deadlines.written(goal) if goal is not None else ""


def _when(stored: Any) -> str:
    return conditions.write(conditions.from_json(stored))


# Automations


@blueprint.get("/automations")
def automation_list() -> Reply:
    with desk().db.read() as session:
        names = _names(session)
        rows = [_automation_row(one, names) for one in automations.all_automations(session)]
    return listed(
        "automation_list",
        "Automations",
        ("Name", "When", "If", "Then", "State"),
        rows,
        add=To("Add an automation", url_for("console.admin.add_automation")),
        about="They run in this order, once for each event, and never by what they did themselves.",
        nothing="Nothing happens by itself yet.",
    )


def _automation_row(automation: Automation, names: Mapping[str, str]) -> Row:
    own = automation.public_id
    return Row(
        automation.name,
        (
            Cell(TRIGGERS[automation.trigger]),
            Cell(_when(automation.conditions) or "Always"),
            Cell("; ".join(console_words.action_words(one, names) for one in automation.actions)),
            Cell("On", "decided") if automation.enabled else Cell("Off"),
        ),
        url=url_for("console.admin.automation", automation_id=own),
        actions=(
            To("Dry run", url_for("console.admin.try_automation", automation_id=own)),
            To("Log", url_for("console.admin.automation_log", automation_id=own)),
        ),
        is_over=not automation.enabled,
    )


@blueprint.route("/automations/add", methods=["GET", "POST"])
def add_automation() -> Reply:
    """Add an automation."""

    def fields() -> Sequence[Field]:
        return Field("name", "Name", required=True), *_automation_fields(None)

    def done() -> Reply:
        with desk().db.begin() as session:
            automations.add(session, desk().taxonomy, given("name"), **_rule())
        return said(f"{given('name')} is added. It is off: see in a dry run what it would do.", "automation_list")

    return form("automation_list", "Add an automation", fields, done, button="Add")


@blueprint.route("/automations/<public_id:automation_id>", methods=["GET", "POST"])
def automation(automation_id: str) -> Reply:
    """Change an automation."""
    with desk().db.read() as session:
        row = automations.get(session, automation_id)
    name = row.name
    switch = ("switch_automation", "Switch off…" if row.enabled else "Switch on…")
    views = [("try_automation", "Dry run"), switch, ("automation_log", "Log"), ("remove_automation", "Remove…")]

    def done() -> Reply:
        with desk().db.begin() as session:
            automations.change(session, desk().taxonomy, automations.get(session, automation_id), **_rule())
        return said(f"{name} is changed.", "automation_list")

    return form(
        "automation_list",
        name,
        lambda: _automation_fields(row),
        done,
        button="Save",
        actions=[To(text, url_for(f"console.admin.{view}", automation_id=automation_id)) for view, text in views],
    )


def _automation_fields(automation: Automation | None) -> Sequence[Field]:
    with desk().db.read() as session:
        choices = console_macros.choices(session, with_me=False)
        custom = console_macros.custom_inputs(session)
    values = console_macros.values_of(automation.actions if automation is not None else ())
    trigger = automation.trigger.value if automation is not None else Trigger.OPENED.value
    return (
        Field("trigger", "When", trigger, "select", [(key.value, text) for key, text in TRIGGERS.items()]),
        Field("when", "If", _when(automation.conditions) if automation is not None else "", hint=_WHEN),
        *(
            Field(name, title, values.get(name, ""), "select", [("", "Leave as it is"), *options])
            for name, (title, options) in choices.items()
        ),
        *(
            Field(name, title, values.get(name, ""), "select", [("", "Leave as it is"), *options])
            if options
            else Field(name, title, values.get(name, ""), hint="Empty: as it is.")
            for name, title, options in custom
        ),
        Field("add_tags", "Add tags", values.get("add_tags", ""), hint="Separated by commas."),
        Field("remove_tags", "Remove tags", values.get("remove_tags", "")),
        Field("note", "Write a note", values.get("note", ""), "lines"),
        Field("reply", "Reply to the customer", values.get("reply", ""), "lines", hint="Placeholders as in macros."),
    )


def _rule() -> dict[str, Any]:
    typed = {name: storable(value).replace("\r\n", "\n") for name, value in request.form.items()}
    return {
        "trigger": given("trigger"),
        "holds": conditions.parse(given("when")),
        "then": list(console_macros.actions_of(typed)),
    }


@blueprint.get("/automations/<public_id:automation_id>/dry-run")
def try_automation(automation_id: str) -> Reply:
    """On which of the newest tickets it would act now."""
    with desk().db.read() as session:
        row = automations.get(session, automation_id)
        name = row.name
        trial = automations.try_out(session, desk().taxonomy, row, now=desk().now())
        then = "; ".join(console_words.action_words(one, _names(session)) for one in row.actions)
        rows = [
            Row(
                f"#{one.number}",
                (Cell(one.subject), Cell(console_words.words(one.status.value))),
                url=url_for("console.ticket.page", ticket_id=one.public_id),
            )
            for one in trial.tickets
        ]
    return listed(
        "automation_list",
        f"Dry run: {name}",
        ("Ticket", "Subject", "Status"),
        rows,
        about=f"Of the last {trial.looked_at} tickets it would act on {len(rows)} now: {then}. Nothing has been done.",
        nothing="It would act on none of them.",
    )


@blueprint.get("/automations/<public_id:automation_id>/log")
def automation_log(automation_id: str) -> Reply:
    with desk().db.read() as session:
        row = automations.get(session, automation_id)
        runs, name = automations.log(session, row, limit=_LOG), row.name
        names = _names(session)
        rows = [
            Row(
                f"#{run.ticket.number}",
                (
                    Cell(at=run.created_at.isoformat()),
                    Cell("Done", "decided") if run.outcome is RunOutcome.DONE else Cell("Failed", "risk"),
                    Cell(run.problem or "; ".join(console_words.action_words(one, names) for one in run.actions)),
                ),
                url=url_for("console.ticket.page", ticket_id=run.ticket.public_id),
            )
            for run in runs
        ]
    return listed(
        "automation_list",
        f"Log: {name}",
        ("Ticket", "When", "Outcome", "What"),
        rows,
        about=f"The last {_LOG} runs, the newest first.",
        nothing="It has not run yet.",
    )


@blueprint.route("/automations/<public_id:automation_id>/switch", methods=["GET", "POST"])
def switch_automation(automation_id: str) -> Reply:
    """Turn an automation on or off."""
    with desk().db.read() as session:
        row = automations.get(session, automation_id)
        name, is_on = row.name, row.enabled

    def done() -> Reply:
        with desk().db.begin() as session:
            automations.enable(session, automations.get(session, automation_id), enabled=not is_on)
        return said(f"{name} is {'off' if is_on else 'on'}.", "automation_list")

    about = "It runs no more." if is_on else "It runs from now on. A dry run shows on which tickets it would act."
    button = "Switch off" if is_on else "Switch on"
    return question("automation_list", f"{button}: {name}?", about, button, done)


@blueprint.route("/automations/<public_id:automation_id>/remove", methods=["GET", "POST"])
def remove_automation(automation_id: str) -> Reply:
    """Remove an automation."""
    with desk().db.read() as session:
        name = automations.get(session, automation_id).name

    def done() -> Reply:
        with desk().db.begin() as session:
            automations.remove(session, automations.get(session, automation_id))
        return said(f"{name} is removed.", "automation_list")

    about = "With its log. What it did stays."
    return question("automation_list", f"Remove {name}?", about, "Remove", done, is_dangerous=True)


def _names(session: Any) -> dict[str, str]:
    agents = {one.public_id: one.name for one in people.active_agents(session)}
    return agents | {one.key: one.name for one in people.all_teams(session)}
