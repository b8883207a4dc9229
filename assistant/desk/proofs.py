"""Customers prove an e-mail address with a six-digit code that is sent to it.

* Whoever asks is told the same whatever the address is: nothing here looks at whose it is. So a mailbox that has had
  enough codes for now gets no other one, without a word.
* Of a session only the newest code is valid, for `LASTS` and `TRIES`. Codes of other sessions stay as they are: asking
  for somebody's address takes nothing from them.
* Mailboxes are protected here, on every process alike; how often a session or network may ask is limited over HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from assistant.db import Database, take_turns
from assistant.desk import identity, inboxes, mail
from assistant.desk.access import SessionPrincipal
from assistant.desk.desk import Desk
from assistant.errors import Conflict, Invalid, NotReady
from assistant.models import AddressCode, WidgetSession
from assistant.ports import WorkPriority
from assistant.text.letters import Code, Letter, Paragraph, Small
from assistant.wording import Notice, word

LASTS = timedelta(minutes=15)
MINUTES = LASTS // timedelta(minutes=1)
TRIES = 5
# What one mailbox is sent at most. Strangers have 40 guesses of a million a day at anybody's address.
A_MAILBOX = ((4, timedelta(hours=1)), (8, timedelta(days=1)))
_DIGITS = 6
KEEP = timedelta(days=1)


def send_code(desk: Desk, principal: SessionPrincipal, typed: str, *, language: str) -> str:
    """Mail a code to the address that a customer has typed. The address, tidied up. ``language``: of the mail.

    Raises `NotReady` without a mail server, `Invalid` if it is no address, `Conflict` if the customer's is known.
    """
    if not desk.sends_mail:
        raise NotReady(Notice("no_mail_now"))
    address, code = mail.typed_address(typed), f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}}"
    with desk.db.begin() as session:
        row = session.get_one(WidgetSession, principal.session_id)
        if not identity.may_prove(row.customer):
            raise Conflict("The address of this customer is known already. End the session to prove another one.")
        mailbox = _mailbox(address)
        take_turns(session, mailbox)  # or two requests at once would both be the last one allowed
        if _has_enough(session, mailbox, desk.now()):
            if waiting_for(session, principal, now=desk.now()) != address:
                _keep(session, desk, row, address, code=secrets.token_hex(), sent=False)
            return address
        _keep(session, desk, row, address, code=code, sent=True)
        letter = _letter(code, inboxes.brand(row.inbox, desk.settings), language)
        mail.enqueue(session, letter, to=address, keep_trying=LASTS, priority=WorkPriority.INTERACTIVE)
    return address


def prove(desk: Desk, principal: SessionPrincipal, given: str, *, token: str) -> None:
    """Take a code that a customer has typed: their address is proved. ``token``: of the session, from now on.

    Raises `Invalid` that says what is wrong with the code and what to do.
    """
    code = _read(given)
    with desk.db.begin() as session:
        known = _newest(session, principal, lock=True)
        wrong = _try(desk, known, code)
        if known is not None and wrong is None:
            known.used_at = desk.now()
            take_turns(session, known.mailbox_hash)  # or two browsers at once would be two customers
            row = session.get_one(WidgetSession, principal.session_id)
            identity.prove(session, row, known.email, token=token)
    if wrong is not None:
        raise Invalid(wrong, field="code")  # here, so that the try stays counted


def waiting_for(session: Session, principal: SessionPrincipal, *, now: datetime) -> str | None:
    """The address whose code the session may still type."""
    known = _newest(session, principal)
    return known.email if known is not None and _is_open(known, now) else None


def sweep(db: Database, *, now: datetime) -> None:
    """Remove codes that count no more."""
    with db.begin() as session:
        session.execute(delete(AddressCode).where(AddressCode.created_at < now - KEEP))


def _keep(session: Session, desk: Desk, row: WidgetSession, address: str, *, code: str, sent: bool) -> None:
    now = desk.now()
    session.add(
        AddressCode(
            session_id=row.id,
            email=address,
            mailbox_hash=_mailbox(address),
            code_hash=_hash(desk.settings.signing_key(), row.id, code),
            sent=sent,
            created_at=now,
            expires_at=now + LASTS,
        )
    )


def _newest(session: Session, principal: SessionPrincipal, *, lock: bool = False) -> AddressCode | None:
    query = select(AddressCode).where(AddressCode.session_id == principal.session_id)
    query = query.order_by(AddressCode.id.desc()).limit(1)
    return session.scalar(query.with_for_update() if lock else query)


def _is_open(known: AddressCode, now: datetime) -> bool:
    return known.used_at is None and known.tries < TRIES and now < known.expires_at


def _try(desk: Desk, known: AddressCode | None, code: str) -> Notice | None:
    """What is wrong with the code, if anything. A wrong one is counted."""
    if known is None or known.used_at is not None or desk.now() >= known.expires_at:
        return Notice("code_expired")
    if known.tries >= TRIES:
        return Notice("code_used_up")
    hashes = [_hash(key, known.session_id, code) for key in desk.settings.signing_keys()]
    if any(hmac.compare_digest(known.code_hash, one) for one in hashes):
        return None
    known.tries += 1
    return Notice("code_wrong", {"n": TRIES - known.tries}) if known.tries < TRIES else Notice("code_used_up")


def _read(given: str) -> str:
    """The digits, in any script and however grouped. Raises `Invalid` unless there are six, which costs no try."""
    digits = re.sub(r"\D", "", given)
    if len(digits) != _DIGITS or len(given) > 100:
        raise Invalid(Notice("code_incomplete"), field="code")
    return "".join(str(unicodedata.decimal(digit)) for digit in digits)


def _hash(key: str, session_id: int, code: str) -> str:
    """Keyed: a million codes are tried in a second, so a stolen database must not be enough."""
    return hmac.new(key.encode(), f"address code {session_id} {code}".encode(), hashlib.sha256).hexdigest()


def _mailbox(address: str) -> str:
    """Of addresses that lead, or may lead, to the same mailbox: with a suffix, or dots as some ignore them."""
    local, _, domain = address.rpartition("@")
    return hashlib.sha256(f"{local.split('+')[0].replace('.', '')}@{domain}".encode()).hexdigest()


def _has_enough(session: Session, mailbox: str, now: datetime) -> bool:
    def sent_within(span: timedelta) -> int:
        of_mailbox = (AddressCode.mailbox_hash == mailbox, AddressCode.sent, AddressCode.created_at > now - span)
        return session.scalar(select(func.count()).where(*of_mailbox)) or 0

    return any(sent_within(span) >= most for most, span in A_MAILBOX)


def _letter(code: str, company: str, language: str) -> Letter:
    values = {"company": company}
    return Letter(
        word(Notice("mail_code_subject", values), language),
        (
            Paragraph(word(Notice("mail_code_intro", values), language)),
            Code(code),
            Paragraph(word(Notice("code_valid", {"n": MINUTES}), language)),
            Small(word(Notice("mail_code_not_you"), language)),
        ),
        language,
    )
