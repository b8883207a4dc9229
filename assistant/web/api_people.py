"""The API's part about people and what tickets are sorted by: customers, agents, teams, inboxes, tags."""

from __future__ import annotations

from assistant import payloads
from assistant.desk import access, customers, inboxes, people, tags
from assistant.desk.access import MachinePrincipal, Scope
from assistant.text.folding import address
from assistant.web import schemas
from assistant.web.api import blueprint
from assistant.web.context import desk
from assistant.web.operations import Operation


@blueprint.get("/customers")
@blueprint.output(schemas.CustomerPage)
@Operation("People", Scope.TICKETS_READ, query=schemas.CustomerQuery)
def list_customers(machine: MachinePrincipal, query: schemas.CustomerQuery) -> schemas.CustomerPage:
    """List the customers of the tickets that you may see, newest first, or find some."""
    known = address(query.email) if query.email else None
    with desk().db.read() as session:
        found = customers.listed(
            session,
            machine,
            query=query.q or "",
            before=query.cursor,
            limit=query.limit + 1,
            external_id=query.external_id,
            email=known,
        )
    page = tuple(payloads.Customer.of(one.customer) for one in found[: query.limit])
    return schemas.CustomerPage(customers=page, next_cursor=page[-1].id if len(found) > query.limit else None)


@blueprint.get("/customers/<public_id:customer_id>")
@blueprint.output(payloads.Customer)
@Operation("People", Scope.TICKETS_READ)
def get_customer(machine: MachinePrincipal, customer_id: str) -> payloads.Customer:
    """Get a customer."""
    with desk().db.read() as session:
        return payloads.Customer.of(customers.find(session, machine, customer_id))


@blueprint.get("/agents")
@blueprint.output(schemas.Agents)
@Operation("People", Scope.TICKETS_READ)
def list_agents(machine: MachinePrincipal) -> schemas.Agents:
    """List the agents to whom tickets can be assigned."""
    with desk().db.read() as session:
        return schemas.Agents(agents=tuple(payloads.Agent.of(one) for one in people.active_agents(session)))


@blueprint.get("/teams")
@blueprint.output(schemas.Teams)
@Operation("People", Scope.TICKETS_READ)
def list_teams(machine: MachinePrincipal) -> schemas.Teams:
    """List the teams."""
    with desk().db.read() as session:
        found = people.all_teams(session)
    return schemas.Teams(teams=tuple(payloads.Team(key=one.key, name=one.name) for one in found))


@blueprint.get("/inboxes")
@blueprint.output(schemas.Inboxes)
@Operation("People", Scope.TICKETS_READ)
def list_inboxes(machine: MachinePrincipal) -> schemas.Inboxes:
    """List the inboxes that your key is for."""
    with desk().db.read() as session:
        mine = [one for one in inboxes.all_inboxes(session) if machine.inbox_ids is None or one.id in machine.inbox_ids]
        shown = tuple(
            payloads.Inbox(key=one.key, name=inboxes.brand(one, desk().settings), archived_at=one.archived_at)
            for one in mine
        )
    return schemas.Inboxes(inboxes=shown)


@blueprint.get("/tags")
@blueprint.output(schemas.Tags)
@Operation("People", Scope.TICKETS_READ)
def list_tags(machine: MachinePrincipal) -> schemas.Tags:
    """List the tags that tickets have, those of most tickets first."""
    with desk().db.read() as session:
        return schemas.Tags(tags=tuple(tags.known(session, on=access.visible_tickets(machine))))
