"""Secrets that must stay readable are stored encrypted (Fernet), by a key that is derived from the secret key.

They are opened by the secret key in use and by those of before (`Settings.signing_keys`), and sealed by the one in use.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import InstrumentedAttribute

from assistant.errors import NotReady
from assistant.models import Agent, Inbox, Webhook
from assistant.settings import Settings

# Every column that holds them for longer than a day: `idempotency` seals answers, which are then over.
_COLUMNS: tuple[tuple[type[Any], InstrumentedAttribute[Any]], ...] = (
    (Inbox, Inbox.secret),
    (Inbox, Inbox.previous_secret),
    (Agent, Agent.totp_secret),
    (Webhook, Webhook.secret),
    (Webhook, Webhook.previous_secret),
)
_MARK = "sealed:"  # what lacks it was stored before secrets were encrypted


def seal(settings: Settings, secret: str) -> str:
    return _MARK + _key(settings.signing_key()).encrypt(secret.encode()).decode()


def unseal(settings: Settings, stored: str) -> str:
    """Raises `NotReady` if it was sealed by a secret key that is not known."""
    if not stored.startswith(_MARK):
        return stored
    keys = MultiFernet([_key(key) for key in settings.signing_keys()])
    try:
        return keys.decrypt(stored.removeprefix(_MARK)).decode()
    except InvalidToken as error:
        raise NotReady(
            "A stored secret was encrypted with another secret key. Name that one in ASSISTANT_PREVIOUS_SECRET_KEYS, "
            "or make the secret anew."
        ) from error


def count_stale(session: Session, settings: Settings) -> int:
    """How many stored secrets are not sealed by the secret key in use."""
    return sum(1 for _ in _stale(session, settings))


def renew(session: Session, settings: Settings) -> int:
    """Seal every stored secret by the secret key in use, so that those of before can be dropped. Returns how many were
    sealed by another one, or not at all. Raises as `unseal` does."""
    count = 0
    for table, column, row_id, stored in _stale(session, settings, lock=True):
        sealed = {column: seal(settings, unseal(settings, stored))}
        session.execute(update(table).where(table.id == row_id).values(sealed))
        count += 1
    return count


def _stale(session: Session, settings: Settings, *, lock: bool = False) -> Iterator[tuple[type[Any], Any, int, str]]:
    """Tables, columns, ids and what is stored there."""
    current = _key(settings.signing_key())
    for table, column in _COLUMNS:
        query = select(table.id, column).where(column.is_not(None))
        for row_id, stored in session.execute(query.with_for_update() if lock else query).all():
            if not _is_sealed_by(current, stored):
                yield table, column, row_id, stored


def _is_sealed_by(key: Fernet, stored: str) -> bool:
    if not stored.startswith(_MARK):
        return False
    try:
        key.decrypt(stored.removeprefix(_MARK))
    except InvalidToken:
        return False
    return True


@lru_cache(maxsize=16)
def _key(secret_key: str) -> Fernet:
    derived = HKDF(SHA256(), length=32, salt=None, info=b"stored secrets").derive(secret_key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
