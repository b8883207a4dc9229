"""What a site's page says of the customer's visit, such as an order number or the page they are on; or a machine that
opens a ticket.

Of a page it comes with a message, from a browser: agents and triage take it as a hint, it proves nothing. What is no
hint is left out rather than refused, because the message it comes with counts more. Machines are told (`checked`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from assistant.errors import Invalid
from assistant.text.storable import storable

MAX_NAMES = 20
MAX_LENGTH = 200  # characters of a value
NAME = r"[A-Za-z][A-Za-z0-9_]{0,39}"
_NAME = re.compile(NAME)


def checked(given: Mapping[str, str | bool | float]) -> dict[str, str]:
    """What a machine says, as texts. Raises `Invalid` for what `read` leaves out or cuts; empty texts say nothing."""
    for name, value in given.items():
        if not _NAME.fullmatch(name):
            raise Invalid("A name in `context` is a word of Latin letters, digits and _.", field=f"context.{name[:40]}")
        if isinstance(value, str) and len(value) > MAX_LENGTH:
            raise Invalid(f"A value in `context` has at most {MAX_LENGTH} characters.", field=f"context.{name}")
    if len(given) > MAX_NAMES:
        raise Invalid(f"`context` has at most {MAX_NAMES} values.", field="context")
    said = {name: _said(value) for name, value in given.items()}
    return {name: value for name, value in said.items() if value}


def read(text: str | None) -> dict[str, str]:
    """The names and values in a JSON object: at most `MAX_NAMES`, whose names are words and whose values are texts,
    numbers or booleans."""
    try:
        given = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(given, Mapping):
        return {}
    said = {name: _said(value) for name, value in given.items() if _NAME.fullmatch(name)}
    return dict([(name, value) for name, value in said.items() if value][:MAX_NAMES])


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)[:MAX_LENGTH]
    return " ".join(storable(value).split())[:MAX_LENGTH] if isinstance(value, str) else ""
