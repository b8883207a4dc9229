"""Requests of machines that may be sent again: nothing is done twice, and the answer is that of the first time.

What makes something notes its key in the transaction that makes it, so that of two at once one finds the other's note
in its way, and a process that dies loses both or neither. The answer is kept with the note once it is known, sealed,
as it may hold a secret that is told once, and whoever comes second gets it byte for byte. Where an answer was lost with
its process, that of a ticket or message is made anew, and of anything else its id is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.db import Database
from assistant.desk import sealing
from assistant.errors import Conflict, Invalid
from assistant.models import Attachment, IdempotencyKey, Message, Ticket
from assistant.settings import Settings

# How long a request may be sent again, and how long its key is known.
ANSWERED_FOR = timedelta(hours=24)
KNOWN_FOR = timedelta(days=30)


class AlreadyDone(Conflict):
    """By another request with the same key, at the same moment."""


@dataclass(frozen=True)
class Once:
    """A request that is to be done once: the key that the machine gave it, and what it asked for."""

    api_key_id: int
    key: str
    fingerprint: str


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def fingerprint(parts: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def find(session: Session, once: Once, *, lock: bool = False) -> IdempotencyKey | None:
    """The note of it, if it has been done. Raises `Invalid` if something else was done by this key."""
    query = select(IdempotencyKey).where(IdempotencyKey.api_key_id == once.api_key_id, IdempotencyKey.key == once.key)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is not None and row.request_hash != once.fingerprint:
        raise Invalid(
            "This Idempotency-Key was used for a different request. Use a new key for each.", field="Idempotency-Key"
        )
    return row


def note(session: Session, once: Once, *, made: str | None = None, ticket_id: int | None = None) -> IdempotencyKey:
    """In the transaction of what is done. Raises `AlreadyDone` if another has done the same meanwhile.
    ``made``: the public id of what was made; ``ticket_id``: whose row the answer tells of."""
    row = IdempotencyKey(
        api_key_id=once.api_key_id, key=once.key, request_hash=once.fingerprint, made=made, ticket_id=ticket_id
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise AlreadyDone("The same request has just been carried out. Send it again for its answer.") from error
    return row


def answer_of(session: Session, settings: Settings, once: Once, *, now: datetime) -> Answer | None:
    """How it was answered the first time; None if it was not. Raises `Conflict` after a day, and as `find` does."""
    found = find(session, once)
    if found is None:
        return None
    if now - found.created_at > ANSWERED_FOR:
        raise _without_answer(session, found, "and answers are kept for a day")
    return _kept(settings, found)


def lost(session: Session, once: Once) -> Conflict:
    """What to say of a request that was carried out by a process that has died before it answered."""
    found = find(session, once)
    if found is None:
        return AlreadyDone("This request met another one with its key. Send it again.")
    return _without_answer(session, found, "and its answer was lost")


def _without_answer(session: Session, found: IdempotencyKey, why: str) -> Conflict:
    made = found.made or session.scalar(select(Ticket.public_id).where(Ticket.id == found.ticket_id))
    what = f"What was made then is {made}." if made is not None else "The request was carried out then."
    return Conflict(f"This Idempotency-Key was used on {found.created_at:%Y-%m-%d}, {why}. {what}", id=made)


def _kept(settings: Settings, row: IdempotencyKey) -> Answer | None:
    if row.status is None or row.body is None:
        return None
    return Answer(row.status, row.headers or {}, sealing.unseal(settings, row.body.decode()).encode())


def keep(db: Database, settings: Settings, once: Once, answer: Answer, *, path: Mapping[str, str]) -> Answer:
    """Keep the answer, unless there is one: returns the one that is kept. ``path``: names and public ids of what it
    tells of, with which it is erased."""
    try:
        return _keep(db, settings, once, answer, path)
    except AlreadyDone:
        return _keep(db, settings, once, answer, path)


def _keep(db: Database, settings: Settings, once: Once, answer: Answer, path: Mapping[str, str]) -> Answer:
    with db.begin() as session:
        row = find(session, once, lock=True)
        if row is None:
            row = note(session, once, ticket_id=_ticket_in(session, path))
        if (kept := _kept(settings, row)) is not None:
            return kept
        row.status, row.headers = answer.status, dict(answer.headers)
        row.body = sealing.seal(settings, answer.body.decode()).encode()
        return answer


def _ticket_in(session: Session, path: Mapping[str, str]) -> int | None:
    if "attachment_id" in path:
        its = select(Ticket.id).join(Message, Message.conversation_id == Ticket.conversation_id)
        return session.scalar(its.join(Message.attachments).where(Attachment.public_id == path["attachment_id"]))
    return session.scalar(select(Ticket.id).where(Ticket.public_id == path.get("ticket_id")))


def sweep(db: Database, *, now: datetime) -> None:
    """Forget answers after a day, and later that there was a request; of tickets not, while they exist."""
    with db.begin() as session:
        old = IdempotencyKey.created_at < now - ANSWERED_FOR
        session.execute(update(IdempotencyKey).where(old, IdempotencyKey.body.is_not(None)).values(body=None))
        is_forgotten = IdempotencyKey.created_at < now - KNOWN_FOR
        session.execute(delete(IdempotencyKey).where(is_forgotten, IdempotencyKey.ticket_id.is_(None)))
