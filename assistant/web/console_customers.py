"""The console's pages of customers: a list with a search, and one customer with all that is known of them."""

from __future__ import annotations

import tempfile
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, send_file, url_for

from assistant.desk import customers, erasure
from assistant.errors import AssistantError
from assistant.models import Customer
from assistant.text.storable import storable
from assistant.web import auth
from assistant.web.context import desk
from assistant.web.responses import Reply

blueprint = Blueprint("customers", __name__, url_prefix="/customers")

_PAGE = 50


@blueprint.get("")
def customer_list() -> Reply:
    query = storable(request.args.get("q", "")).strip()
    before = request.args.get("before") or None
    with desk().db.read() as session:
        found = customers.listed(session, auth.agent(), query=query, before=before, limit=_PAGE + 1)
        shown = found[:_PAGE]
        further = shown[-1].customer.public_id if len(found) > _PAGE else None
        return render_template(
            "console/customers.html", customers=shown, q=query, is_first=before is None, further=further
        )


@blueprint.get("/<public_id:customer_id>")
def customer(customer_id: str) -> Reply:
    return _page(customer_id)


@blueprint.post("/<public_id:customer_id>/notes")
def add_note(customer_id: str) -> Reply:
    text = storable(request.form.get("text", "")).replace("\r\n", "\n")
    try:
        with desk().db.begin() as session:
            customers.add_note(session, auth.agent(), _found(session, customer_id), text)
    except AssistantError as error:
        if error.status == 404:
            raise
        return _page(customer_id, error=error.message, typed=text), error.status
    return redirect(url_for("console.customers.customer", customer_id=customer_id, _anchor="notes"))


@blueprint.post("/<public_id:customer_id>/notes/<public_id:note_id>/remove")
def remove_note(customer_id: str, note_id: str) -> Reply:
    with desk().db.begin() as session:
        customers.remove_note(session, auth.agent(), _found(session, customer_id), note_id)
    return redirect(url_for("console.customers.customer", customer_id=customer_id, _anchor="notes"))


@blueprint.route("/<public_id:customer_id>/merge", methods=["GET", "POST"])
def merge(customer_id: str) -> Reply:
    """Merge two customers. Asks who the other is, then says what merging them means, then does it."""
    agent, who = auth.agent(), storable(request.values.get("who", "")).strip()
    try:
        with desk().db.begin() if request.method == "POST" else desk().db.read() as session:
            one = _found(session, customer_id)
            if not who:
                return _merging(one)
            other = customers.other(session, agent, one, who)
            into, away = customers.stays(one, other)
            if request.method == "GET":
                return _merging(one, who=other.public_id, into=into, away=away)
            customers.merge(session, agent, one, other)
            flash(f"{away.display_name} is merged into {into.display_name}.")
            return redirect(url_for("console.customers.customer", customer_id=into.public_id))
    except AssistantError as error:
        if error.status == 404:
            raise
        with desk().db.read() as session:
            return _merging(_found(session, customer_id), who=who, error=error.message), error.status


@blueprint.post("/<public_id:customer_id>/undo-merge")
def undo_merge(customer_id: str) -> Reply:
    """Undo a merge of customers."""
    with desk().db.begin() as session:
        one = _found(session, customer_id)
        into = customers.undo_merge(session, auth.agent(), one)
        flash(f"{one.display_name} and {into.display_name} are two customers again.")
    return redirect(url_for("console.customers.customer", customer_id=customer_id))


@blueprint.get("/<public_id:customer_id>/export")
def export(customer_id: str) -> Response:
    """Export a customer. Everything that is known of them, as a ZIP file."""
    with desk().db.read() as session:
        one = _found(session, customer_id)
    file = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the response)
    erasure.write_archive(desk().db, desk().storage, one, file)
    file.seek(0)
    return send_file(file, mimetype="application/zip", as_attachment=True, download_name=f"{customer_id}.zip")


@blueprint.route("/<public_id:customer_id>/erase", methods=["GET", "POST"])
def erase(customer_id: str) -> Reply:
    """Erase a customer. Says what would be gone for good, then erases it and shows the receipt."""
    with desk().db.read() as session:
        one = _found(session, customer_id)
        persons = erasure.one_person(session, one)
        rows = erasure.preview(session, one)
    if request.method == "GET":
        return render_template("console/customer_erase.html", customer=one, persons=persons, rows=rows)
    receipt = erasure.erase(desk().db, desk().storage, desk().settings.data_dir, [customer_id])
    return render_template("console/customer_erased.html", receipt=receipt)


def _merging(one: Customer, **more: Any) -> str:
    shown = {"who": "", "into": None, "away": None, "error": None} | more
    return render_template("console/customer_merge.html", customer=one, **shown)


def _page(customer_id: str, *, error: str | None = None, typed: str = "") -> str:
    with desk().db.read() as session:
        known = customers.known(session, auth.agent(), _found(session, customer_id))
        return render_template("console/customer.html", known=known, customer=known.customer, error=error, typed=typed)


def _found(session: Any, customer_id: str) -> Customer:
    return customers.find(session, auth.agent(), customer_id)
