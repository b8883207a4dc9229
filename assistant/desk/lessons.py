"""Export of what agents decided, to fine-tune a model on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from assistant.db import Database
from assistant.desk.evidence import evidence_of
from assistant.desk.learning import DECIDED, LEARN_AT_MOST
from assistant.errors import Gone, Invalid
from assistant.models import Attachment, AttachmentKind, EvidenceState, Message, TriageResult
from assistant.storage import Storage

_READ = ("product", "lights", "condition")


def export_lessons(db: Database, storage: Storage, folder: Path) -> Path:
    """Write ``tickets.jsonl`` and its photos: the newest tickets whose triage or evidence an agent decided.

    They are customers' own texts and photos: keep the folder on this machine. Raises `Invalid` if there are none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with db.read() as session:
        rows = list(_rows(session))
    if not rows:
        raise Invalid("There is nothing to learn from yet: no agent has decided a triage field or corrected evidence.")
    kept = set()
    for sha256 in {sha256 for _, photos in rows for sha256 in photos}:
        with suppress(Gone):  # its ticket teaches without it
            (folder / _name(sha256)).write_bytes(storage.get(sha256))
            kept.add(sha256)
    file = folder / "tickets.jsonl"
    lines = (
        json.dumps({**row, "photos": [_name(photo) for photo in photos if photo in kept]}, ensure_ascii=False)
        for row, photos in rows
    )
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _rows(session: Session) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Each ticket with the SHA-256 digests of its photos."""
    query = (
        select(TriageResult, Message)
        .join(Message, Message.id == TriageResult.message_id)
        .where(TriageResult.outdated.is_(False))
        .options(selectinload(TriageResult.fields), selectinload(Message.attachments))
        .order_by(TriageResult.id.desc())
        .limit(LEARN_AT_MOST)
    )
    for result, message in session.execute(query):
        photos = [one for one in message.attachments if one.kind is AttachmentKind.PHOTO]
        decided = {field.name: field.label for field in result.fields if field.state in DECIDED and field.label}
        corrected = _corrections(session, photos[:1])
        if decided or corrected:
            row = {"text": result.text, "triage": decided, "evidence": corrected}
            yield row, [photo.sha256 for photo in photos]


def _corrections(session: Session, photos: list[Attachment]) -> dict[str, str]:
    """The evidence of a photo that an agent corrected; fields the agent left alone count as confirmed."""
    found = evidence_of(session, photos).values()
    fields = next((one.fields for one in found if one.state is EvidenceState.CORRECTED), {})
    return {name: fields[name]["value"] for name in _READ if name in fields}


def _name(sha256: str) -> str:
    return f"{sha256}.jpg"
