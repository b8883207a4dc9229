"""The kinds of pages that the console's settings are made of: a list, a form, a question ("are you sure?") and a secret
that is shown once. They say only what is on a page, and know nothing of agents or keys; sections of the settings fill
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for

from assistant.errors import AssistantError
from assistant.text.storable import storable
from assistant.web.context import desk
from assistant.web.responses import Reply

blueprint = Blueprint("admin", __name__, url_prefix="/settings")

PAGES = {
    "console.admin.start": "Start",
    "console.admin.agents": "Agents",
    "console.admin.teams": "Teams",
    "console.admin.inbox_list": "Inboxes",
    "console.admin.guardrails": "Guardrails",
    "console.admin.categories": "Categories",
    "console.admin.product_versions": "Products",
    "console.admin.field_list": "Ticket fields",
    "console.admin.policies": "Deadlines",
    "console.admin.automation_list": "Automations",
    "console.admin.keys": "API keys",
    "console.admin.webhook_list": "Webhooks",
    "console.admin.heads": "Learned heads",
    "console.admin.mail_settings": "Mail",
    "console.admin.audit_log": "Audit log",
    "console.admin.system": "System",
}


@dataclass(frozen=True)
class To:
    """A link to where something is done."""

    name: str
    url: str


@dataclass(frozen=True)
class Cell:
    """Text, with the look of a ``tag`` if it names one; or the moment ``at`` which something was, before the text."""

    text: str = ""
    tag: str = ""
    at: str | None = None


@dataclass(frozen=True)
class Row:
    name: str
    cells: Sequence[Cell]
    url: str | None = None
    note: str = ""
    actions: Sequence[To] = ()
    is_over: bool = False


@dataclass(frozen=True)
class Field:
    """``kind``: select, checks, lines, file, files, or a type of `<input>`. ``options``: value and text each."""

    name: str
    label: str
    value: Any = ""
    kind: str = "text"
    options: Sequence[tuple[str, str]] = ()
    hint: str = ""
    required: bool = False


def shown(kind: str, here: str, **page: Any) -> str:
    return render_template(f"console/admin_{kind}.html", pages=PAGES, here=f"console.admin.{here}", **page)


def listed(here: str, title: str, columns: Sequence[str], rows: Sequence[Row], **more: Any) -> str:
    can_act = any(row.actions for row in rows)
    return shown("list", here, title=title, columns=columns, rows=rows, can_act=can_act, **more)


def form(here: str, title: str, fields: Callable[[], Sequence[Field]], done: Callable[[], Reply], **more: Any) -> Reply:
    """A form and what its submission does. After an error it says what was wrong, and holds what was typed."""
    page = {"title": title, "section": PAGES[f"console.admin.{here}"], "back": url_for(f"console.admin.{here}"), **more}
    if request.method == "GET":
        return shown("form", here, fields=fields(), error=None, **page)
    try:
        return done()
    except AssistantError as error:
        return shown("form", here, fields=[_typed(one) for one in fields()], error=error.message, **page), error.status


def _typed(field: Field) -> Field:
    values = request.form.getlist(field.name)
    value = values if field.kind == "checks" else "".join(values[:1])
    return replace(field, value=value)


def question(here: str, title: str, about: str, button: str, done: Callable[[], Reply], **more: Any) -> Reply:
    """Asks before it does something; an error is said where one asked."""
    page = {"title": title, "about": about, "button": button, "back": url_for(f"console.admin.{here}"), **more}
    if request.method == "GET":
        return shown("confirm", here, error=None, **page)
    try:
        return done()
    except AssistantError as error:
        return shown("confirm", here, error=error.message, **page), error.status


def said(text: str, here: str) -> Reply:
    flash(text)
    return redirect(url_for(f"console.admin.{here}"))


def given(name: str) -> str:
    return storable(request.form.get(name, "")).replace("\r\n", "\n").strip()


def team_options(chosen: str) -> list[tuple[str, str]]:
    teams = [("", "No team"), *((one.key, one.name) for one in desk().taxonomy.teams)]
    return teams if chosen in dict(teams) else [*teams, (chosen, chosen)]  # it has left the taxonomy
