"""Who a customer of the widget is: what their site has signed, or what they have proved.

| who says so | the customer is |
|---|---|
| nobody | whoever holds the session: name and address are what somebody typed, and match nobody |
| they, by a code sent to their address | the one known by this address alone, on every device |
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
from assistant.desk import people, sessions, state
from assistant.desk.people import find_by_address
from assistant.errors import Conflict, Invalid
from assistant.models import Conversation, Customer, VerifiedBy, WidgetSession
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
    people.rename(session, customer, name=claims.name, email=claims.email)
    customer.verified_at, customer.verified_by = utcnow(), VerifiedBy.SITE
    before = opened.session.customer
    if before.id == customer.id:
        now = opened
    elif _is_address(before, claims.email) or sessions.is_unverified(before):
        now = sessions.Opened(opened.session, _become(session, opened.session, customer), opened.begun)
    else:
        now = sessions.succeed(session, opened.session, customer)
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


def may_prove(customer: Customer) -> bool:
    """Whether a code may say which address is theirs: not if it is known already."""
    return customer.email is None or customer.verified_at is None


def prove(session: Session, row: WidgetSession, email: str, *, token: str) -> None:
    """The session's customer reads the mail at this address, so they are who proved it before. ``token``: to be used
    from now on.

    A customer whom a site knows stays that, and is never found by an address: the site says who may be them, and has
    not said that whoever reads this mailbox may. Raises `Conflict` unless they `may_prove` it.
    """
    before = row.customer
    if not may_prove(before):
        raise Conflict("The address of this customer is known already. End the session to prove another one.")
    if before.external_id is not None:
        before.email = email
        sessions.replace_at_once(session, row, token=token)
        return
    customer = find_by_address(session, email) or before
    customer.name = customer.name or before.name
    customer.email, customer.verified_at, customer.verified_by = email, utcnow(), VerifiedBy.CODE
    _become(session, row, customer, token=token)


def _become(session: Session, row: WidgetSession, customer: Customer, *, token: str | None = None) -> str:
    """Let a browser, and no other that was the same visitor, talk as ``customer``: the same person, as is known now.
    Its new token."""
    before = row.customer
    if before.id != customer.id:
        own = select(Conversation.id).where(Conversation.customer_id == before.id)
        for conversation_id in session.scalars(own).all():
            state.change_customer(session, conversation_id, customer)
        row.customer = customer
    token = sessions.replace_at_once(session, row, token=token)
    session.flush()
    # Other browsers that could see these conversations, by an old token perhaps, must not see all of this customer's.
    sessions.revoke(session, customer_id=before.id, but=row.id)
    sessions.remove_if_empty(session, before.id)
    return token
