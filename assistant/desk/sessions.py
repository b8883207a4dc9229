"""Sessions of the widget: a browser's right to talk as one customer in one inbox, from pages of one origin.

The token is 32 random bytes. A browser draws it itself before it asks for a session, so that an answer which is lost,
or several tabs that start at once, still make one session. From then on the server renews it (`renew`).

| a token | answers |
|---|---|
| unknown | 401, ``session_unknown``: the browser keeps it and begins a session with it |
| expired, revoked, or of another origin | 401: the browser forgets it and begins anew |
| replaced | valid until `OVERLAP` after the new one was first used: other tabs still hold it |

If an unknown token were forgotten, a tab that asks before another has begun the session would take it from that one,
too, and what that one sends again would come from a second customer.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.db import Database, utcnow
from assistant.desk import people
from assistant.desk.access import SessionPrincipal
from assistant.errors import Invalid, NotFound, Unauthenticated, Unbegun
from assistant.models import Conversation, Customer, CustomerMerge, CustomerNote, Inbox, VerifiedBy, WidgetSession
from assistant.wording import Notice

LASTS = timedelta(days=30)  # since it was last used
# A site signs its customer in on every page, so forgetting one loses nothing, and shared computers forget sooner.
SIGNED_IN_LASTS = timedelta(days=7)
RENEW_AFTER = timedelta(days=1)
OVERLAP = timedelta(minutes=10)
_LOST = timedelta(minutes=1)  # no answer with a new token is on its way for longer
_SEEN_EVERY = timedelta(minutes=5)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43,128}")
KEEP = timedelta(days=90)  # ended sessions, so that their tokens stay refused


@dataclass(frozen=True)
class Opened:
    """A session and the token to use from now on. ``begun``: there was none before."""

    session: WidgetSession
    token: str
    begun: bool


def new_token() -> str:
    return secrets.token_urlsafe(32)


def open_session(
    session: Session,
    token: str | None,
    *,
    inbox: Inbox,
    origin: str | None,
    name: str | None = None,
    email: str | None = None,
) -> Opened:
    """Continue the session of this token, or begin one as a new, unverified customer. ``name`` and ``email`` are what
    somebody typed or a page said: a verified customer keeps their own.

    Raises `Invalid` for a token that could be guessed, `Unauthenticated` for one that is no longer valid here.
    """
    token = token or new_token()
    _require_unguessable(token)
    known = _find(session, token)
    if known is None:
        try:
            with session.begin_nested():
                return Opened(_begin(session, token, inbox, origin, name=name, email=email), token, begun=True)
        except IntegrityError:
            known = _find(session, token)  # another tab was first
            if known is None:
                raise
    _require_valid(known, token, origin)
    if known.inbox_id != inbox.id:
        raise Unauthenticated("This session belongs to another inbox. Begin a new one.")
    if known.customer.verified_at is None:
        people.rename(session, known.customer, name=name, email=email)
    return Opened(known, token, begun=False)


def _begin(
    session: Session, token: str, inbox: Inbox, origin: str | None, *, name: str | None, email: str | None
) -> WidgetSession:
    row = WidgetSession(
        customer=Customer(name=name, email=email),
        inbox=inbox,
        origin=origin,
        token_hash=_hash(token),
        expires_at=utcnow() + LASTS,
    )
    session.add(row)
    session.flush()
    return row


def authenticate(db: Database, token: str, *, origin: str | None) -> SessionPrincipal:
    """Who holds this token. ``origin``: of the page that the widget is on now."""
    with db.read() as session:
        row = _find(session, token)
        if row is None:
            raise Unbegun("This session is unknown. Begin it.")
        _require_valid(row, token, origin)
        is_first_use = row.previous_hash is not None and row.previous_until is None and row.token_hash == _hash(token)
        principal = principal_of(row)
    now = utcnow()
    if is_first_use or now - row.last_used_at > _SEEN_EVERY:
        with db.begin() as session:
            _note_use(session, row.id, now, ends_previous=is_first_use)
    return principal


def _note_use(session: Session, session_id: int, now: datetime, *, ends_previous: bool) -> None:
    row = session.get_one(WidgetSession, session_id, with_for_update=True)
    row.last_used_at = now
    if row.customer.verified_by is not VerifiedBy.SITE:  # signed in by the site: only the site prolongs it
        row.expires_at = now + LASTS
    if ends_previous and row.previous_until is None:
        row.previous_until = now + OVERLAP


def principal_of(row: WidgetSession) -> SessionPrincipal:
    return SessionPrincipal(row.id, row.customer_id, row.inbox_id, row.admitted_id)


def is_due(row: WidgetSession) -> bool:
    """Whether its browser should ask for a new token."""
    return utcnow() - row.renewed_at > RENEW_AFTER


def renew(session: Session, principal: SessionPrincipal, token: str) -> str:
    """The token to use from now on: a new one, unless another tab has just been given one, which this one will find
    where tokens are kept."""
    row = session.get_one(WidgetSession, principal.session_id, with_for_update=True)
    now, digest = utcnow(), _hash(token)
    is_settled = row.previous_hash is None or row.previous_until is not None
    if row.token_hash == digest and is_settled:
        row.previous_hash, row.previous_until = digest, None
    elif row.previous_hash != digest or row.previous_until is not None or now - row.renewed_at < _LOST:
        return token
    return _replace(row, now, new_token())


def replace_at_once(session: Session, row: WidgetSession, *, token: str | None = None) -> str:
    """A new token: ``token``, which the browser has drawn, or one that we draw. The old one is refused from now on:
    whoever knew it must not become somebody else with it.

    Raises `Invalid` for a token that could be guessed, or that is a session's already."""
    token = token or new_token()
    _require_unguessable(token)
    if _find(session, token) is not None:
        raise Invalid("token is in use. Draw a new one.", field="token")
    now = utcnow()
    row.previous_hash, row.previous_until = row.token_hash, now
    return _replace(row, now, token)


