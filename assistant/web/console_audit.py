"""Settings: the audit log; and what of the console's requests goes into it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from flask import Response, current_app, g, request, url_for

from assistant.desk import api_keys, audit
from assistant.models import AuditEntry
from assistant.text.storable import storable
from assistant.web import console_roles
from assistant.web.console_pages import Cell, Row, To, blueprint, listed
from assistant.web.context import desk
from assistant.web.responses import Reply

_PAGE = 100
_KINDS = {
    "Everything": "",
    "Signing in and out": "sign",
    "Settings": "admin.",
    "Customers": "customers.",
    "Photos and files": "attachment",
    "Retention": "retention",
    "Command line": "command",
    "API": "api.",
}
_ABOUT = (
    "Who signed in, changed settings, exported, erased or merged customers, or looked at a photo or file as it was "
    "sent (told once a day), here, by the command line, or with an API key. Entries are added and never changed; they "
    "hold names of fields, not what was typed."
)
_COLUMNS = ("What", "Who", "On what", "Fields", "From", "When")


def note(response: Response) -> None:
    """Put the request into the log, if it was done and somebody may have to answer for it."""
    endpoint, agent = request.endpoint or "", g.get("agent")
    if agent is None or response.status_code >= 400:
        return
    action = endpoint.removeprefix("console.")
    subject = " ".join(str(value) for value in (request.view_args or {}).values())
    address = request.remote_addr or "unknown"
    if console_roles.is_looking(endpoint, request.args):
        audit.record_look(desk().db, agent, action, address=address, subject=subject, now=desk().now())
    elif console_roles.is_noted(endpoint, request.method):
        fields = [name for name, value in request.form.items() if value and name != "csrf_token"]
        with desk().db.begin() as session:
            audit.record(session, agent, action, address=address, subject=subject, fields=fields)


@blueprint.get("/audit")
def audit_log() -> Reply:
    """A page of the log, or with ``csv`` all of it."""
    who, what = (storable(request.args.get(name, "")).strip() for name in ("who", "what"))
    before = request.args.get("before", type=int)
    as_csv = "csv" in request.args
    with desk().db.read() as session:
        limit = None if as_csv else _PAGE + 1
        found = audit.entries(session, who=who, what=what, before=before, limit=limit)
        names = {key.public_id: f"{key.name} ({key.public_id})" for key in api_keys.all_keys(session)}
    if as_csv:
        return _csv(found, names)
    here = "console.admin.audit_log"
    return listed(
        "audit_log",
        "Audit log",
        _COLUMNS,
        [_row(entry, what, names) for entry in found[:_PAGE]],
        actions=[
            *(To(name, url_for(here, what=kind, who=who)) for name, kind in _KINDS.items()),
            To("As CSV", url_for(here, csv=1, who=who, what=what)),
        ],
        about=f"What {names.get(who, who)} did." if who else _ABOUT,
        nothing="Nothing yet.",
        further=url_for(here, before=found[_PAGE - 1].id, who=who, what=what) if len(found) > _PAGE else None,
    )


def _said(action: str) -> str:
    """An action in words: of a view, the first sentence of its docstring; of a command, its name."""
    view = current_app.view_functions.get(action if action.startswith("api.") else f"console.{action}")
    if view is not None and view.__doc__:
        return view.__doc__.partition("\n")[0].partition(". ")[0].rstrip(".")
    if action.startswith("command "):
        return action.replace("command", "assistant", 1)
    return action if "." in action else action.replace("_", " ").capitalize()


def _row(entry: AuditEntry, what: str, names: Mapping[str, str]) -> Row:
    texts = (names.get(entry.agent, entry.agent), entry.subject, ", ".join(entry.fields), entry.address)
    url = url_for("console.admin.audit_log", who=entry.agent, what=what)
    return Row(_said(entry.action), [*map(Cell, texts), Cell(at=entry.at.isoformat())], url=url)


def _csv(found: Sequence[AuditEntry], names: Mapping[str, str]) -> Response:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("At", "Who", "What", "Action", "On what", "Fields", "From"))
    for one in found:
        fields = " ".join(one.fields)
        said = _said(one.action)
        who = names.get(one.agent, one.agent)
        writer.writerow((one.at.isoformat(), who, said, one.action, one.subject, fields, one.address))
    headers = {"Content-Disposition": "attachment; filename=audit.csv"}
    return Response("\ufeff" + out.getvalue(), mimetype="text/csv", headers=headers)
