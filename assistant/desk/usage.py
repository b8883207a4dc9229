"""How much may be stored: by a conversation, by a visitor a day, and by everybody together.

What a visitor stored today is counted in a table, so that neither a restart nor a second server begins anew.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.db import Database
from assistant.desk.desk import Desk
from assistant.errors import AssistantError, TooLarge, Unavailable
from assistant.models import Attachment, FileCondition, Message, UploadCount
from assistant.wording import Notice

KEEP = timedelta(days=2)


def admit(
    desk: Desk, sizes: Sequence[int], *, conversation_id: int | None, visitor: str | None, stored: int = 0
) -> list[AssistantError | None]:
    """For each file of so many bytes, None if it may be stored, which is then counted, or the reason why not. The
    first ``stored`` are in storage.

    Raises `Unavailable` if too little of the disk would be left: whoever sent the files keeps them and tries again."""
    if not sizes:
        return []
    needed = sum(sizes[stored:])
    free = desk.storage.free_bytes() if needed else None
    if free is not None and free - needed < desk.settings.disk_reserve:
        raise Unavailable(
            Notice("storage_low"),
            cause="disk_low",
            retry_after=60,
        )
    try:
        return _count(desk, sizes, conversation_id=conversation_id, visitor=visitor)
    except IntegrityError:  # the visitor's first two requests of the day came at once
        return _count(desk, sizes, conversation_id=conversation_id, visitor=visitor)


def sweep(db: Database, *, now: datetime) -> None:
    with db.begin() as session:
        session.execute(delete(UploadCount).where(UploadCount.day < (now - KEEP).date()))


def _count(
    desk: Desk, sizes: Sequence[int], *, conversation_id: int | None, visitor: str | None
) -> list[AssistantError | None]:
    settings = desk.settings
    with desk.db.begin() as session:
        today = _today(session, desk, visitor) if visitor is not None else UploadCount(bytes=0, files=0)
        held = _bytes_of(session, conversation_id) if conversation_id is not None else 0
        outcome: list[AssistantError | None] = []
        for size in sizes:
            if held + size > settings.conversation_max_bytes:
                outcome.append(_full("files_of_conversation", settings.conversation_max_bytes))
            elif today.bytes + size > settings.visitor_daily_bytes:
                outcome.append(_full("files_of_today", settings.visitor_daily_bytes))
            elif today.files + 1 > settings.visitor_daily_files:
                limit = settings.visitor_daily_files
                outcome.append(TooLarge(Notice("files_today", {"n": limit}), limit=limit))
            else:
                outcome.append(None)
                held, today.bytes, today.files = held + size, today.bytes + size, today.files + 1
        return outcome


def _today(session: Session, desk: Desk, visitor: str) -> UploadCount:
    digest = hmac.new(desk.settings.signing_key().encode(), visitor.encode(), hashlib.sha256).hexdigest()
    key = {"visitor": digest, "day": desk.now().date()}
    row = session.get(UploadCount, key, with_for_update=True)
    if row is None:
        row = UploadCount(**key, bytes=0, files=0)
        session.add(row)
        session.flush()
    return row


def _bytes_of(session: Session, conversation_id: int) -> int:
    kept = Attachment.condition != FileCondition.REMOVED
    total = select(func.sum(Attachment.byte_size)).join(Attachment.message).where(kept)
    return session.scalar(total.where(Message.conversation_id == conversation_id)) or 0


def _full(code: str, limit: int) -> TooLarge:
    return TooLarge(Notice(code, {"megabytes": limit / 1e6}), limit=limit)