def succeed(session: Session, row: WidgetSession, customer: Customer) -> Opened:
    """End the session and begin one for another customer in the same browser."""
    row.revoked_at, token = utcnow(), new_token()
    begun = WidgetSession(
        customer=customer,
        inbox=row.inbox,
        origin=row.origin,
        token_hash=_hash(token),
        expires_at=utcnow() + LASTS,
    )
    session.add(begun)
    session.flush()
    return Opened(begun, token, begun=False)


def _replace(row: WidgetSession, now: datetime, token: str) -> str:
    row.token_hash, row.renewed_at = _hash(token), now
    return token


def take_over(session: Session, row: WidgetSession, conversation_id: str) -> None:
    """Exchange an old token for what it showed: one conversation. It becomes the session's own, unless it is of a
    customer of whom there is more: addresses that nobody had proved used to put strangers together."""
    conversation = session.scalar(select(Conversation).where(Conversation.public_id == conversation_id))
    if conversation is None:
        raise Unauthenticated(Notice("conversation_gone"))
    before = conversation.customer
    others = select(func.count()).where(Conversation.customer_id == before.id, Conversation.id != conversation.id)
    if is_unverified(before) and not session.scalar(others):
        visitor, row.customer = row.customer, before
        session.flush()
        remove_if_empty(session, visitor.id)
    else:
        admit(row, conversation)


def follow_link(session: Session, row: WidgetSession, conversation_id: str) -> None:
    """Let the session see the conversation that a link of ours names. Raises `NotFound` if it is gone."""
    conversation = session.scalar(select(Conversation).where(Conversation.public_id == conversation_id))
    if conversation is None:
        raise NotFound(Notice("conversation_gone"))
    admit(row, conversation)


def is_unverified(customer: Customer) -> bool:
    """Whether the customer is whoever holds their session, and nobody that site or desk knows."""
    return customer.verified_at is None and customer.external_id is None


