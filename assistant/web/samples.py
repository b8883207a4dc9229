"""How each operation is called from a shell: written from what the operation declares, and tried by a test.

`$URL` and `$KEY` are the installation's address and an API key, `$TICKET_ID` and its like what earlier answers told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel

from assistant.web.operations import MAPS, Operation

_FIELD = "priority"  # of a triage
_FILE = "@display.jpg"
_STREAM = "text/event-stream"


def curl(declared: Operation, path: str, method: str, responses: Mapping[str, Any]) -> str:
    """One command, over several lines. ``path`` and ``responses``: as the document has them."""
    where = re.sub(r"\{(\w+)\}", lambda found: _FIELD if found[1] == "field" else f"${found[1].upper()}", path)
    query = _query(declared.query) if declared.query is not None else ""
    answer = responses.get("200", {}).get("content", {})
    switches = "-N " if _STREAM in answer else "-o photo.jpg " if "image/jpeg" in answer else ""
    parts = [f'curl {switches}"$URL{where}{"?" + query if query else ""}"']
    if declared.needs_key:
        parts.append('-H "Authorization: Bearer $KEY"')
    if declared.body is not None:
        parts += _form(declared.body) if declared.files else _json(declared.body)
    elif declared.files:
        parts.append(f"-F files={_FILE}")
    if method.upper() != ("POST" if declared.takes_body else "GET"):
        parts[0] = parts[0].replace("curl ", f"curl -X {method.upper()} ", 1)
    return " \\\n     ".join(parts)


def _examples(model: type[BaseModel]) -> dict[str, Any]:
    """Those of its fields that have one."""
    return {name: field.examples[0] for name, field in model.model_fields.items() if field.examples}


def _query(model: type[BaseModel]) -> str:
    given = {name: ",".join(one) if isinstance(one, list) else one for name, one in _examples(model).items()}
    return urlencode(given, safe=",")


def _json(model: type[BaseModel]) -> list[str]:
    body = json.dumps(_examples(model), ensure_ascii=False).replace("'", "'\\''")
    return ['-H "Content-Type: application/json"', f"-d '{body}'"]


def _form(model: type[BaseModel]) -> list[str]:
    """As `operations` reads it: ``requester.name`` is `requester_name`, a custom field `fields.KEY`."""
    parts: list[str] = []
    for name, value in _examples(model).items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        mark = "." if f"{name}." in MAPS else "_"
        parts += [f'-F "{name}{mark + part if part else ""}={one}"' for part, one in inner]
    return [*parts, f"-F photos={_FILE}"]
