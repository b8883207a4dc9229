"""Settings: webhooks, and what was delivered to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import request, url_for

from assistant.desk import inboxes, webhooks
from assistant.desk.events import TOLD
from assistant.models import DeliveryState, Webhook, WebhookDelivery
from assistant.web.console_pages import Cell, Field, Row, To, blueprint, form, given, listed, question, said, shown
from assistant.web.context import desk
from assistant.web.responses import Reply

_HERE = "webhook_list"
_STATES = {
    DeliveryState.PENDING: ("Waiting", ""),
    DeliveryState.DELIVERED: ("Delivered", "decided"),
    DeliveryState.GIVEN_UP: ("Given up", "abstained"),
}
_AT_ONCE = 50


@blueprint.get("/webhooks")
def webhook_list() -> Reply:
    with desk().db.read() as session:
        rows = [
            _row(one, webhooks.inbox_keys(session, one), webhooks.counts(session, one))
            for one in webhooks.all_webhooks(session)
        ]
    return listed(
        _HERE,
        "Webhooks",
        ("Address", "Events", "Only", "Deliveries", "State"),
        rows,
        add=To("Add a webhook", url_for("console.admin.add_webhook")),
        about="Other systems are told what happens to tickets, signed as in Standard Webhooks and in order.",
        nothing="No webhooks. A system that wants to know what happens, without asking again and again, needs one.",
    )


def _row(webhook: Webhook, only: Sequence[str], counts: dict[DeliveryState, int]) -> Row:
    told = "All" if len(webhook.kinds) == len(TOLD) else ", ".join(kind for kind in TOLD if kind in webhook.kinds)
    delivered = ", ".join(f"{counts[state]} {name.lower()}" for state, (name, _) in _STATES.items())
    return Row(
        webhook.url,
        (
            Cell(told),
            Cell(", ".join(f"inbox {one}" for one in only)),
            Cell(delivered),
            Cell("Disabled") if webhook.disabled_at is not None else Cell("Active", "decided"),
        ),
        url=url_for("console.admin.webhook", webhook_id=webhook.public_id),
        note=webhook.public_id,
        is_over=webhook.disabled_at is not None,
    )


@blueprint.route("/webhooks/add", methods=["GET", "POST"])
def add_webhook() -> Reply:
    """Add a webhook."""

    def done() -> Reply:
        with desk().db.begin() as session:
            webhook, secret = webhooks.add(session, desk().settings, **_given())
        return _secret_page(webhook, "Secret of the webhook", secret)

    return form(_HERE, "Add a webhook", lambda: _fields(None), done, button="Add")


@blueprint.route("/webhooks/<public_id:webhook_id>", methods=["GET", "POST"])
def webhook(webhook_id: str) -> Reply:
    """Change a webhook."""
    row = _found(webhook_id)

    def fields() -> Sequence[Field]:
        states = [("yes", "It is told what happens"), ("no", "It is told nothing")]
        return *_fields(row), Field("enabled", "Active", "no" if row.disabled_at else "yes", "select", states)

    def done() -> Reply:
        with desk().db.begin() as session:
            of_now = webhooks.find(session, webhook_id)
            webhooks.change(session, desk().settings, of_now, **_given(), enabled=given("enabled") != "no")
        return said("The webhook is changed.", _HERE)

    actions = [
        To(name, url_for(f"console.admin.{view}", webhook_id=webhook_id))
        for view, name in (
            ("webhook_deliveries", "Deliveries"),
            ("rotate_webhook", "Replace its secret…"),
            ("remove_webhook", "Remove…"),
        )
    ]
    return form(_HERE, row.url, fields, done, button="Save", actions=actions)


@blueprint.route("/webhooks/<public_id:webhook_id>/rotate", methods=["GET", "POST"])
def rotate_webhook(webhook_id: str) -> Reply:
    """Replace a webhook's secret."""

    def done() -> Reply:
        with desk().db.begin() as session:
            row = webhooks.find(session, webhook_id)
            secret = webhooks.rotate(session, desk().settings, row)
        return _secret_page(row, "New secret of the webhook", secret)

    about = "For 24 hours, what is sent is signed with both secrets, until the receiver has taken up the new one."
    return question(_HERE, f"Replace the secret of {_found(webhook_id).url}?", about, "Make a new secret", done)


