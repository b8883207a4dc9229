"""The console's ticket page: what is done to one ticket with another: linking, merging, splitting off."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, flash, redirect, request, url_for

from assistant.desk import access, merging, related
from assistant.errors import AssistantError
from assistant.models import Ticket
from assistant.text.storable import storable
from assistant.web import auth
from assistant.web.console_ticket import perform
from assistant.web.context import desk
from assistant.web.responses import Reply

blueprint = Blueprint("related", __name__, url_prefix="/tickets/<public_id:ticket_id>")


@blueprint.post("/links")
def link(ticket_id: str) -> Reply:
    def act(session: Any, row: Ticket) -> None:
        merging.link(session, auth.agent(), row, _other(session))

    return perform(ticket_id, act, panels=("status",))


@blueprint.post("/links/<public_id:link_id>/remove")
def unlink(ticket_id: str, link_id: str) -> Reply:
    """Take a link away; of a merge, with what it did."""

    def act(session: Any, row: Ticket) -> None:
        merging.unlink(session, auth.agent(), row, link_id)

    return perform(ticket_id, act, panels=("status", "thread", "draft"))


@blueprint.post("/merge")
def merge(ticket_id: str) -> Reply:
    """Merge this ticket into the ``other``; ``confirmed`` where answers there do not reach its customer."""

    def act(session: Any, row: Ticket) -> None:
        confirmed = request.form.get("confirmed") is not None
        merging.merge(session, auth.agent(), row, _other(session), confirmed=confirmed)

    return perform(ticket_id, act, panels=("status", "thread", "draft"))


@blueprint.post("/messages/<public_id:message_id>/split")
def split(ticket_id: str, message_id: str) -> Reply:
    """Make a ticket of a message, and open it."""
    try:
        with desk().db.begin() as session:
            row = access.access_ticket(session, auth.agent(), ticket_id)
            new = merging.split(session, auth.agent(), row, message_id)
            flash(f"#{new.number} was split off from #{row.number}.")
            there = url_for("console.ticket.page", ticket_id=new.public_id)
    except AssistantError as error:
        failed = error

        def refuse(_session: Any, _row: Ticket) -> None:
            raise failed

        return perform(ticket_id, refuse, panels=("thread",))
    return Response("", headers={"HX-Redirect": there}) if request.headers.get("HX-Request") else redirect(there)


def _other(session: Any) -> Ticket:
    return related.meant(session, auth.agent(), storable(request.form.get("other", "")))
