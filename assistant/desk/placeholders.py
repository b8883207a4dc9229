"""Placeholders in texts that are written once and used on many tickets: ``{{customer.first_name}}``, and the company's
own fields by their keys: ``{{field.order}}``.

After a bar stands what is written where nothing is known: ``Hello {{customer.first_name|there}},``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from assistant.desk import custom_fields
from assistant.errors import Invalid
from assistant.models import Ticket

_FIELD = "field."
_PLACEHOLDER = re.compile(r"\{\{\s*(?:([\w.]+)\s*)?(?:\|([^{}]*))?\}\}")


@dataclass(frozen=True)
class _Placeholder:
    description: str
    value: Callable[[Ticket, str], str | None]  # of a ticket, by the name of who writes


PLACEHOLDERS: Mapping[str, _Placeholder] = {
    "customer.name": _Placeholder("the customer's name", lambda ticket, _: ticket.requester.name),
    "customer.first_name": _Placeholder(
        "the first word of the customer's name", lambda ticket, _: _first(ticket.requester.name)
    ),
    "customer.email": _Placeholder("the customer's e-mail address", lambda ticket, _: ticket.requester.email),
    "ticket.number": _Placeholder("the ticket's number, e.g. #1042", lambda ticket, _: f"#{ticket.number}"),
    "ticket.subject": _Placeholder("the ticket's subject", lambda ticket, _: ticket.subject),
    "agent.name": _Placeholder("who writes", lambda _, writer: writer),
    "agent.first_name": _Placeholder("the first word of that", lambda _, writer: _first(writer)),
}


def known(session: Session) -> dict[str, str]:
    """What each stands for, by name."""
    fields = {f"{_FIELD}{one.key}": one.name for one in custom_fields.in_use(session)}
    return {name: one.description for name, one in PLACEHOLDERS.items()} | fields


def check(session: Session, text: str) -> str:
    """The text. Raises `Invalid` for a placeholder that there is not."""
    there_are = known(session)
    for name, _ in _PLACEHOLDER.findall(text):
        if name not in there_are:
            raise Invalid(f"There is no placeholder {name!r}. Choose from: {', '.join(there_are)}.", field="text")
    return text


def fill(text: str, ticket: Ticket, *, writer: str) -> str:
    """The text as it reads for a ticket. Where nothing is known, what stands after the bar, or nothing."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or ""
        if name.startswith(_FIELD):
            known_value = ticket.fields.get(name.removeprefix(_FIELD))
        elif name in PLACEHOLDERS:
            known_value = PLACEHOLDERS[name].value(ticket, writer)
        else:
            return found[0]
        return known_value or (found[2] or "").strip()

    return _PLACEHOLDER.sub(value, text)


def _first(name: str | None) -> str | None:
    return name.split()[0] if name and name.strip() else None