@blueprint.route("/webhooks/<public_id:webhook_id>/remove", methods=["GET", "POST"])
def remove_webhook(webhook_id: str) -> Reply:
    """Remove a webhook."""
    url = _found(webhook_id).url

    def done() -> Reply:
        with desk().db.begin() as session:
            webhooks.remove(session, webhooks.find(session, webhook_id))
        return said(f"The webhook {url} is removed.", _HERE)

    about = "It is told nothing any more, not even what waits for it now, and the log of its deliveries is removed."
    return question(_HERE, f"Remove the webhook {url}?", about, "Remove", done, is_dangerous=True)


@blueprint.get("/webhooks/<public_id:webhook_id>/deliveries")
def webhook_deliveries(webhook_id: str) -> Reply:
    with desk().db.read() as session:
        row = webhooks.find(session, webhook_id)
        before = request.args.get("before")
        found = webhooks.deliveries(session, row, before=before, limit=_AT_ONCE + 1)
    page, more = found[:_AT_ONCE], len(found) > _AT_ONCE
    here = url_for("console.admin.webhook_deliveries", webhook_id=webhook_id)
    return listed(
        _HERE,
        f"Deliveries to {row.url}",
        ("Event", "Ticket", "When", "Tries", "Answer", "State"),
        [_delivery_row(webhook_id, one) for one in page],
        nothing="It was told nothing yet.",
        further=f"{here}?before={page[-1].row.public_id}" if more else None,
    )


def _delivery_row(webhook_id: str, delivery: webhooks.Delivery) -> Row:
    row = delivery.row
    name, tag = _STATES[row.state]
    again = url_for("console.admin.replay_delivery", webhook_id=webhook_id, delivery_id=row.public_id)
    return Row(
        row.kind,
        (
            Cell(f"#{delivery.ticket.number}"),
            Cell(at=row.created_at.isoformat()),
            Cell(str(row.tries)),
            Cell(_answer(row)),
            Cell(name, tag),
        ),
        note=f"evt_{row.event_id}",
        actions=[To("Deliver again…", again)],
    )


def _answer(row: WebhookDelivery) -> str:
    return row.problem or (str(row.status) if row.status is not None else "")


@blueprint.route("/webhooks/<public_id:webhook_id>/deliveries/<public_id:delivery_id>/replay", methods=["GET", "POST"])
def replay_delivery(webhook_id: str, delivery_id: str) -> Reply:
    """Deliver an event to a webhook once more."""

    def done() -> Reply:
        with desk().db.begin() as session:
            webhooks.replay(session, webhooks.find(session, webhook_id), delivery_id)
        return said("It is delivered again.", _HERE)

    about = "The receiver gets it once more with the same id, by which it can tell that it had it before."
    return question(_HERE, f"Deliver it to {_found(webhook_id).url} again?", about, "Deliver again", done)


def _found(webhook_id: str) -> Webhook:
    with desk().db.read() as session:
        return webhooks.find(session, webhook_id)


def _fields(row: Webhook | None) -> Sequence[Field]:
    with desk().db.read() as session:
        known = [one for one in inboxes.all_inboxes(session) if one.archived_at is None]
        chosen = webhooks.inbox_keys(session, row) if row is not None else []
        options = [(one.key, inboxes.brand(one, desk().settings)) for one in known]
    told = [kind for kind in TOLD if row is not None and kind in row.kinds]
    return (
        Field("url", "Address", row.url if row is not None else "", "url", required=True, hint="https://…"),
        Field("type", "Events", told, "checks", [(kind, kind) for kind in TOLD], hint="None chosen: all of them."),
        Field("inbox", "Only of", chosen, "checks", options, hint="None chosen: of every inbox."),
    )


def _given() -> dict[str, Any]:
    return {
        "url": given("url"),
        "kinds": request.form.getlist("type"),
        "only": request.form.getlist("inbox"),
    }


def _secret_page(webhook: Webhook, title: str, secret: str) -> str:
    about = "The receiver checks with it that what it gets is from here. It is not shown again."
    back = url_for("console.admin.webhook", webhook_id=webhook.public_id)
    return shown("secret", _HERE, title=title, about=about, what="Secret", secret=secret, back=back)