def admit(row: WidgetSession, conversation: Conversation) -> None:
    """Let the session see one conversation of somebody else, e.g. of whom the link to it was sent to."""
    if conversation.customer_id != row.customer_id:
        row.admitted_id = conversation.id


def revoke(
    session: Session, *, customer_id: int | None = None, session_id: int | None = None, but: int | None = None
) -> int:
    """End the sessions of a customer, all ``but`` the one with this id, or one session. How many there were."""
    ended = update(WidgetSession).where(WidgetSession.revoked_at.is_(None)).values(revoked_at=utcnow())
    if customer_id is not None:
        ended = ended.where(WidgetSession.customer_id == customer_id)
    if session_id is not None:
        ended = ended.where(WidgetSession.id == session_id)
    if but is not None:
        ended = ended.where(WidgetSession.id != but)
    return len(session.execute(ended.returning(WidgetSession.id)).all())


def valid_sessions(session: Session, customer: Customer) -> Sequence[WidgetSession]:
    """The browsers that talk as this customer, the last used first."""
    holds = (WidgetSession.revoked_at.is_(None), WidgetSession.expires_at > utcnow())
    query = select(WidgetSession).where(WidgetSession.customer_id == customer.id, *holds)
    return session.scalars(query.order_by(WidgetSession.last_used_at.desc())).all()


def is_valid(db: Database, principal: SessionPrincipal) -> bool:
    """Whether the session still holds, and for the same customer."""
    with db.read() as session:
        row = session.get(WidgetSession, principal.session_id)
        return row is not None and row.revoked_at is None and principal_of(row) == principal


def sweep(db: Database, *, now: datetime) -> None:
    """Remove sessions that ended long ago, and customers of whom nothing is left."""
    with db.begin() as session:
        ended = or_(WidgetSession.expires_at < now - KEEP, WidgetSession.revoked_at < now - KEEP)
        gone = set(session.scalars(delete(WidgetSession).where(ended).returning(WidgetSession.customer_id)))
        for customer_id in gone:
            remove_if_empty(session, customer_id)


def remove_if_empty(session: Session, customer_id: int) -> None:
    """Remove a customer who has no conversation and no session, of whom nobody noted anything, and who is not kept to
    be told apart from another again."""
    used = or_(
        select(CustomerNote.id).where(CustomerNote.customer_id == Customer.id).exists(),
        select(CustomerMerge.id).where(CustomerMerge.from_id == Customer.id).exists(),
        select(CustomerMerge.id).where(CustomerMerge.into_id == Customer.id).exists(),
        select(Conversation.id).where(Conversation.customer_id == Customer.id).exists(),
        select(WidgetSession.id).where(WidgetSession.customer_id == Customer.id).exists(),
    )
    session.execute(delete(Customer).where(Customer.id == customer_id, ~used))


def _require_unguessable(token: str) -> None:
    if not _TOKEN.fullmatch(token):
        raise Invalid("token must be at least 32 random bytes in URL-safe base64.", field="token")


def _require_valid(row: WidgetSession, token: str, origin: str | None) -> None:
    now, digest = utcnow(), _hash(token)
    is_replaced = row.token_hash != digest and row.previous_until is not None and row.previous_until < now
    if row.revoked_at is not None or is_replaced:
        raise Unauthenticated("This session was ended. Begin a new one.")
    if row.expires_at < now:
        raise Unauthenticated("This session has expired. Begin a new one.")
    if row.origin != origin:
        raise Unauthenticated("This session belongs to pages of another origin. Begin a new one.")


def _find(session: Session, token: str) -> WidgetSession | None:
    digest = _hash(token)
    query = select(WidgetSession).where(or_(WidgetSession.token_hash == digest, WidgetSession.previous_hash == digest))
    return session.scalar(query.execution_options(populate_existing=True))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
