"""Agents' corrections of evidence, and what follows: triage and draft of the ticket are made again.

What was read stays as it was: a correction is another row, for one ticket or, at the agent's choice, for the same photo
everywhere. Correction, outdated triage, withdrawn draft and the job that makes both again are one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from assistant.db import utcnow
from assistant.desk import evidence, state
from assistant.desk.access import AgentPrincipal, MachinePrincipal, Staff, access_attachment
from assistant.desk.events import EvidenceCorrected
from assistant.errors import Invalid, NotAllowed, NotFound
from assistant.models import Evidence, EvidenceState, ProductPhoto, Ticket, TriageResult
from assistant.skills.read_photo import CANNOT_TELL, CONDITIONS, FIELDS, LIGHTS
from assistant.skills.taxonomy import Taxonomy

_Fields = dict[str, Any]
_Lines = list[dict[str, Any]]


def correct_evidence(
    session: Session,
    by: Staff,
    attachment_id: str,
    changes: Mapping[str, str],
    *,
    lines: Mapping[int, str] | None = None,
    everywhere: bool = False,
    taxonomy: Taxonomy,
) -> Evidence:
    """Put what somebody sees in place of what was read. Field names: `read_photo.FIELDS`. Doing so twice is a no-op.

    ``lines`` replaces lines of visible text by index; an empty text removes its line. Regions stay. ``everywhere``: the
    correction also counts for the same photo in other tickets, unless it was corrected there.
    """
    if everywhere and isinstance(by, MachinePrincipal) and by.inbox_ids is not None:
        raise NotAllowed("This key is for some inboxes only: it cannot correct the same photo in other tickets.")
    photo = access_attachment(session, by, attachment_id)
    conversation = state.lock_conversation(session, photo.message.conversation_id)
    row = evidence.evidence_of(session, [photo]).get(photo.sha256)
    if row is None:
        raise NotFound("This photo has not been read yet. Try again in a moment.")
    visible_text = _corrected_lines(row.visible_text, lines or {})
    own = session.scalars(select(ProductPhoto.condition).where(ProductPhoto.condition != "").distinct()).all()
    fields = _corrected_fields(row, _checked(changes, taxonomy, own), visible_text, taxonomy)
    scopes = (None, conversation.id) if everywhere else (conversation.id,)
    if (row.fields, row.visible_text) == (fields, visible_text) and not _is_news(session, row, scopes):
        return row
    for scope in scopes:
        row = _copy(row, fields, visible_text, by)
        row.conversation_id = scope
        session.add(row)
    _redo(session, conversation.id)
    evidence.tell(session, photo.sha256, EvidenceCorrected, conversation_id=None if everywhere else conversation.id)
    return row


def _redo(session: Session, conversation_id: int) -> None:
    """Triage and draft no longer count. `subscribers` has the job that makes them again."""
    ticket = session.scalars(select(Ticket).where(Ticket.conversation_id == conversation_id)).one()
    session.execute(update(TriageResult).where(TriageResult.ticket_id == ticket.id).values(outdated=True))
    state.withdraw_drafts(session, ticket)


def _is_news(session: Session, row: Evidence, scopes: Sequence[int | None]) -> bool:
    """Whether the same correction does not count yet where it shall."""
    if row.state is not EvidenceState.CORRECTED or None not in scopes or row.conversation_id is None:
        return False
    elsewhere = select(Evidence).where(
        Evidence.sha256 == row.sha256, Evidence.conversation_id.is_(None), Evidence.state == EvidenceState.CORRECTED
    )
    newest = session.scalar(elsewhere.order_by(Evidence.id.desc()).limit(1))
    return newest is None or (newest.fields, newest.visible_text) != (row.fields, row.visible_text)


def _copy(row: Evidence, fields: _Fields, visible_text: _Lines, by: Staff) -> Evidence:
    return Evidence(
        sha256=row.sha256,
        revision=row.revision,
        model=row.model,
        mode=row.mode,
        fields=fields,
        visible_text=visible_text,
        state=EvidenceState.CORRECTED,
        corrected_by_id=by.agent_id if isinstance(by, AgentPrincipal) else None,
        corrected_at=utcnow(),
        corrects=row.corrects or row,
    )


def _checked(changes: Mapping[str, str], taxonomy: Taxonomy, conditions: Sequence[str] = ()) -> dict[str, str]:
    """The changes without blanks around them. ``conditions``: those of own products. Raises `Invalid` for an unknown
    field or value."""
    known = {
        "product": [*(product.key for product in taxonomy.products), CANNOT_TELL],
        "condition": [*CONDITIONS, *conditions],
        "lights": LIGHTS,
    }
    checked = {name: value.strip() for name, value in changes.items()}
    for name, value in checked.items():
        if name not in FIELDS:
            raise Invalid(f"There is no evidence field {name!r}. Fields: {', '.join(FIELDS)}.", field=name)
        values = value.split(", ") if name == "lights" else [value]  # several lights, in order
        if not value or (name in known and not all(one in known[name] for one in values)):
            options = f" Choose from: {', '.join(known[name])}." if name in known else ""
            raise Invalid(f"{value!r} is no value of {name}.{options}", field=name)
    return checked


def _corrected_lines(read: Sequence[dict[str, Any]], changes: Mapping[int, str]) -> _Lines:
    if any(index not in range(len(read)) for index in changes):
        raise Invalid("This photo has no line of text with that index.", field="visible_text")
    seen = {index: {**read[index], "text": text.strip(), "confidence": 1.0} for index, text in changes.items()}
    return [line for line in (seen.get(index, line) for index, line in enumerate(read)) if line["text"]]


def _corrected_fields(row: Evidence, changes: Mapping[str, str], visible_text: _Lines, taxonomy: Taxonomy) -> _Fields:
    """The fields with the changes, each where it was seen. A product that the text named follows the text, and the
    caption follows everything."""
    wanted = dict(changes)
    before, after = ("\n".join(line["text"] for line in lines) for lines in (row.visible_text, visible_text))
    was_named, named = taxonomy.products_in(before), taxonomy.products_in(after)
    if "product" not in wanted and row.fields["product"]["value"] in was_named and named[:1] != was_named[:1]:
        wanted["product"] = named[0] if named else CANNOT_TELL
    wanted.setdefault("caption", _corrected_caption(row, wanted, visible_text, taxonomy))
    blank = {"region": None}
    corrected = {
        name: {**_without_grounds(row.fields.get(name, blank)), "value": value, "confidence": 1.0}
        for name, value in wanted.items()
        if row.fields.get(name, blank).get("value") != value
    }
    if "caption" in changes and "caption" in corrected:
        corrected["caption"].pop("composed", None)  # somebody's own words
    return {**row.fields, **corrected}


def _without_grounds(reading: Mapping[str, Any]) -> dict[str, Any]:
    """Without what spoke for the value that was read: the reference photo, and where the photo is like it."""
    return {name: value for name, value in reading.items() if name not in ("reference", "heat")}


def _corrected_caption(row: Evidence, changes: Mapping[str, str], visible_text: _Lines, taxonomy: Taxonomy) -> str:
    """The caption with the new values in place of those it was composed of."""
    caption = str(row.fields["caption"]["value"])
    places = {str(line["region"]): line["text"] for line in visible_text}
    pairs = [(line["text"], places.get(str(line["region"]), "")) for line in row.visible_text]
    for name in ("product", "lights", "condition"):
        if name in changes and name in row.fields and CANNOT_TELL not in (changes[name], row.fields[name]["value"]):
            pairs.append((row.fields[name]["value"], changes[name]))
    for old, new in pairs:
        if old != new:
            caption = caption.replace(taxonomy.product_name(old), taxonomy.product_name(new))
    return " ".join(caption.split()) or str(row.fields["caption"]["value"])
