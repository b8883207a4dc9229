"""What a site's page says of the customer's visit, such as an order number or the page they are on.

It comes with a message, from a browser: agents and triage take it as a hint, it proves nothing. What is no hint is left
out rather than refused, because the message it comes with counts more.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from assistant.text.storable import storable

MAX_NAMES = 20
MAX_LENGTH = 200  # characters of a value
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")


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
