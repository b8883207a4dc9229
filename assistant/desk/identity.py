"""Who a customer of the widget is: what their site has signed.

| who says so | the customer is |
|---|---|
| nobody | whoever holds the session: name and address are what somebody typed, and match nobody |
| the site, by a JWT | the one with its ``sub`` as external id, on every device |

What an unverified visitor asked before becomes that customer's, never the other way round. Another verified customer's
stays theirs: the browser begins a new session.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import jwt
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.db import utcnow
from assistant.desk import sessions, state
from assistant.errors import Invalid
from assistant.models import Conversation, Customer, VerifiedBy
from assistant.text.folding import address

LONGEST = timedelta(days=1)  # that a site may sign ahead
_CLOCKS = timedelta(seconds=30)  # that a site's clock may differ from ours
_EMAIL = re.compile(r"[^@\s\x00]+@[^@\s\x00]+")


@dataclass(frozen=True)
class Claims:
    """What a site says of its signed-in customer."""

    subject: str
    name: str | None = None
    email: str | None = None


def read_claims(token: str, secrets: Sequence[str], *, inbox: str) -> Claims:
    """What a signed token says. Raises `Invalid` that says what is wrong with it and what to do."""
    if not secrets:
        raise _wrong(f"the inbox {inbox!r} has no secret. Make one with: assistant inboxes secret {inbox}")
    for secret in secrets:
        with suppress(jwt.InvalidSignatureError):  # it may be signed with the other one
            return _check(_decode(token, secret))
    raise _wrong(f"it is not signed with the secret of the inbox {inbox!r}")


def _decode(token: str, secret: str) -> dict[str, object]:
    try:
        return jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            leeway=_CLOCKS,
            options={"require": ["exp", "sub"], "verify_aud": False, "verify_sub": False},
        )
    except jwt.InvalidSignatureError:
        raise
    except jwt.InvalidTokenError as error:
        raise _wrong(_reason(error)) from error


def _check(claims: dict[str, object]) -> Claims:
    subject, name, email = (claims.get(part) for part in ("sub", "name", "email"))
    if not isinstance(subject, str) or not 0 < len(subject.strip()) <= 200 or "\x00" in subject:
        raise _wrong("sub must be the id of your customer, a text of 1 to 200 characters")
    if claims["exp"] - utcnow().timestamp() > (LONGEST + _CLOCKS).total_seconds():  # type: ignore[operator]
        raise _wrong("exp is more than 24 hours ahead. Sign a new token for each page")
    if name is not None and (not isinstance(name, str) or len(name) > 200 or "\x00" in name):
        raise _wrong("name must be a text of at most 200 characters")
    if email is not None and (not isinstance(email, str) or len(email) > 320 or not _EMAIL.fullmatch(email)):
        raise _wrong("email is not an e-mail address")
    return Claims(subject.strip(), (name or "").strip() or None, address(email) if email else None)


def _reason(error: jwt.InvalidTokenError) -> str:
    if isinstance(error, jwt.ExpiredSignatureError):
        return "it has expired. Sign a new one for each page"
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"it has no {error.claim}"
    if isinstance(error, jwt.InvalidAlgorithmError):
        return "its algorithm is not HS256"
    return f"it is no valid JWT ({error})"


def _wrong(reason: str) -> Invalid:
    return Invalid(f"The identity is not accepted: {reason}.", field="identity")


def sign_in(session: Session, opened: sessions.Opened, claims: Claims) -> sessions.Opened:
    """Make the session that of the customer whom the site has signed, and take up what the site says of them."""
    customer = _signed_customer(session, claims.subject)
    customer.name, customer.email = claims.name or customer.name, claims.email or customer.email
    customer.verified_at, customer.verified_by = utcnow(), VerifiedBy.SITE
    now = _become(session, opened, customer, is_same=_is_address(opened.session.customer, claims.email))
    now.session.expires_at = utcnow() + sessions.SIGNED_IN_LASTS
    return now


def _signed_customer(session: Session, subject: str) -> Customer:
    query = select(Customer).where(Customer.external_id == subject)
    try:
        if (customer := session.scalar(query)) is None:
            with session.begin_nested():
                customer = Customer(external_id=subject)
                session.add(customer)
                session.flush()
    except IntegrityError:
        customer = session.scalars(query).one()  # another page of the same customer was first
    return customer


def _is_address(customer: Customer, email: str | None) -> bool:
    """Whether the customer is known by this address alone."""
    return customer.external_id is None and customer.verified_at is not None and customer.email == email is not None


def _become(session: Session, opened: sessions.Opened, customer: Customer, *, is_same: bool) -> sessions.Opened:
    """Let a browser talk as ``customer`` from now on. ``is_same``: the one it was is the same person."""
    row = opened.session
    before = row.customer
    if before.id == customer.id:
        return opened
    if not (is_same or sessions.is_unverified(before)):
        return sessions.succeed(session, row, customer)
    for conversation_id in session.scalars(select(Conversation.id).where(Conversation.customer_id == before.id)).all():
        state.change_customer(session, conversation_id, customer)
    row.customer = customer
    token = sessions.replace_at_once(row)
    session.flush()
    # Other browsers that could see these conversations, by a link perhaps, must not see all of this customer's.
    sessions.revoke(session, customer_id=before.id)
    return sessions.Opened(row, token, opened.begun)
