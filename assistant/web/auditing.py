"""The audit log's part about machines: what a key did that somebody may have to answer for."""

from __future__ import annotations

from typing import Any

from flask import request
from pydantic import BaseModel

from assistant.desk import audit
from assistant.desk.access import MachinePrincipal


def record(session: Any, machine: MachinePrincipal, body: BaseModel | None = None, *, made: str = "") -> None:
    """In the transaction of what is done: the log holds all of it, and nothing else. Of the ``body`` the names of what
    it gives; ``made``: the id of what has been made."""
    ids = [str(value) for value in (request.view_args or {}).values()]
    audit.record(
        session,
        machine,
        request.endpoint or "",
        address=request.remote_addr or "unknown",
        subject=" ".join([*ids, made]).strip(),
        fields=sorted(body.model_fields_set) if body is not None else [],
    )
