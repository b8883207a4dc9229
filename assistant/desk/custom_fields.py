"""Custom fields of tickets: which there are, which values each takes, and which tickets have one.

| kind | value | as it is stored |
|---|---|---|
| `text` | one line of at most 500 characters | without blanks at its ends |
| `number` | `12`, `-3.50` | without what says nothing: `-3.5` |
| `choice` | one of the field's choices, however it is spelt | as the field spells it |
| `date` | `2026-12-01` | the same |

An empty value is none. `read` alone knows this; `tickets.set_fields` writes. A field is archived, not removed: it is no
longer shown or set, and what tickets have of it is still found, and is back with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import Session

from assistant.db import utcnow
from assistant.errors import Conflict, Invalid, NotFound
from assistant.models import CustomField, FieldKind, FieldValue, Ticket, measure
from assistant.text.folding import fold

NONE = "none"
MOST = 50  # that are in use
MOST_CHOICES = 200
LONGEST = 500  # characters of a value
LONGEST_NAME = 60
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_NUMBER = re.compile(r"[+-]?\d{1,12}(\.\d{1,6})?")


def in_use(session: Session) -> list[CustomField]:
    """In the order in which they are shown."""
    return [field for field in all_fields(session) if field.archived_at is None]


def all_fields(session: Session) -> list[CustomField]:
    """The archived ones last."""
    query = select(CustomField).order_by(CustomField.archived_at.is_not(None), CustomField.id)
    return list(session.scalars(query))


def find(session: Session, key: str) -> CustomField:
    """Archived or not. Raises `NotFound` that says which there are."""
    field = session.scalar(select(CustomField).where(CustomField.key == key.strip().lower()))
    if field is None:
        known = ", ".join(one.key for one in in_use(session)) or "none yet"
        raise NotFound(f"There is no custom field {key!r}. Fields: {known}.")
    return field


def add(session: Session, name: str, kind: str, *, key: str = "", choices: Iterable[str] = ()) -> CustomField:
    """Define a field. Without a ``key``, its name makes one. Raises `Invalid` that says what is wrong."""
    if kind not in list(FieldKind):
        raise Invalid(f"There is no kind of field {kind!r}. Choose from: {', '.join(FieldKind)}.", field="kind")
    key = key.strip().lower() or _key_of(name)
    if not _KEY.fullmatch(key):
        raise Invalid(
            "A key begins with a letter, and has at most 40 small letters (a to z), digits and underscores.",
            field="key",
        )
    if session.scalar(select(CustomField.id).where(CustomField.key == key)) is not None:
        raise Conflict(f"There is already a custom field {key!r}. Choose another key.")
    in_use_now = session.scalar(select(func.count()).where(CustomField.archived_at.is_(None)))
    if (in_use_now or 0) >= MOST:
        raise Invalid(f"There are at most {MOST} custom fields. Archive one first.", field="name")
    field = CustomField(key=key, kind=FieldKind(kind))
    change(session, field, name=name, choices=choices)
    session.add(field)
    session.flush()
    return field


def change(session: Session, field: CustomField, *, name: str, choices: Iterable[str]) -> None:
    """Its key and kind stay: values, searches and actions stand on them. Tickets keep choices that are taken away."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME:
        raise Invalid(f"A custom field needs a name of at most {LONGEST_NAME} characters.", field="name")
    field.name, field.choices = name, _choices(field.kind, choices)
    session.flush()


def archive(session: Session, field: CustomField, *, archived: bool = True) -> None:
    field.archived_at = (field.archived_at or utcnow()) if archived else None
    session.flush()


def read(session: Session, key: str, given: str) -> str:
    """A field's value as it is stored; empty if it is none. Raises `Invalid` that says what the field takes."""
    field = _named(session, key)
    if field.archived_at is not None:
        raise Invalid(f"{field.name} ({field.key}) is archived: it takes no new values.", field=field.key)
    text = " ".join(given.split())
    if len(text) > LONGEST:
        raise Invalid(f"{field.name} takes at most {LONGEST} characters.", field=field.key)
    return _READ[field.kind](field, text) if text else ""


def among(session: Session, key: str, values: Sequence[str]) -> ColumnElement[bool]:
    """Of a `Ticket`: the field has one of these values; with ``none``, it may have none. Never unknown."""
    field = _named(session, key)
    given = [value for value in values if value != NONE]
    if field.kind in (FieldKind.TEXT, FieldKind.CHOICE):
        holds = FieldValue.folded.in_([fold(value) for value in given])
    else:
        holds = FieldValue.number.in_([_measured(field, value) for value in given])
    found = Ticket.id.in_(select(FieldValue.ticket_id).where(FieldValue.key == field.key, holds))
    has_any = exists().where(FieldValue.ticket_id == Ticket.id, FieldValue.key == field.key)
    return or_(found, ~has_any) if NONE in values else found


def compared(session: Session, key: str, value: str, *, later: bool) -> ColumnElement[bool]:
    """Of a `Ticket`: the field's number or day is this or ``later``, or before it. Never unknown."""
    field = _named(session, key)
    if field.kind in (FieldKind.TEXT, FieldKind.CHOICE):
        raise Invalid(f"field.{field.key} has no order: write field.{field.key}:value.", field=f"field.{field.key}")
    limit = _measured(field, value)
    holds = FieldValue.number >= limit if later else FieldValue.number < limit
    return Ticket.id.in_(select(FieldValue.ticket_id).where(FieldValue.key == field.key, holds))


def _named(session: Session, key: str) -> CustomField:
    """The field that is meant in a search, an action or a request."""
    try:
        return find(session, key)
    except NotFound as error:
        raise Invalid(error.message, field="fields") from error


def _measured(field: CustomField, value: str) -> float | None:
    return measure(_READ[field.kind](field, value))


def _key_of(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", fold(name)).strip("_")[:40]


def _choices(kind: FieldKind, given: Iterable[str]) -> list[str]:
    """Each once, without commas, which stand between values in searches."""
    cleaned: dict[str, str] = {}
    for one in given:
        cleaned.setdefault(fold(one), " ".join(one.split()))
    choices = [one for one in cleaned.values() if one]
    if kind is not FieldKind.CHOICE:
        if choices:
            raise Invalid("Only a field of the kind choice has choices.", field="choices")
        return []
    if not choices or len(choices) > MOST_CHOICES:
        raise Invalid(f"Give the choices, one a line; at most {MOST_CHOICES}.", field="choices")
    if wrong := [one for one in choices if "," in one or len(one) > LONGEST or fold(one) == NONE]:
        raise Invalid(f"{wrong[0][:60]!r} cannot be a choice: “none” means none, and commas separate.", field="choices")
    return choices


def _read_text(_field: CustomField, text: str) -> str:
    return text


def _read_number(field: CustomField, text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise Invalid(f"{field.name} takes a number like 12 or 12.5, not {text[:60]!r}.", field=field.key)
    number = Decimal(text).normalize()
    return f"{number:f}" if number else "0"


def _read_choice(field: CustomField, text: str) -> str:
    for choice in field.choices:
        if fold(choice) == fold(text):
            return choice
    shown = ", ".join(field.choices[:12])
    raise Invalid(f"{field.name} takes one of {shown}, not {text[:60]!r}.", field=field.key)


def _read_date(field: CustomField, text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise Invalid(f"{field.name} takes a day like 2026-12-01, not {text[:60]!r}.", field=field.key) from error


_READ: dict[FieldKind, Any] = {
    FieldKind.TEXT: _read_text,
    FieldKind.NUMBER: _read_number,
    FieldKind.CHOICE: _read_choice,
    FieldKind.DATE: _read_date,
}
