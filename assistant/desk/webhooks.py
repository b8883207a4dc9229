"""Webhooks: other systems are told what happens, signed, at least once, and in order for each ticket.

A job (`subscribers.webhook_job`) tells a webhook what it has not been told of one ticket, one event after the other:
the next is tried once the one before it was taken, or given up after a day. So a receiver never sees a ticket's past
after its present. What was tried is a row, which is the log, too; what was not follows from the feed, so that an event
costs no row for each webhook.

Signed as Standard Webhooks 1.0.0 has it: HMAC-SHA256 over id, time and body, with both secrets while one replaces the
other. An event has one id, however often it is told.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import structlog
from sqlalchemy import and_, delete, false, func, or_, select, true
from sqlalchemy.orm import Session

from assistant import outbound, payloads
from assistant.db import Database, utcnow
from assistant.desk import feed, inboxes, queue, sealing
from assistant.desk.access import MachinePrincipal
from assistant.desk.desk import Desk
from assistant.desk.events import TOLD
from assistant.desk.subscribers import webhook_job
from assistant.errors import AssistantError, Conflict, Invalid, NotAllowed, NotFound
from assistant.models import Conversation, DeliveryState, Event, Ticket, Webhook, WebhookDelivery
from assistant.settings import Settings

log = structlog.get_logger(__name__)

# Seconds that a receiver has for its answer.
TIMEOUT = 15.0
KEEP_TRYING = timedelta(hours=24)
GRACE = timedelta(hours=24)  # that a secret stays valid beside the one that replaces it
MOST = 20
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = timedelta(seconds=5), timedelta(minutes=30), 3
_LEASE = timedelta(seconds=4 * TIMEOUT)
_NEXT_TURN = timedelta(seconds=1)
# After this long, another ticket's events have their turn.
_TURN = timedelta(seconds=20)
_SECRET_PREFIX = "whsec_"  # noqa: S105
_GONE = 410  # the receiver wants nothing any more


@dataclass(frozen=True)
class Delivery:
    """A row with the ticket that it is about."""

    row: WebhookDelivery
    ticket: Ticket


@dataclass(frozen=True)
class _Attempt:
    delivery_id: int
    request: outbound.Request


@dataclass(frozen=True)
class _Outcome:
    """``status`` None: there was no answer."""

    status: int | None = None
    problem: str | None = None

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def add(
    session: Session,
    settings: Settings,
    *,
    url: str,
    kinds: Iterable[str] = (),
    only: Iterable[str] = (),
    machine: MachinePrincipal | None = None,
) -> tuple[Webhook, str]:
    """Tell ``url`` of every event of ``kinds`` (none: all that there are) in the inboxes ``only`` (their keys; none:
    every one) from now on. Returns the secret, too. Raises `NotAllowed` if the ``machine`` that asks is not for them.
    """
    if len(session.scalars(select(Webhook.id)).all()) >= MOST:
        raise Conflict(f"There are {MOST} webhooks. Remove one that nobody needs.")
    secret = _new_secret()
    webhook = Webhook(url="", kinds={}, inbox_ids=[], secret=sealing.seal(settings, secret))
    change(session, settings, webhook, url=url, kinds=kinds, only=only, machine=machine)
    session.add(webhook)
    session.flush()
    return webhook, secret


def change(
    session: Session,
    settings: Settings,
    webhook: Webhook,
    *,
    url: str | None = None,
    kinds: Iterable[str] | None = None,
    only: Iterable[str] | None = None,
    enabled: bool | None = None,
    machine: MachinePrincipal | None = None,
) -> None:
    """What is None stays as it is. Of kinds that are new to it, and after it was disabled of all, only what happens
    from now on is told. Raises `Invalid` that says what is wrong, and as `add`."""
    if url is not None:
        webhook.url = _checked(settings, url)
    if only is not None:
        webhook.inbox_ids = sorted({inboxes.named(session, one).id for one in only})
        if machine is not None and not _is_for(machine, webhook):
            raise NotAllowed("This key is for some inboxes only. Name those of them that the webhook is for.")
    now = feed.last_event_id(session)
    if kinds is not None:
        webhook.kinds = {kind: webhook.kinds.get(kind, now) for kind in _known(kinds)}
    if enabled and webhook.disabled_at is not None:
        webhook.kinds, webhook.disabled_at = dict.fromkeys(webhook.kinds, now), None
    elif enabled is False:
        webhook.disabled_at = webhook.disabled_at or utcnow()


def all_webhooks(session: Session, machine: MachinePrincipal | None = None) -> list[Webhook]:
    """``machine``: only those that tell it nothing that it may not see."""
    found = session.scalars(select(Webhook).order_by(Webhook.id))
    return [one for one in found if machine is None or _is_for(machine, one)]


def find(session: Session, public_id: str, machine: MachinePrincipal | None = None) -> Webhook:
    """As `all_webhooks`. Raises `NotFound`."""
    webhook = session.scalar(select(Webhook).where(Webhook.public_id == public_id))
    if webhook is None or (machine is not None and not _is_for(machine, webhook)):
        raise NotFound(f"There is no webhook {public_id!r}.")
    return webhook


def _is_for(machine: MachinePrincipal, webhook: Webhook) -> bool:
    return machine.inbox_ids is None or (bool(webhook.inbox_ids) and machine.inbox_ids.issuperset(webhook.inbox_ids))


def inbox_keys(session: Session, webhook: Webhook) -> list[str]:
    """Of the inboxes that it is for; none: every one."""
    return inboxes.keys_of(session, webhook.inbox_ids)


def remove(session: Session, webhook: Webhook) -> None:
    """With the log of what it was told."""
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook.id))
    session.delete(webhook)


def rotate(session: Session, settings: Settings, webhook: Webhook, *, grace: timedelta = GRACE) -> str:
    """Another secret, which is returned once. For ``grace``, what is sent is signed with the one of before, too."""
    secret = _new_secret()
    webhook.previous_secret, webhook.previous_until = webhook.secret, utcnow() + grace
    webhook.secret = sealing.seal(settings, secret)
    return secret


def deliveries(
    session: Session,
    webhook: Webhook,
    *,
    states: Collection[DeliveryState] = (),
    before: str | None = None,
    limit: int = 50,
) -> list[Delivery]:
    """The newest first; ``before``: those older than this one. Raises `Invalid` if there is none of that id."""
    query = (
        select(WebhookDelivery, Ticket)
        .join(Ticket, Ticket.conversation_id == WebhookDelivery.conversation_id)
        .where(WebhookDelivery.webhook_id == webhook.id)
        .order_by(WebhookDelivery.id.desc())
    )
    if states:
        query = query.where(WebhookDelivery.state.in_(states))
    if before is not None:
        last = session.scalar(select(WebhookDelivery.id).where(WebhookDelivery.public_id == before))
        if last is None:
            raise Invalid("This cursor is unknown. Start again without it.", field="cursor")
        query = query.where(WebhookDelivery.id < last)
    return [Delivery(row, ticket) for row, ticket in session.execute(query.limit(limit))]


def counts(session: Session, webhook: Webhook) -> dict[DeliveryState, int]:
    """Deliveries by state, of those in the log."""
    of_it = WebhookDelivery.webhook_id == webhook.id
    rows = session.execute(
        select(WebhookDelivery.state, func.count()).where(of_it).group_by(WebhookDelivery.state)
    ).all()
    return dict.fromkeys(DeliveryState, 0) | dict(rows)


def replay(session: Session, webhook: Webhook, delivery_id: str) -> Delivery:
    """Deliver it once more, whatever became of it, under the same id and before what is newer in its ticket. Raises
    `Conflict` if the event is no longer kept."""
    query = select(WebhookDelivery).where(
        WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.public_id == delivery_id
    )
    row = session.scalar(query.with_for_update())
    if row is None:
        raise NotFound("This webhook has no such delivery.")
    if webhook.disabled_at is not None:
        raise Conflict("The webhook is disabled. Enable it first.")
    if session.get(Event, row.event_id) is None:
        raise Conflict(f"Events are kept for {feed.KEEP.days} days, and this one is older.")
    now = utcnow()
    if row.state is not DeliveryState.PENDING:
        row.state, row.tries, row.finished_at, row.expires_at = DeliveryState.PENDING, 0, None, now + KEEP_TRYING
    row.due_at = now
    _enqueue(session, row, now)
    return Delivery(row, session.scalars(select(Ticket).where(Ticket.conversation_id == row.conversation_id)).one())


def deliver(desk: Desk, webhook_id: int, conversation_id: int) -> None:
    """Job: tell a webhook what it has not been told of a conversation, as far as it takes it. If it does not, or this
    takes long, a job for the rest is enqueued."""
    ends_at = desk.now() + _TURN
    while (attempt := _begin(desk, webhook_id, conversation_id, ends_at=ends_at)) is not None:
        if not _record(desk, attempt, _post(desk, attempt.request)):
            return


def sweep(db: Database, *, now: datetime) -> None:
    """Forget the log as far as the feed is forgotten, and secrets that are no longer valid. Not sooner: what was
    delivered last says where to go on."""
    with db.begin() as session:
        first = session.scalar(select(func.min(Event.id)))
        forgotten = WebhookDelivery.event_id < first if first is not None else true()
        session.execute(delete(WebhookDelivery).where(forgotten, WebhookDelivery.created_at < now - feed.KEEP))
        for webhook in session.scalars(select(Webhook).where(Webhook.previous_until < now)):
            webhook.previous_secret = webhook.previous_until = None


def _begin(desk: Desk, webhook_id: int, conversation_id: int, *, ends_at: datetime) -> _Attempt | None:
    """Claim what is to be told next. None if there is nothing, or a job is enqueued for when it can be tried.

    The webhook's row is locked meanwhile: two jobs of one ticket never see the same state of it.
    """
    with desk.db.begin() as session:
        webhook = session.scalar(select(Webhook).where(Webhook.id == webhook_id).with_for_update())
        if webhook is None or webhook.disabled_at is not None:
            return None
        now = desk.now()
        row = _pending(session, webhook, conversation_id) or _next(session, webhook, conversation_id, now)
        if row is None:
            return None
        free_at = max(row.due_at, row.leased_until or row.due_at, now if now < ends_at else now + _NEXT_TURN)
        if free_at > now:
            _enqueue(session, row, free_at)
            return None
        told = session.execute(feed.with_tickets(select(Ticket)).where(Event.id == row.event_id)).one_or_none()
        if told is None:  # by an erasure, or a clock that has jumped by a month
            _finish(row, DeliveryState.GIVEN_UP, now)
            _enqueue(session, row, now)
            return None
        row.leased_until = now + _LEASE
        session.flush()
        return _Attempt(row.id, _signed(desk, webhook, payloads.Event.of(*told)))


def _pending(session: Session, webhook: Webhook, conversation_id: int) -> WebhookDelivery | None:
    query = select(WebhookDelivery).where(
        WebhookDelivery.webhook_id == webhook.id,
        WebhookDelivery.conversation_id == conversation_id,
        WebhookDelivery.state == DeliveryState.PENDING,
    )
    return session.scalar(query.order_by(WebhookDelivery.event_id).limit(1))


def _next(session: Session, webhook: Webhook, conversation_id: int, now: datetime) -> WebhookDelivery | None:
    """The first event after the last one that it was told of the conversation, if it is to be told of it at all."""
    if webhook.inbox_ids and session.get_one(Conversation, conversation_id).inbox_id not in webhook.inbox_ids:
        return None
    last = session.scalar(
        select(func.max(WebhookDelivery.event_id)).where(
            WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.conversation_id == conversation_id
        )
    )
    wanted = or_(false(), *(and_(Event.kind == kind, Event.id > since) for kind, since in webhook.kinds.items()))
    query = select(Event).where(Event.conversation_id == conversation_id, Event.id > (last or 0), wanted)
    event = session.scalar(query.order_by(Event.id).limit(1))
    if event is None:
        return None
    row = WebhookDelivery(
        webhook=webhook,
        conversation_id=conversation_id,
        event_id=event.id,
        kind=event.kind,
        due_at=now,
        expires_at=now + KEEP_TRYING,
    )
    session.add(row)
    session.flush()
    return row


def _post(desk: Desk, request: outbound.Request) -> _Outcome:
    try:
        return _Outcome(desk.post(request).status)
    except AssistantError as error:
        return _Outcome(problem=f"The receiver {error.message}.")


def _record(desk: Desk, attempt: _Attempt, outcome: _Outcome) -> bool:
    """What came of an attempt. Returns whether it is over with this event, so that the next one can be told."""
    with desk.db.begin() as session:
        row = session.get(WebhookDelivery, attempt.delivery_id)
        if row is None:  # the webhook is removed, or its customer erased
            return False
        now = desk.now()
        row.leased_until, row.tries = None, row.tries + 1
        row.status, row.problem = outcome.status, outcome.problem
        due_at = now + _pause(row.tries)
        if outcome.is_taken:
            _finish(row, DeliveryState.DELIVERED, now)
            return True
        log.info("webhook.refused", webhook=row.webhook.public_id, status=outcome.status, tries=row.tries)
        if outcome.status == _GONE:
            row.webhook.disabled_at = now
            row.problem = "The receiver wants nothing any more: the webhook is disabled."
        if due_at > row.expires_at:
            _finish(row, DeliveryState.GIVEN_UP, now)
            return True
        row.due_at = due_at
        _enqueue(session, row, due_at)
        return False


def _finish(row: WebhookDelivery, state: DeliveryState, now: datetime) -> None:
    row.state, row.finished_at = state, now


def _enqueue(session: Session, row: WebhookDelivery, run_at: datetime) -> None:
    job = webhook_job(row.webhook_id, row.conversation_id)
    queue.enqueue(session, job.name, job.payload, key=job.key, run_at=run_at)


def _pause(tries: int) -> timedelta:
    """5 seconds, three times as long each time, half an hour at most; up to a fifth more, so that receivers that come
    back are not asked everything at once."""
    grown: timedelta = min(_FIRST_PAUSE * _GROWTH ** min(tries - 1, 10), _LONGEST_PAUSE)
    return grown * random.uniform(1, 1.2)


def _signed(desk: Desk, webhook: Webhook, event: payloads.Event) -> outbound.Request:
    body = json.dumps(event.to_json(), ensure_ascii=False, separators=(",", ":")).encode()
    now = desk.now()
    sealed = [webhook.secret]
    if webhook.previous_secret is not None and webhook.previous_until is not None and webhook.previous_until > now:
        sealed.append(webhook.previous_secret)
    timestamp = str(int(now.timestamp()))
    signatures = (
        sign(sealing.unseal(desk.settings, one), message_id=event.id, timestamp=timestamp, body=body) for one in sealed
    )
    headers = {
        "Content-Type": "application/json",
        "webhook-id": event.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }
    return outbound.Request(webhook.url, headers, limit=None, body=body)


def sign(secret: str, *, message_id: str, timestamp: str, body: bytes) -> str:
    """The signature of Standard Webhooks 1.0.0, ``v1,`` and base64. ``timestamp``: Unix seconds."""
    key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _new_secret() -> str:
    return _SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _checked(settings: Settings, url: str) -> str:
    url = url.strip()
    try:
        outbound.check_address(url)
    except Invalid as error:
        raise Invalid(f"The address {error.message}.", field="url") from error
    if len(url) > 2_000:
        raise Invalid("The address is longer than 2,000 characters.", field="url")
    if urlsplit(url).scheme != "https" and not settings.webhook_private_addresses:
        raise Invalid(
            "What is told of customers goes to https:// addresses only. For a receiver in your own network, set "
            "ASSISTANT_WEBHOOK_PRIVATE_ADDRESSES=true",
            field="url",
        )
    return url


def _known(kinds: Iterable[str]) -> list[str]:
    known = [kind.value for kind in TOLD]
    wanted = list(kinds) or known
    if unknown := sorted(set(wanted) - set(known)):
        raise Invalid(f"There is no event {unknown[0][:60]!r}. Choose from: {', '.join(known)}.", field="kinds")
    return [kind for kind in known if kind in wanted]
