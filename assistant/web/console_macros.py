"""The console's page of macros: what an agent may use, with a form to add and change them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for

from assistant.desk import custom_fields, macros, people, placeholders
from assistant.desk.macros import MacroText, Scope
from assistant.errors import AssistantError, Invalid
from assistant.models import Priority, TicketStatus
from assistant.text.storable import storable
from assistant.web import auth, console_words
from assistant.web.console_panels import SNOOZES
from assistant.web.context import desk
from assistant.web.responses import Reply

blueprint = Blueprint("macros", __name__, url_prefix="/macros")

STATUSES = (TicketStatus.OPEN, TicketStatus.PENDING, TicketStatus.ON_HOLD, TicketStatus.SOLVED)
# The fields of the form that are actions with one value each, by their argument.
_CHOICES = {
    "status": "set_status",
    "priority": "set_priority",
    "agent": "assign",
    "team": "transfer",
    "until": "snooze",
}
_CUSTOM = "field."  # and the key of a custom field: `set_field`
_WRITTEN = ("note", "reply")  # by their names; a macro has a text of its own
_SCOPES = {Scope.MINE: "Only me", Scope.TEAM: "My team", Scope.ALL: "Everybody"}
_NOBODY = "nobody"  # an empty value means: leave it as it is


@blueprint.get("")
def page() -> Reply:
    return _page(chosen=request.args.get("edit"))


@blueprint.post("")
def save() -> Reply:
    """Save a macro. Adds that of the form; with an ``id``, changes that one."""
    form, agent = request.form, auth.agent()
    try:
        with desk().db.begin() as session:
            macros.save(session, agent, _of_form(form), public_id=form.get("id") or None)
    except AssistantError as error:
        return _page(chosen=form.get("id"), typed=form, error=error.message), error.status
    return redirect(url_for("console.macros.page"))


@blueprint.post("/<public_id:macro_id>/remove")
def remove(macro_id: str) -> Reply:
    """Remove a macro."""
    try:
        with desk().db.begin() as session:
            macros.remove(session, auth.agent(), macro_id)
    except AssistantError as error:
        return _page(error=error.message), error.status
    return redirect(url_for("console.macros.page"))


def _page(*, chosen: str | None = None, typed: Mapping[str, str] | None = None, error: str | None = None) -> str:
    agent = auth.agent()
    with desk().db.read() as session:
        usable = macros.usable(session, agent)
        changeable = {macro.public_id: macro for macro in usable if macros.may_change(agent, macro)}
        shown, custom, known = choices(session), custom_inputs(session), placeholders.known(session)
    agents, teams = shown["agent"][1], shown["team"][1]
    edited = changeable.get(chosen or "")
    return render_template(
        "console/macros.html",
        macros=usable,
        may_change=lambda macro: macro.public_id in changeable,
        edited=edited,
        values=typed if typed is not None else _values(edited) if edited is not None else {},
        choices=shown,
        scopes=[(scope.value, _SCOPES[scope]) for scope in macros.scopes(agent)],
        custom=custom,
        placeholders=known,
        names=dict(agents) | dict(teams),
        error=error,
    )


def choices(session: Any, *, with_me: bool = True) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """The actions that are chosen from a list, by the form's field: what it is called, and values with their texts.
    ``with_me``: also what only an agent can mean."""
    me = [("me", "Whoever uses it")] if with_me else []
    agents = [(one.public_id, one.name) for one in people.active_agents(session)]
    teams = [(one.key, one.name) for one in people.all_teams(session)]
    return {
        "status": ("Status", [(one.value, console_words.words(one.value)) for one in STATUSES]),
        "priority": ("Priority", [(one.value, console_words.words(one.value)) for one in Priority]),
        "agent": ("Assign to", [*me, (_NOBODY, "Nobody"), *agents]),
        "team": ("Team", [*teams, (_NOBODY, "None")]),
        "until": ("Snooze for", list(SNOOZES.items())),
    }


def custom_inputs(session: Any) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Custom fields by the form's field: what each is called, and what is chosen from, if anything."""
    return [
        (
            f"{_CUSTOM}{one.key}",
            one.name,
            [*((choice, choice) for choice in one.choices), (_NOBODY, "None")] if one.choices else [],
        )
        for one in custom_fields.in_use(session)
    ]


def _of_form(form: Mapping[str, str]) -> MacroText:
    scope = form.get("scope", "")
    if scope not in list(Scope):
        raise Invalid("Choose whose macro it is.", field="scope")
    text = storable(form.get("text", "")).replace("\r\n", "\n")
    return MacroText(storable(form.get("name", "")), text, list(actions_of(form)), Scope(scope))


def actions_of(form: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What the fields of a form say is done; empty ones do nothing."""
    for argument, name in _CHOICES.items():
        if value := form.get(argument, ""):
            yield {"name": name, "arguments": {argument: "" if value == _NOBODY else value}}
    for field, value in form.items():
        if field.startswith(_CUSTOM) and value.strip():
            key, wanted = field.removeprefix(_CUSTOM), "" if value == _NOBODY else storable(value)
            yield {"name": "set_field", "arguments": {"field": f"{key}={wanted}"}}
    for field, name in (("add_tags", "add_tag"), ("remove_tags", "remove_tag")):
        for tag in storable(form.get(field, "")).split(","):
            if tag.strip():
                yield {"name": name, "arguments": {"tag": tag.strip()}}
    for name in _WRITTEN:
        if text := storable(form.get(name, "")).strip():
            yield {"name": name, "arguments": {"text": text}}


def _values(macro: Any) -> dict[str, str]:
    """A macro as the form's fields."""
    scope = Scope.MINE if macro.agent_id is not None else Scope.TEAM if macro.team_id is not None else Scope.ALL
    return {"name": macro.name, "text": macro.text, "scope": scope.value, **values_of(macro.actions)}


def values_of(stored: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Stored actions as the form's fields: what `actions_of` reads."""
    values: dict[str, str] = {}
    for action in stored:
        for argument, value in action["arguments"].items():
            if argument == "tag":
                field = f"{action['name']}s"
                values[field] = f"{values[field]}, {value}" if field in values else value
            elif argument == "field":
                key, _, wanted = value.partition("=")
                values[f"{_CUSTOM}{key}"] = wanted or _NOBODY
            else:
                values[action["name"] if argument == "text" else argument] = value or _NOBODY
    return values
