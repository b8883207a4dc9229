"""Settings: the custom fields of tickets."""

from __future__ import annotations

from collections.abc import Sequence

from flask import url_for

from assistant.desk import custom_fields
from assistant.models import CustomField, FieldKind
from assistant.web.console_pages import Cell, Field, Row, To, blueprint, form, given, listed, question, said
from assistant.web.context import desk
from assistant.web.responses import Reply

KINDS = {
    FieldKind.TEXT: "Text (one line)",
    FieldKind.NUMBER: "Number",
    FieldKind.CHOICE: "Choice (one of a list)",
    FieldKind.DATE: "Date",
}


@blueprint.get("/fields")
def field_list() -> Reply:
    with desk().db.read() as session:
        rows = [_row(field) for field in custom_fields.all_fields(session)]
    return listed(
        "field_list",
        "Ticket fields",
        ("Name", "Kind", "Choices", "State"),
        rows,
        add=To("Add a field", url_for("console.admin.add_field")),
        about="What you keep of tickets beside what all have: shown on each, set by agents, macros, automations and "
        "the API, and searched for, e.g. field.order:A-17.",
        nothing="No fields of your own yet.",
    )


def _row(field: CustomField) -> Row:
    is_over = field.archived_at is not None
    return Row(
        field.name,
        (
            Cell(KINDS[field.kind]),
            Cell(", ".join(field.choices)),
            Cell("Archived") if is_over else Cell("In use", "decided"),
        ),
        url=url_for("console.admin.field", field_key=field.key),
        note=field.key,
        is_over=is_over,
    )


@blueprint.route("/fields/add", methods=["GET", "POST"])
def add_field() -> Reply:
    """Add a ticket field."""

    def fields() -> Sequence[Field]:
        return (
            Field("name", "Name", required=True),
            Field("kind", "Kind", FieldKind.TEXT.value, "select", [(one.value, text) for one, text in KINDS.items()]),
            _choices("", "Of a choice, one a line."),
            Field("key", "Key", hint="What searches and the API call it, e.g. order_number. Empty: made of the name."),
        )

    def done() -> Reply:
        lines = given("choices").splitlines()
        with desk().db.begin() as session:
            added = custom_fields.add(session, given("name"), given("kind"), key=given("key"), choices=lines)
        return said(f"{added.name} is added. Searches find it as field.{added.key}.", "field_list")

    return form("field_list", "Add a field", fields, done, button="Add")


@blueprint.route("/fields/<field_key>", methods=["GET", "POST"])
def field(field_key: str) -> Reply:
    """Change a ticket field."""
    with desk().db.read() as session:
        row = custom_fields.find(session, field_key)
    text = "Archive…" if row.archived_at is None else "Use again…"

    def fields() -> Sequence[Field]:
        choices = _choices("\n".join(row.choices), "One a line. Tickets keep those that are taken away.")
        return Field("name", "Name", row.name, required=True), *([choices] if row.kind is FieldKind.CHOICE else [])

    def done() -> Reply:
        with desk().db.begin() as session:
            found = custom_fields.find(session, field_key)
            custom_fields.change(session, found, name=given("name"), choices=given("choices").splitlines())
        return said(f"{given('name')} is changed.", "field_list")

    return form(
        "field_list",
        row.name,
        fields,
        done,
        button="Save",
        actions=[To(text, url_for("console.admin.archive_field", field_key=field_key))],
    )


@blueprint.route("/fields/<field_key>/archive", methods=["GET", "POST"])
def archive_field(field_key: str) -> Reply:
    """Archive a ticket field, or use it again."""
    with desk().db.read() as session:
        row = custom_fields.find(session, field_key)
    name, is_over = row.name, row.archived_at is not None

    def done() -> Reply:
        with desk().db.begin() as session:
            custom_fields.archive(session, custom_fields.find(session, field_key), archived=not is_over)
        return said(f"{name} is {'in use again' if is_over else 'archived'}.", "field_list")

    if is_over:
        about = "It is shown on tickets again, with the values that they had."
        return question("field_list", f"Use {name} again?", about, "Use again", done)
    about = "Tickets no longer show it, and it takes no new values. Theirs stay, for searches and for its coming back."
    return question("field_list", f"Archive {name}?", about, "Archive", done)


def _choices(value: str, hint: str) -> Field:
    return Field("choices", "Choices", value, "lines", hint=hint)
