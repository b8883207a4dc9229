"""The API's part for systems that want to learn what happens: events, and webhooks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from flask import Response, url_for

from assistant import models, payloads
from assistant.desk import feed, idempotency, webhooks
from assistant.desk.access import MachinePrincipal, Scope
from assistant.desk.events import TOLD, EventKind
from assistant.desk.idempotency import Once
from assistant.errors import Gone
from assistant.models import DeliveryState
from assistant.web import auditing, schemas
from assistant.web.api import blueprint
from assistant.web.context import desk, stopping
from assistant.web.operations import Operation
from assistant.web.responses import Frame, last_event_id, stream
from assistant.web.waiting import enter, waiting

_STREAM: dict[int | str, Any] = {
    200: {"description": "Server-sent events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


@blueprint.get("/events")
@blueprint.output(schemas.EventPage)
@Operation("Events", Scope.TICKETS_READ, query=schemas.EventQuery)
def list_events(machine: MachinePrincipal, query: schemas.EventQuery) -> schemas.EventPage:
    """List what has happened.

    Ask again with `next_cursor`, at once or days later: nothing is left out. With `wait`, the answer comes as soon as
    something happens. 410 if the cursor is older than what is kept.
    """
    which: dict[str, Any] = {"kinds": query.type, "ticket_id": query.ticket_id, "limit": query.limit}
    start = _start(query.cursor)
    if not query.wait:
        with desk().db.read() as session:
            found, last = feed.told(session, machine, start, **which)
        return _page(found, last)
    with waiting(machine):
        ends_at = time.monotonic() + query.wait
        for found, last in feed.follow_told(desk().db, machine, start, **which):
            if found or time.monotonic() >= ends_at or stopping().is_set():
                return _page(found, last)
    raise AssertionError("streams do not end by themselves")


@blueprint.get("/events/stream")
@blueprint.doc(responses=_STREAM)
@Operation("Events", Scope.TICKETS_READ, query=schemas.EventStreamQuery)
def stream_events(machine: MachinePrincipal, query: schemas.EventStreamQuery) -> Response:
    """Follow what happens, as server-sent events.

    `data` is an event as in the list. The stream ends after five minutes; begin another with `Last-Event-ID`, as
    browsers' and other clients do by themselves.
    """
    start = last_event_id(desk())
    leave = enter(machine)
    try:
        batches = feed.follow_told(desk().db, machine, start, kinds=query.type)
        response = stream(start, (_frames(found) for found, _ in batches))
    except BaseException:
        leave()
        raise
    response.call_on_close(leave)
    return response


@blueprint.get("/webhooks")
@blueprint.output(schemas.Webhooks)
@Operation("Webhooks", Scope.WEBHOOKS)
def list_webhooks(machine: MachinePrincipal) -> schemas.Webhooks:
    """List the webhooks."""
    with desk().db.read() as session:
        found = webhooks.all_webhooks(session, machine)
        return schemas.Webhooks(webhooks=tuple(_webhook(session, one) for one in found))


@blueprint.post("/webhooks")
@blueprint.output(schemas.NewlySecret, status_code=201)
@Operation("Webhooks", Scope.WEBHOOKS, body=schemas.NewWebhook, makes=True)
def add_webhook(machine: MachinePrincipal, body: schemas.NewWebhook, once: Once | None) -> Any:
    """Be told of events at an address of yours.

    Each is posted as JSON, as in the list of events, with the headers of Standard Webhooks: `webhook-id`,
    `webhook-timestamp` and `webhook-signature`. Answer 2xx within 15 seconds; what is not taken is tried again with
    growing pauses for 24 hours. Those of one ticket come in order, and now and then twice with the same id. After a
    410 the webhook is disabled.
    """
    with desk().db.begin() as session:
        webhook, secret = webhooks.add(
            session, desk().settings, url=body.url, kinds=body.types, only=body.inboxes, machine=machine
        )
        if once is not None:
            idempotency.note(session, once, made=webhook.public_id)
        auditing.record(session, machine, body, made=webhook.public_id)
        answer = schemas.NewlySecret(**dict(_webhook(session, webhook)), secret=secret)
    return answer, 201, {"Location": url_for(".get_webhook", webhook_id=answer.id)}


@blueprint.get("/webhooks/<public_id:webhook_id>")
@blueprint.output(schemas.Webhook)
@Operation("Webhooks", Scope.WEBHOOKS)
def get_webhook(machine: MachinePrincipal, webhook_id: str) -> schemas.Webhook:
    """Get a webhook."""
    with desk().db.read() as session:
        return _webhook(session, webhooks.find(session, webhook_id, machine))


@blueprint.patch("/webhooks/<public_id:webhook_id>")
@blueprint.output(schemas.Webhook)
@Operation("Webhooks", Scope.WEBHOOKS, body=schemas.WebhookUpdate)
def update_webhook(machine: MachinePrincipal, body: schemas.WebhookUpdate, webhook_id: str) -> schemas.Webhook:
    """Change a webhook, disable it or enable it again.

    Of types that it has not had before, it is told what happens from now on.
    """
    with desk().db.begin() as session:
        webhook = webhooks.find(session, webhook_id, machine)
        webhooks.change(
            session,
            desk().settings,
            webhook,
            url=body.url,
            kinds=body.types,
            only=body.inboxes,
            enabled=body.enabled,
            machine=machine,
        )
        auditing.record(session, machine, body)
        return _webhook(session, webhook)


@blueprint.delete("/webhooks/<public_id:webhook_id>")
@blueprint.output({}, status_code=204)
@Operation("Webhooks", Scope.WEBHOOKS)
def remove_webhook(machine: MachinePrincipal, webhook_id: str) -> Response:
    """Remove a webhook, with the log of its deliveries."""
    with desk().db.begin() as session:
        webhooks.remove(session, webhooks.find(session, webhook_id, machine))
        auditing.record(session, machine)
    return Response(status=204)


@blueprint.post("/webhooks/<public_id:webhook_id>/rotate")
@blueprint.output(schemas.NewlySecret)
@Operation("Webhooks", Scope.WEBHOOKS)
def rotate_webhook_secret(machine: MachinePrincipal, webhook_id: str) -> schemas.NewlySecret:
    """Replace a webhook's secret.

    For 24 hours, what is sent is signed with both.
    """
    with desk().db.begin() as session:
        webhook = webhooks.find(session, webhook_id, machine)
        secret = webhooks.rotate(session, desk().settings, webhook)
        auditing.record(session, machine)
        return schemas.NewlySecret(**dict(_webhook(session, webhook)), secret=secret)


@blueprint.get("/webhooks/<public_id:webhook_id>/deliveries")
@blueprint.output(schemas.WebhookDeliveries)
@Operation("Webhooks", Scope.WEBHOOKS, query=schemas.DeliveryQuery)
def list_webhook_deliveries(
    machine: MachinePrincipal, query: schemas.DeliveryQuery, webhook_id: str
) -> schemas.WebhookDeliveries:
    """List what a webhook was told in the last 30 days, and what it has not taken yet."""
    with desk().db.read() as session:
        webhook = webhooks.find(session, webhook_id, machine)
        found = webhooks.deliveries(session, webhook, states=query.state, before=query.cursor, limit=query.limit + 1)
    page, more = found[: query.limit], len(found) > query.limit
    return schemas.WebhookDeliveries(
        deliveries=tuple(_delivery(one.row, one.ticket.public_id) for one in page),
        next_cursor=page[-1].row.public_id if more else None,
    )


@blueprint.post("/webhooks/<public_id:webhook_id>/deliveries/<public_id:delivery_id>/replay")
@blueprint.output(schemas.WebhookDelivery, status_code=202)
@Operation("Webhooks", Scope.WEBHOOKS)
def replay_webhook_delivery(machine: MachinePrincipal, webhook_id: str, delivery_id: str) -> schemas.WebhookDelivery:
    """Deliver an event once more, with the same id."""
    with desk().db.begin() as session:
        delivery = webhooks.replay(session, webhooks.find(session, webhook_id, machine), delivery_id)
        auditing.record(session, machine)
    return _delivery(delivery.row, delivery.ticket.public_id)


def _start(cursor: str | None) -> int:
    """Raises `Gone` if it says that it is from before what is kept."""
    if cursor is None:
        return last_event_id(desk())
    last, _, at = cursor.removeprefix(payloads.events.PREFIX).partition("@")
    if at and int(at) < (desk().now() - feed.KEEP).timestamp():
        raise Gone(
            f"Events are kept for {feed.KEEP.days} days, and this cursor is older. Read the tickets that you need, "
            "and go on without it.",
            condition="removed",
        )
    return int(last)


def _page(found: Sequence[payloads.Event], last: int) -> schemas.EventPage:
    cursor = f"{payloads.events.PREFIX}{last}@{int(desk().now().timestamp())}"
    return schemas.EventPage(events=tuple(found), next_cursor=cursor)


def _frames(found: Sequence[payloads.Event]) -> list[Frame]:
    return [(int(one.id.removeprefix(payloads.events.PREFIX)), one.type, one.to_json()) for one in found]


def _webhook(session: Any, row: models.Webhook) -> schemas.Webhook:
    counts = webhooks.counts(session, row)
    return schemas.Webhook(
        id=row.public_id,
        url=row.url,
        types=tuple(kind for kind in TOLD if kind in row.kinds),
        inboxes=tuple(webhooks.inbox_keys(session, row)),
        enabled=row.disabled_at is None,
        created_at=row.created_at,
        previous_secret_until=row.previous_until,
        pending=counts[DeliveryState.PENDING],
        given_up=counts[DeliveryState.GIVEN_UP],
    )


def _delivery(row: models.WebhookDelivery, ticket_id: str) -> schemas.WebhookDelivery:
    is_over = row.state is not DeliveryState.PENDING
    return schemas.WebhookDelivery(
        id=row.public_id,
        event=f"{payloads.events.PREFIX}{row.event_id}",
        type=EventKind(row.kind),
        ticket_id=ticket_id,
        state=row.state,
        tries=row.tries,
        status=row.status,
        problem=row.problem,
        created_at=row.created_at,
        due_at=None if is_over else row.due_at,
        finished_at=row.finished_at,
    )
