"""The API's part for macros: what agents use again and again, done to a ticket by a machine."""

from __future__ import annotations

from assistant import payloads
from assistant.desk import macros, tickets
from assistant.desk.access import MachinePrincipal, Scope
from assistant.web import api, schemas_admin
from assistant.web.api import blueprint
from assistant.web.context import desk
from assistant.web.operations import Operation


@blueprint.get("/macros")
@blueprint.output(schemas_admin.Macros)
@Operation("Tickets", Scope.TICKETS_READ)
def list_macros(machine: MachinePrincipal) -> schemas_admin.Macros:
    """List the macros of everybody and of teams, the most used first."""
    with desk().db.read() as session:
        return schemas_admin.Macros(macros=tuple(map(payloads.Macro.of, macros.usable(session, machine))))


@blueprint.get("/macros/<public_id:macro_id>")
@blueprint.output(payloads.Macro)
@Operation("Tickets", Scope.TICKETS_READ)
def get_macro(machine: MachinePrincipal, macro_id: str) -> payloads.Macro:
    """Get a macro."""
    with desk().db.read() as session:
        return payloads.Macro.of(macros.find(session, machine, macro_id))


@blueprint.post("/tickets/<public_id:ticket_id>/macros/<public_id:macro_id>/apply")
@blueprint.output(schemas_admin.AppliedMacro)
@Operation("Tickets", Scope.TICKETS_WRITE, versioned=True)
def apply_macro(
    machine: MachinePrincipal, expected: str | None, ticket_id: str, macro_id: str
) -> schemas_admin.AppliedMacro:
    """Do to a ticket what a macro does.

    All of it or, with a problem that says why, nothing. Its text is not sent: it comes back as it reads for the ticket.
    """
    with desk().db.begin() as session:
        ticket = tickets.load_ticket(session, machine, ticket_id)
        tickets.require_version(session, ticket, expected)
        macro = macros.find(session, machine, macro_id)
        macros.perform(session, machine, ticket, macro)
        text = macros.text_for(macro, ticket, machine)
    return schemas_admin.AppliedMacro(text=text, ticket=api.shown_ticket(machine, ticket_id))
