"""What ends by its age alone, whoever it is about. What is kept for how long stands in README.md, under "Retention".

Conversations, and what hangs on them, end by their inbox's rules (`retention`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, and_, delete, select

from assistant.db import Base, Database, drop_copies
from assistant.desk import (
    agent_sessions,
    attention,
    batches,
    feed,
    files,
    idempotency,
    proofs,
    queue,
    sessions,
    uploads,
    usage,
    webhooks,
)
from assistant.desk.desk import Desk
from assistant.models import Alert, Generation, Mail, MailState

log = structlog.get_logger(__name__)

KEEP_GENERATIONS = timedelta(days=90)
KEEP_ALERTS = timedelta(days=90)  # that were read
KEEP_MAILS = timedelta(days=90)  # that belong to no conversation
KEEP_COPIES = timedelta(days=30)  # of the database, from before an upgrade
_AT_ONCE = 1000  # rows in one transaction


def sweep(desk: Desk, *, now: datetime) -> None:
    """Remove what nobody needs any more."""
    db = desk.db
    queue.sweep(db, now=now)
    uploads.sweep(db, now=now)  # before their files
    batches.sweep(db, now=now)
    if swept := files.sweep(db, desk.storage, now=now):
        log.info("storage.swept", files=swept)
    usage.sweep(db, now=now)
    attention.sweep(db, now=now)
    sessions.sweep(db, now=now)
    agent_sessions.sweep(db, desk.settings, now=now)
    proofs.sweep(db, now=now)
    feed.sweep(db, now=now)
    webhooks.sweep(db, now=now)
    idempotency.sweep(db, now=now)
    drop_copies(db, before=now - KEEP_COPIES)
    _sweep(db, Generation, Generation.created_at < now - KEEP_GENERATIONS)
    _sweep(db, Alert, Alert.read_at < now - KEEP_ALERTS)
    is_over = and_(Mail.conversation_id.is_(None), Mail.state != MailState.QUEUED)
    _sweep(db, Mail, and_(is_over, Mail.created_at < now - KEEP_MAILS))


def _sweep(db: Database, model: type[Base], over: ColumnElement[bool]) -> None:
    """Remove the rows of which this holds, some at a time. They are looked for before others have to wait."""
    key: Any = model.__table__.c.id
    while True:
        with db.read() as session:
            ids = session.scalars(select(key).where(over).order_by(key).limit(_AT_ONCE)).all()
        if ids:
            with db.begin() as session:
                session.execute(delete(model).where(key.in_(ids)).execution_options(synchronize_session=False))
        if len(ids) < _AT_ONCE:
            return
