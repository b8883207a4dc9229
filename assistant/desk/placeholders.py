"""Placeholders in texts that are written once and used on many tickets: ``{{customer.first_name}}``.

After a bar stands what is written where nothing is known: ``Hello {{customer.first_name|there}},``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assistant.errors import Invalid
from assistant.models import Ticket

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


def check(text: str) -> str:
    """The text. Raises `Invalid` for a placeholder that there is not."""
    for name, _ in _PLACEHOLDER.findall(text):
        if name not in PLACEHOLDERS:
            known = ", ".join(PLACEHOLDERS)
            raise Invalid(f"There is no placeholder {name!r}. Choose from: {known}.", field="text")
    return text


def fill(text: str, ticket: Ticket, *, writer: str) -> str:
    """The text as it reads for a ticket. Where nothing is known, what stands after the bar, or nothing."""

    def value(found: re.Match[str]) -> str:
        placeholder = PLACEHOLDERS.get(found[1])
        if placeholder is None:
            return found[0]
        return placeholder.value(ticket, writer) or (found[2] or "").strip()

    return _PLACEHOLDER.sub(value, text)


def _first(name: str | None) -> str | None:
    return name.split()[0] if name and name.strip() else None
