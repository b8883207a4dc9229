"""Changed categories, tried on past tickets before they count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from assistant.desk import learning, triage
from assistant.desk.desk import Desk
from assistant.desk.triage import Asked
from assistant.models import Ticket, TriageResult
from assistant.skills.explain import Ticket as Whole
from assistant.skills.taxonomy import Label

TRIED_ON = 100  # of the newest tickets


@dataclass(frozen=True)
class Moved:
    """A ticket whose category would be another one; None where triage would not be sure."""

    ticket: Ticket
    now: str | None
    then: str | None


@dataclass(frozen=True)
class Trial:
    """``right``: of the ``decided`` tickets whose category an agent has decided, how many triage gets right now, and
    would then."""

    looked_at: int
    moved: Sequence[Moved]
    decided: int
    right: tuple[int, int]


def try_out(desk: Desk, categories: Sequence[Label]) -> Trial:
    """Triage the newest tickets by their text alone, as it is done now and as it would be. Stores nothing."""
    with desk.db.read() as session:
        rows = _newest(session)
        heads = learning.current_heads(session, desk)
    plain = replace(desk, capabilities=desk.capabilities.without_model)
    then = replace(desk.taxonomy, categories=tuple(categories))
    moved, labels = [], []
    for row in rows:
        told = []
        for taxonomy in (desk.taxonomy, then):
            fields = triage.run_triage(plain, Asked(Whole(row.text), heads, taxonomy)).fields
            field = next(one for one in fields if one.name == "category")
            told.append(None if field.abstained else field.value)
        if told[0] != told[1]:
            moved.append(Moved(row.ticket, *told))
        decided = next((field.label for field in row.fields if field.name == "category"), None)
        if decided is not None:
            labels.append((told[0] == decided, told[1] == decided))
    right = sum(before for before, _ in labels), sum(after for _, after in labels)
    return Trial(len(rows), moved, len(labels), right)


def _newest(session: Session) -> Sequence[TriageResult]:
    """Of each of the newest tickets, its newest triage."""
    query = (
        select(TriageResult)
        .where(TriageResult.outdated.is_(False))
        .options(joinedload(TriageResult.ticket), selectinload(TriageResult.fields))
        .order_by(TriageResult.ticket_id.desc(), TriageResult.id.desc())
        .limit(2 * TRIED_ON)
    )
    newest: dict[int, TriageResult] = {}
    for row in session.scalars(query):
        newest.setdefault(row.ticket_id, row)
    return list(newest.values())[:TRIED_ON]
