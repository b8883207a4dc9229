"""The API's part for what triage learns from agents' decisions."""

from __future__ import annotations

from assistant import payloads
from assistant.desk import learning
from assistant.desk.access import MachinePrincipal, Scope
from assistant.errors import NotFound
from assistant.skills.triage_fields import LEARNED_FIELDS
from assistant.web import auditing
from assistant.web.api import blueprint
from assistant.web.context import desk
from assistant.web.operations import Operation


@blueprint.get("/triage/heads")
@blueprint.output(payloads.Learned)
@Operation("Settings", Scope.SETTINGS)
def list_heads(machine: MachinePrincipal) -> payloads.Learned:
    """List what triage has learned from agents' decisions, and how that did on decisions that it had not learned from.

    A head that finds such decisions less likely than what served before waits, and so do those after one that was
    rolled back.
    """
    with desk().db.read() as session:
        fields = tuple(learning.count_decisions(session, desk()).values())
        return payloads.Learned(fields=fields, heads=tuple(learning.list_heads(session)))


@blueprint.post("/triage/heads/<field>/roll-back")
@blueprint.output(payloads.ServedHead)
@Operation("Settings", Scope.SETTINGS)
def roll_back_head(machine: MachinePrincipal, field: str) -> payloads.ServedHead:
    """Stop serving a field's head. The one before it serves instead, if there is one; later ones wait.

    409 if none serves.
    """
    _require_learned(field)
    with desk().db.begin() as session:
        head = learning.roll_back(session, field)
        auditing.record(session, machine)
    return payloads.ServedHead(field=field, head=head)


@blueprint.post("/triage/heads/<field>/serve")
@blueprint.output(payloads.ServedHead)
@Operation("Settings", Scope.SETTINGS)
def serve_head(machine: MachinePrincipal, field: str) -> payloads.ServedHead:
    """Serve a field's newest head that waits or was rolled back, whatever its trial says.

    409 if there is none.
    """
    _require_learned(field)
    with desk().db.begin() as session:
        head = learning.promote(session, field)
        auditing.record(session, machine)
    return payloads.ServedHead(field=field, head=head)


def _require_learned(field: str) -> None:
    if field not in LEARNED_FIELDS:
        raise NotFound(f"Triage learns no field of that name. Choose from: {', '.join(LEARNED_FIELDS)}.")
